//! `antipode dev`, from the first line to the last: links, restarts, clean ends.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::{PATIENCE, Running, antipode, get, gone, kill, refused};
use rustix::process::Signal;
use tempfile::TempDir;

/// A running `dev` on free ports, whose links have been printed.
struct Dev {
    running: Running,
    http: SocketAddr,
    signal_pid: i32,
    node_pid: i32,
    run_dir: TempDir,
}

const ARGS: [&str; 6] =
    ["dev", "--bind=127.0.0.1:0", "--media-port=0", "--shards=2", "--log", "info,antipode=debug"];

impl Dev {
    fn start() -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let mut command = antipode(&ARGS);
        let mut running = Running::start(command.env("XDG_RUNTIME_DIR", run_dir.path()));
        // The two start at once, so either may come first.
        let one = running.wait_for("a child", started);
        let two = running.wait_for("the other child", started);
        let of = |name| if one.0 == name { one.1 } else { two.1 };
        assert_ne!(one.0, two.0);
        let alice = running.wait_for("a link", link);
        let bob = running.wait_for("another link", link);
        assert_eq!(alice.1, "/?room=lobby&name=alice&auto=1");
        assert_eq!((bob.0, bob.1.as_str()), (alice.0, "/?room=lobby&name=bob&auto=1"));
        Dev { http: alice.0, signal_pid: of("signal"), node_pid: of("node"), running, run_dir }
    }

    fn restarted(&mut self, name: &str) -> i32 {
        self.running.wait_for("a restart", |line| {
            started(line).and_then(|(child, pid)| (child == name).then_some(pid))
        })
    }

    /// Asks until signaling says that a node is there; each question waits for its answer.
    fn becomes_ready(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if get(self.http, "/readyz").is_ok_and(|(status, _)| status.ends_with("200 OK")) {
                return true;
            }
        }
        false
    }
}

fn started(line: &str) -> Option<(String, i32)> {
    let (_, rest) = line.split_once("started child=\"")?;
    let (name, pid) = rest.split_once("\" pid=")?;
    Some((name.to_owned(), pid.trim().parse().ok()?))
}

fn link(line: &str) -> Option<(SocketAddr, String)> {
    let rest = line.trim().strip_prefix("http://")?;
    let (address, path) = rest.split_once('/')?;
    Some((address.parse().ok()?, format!("/{path}")))
}

#[test]
fn is_ready_when_it_prints_the_links_and_ends_cleanly_within_a_second() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut dev = Dev::start();
        let (status, _) = get(dev.http, "/readyz").unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let dirs: Vec<_> = dev.run_dir.path().read_dir().unwrap().map(Result::unwrap).collect();
        assert_eq!(dirs.len(), 1);
        assert_eq!(dirs[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);

        let told = Instant::now();
        dev.running.signal(signal);
        let status = dev.running.ended();
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
        let lines = dev.running.all_lines().join("\n");
        assert_eq!(status.code(), Some(0), "{lines}");
        assert!(!lines.contains("killed"), "{lines}");
        assert!(gone(dev.signal_pid) && gone(dev.node_pid));
        assert_eq!(dev.run_dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_child_that_is_killed_comes_back() {
    let mut dev = Dev::start();
    kill(dev.signal_pid, Signal::KILL);
    let signal_pid = dev.restarted("signal");
    assert_ne!(signal_pid, dev.signal_pid);
    // On the same port, although the kernel chose it the first time.
    assert!(dev.becomes_ready());

    kill(dev.node_pid, Signal::KILL);
    let node_pid = dev.restarted("node");
    assert_ne!(node_pid, dev.node_pid);
    assert!(dev.becomes_ready());

    dev.running.signal(Signal::TERM);
    assert_eq!(dev.running.ended().code(), Some(0));
    assert!(gone(signal_pid) && gone(node_pid));
}

#[test]
fn children_never_outlive_it() {
    let mut dev = Dev::start();
    dev.running.signal(Signal::KILL);
    dev.running.ended();
    assert!(gone(dev.signal_pid) && gone(dev.node_pid));
}

#[test]
fn a_taken_http_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let text = refused(&mut antipode(&["dev", "--bind", &bind, "--media-port=0", "--shards=1"]));
    assert!(text.contains("signal.bind (--bind)") && text.contains(&bind), "{text}");
    assert!(!text.contains("Antipode is ready"), "{text}");
}

#[test]
fn a_taken_media_port_is_refused() {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text =
        refused(&mut antipode(&["dev", "--bind=127.0.0.1:0", "--media-port", &port, "--shards=1"]));
    assert!(text.contains(&format!("media.port {port} is taken")), "{text}");
    assert!(text.contains("--media-port"), "{text}");
}
