//! `token` and `doctor`.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use antipode_signaling::ApiKey;
use antipode_signaling::token::{Verified, verify};
use common::{antipode, refused, run};
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The token that the command prints, checked with that key. It prints nothing else.
fn token(command: &mut Command, key: &str, secret: &str) -> Verified {
    let output = run(command);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let token = text.strip_suffix('\n').unwrap();
    assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{token}");
    let key = ApiKey { key: key.to_owned(), secret: secret.to_owned() };
    verify(&[key], token, now_s()).unwrap()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

const ARGS: [&str; 5] = ["token", "--room", "lobby", "--identity", "alice"];

#[test]
fn a_token_is_one_line_and_opens_the_room() {
    let verified = token(&mut antipode(&ARGS), "devkey", "secret");
    assert_eq!((verified.room.as_str(), verified.room_join), ("lobby", true));
    assert!(verified.permissions.publish && verified.permissions.subscribe);
    let six_hours = now_s() + 6 * 3600;
    assert!((six_hours - 60..=six_hours).contains(&verified.expires_s));
}

#[test]
fn a_token_takes_what_its_flags_say() {
    let more = ["--no-publish", "--ttl=90s", "--name=Alice", "--key=k", "--secret=s"];
    let verified = token(antipode(&ARGS).args(more), "k", "s");
    assert!(!verified.permissions.publish && verified.permissions.subscribe);
    assert!(verified.expires_s <= now_s() + 90);
    let verified = token(antipode(&ARGS).arg("--no-subscribe"), "devkey", "secret");
    assert!(verified.permissions.publish && !verified.permissions.subscribe);
}

#[test]
fn a_token_is_signed_by_the_flag_before_the_environment_before_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[signal.keys]\nfile = \"f\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    token(antipode(&ARGS).args(["--config", path]), "file", "f");
    let by_env = |command: &mut Command| {
        command.args(["--config", path]).env("ANTIPODE_KEYS", "env: e");
    };
    let mut command = antipode(&ARGS);
    by_env(&mut command);
    token(&mut command, "env", "e");
    let mut command = antipode(&ARGS);
    by_env(&mut command);
    token(command.args(["--key", "flag", "--secret", "x"]), "flag", "x");
}

#[test]
fn a_token_that_nobody_could_use_is_refused() {
    let rows = [
        (["token", "--room=", "--identity=a", "--ttl=6h"], "--room: "),
        (["token", "--room=a", "--identity=", "--ttl=6h"], "--identity: "),
        (["token", "--room=a", "--identity=a", "--ttl=6"], "--ttl: \"6\" is no time"),
        (["token", "--room=a", "--identity=a", "--ttl=0s"], "--ttl: \"0s\" is no time"),
    ];
    for (args, want) in rows {
        let text = refused(&mut antipode(&args));
        assert!(text.contains(want), "{text}");
    }
    let long = format!("--room={}", "x".repeat(257));
    assert!(
        refused(&mut antipode(&["token", &long, "--identity=a"])).contains("--room: 257 bytes")
    );
}

#[test]
fn the_doctor_prints_every_check_and_fails_for_a_taken_port() {
    let free = ["doctor", "--bind=127.0.0.1:0", "--media-port=0", "--shards=1"];
    let output = run(&mut antipode(&free));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("signal.bind") && text.contains(" 0 failed"), "{text}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let output = run(&mut antipode(&["doctor", "--bind", &bind, "--media-port=0", "--shards=1"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  signal.bind") && text.contains("mend: "), "{text}");

    let output = run(&mut antipode(&["doctor", "--json", "--bind", &bind, "--media-port=0"]));
    assert_eq!(output.status.code(), Some(1));
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fault = checks.as_array().unwrap().iter().find(|check| check["name"] == "signal.bind");
    let fault = fault.unwrap();
    assert_eq!(fault["level"], "fail");
    assert!(fault["found"].as_str().unwrap().contains(&bind));
    assert!(fault["mend"].as_str().unwrap().contains("--bind"));
}
