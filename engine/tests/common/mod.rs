//! Running the real binary and waiting for what it says, never for time to pass.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long any condition may take. Generous: test machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with a clean environment.
pub(crate) fn antipode(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antipode"));
    clean(command.args(args));
    command
}

/// As [`antipode`], under `prlimit` with those limits.
pub(crate) fn limited(limits: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("prlimit");
    clean(command.args(limits).arg(env!("CARGO_BIN_EXE_antipode")).args(args));
    command
}

fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTIPODE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Runs to the end, which must be a refusal (exit code 2), and gives what was said.
pub(crate) fn refused(command: &mut Command) -> String {
    let mut running = Running::start(command);
    let status = running.ended();
    let text = running.all_lines().join("\n");
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("refused to start: "), "{text}");
    text
}

/// A process that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines_rx: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (lines_tx, lines_rx) = channel();
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, lines_tx.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            pump(stderr, lines_tx);
        }
        Running { child, lines_rx, seen: vec![] }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The next line, of either output, for which `find` finds something.
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines_rx.recv_timeout(left) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(error) => {
                    let how = if error == RecvTimeoutError::Timeout { "in time" } else { "ever" };
                    panic!("{what} does not come {how} after:\n{}", self.seen.join("\n"));
                }
            }
        }
    }

    /// The next line that has `text` in it.
    pub(crate) fn wait_for_text(&mut self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        assert!(gone(self.pid()), "does not end: {}", self.seen.join("\n"));
        self.child.wait().unwrap()
    }

    /// Everything that was said, once it has ended.
    pub(crate) fn all_lines(&mut self) -> Vec<String> {
        self.seen.extend(self.lines_rx.iter());
        self.seen.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pump(pipe: impl Read + Send + 'static, lines_tx: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines_tx.send(line).is_err() {
                return;
            }
        }
    });
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether the process ends within [`PATIENCE`]; also when it is gone already.
pub(crate) fn gone(pid: i32) -> bool {
    let Ok(fd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else { return true };
    let patience = Timespec::try_from(PATIENCE).unwrap();
    // A pidfd becomes readable when its process ends.
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

/// The status line and the body of a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(String, String)> {
    let mut text = String::new();
    ask(address, path, "connection: close\r\n")?.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// The status line of the answer to one who wants a WebSocket (RFC 6455 §4.1), and the connection.
pub(crate) fn upgrade(
    address: SocketAddr,
    path: &str,
) -> std::io::Result<(String, BufReader<TcpStream>)> {
    let headers = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    let mut reader = BufReader::new(ask(address, path, headers)?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok((line.trim().to_owned(), reader))
}

fn ask(address: SocketAddr, path: &str, headers: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n")?;
    Ok(stream)
}
