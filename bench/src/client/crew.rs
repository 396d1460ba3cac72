//! All workers, and handles to their peers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use mio::Waker;
use tokio::sync::{mpsc, oneshot};

use crate::client::peer::Wanted;
use crate::client::worker::{self, Command, News, PeerCommand, Snapshot, Worker};
use crate::clock::Clock;
use crate::error::BenchError;
use crate::sink::pulse::longest;
use crate::sink::stream::{StreamReport, Tallies};

/// Names of the threads begin so; `proc` reads their CPU time by it.
pub const THREAD: &str = "bench-media-";
/// Pieces of news that a peer can have: connected, first media, closed.
const NEWS: usize = 4;

#[derive(Clone)]
struct Line {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Line {
    fn say(&self, command: Command) {
        // A worker that is gone answers nobody, which the asker sees.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

/// All workers. They end with it.
pub struct Crew {
    lines: Vec<Line>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    clock: Clock,
}

/// What all workers counted.
pub struct Sums {
    /// By kind.
    pub tallies: Tallies,
    /// Each stream of each open peer.
    pub streams: Vec<StreamReport>,
    /// Packets that sources sent, ever.
    pub sent: u64,
    /// Keyframes that they were asked for, ever.
    pub keyframe_requests: u64,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
    /// The longest time that each client went without media, the longest first.
    pub gaps: Vec<(String, u64)>,
}

impl Crew {
    /// Starts so many threads.
    ///
    /// # Errors
    /// No descriptors or threads left.
    pub fn start(count: usize, clock: Clock) -> Result<Self, BenchError> {
        let mut crew =
            Crew { lines: Vec::new(), threads: Vec::new(), next: AtomicUsize::new(0), clock };
        for index in 0..count.max(1) {
            let (commands, inbox) = channel();
            let (poll, waker) = worker::poll().map_err(BenchError::host("a poll"))?;
            let thread = std::thread::Builder::new().name(format!("{THREAD}{index}"));
            let thread = thread
                .spawn(move || Worker::new(clock, poll, inbox).run())
                .map_err(BenchError::host("a thread"))?;
            crew.lines.push(Line { commands, waker });
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// A new peer on the next worker.
    ///
    /// # Errors
    /// No descriptors or ports left.
    pub async fn open(&self, name: &str, local: SocketAddr) -> Result<PeerHandle, BenchError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let line = self.lines[number % self.lines.len()].clone();
        let id = number / self.lines.len();
        let (news_tx, news) = mpsc::channel(NEWS);
        let (reply, answer) = oneshot::channel();
        line.say(Command::Open { id, name: name.to_owned(), local, news: news_tx, reply });
        let local = answer.await.map_err(|_| BenchError::WorkerGone)?;
        let local = local.map_err(BenchError::host("a UDP socket for a client"))?;
        Ok(PeerHandle { line, id, local, news })
    }

    /// Counting begins anew.
    pub fn reset(&self) {
        self.lines.iter().for_each(|line| line.say(Command::Reset));
    }

    /// What was counted since.
    ///
    /// # Errors
    /// A worker is gone.
    pub async fn sums(&self) -> Result<Sums, BenchError> {
        let mut sums = Sums {
            tallies: Tallies::new(),
            streams: Vec::new(),
            sent: 0,
            keyframe_requests: 0,
            unsent: 0,
            gaps: Vec::new(),
        };
        let mut pulses = Vec::new();
        for line in &self.lines {
            let (reply, answer) = oneshot::channel();
            line.say(Command::Snapshot(reply));
            let part: Snapshot = answer.await.map_err(|_| BenchError::WorkerGone)?;
            sums.tallies.add(&part.tallies);
            sums.streams.extend(part.streams);
            sums.sent += part.sent;
            sums.keyframe_requests += part.keyframe_requests;
            sums.unsent += part.unsent;
            pulses.extend(part.pulses);
        }
        sums.gaps = longest(&pulses, self.clock.now().ns);
        for stream in &sums.streams {
            sums.tallies.of(stream.codec).counts.add(&stream.counts);
        }
        Ok(sums)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.lines.iter().for_each(|line| line.say(Command::Stop));
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// One peer of a worker. It is closed when the handle goes.
pub struct PeerHandle {
    line: Line,
    id: usize,
    /// Its address.
    pub local: SocketAddr,
    /// What becomes of it.
    pub news: mpsc::Receiver<News>,
}

impl PeerHandle {
    fn say(&self, command: PeerCommand) {
        self.line.say(Command::Peer(self.id, command));
    }

    /// Answers an offer.
    ///
    /// # Errors
    /// The offer is none that a client takes.
    pub async fn answer(&self, offer: String) -> Result<String, BenchError> {
        let (reply, answer) = oneshot::channel();
        self.say(PeerCommand::Answer(offer, reply));
        answer.await.map_err(|_| BenchError::WorkerGone)?.map_err(BenchError::Description)
    }

    /// Makes an offer.
    ///
    /// # Errors
    /// There is nothing to offer, or an offer under way.
    pub async fn offer(&self, wanted: Wanted) -> Result<String, BenchError> {
        let (reply, answer) = oneshot::channel();
        self.say(PeerCommand::Offer(wanted, reply));
        answer.await.map_err(|_| BenchError::WorkerGone)?.map_err(BenchError::Description)
    }

    /// Takes the answer to its offer.
    ///
    /// # Errors
    /// The answer does not fit.
    pub async fn accept(&self, answer: String) -> Result<(), BenchError> {
        let (reply, accepted) = oneshot::channel();
        self.say(PeerCommand::Accept(answer, reply));
        accepted.await.map_err(|_| BenchError::WorkerGone)?.map_err(BenchError::Description)
    }

    /// Takes a candidate of the other side.
    pub fn candidate(&self, candidate: &str) {
        self.say(PeerCommand::Candidate(candidate.to_owned()));
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.say(PeerCommand::Close);
    }
}

/// The address of this host from which `server` is reached.
///
/// # Errors
/// There is no way to it.
pub fn local_towards(server: SocketAddr) -> io::Result<SocketAddr> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = std::net::UdpSocket::bind(any)?;
    // Nothing is sent: this only asks the routing table.
    probe.connect(server)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), 0))
}
