//! `node` and `signal` by hand: what they refuse, what they show, how they end.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use std::io::{BufRead, Write};
use std::net::UdpSocket;

use common::{Running, antipode, get, limited, refused, run, upgrade};
use rustix::process::Signal;

/// A folder for sockets, and the flag that names one there.
fn control() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--control=unix:{}", folder.path().join("control.sock").display());
    (folder, flag)
}

#[test]
fn signal_without_keys_says_how_to_set_them() {
    let (_folder, control) = control();
    let text = refused(&mut antipode(&["signal", &control, "--bind=127.0.0.1:0"]));
    assert!(
        text.contains("signal.keys") && text.contains("ANTIPODE_KEYS=\"key: secret\""),
        "{text}"
    );
}

#[test]
fn control_over_tcp_needs_a_secret() {
    let mut signal = antipode(&["signal", "--control=tcp:127.0.0.1:0", "--bind=127.0.0.1:0"]);
    let mut node = antipode(&["node", "--control=tcp:127.0.0.1:1", "--media-port=0"]);
    for command in [signal.env("ANTIPODE_KEYS", "key: secret"), &mut node] {
        let text = refused(command);
        assert!(text.contains("control.secret: not set"), "{text}");
        assert!(text.contains("ANTIPODE_CONTROL_SECRET"), "{text}");
    }
}

#[test]
fn a_control_address_that_cannot_be_served_is_refused() {
    let args = ["signal", "--control=unix:/proc/nowhere/control.sock", "--bind=127.0.0.1:0"];
    let text = refused(antipode(&args).env("ANTIPODE_KEYS", "key: secret"));
    assert!(text.contains("control.address: /proc/nowhere: "), "{text}");
    let args = ["signal", "--control=tcp:antipode.invalid:1", "--bind=127.0.0.1:0"];
    let text = refused(
        antipode(&args)
            .env("ANTIPODE_KEYS", "key: secret")
            .env("ANTIPODE_CONTROL_SECRET", "0123456789abcdef"),
    );
    assert!(text.contains("control.address: \"antipode.invalid\""), "{text}");
}

#[test]
fn a_node_that_cannot_run_names_the_field_and_the_mend() {
    let (_folder, control) = control();
    let text = refused(&mut antipode(&["node", &control, "--media-port=0", "--cores=1023"]));
    assert!(text.contains("node.cores: core 1023") && text.contains("--cores"), "{text}");
    let text = refused(&mut antipode(&["node", &control, "--media-port=0", "--shards=256"]));
    assert!(text.contains("node.shards") && text.contains("--shards"), "{text}");
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text = refused(&mut antipode(&["node", &control, "--media-port", &port, "--shards=1"]));
    assert!(text.contains(&format!("media.port {port} is taken")), "{text}");
}

#[test]
fn too_little_memlock_refuses_glommio_and_auto_takes_epoll() {
    let (_folder, control) = control();
    let limits = ["--memlock=65536:65536"];
    let args = ["node", &control, "--media-port=0", "--shards=1", "--runtime"];
    let text = refused(&mut limited(&limits, &[&args[..], &["glommio"]].concat()));
    assert!(text.contains("node.runtime") && text.contains("memlock"), "{text}");

    let mut node = Running::start(&mut limited(&limits, &[&args[..], &["auto"]].concat()));
    node.wait_for_text("epoll");
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn each_ends_cleanly_while_the_other_is_away() {
    let (_folder, control) = control();
    let mut signal = antipode(&["signal", &control, "--bind=127.0.0.1:0"]);
    let mut signal = Running::start(signal.env("ANTIPODE_KEYS", "key: secret"));
    let http = signal.wait_for("the address", http_of);
    assert_eq!(get(http, "/livez").unwrap().0, "HTTP/1.1 200 OK");
    assert_eq!(get(http, "/readyz").unwrap().0, "HTTP/1.1 503 Service Unavailable");
    signal.signal(Signal::TERM);
    assert_eq!(signal.ended().code(), Some(0));

    let mut node = Running::start(&mut antipode(&["node", &control, "--media-port=0"]));
    node.wait_for_text("media sockets are open");
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn a_reader_of_the_log_that_goes_away_takes_nobody_with_it() {
    let (_folder, control) = control();
    let (reader, writer) = std::io::pipe().unwrap();
    let args = ["node", &control, "--media-port=0", "--shards=1", "--log=trace"];
    let mut node = Running::start(antipode(&args).stderr(writer));
    let mut lines = std::io::BufReader::new(reader).lines();
    assert!(lines.any(|line| line.unwrap().contains("media sockets are open")));
    drop(lines);
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
}

fn http_of(line: &str) -> Option<std::net::SocketAddr> {
    line.split_once("listens address=")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
}

#[test]
fn a_node_of_another_secret_stays_outside() {
    let (folder, control) = control();
    let mut signal = antipode(&["signal", &control, "--bind=127.0.0.1:0"]);
    let mut signal = Running::start(signal.env("ANTIPODE_KEYS", "key: secret"));
    let http = signal.wait_for("the address", http_of);
    let secret = std::fs::read_to_string(folder.path().join("control.sock.secret")).unwrap();

    let args = ["node", &control, "--media-port=0", "--shards=1"];
    let mut foreign = antipode(&args);
    let mut foreign = Running::start(foreign.env("ANTIPODE_CONTROL_SECRET", "not-the-same-one"));
    signal.wait_for_text("secret");
    assert_ne!(get(http, "/readyz").unwrap().0, "HTTP/1.1 200 OK");
    foreign.signal(Signal::TERM);
    assert_eq!(foreign.ended().code(), Some(0));

    let mut node = Running::start(&mut antipode(&args));
    while get(http, "/readyz").unwrap().0 != "HTTP/1.1 200 OK" {}
    for process in [&mut node, &mut signal] {
        process.signal(Signal::TERM);
        assert_eq!(process.ended().code(), Some(0));
        assert!(!process.all_lines().join("\n").contains(secret.trim()));
    }
}

#[test]
fn the_log_shows_no_token_and_no_secret_even_at_trace() {
    let (_folder, control) = control();
    let args = ["signal", &control, "--bind=127.0.0.1:0", "--log=trace"];
    let mut signal = antipode(&args);
    let mut signal = Running::start(signal.env("ANTIPODE_KEYS", "key: the-hidden-secret"));
    let http = signal.wait_for("the address", http_of);
    let args = ["token", "--room=r", "--identity=i"];
    let output = run(antipode(&args).env("ANTIPODE_KEYS", "key: the-hidden-secret"));
    let token = String::from_utf8(output.stdout).unwrap();
    let good = get(http, &format!("/rtc/validate?access_token={}", token.trim())).unwrap();
    assert_eq!(good, ("HTTP/1.1 200 OK".to_owned(), "success".to_owned()));
    let (head, body) = get(http, "/rtc/validate?access_token=eyJhbGciOiJub25lIn0.e30.").unwrap();
    assert_eq!(head, "HTTP/1.1 401 Unauthorized");
    let args = ["node", &control, "--media-port=0", "--shards=1", "--log=trace"];
    let mut node = Running::start(&mut antipode(&args));
    let path = format!("/rtc?access_token={}", token.trim());
    let (head, _connection) = upgrade(http, &path).unwrap();
    assert_eq!(head, "HTTP/1.1 101 Switching Protocols");
    let mut said = body;
    for process in [&mut signal, &mut node] {
        process.signal(Signal::TERM);
        process.ended();
        said += &process.all_lines().join("\n");
    }
    for hidden in ["the-hidden-secret", token.trim(), "eyJhbGciOiJub25lIn0"] {
        assert!(!said.contains(hidden), "{hidden} in:\n{said}");
    }
}

#[test]
fn show_config_is_the_effective_one_without_secrets() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[media]\nport = 1\n[signal]\nkeys = { mine = \"hush-1\" }\n").unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["node", "--show-config", "--config", path, "--shards=3"];
    let mut command = antipode(&args);
    command.env("ANTIPODE_MEDIA_PORT", "2").env("ANTIPODE_CONTROL_SECRET", "hush-2-hush-2-hush");
    let output = run(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(!text.contains("hush"), "{text}");
    let shown: toml::Table = text.parse().unwrap();
    assert_eq!(shown["media"]["port"].as_integer(), Some(2));
    assert_eq!(shown["node"]["shards"].as_integer(), Some(3));
    assert!(shown["signal"]["keys"].get("mine").is_some());
    assert!(text.contains("# the one port of all media, shared by all shards: UDP port"), "{text}");
    for what in ["dev", "signal", "doctor"] {
        assert!(run(&mut antipode(&[what, "--show-config"])).status.success(), "{what}");
    }
}

#[test]
fn a_wrong_file_names_its_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[node]\n# a comment\nshrads = 3\n").unwrap();
    let path = file.path().to_str().unwrap();
    for what in ["node", "signal", "dev", "doctor"] {
        let text = refused(&mut antipode(&[what, "--config", path]));
        let want = format!(
            "node.shrads (line 3 of {path}): there is no such field. \
                            Did you mean node.shards?"
        );
        assert!(text.contains(&want), "{text}");
    }
}
