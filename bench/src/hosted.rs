//! Servers that the harness starts by itself: pinned to their cores, measured by their process, ended
//! before the next one.
//!
//! ```text
//!   --server "{antipode} dev --bind {address} …" -- fill --> sh -c, on --server-cores
//!                                                             | until it answers at its URL
//!                                                             v
//!                                          measured, and ended with all of its group
//! ```
//!
//! A server inherits the cores of the thread that starts it, so no other program is needed to pin it.
//! The harness keeps to the remaining cores from its start on.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use antipode_base::limits::BENCH_SERVER_PATIENCE;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::BenchError;
use crate::proc;
use crate::signal::http::{self, reason};

/// What is started when no command is given: one shard of Antipode, on loopback.
pub const COMMAND: &str = "{antipode} dev --shards 1 --runtime {driver} --bind {address} \
                           --media-port {media_port} --media-tcp off";
/// Between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(20);
/// How long a server may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long it may take to answer whether it is ready.
const ANSWER: Duration = Duration::from_secs(2);

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The servers.
    pub server: Vec<usize>,
    /// The harness: all others that it was given.
    pub harness: Vec<usize>,
}

impl Cores {
    /// From a list such as `0` or `0,2-3`; the harness takes the rest of `granted`.
    ///
    /// # Errors
    /// It is none, or leaves the harness nothing.
    pub fn split(text: &str, granted: &[usize]) -> Result<Self, BenchError> {
        let flaw = |fault: String| BenchError::Flag { flag: "--server-cores", fault };
        let mut server = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bounds = first.trim().parse().ok().zip(last.trim().parse().ok());
            let (first, last): (usize, usize) = bounds
                .filter(|(first, last)| first <= last && *last < CpuSet::MAX_CPU)
                .ok_or_else(|| flaw(format!("\"{part}\" is no core; give such as 0 or 0,2-3")))?;
            server.extend(first..=last);
        }
        server.sort_unstable();
        server.dedup();
        if let Some(missing) = server.iter().find(|core| !granted.contains(core)) {
            return Err(flaw(format!("this process may not use core {missing}")));
        }
        let harness: Vec<usize> =
            granted.iter().copied().filter(|core| !server.contains(core)).collect();
        if harness.is_empty() {
            return Err(flaw("no core is left for the harness, which must not share one".into()));
        }
        Ok(Cores { server, harness })
    }

    /// Keeps this thread, and those that it starts from now on, to the harness's cores.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn settle(&self) -> Result<(), BenchError> {
        pin(&self.harness)
    }

    /// Does something on the servers' cores.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn as_server<T>(&self, act: impl FnOnce() -> T) -> Result<T, BenchError> {
        on(&self.server, act)
    }

    /// Does something on the harness's cores in the midst of what is done on the servers'. A thread that it
    /// starts stays there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn as_harness<T>(&self, act: impl FnOnce() -> T) -> Result<T, BenchError> {
        on(&self.harness, act)
    }
}

/// Does something on some cores, and goes back to where this thread was.
fn on<T>(cores: &[usize], act: impl FnOnce() -> T) -> Result<T, BenchError> {
    let before = proc::cores();
    pin(cores)?;
    let done = act();
    pin(&before)?;
    Ok(done)
}

fn pin(cores: &[usize]) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    let pinned = sched_setaffinity(None, &set).map_err(std::io::Error::from);
    pinned.map_err(BenchError::host("the cores that were named"))
}

/// A folder of our own, gone with this.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one that nobody else may enter.
    ///
    /// # Errors
    /// The system's temporary folder does not take it.
    pub fn make() -> Result<Self, BenchError> {
        let name = format!("antipode-bench-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(BenchError::file(&path))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the operator's to see in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command's places are filled with.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// The binary.
    pub antipode: &'a Path,
    /// Where the server is to be reached.
    pub address: SocketAddr,
    /// What it waits for packets with.
    pub driver: &'a str,
}

impl Places<'_> {
    /// The command that is run.
    ///
    /// # Errors
    /// No port is free.
    fn fill(&self, command: &str) -> Result<String, BenchError> {
        let path = self.antipode.display().to_string();
        let media = std::net::UdpSocket::bind((self.address.ip(), 0))
            .and_then(|socket| socket.local_addr())
            .map_err(BenchError::host("a UDP port"))?;
        Ok(command
            .replace("{antipode}", &format!("'{}'", path.replace('\'', "'\\''")))
            .replace("{address}", &self.address.to_string())
            .replace("{port}", &self.address.port().to_string())
            .replace("{media_port}", &media.port().to_string())
            .replace("{driver}", self.driver))
    }
}

/// A server that runs. It is killed when this goes without [`Hosted::end`].
pub struct Hosted {
    child: Child,
    group: Pid,
    log: PathBuf,
    ended: bool,
}

impl Hosted {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// Something else answers there already, it ends, or it never answers.
    pub async fn start(
        command: &str,
        places: &Places<'_>,
        cores: &Cores,
        server: &http::Server,
        scratch: &Scratch,
        interrupted: &watch::Receiver<bool>,
    ) -> Result<Self, BenchError> {
        if TcpStream::connect(server.address).await.is_ok() {
            let address = server.address;
            let fault = format!("something answers at {address} already; end it, or give --url");
            return Err(BenchError::Flag { flag: "--server", fault });
        }
        let filled = places.fill(command)?;
        let log = scratch.path().join("server.log");
        let out = File::create(&log).map_err(BenchError::file(&log))?;
        let err = out.try_clone().map_err(BenchError::file(&log))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", &filled]).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = cores.as_server(|| shell.spawn())?.map_err(BenchError::host("a process"))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.expect("the kernel's process ids are positive");
        let mut hosted = Hosted { child, group, log, ended: false };
        hosted.answers(server, interrupted).await?;
        Ok(hosted)
    }

    async fn answers(
        &mut self,
        server: &http::Server,
        interrupted: &watch::Receiver<bool>,
    ) -> Result<(), BenchError> {
        let deadline = Instant::now() + BENCH_SERVER_PATIENCE;
        loop {
            if *interrupted.borrow() {
                return Err(BenchError::Verdict("interrupted while a server started".into()));
            }
            if let Some(status) = self.child.try_wait().map_err(BenchError::host("a process"))? {
                return Err(self.flaw(&format!("it ended with {status}")));
            }
            if ready(server).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = BENCH_SERVER_PATIENCE.as_secs();
                return Err(self.flaw(&format!("it does not answer within {seconds} s")));
            }
            sleep(LOOK).await;
        }
    }

    fn flaw(&self, what: &str) -> BenchError {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let last = log.rsplit(|byte| *byte == b'\n').find(|line| !line.is_empty());
        let fault = format!("{what}; its last words: {}", reason(last.unwrap_or_default()));
        BenchError::Flag { flag: "--server", fault }
    }

    /// Its process, to be measured.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits until all of its group is gone.
    ///
    /// # Errors
    /// It cannot be ended, so another one could not be measured.
    pub async fn end(mut self) -> Result<(), BenchError> {
        let _ = kill_process_group(self.group, Signal::TERM);
        let mut kill_at = Some(Instant::now() + GRACE);
        let deadline = Instant::now() + BENCH_SERVER_PATIENCE;
        loop {
            let gone = self.child.try_wait().map_err(BenchError::host("a process"))?.is_some();
            if gone && test_kill_process_group(self.group).is_err() {
                self.ended = true;
                return Ok(());
            }
            if kill_at.is_some_and(|at| Instant::now() > at) {
                let _ = kill_process_group(self.group, Signal::KILL);
                kill_at = None;
            }
            if Instant::now() > deadline {
                return Err(self.flaw("it does not end"));
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if !self.ended {
            // The child has not been waited for to the end, so the group is still ours.
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Whether a server takes clients. Those that know `/readyz` say so; of others a port that takes
/// connections is all that can be asked.
async fn ready(server: &http::Server) -> bool {
    match TcpStream::connect(server.address).await {
        Err(_) => return false,
        Ok(stream) => drop(stream),
    }
    let path = format!("{}/readyz", server.prefix);
    let Ok(request) = Request::get(path).body(Full::new(Bytes::new())) else { return true };
    match http::send(server, request, ANSWER).await {
        Ok(answer) => answer.status().as_u16() != 503,
        Err(BenchError::Unreachable { .. }) => false,
        Err(_) => true,
    }
}

/// The path of this binary: what is measured unless another is built or named.
///
/// # Errors
/// The system does not tell.
pub fn own_binary() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(|error| match error.kind() {
        ErrorKind::NotFound => BenchError::Host { what: "the path of this binary", error },
        _ => BenchError::Host { what: "a look at this process", error },
    })
}

/// The cores of servers and harness, as the flags say; this thread keeps to the harness's.
///
/// # Errors
/// Cores that are none.
pub fn settle(text: &str) -> Result<Cores, BenchError> {
    let cores = Cores::split(text, &proc::cores())?;
    cores.settle()?;
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's cores and the harness's.
    type Split = Option<(&'static [usize], &'static [usize])>;

    #[test]
    fn cores_are_split() {
        let rows: [(&str, &[usize], Split); 8] = [
            ("0", &[0, 1], Some((&[0], &[1]))),
            ("2-3,0", &[0, 1, 2, 3], Some((&[0, 2, 3], &[1]))),
            ("0-1", &[0, 1], None),
            ("4", &[0, 1], None),
            ("", &[0, 1], None),
            ("1-0", &[0, 1], None),
            ("-1", &[0, 1], None),
            ("0-99999999999", &[0, 1], None),
        ];
        for (text, granted, want) in rows {
            let got = Cores::split(text, granted).ok();
            let got = got.as_ref().map(|cores| (&*cores.server, &*cores.harness));
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn a_command_is_filled_and_its_path_quoted() {
        let places = Places {
            antipode: Path::new("/a b/it's"),
            address: "127.0.0.1:7".parse().expect("an address"),
            driver: "epoll",
        };
        let filled = places.fill("{antipode} {driver} {address} {port} {x}").expect("a port");
        assert_eq!(filled, "'/a b/it'\\''s' epoll 127.0.0.1:7 7 {x}");
    }

    async fn start(command: &str, listener: bool) -> Result<Hosted, BenchError> {
        // Two tests of one process share its cores; none is kept from any here.
        let all = proc::cores();
        let cores = Cores { server: all.clone(), harness: all };
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("it is bound");
        let taken = listener.then_some(taken);
        let server = http::Server::resolve(&format!("http://{address}")).await.expect("a URL");
        let places = Places { antipode: Path::new("sh"), address, driver: "" };
        let scratch = Scratch::make().expect("a folder");
        let (_tell, interrupted) = watch::channel(false);
        let hosted = Hosted::start(command, &places, &cores, &server, &scratch, &interrupted).await;
        drop(taken);
        hosted
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_quoted() {
        let error = start("echo first; echo no such thing >&2; exit 2", false).await.err();
        let text = error.expect("it ends").to_string();
        assert!(text.contains("exit status: 2") && text.contains("no such thing"), "{text}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_no_server_of_ours() {
        let text = start("exec cat", true).await.err().expect("it is taken").to_string();
        assert!(text.contains("already"), "{text}");
    }
}
