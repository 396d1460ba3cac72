//! One thread of the harness: a poll, its peers and their sockets, lazy timers.
//!
//! What came is stamped by the kernel, so that latency is the server's and the network's, however long the
//! thread takes to read it. Whether it keeps up is judged by its CPU time (`proc`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Commands, TryRecvError};
use std::time::{Duration, Instant};

use antipode_base::limits::BENCH_CLIENTS_MAX;
use antipode_runtime::udp::{Datagram, Receiver, Sender};
use mio::{Events, Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

use crate::client::door::{Door, Doors, Seat};
use crate::client::peer::{Peer, Stage, Wanted};
use crate::clock::{Clock, Now, host_tag};
use crate::sink::pulse::Pulses;
use crate::sink::stream::{StreamReport, Streams, Tallies};

const WAKE: Token = Token(usize::MAX);
/// Events of one poll.
const EVENTS: usize = 1_024;
/// Closed peers of which the gaps are remembered.
const PULSES_MAX: usize = BENCH_CLIENTS_MAX as usize;
/// A thread that had datagrams for so many peers at once naps so long before it looks again, if no timer
/// comes before. Whoever wakes it pays for that, and on loopback that is the server: a card does not.
const BUSY: usize = 4;
const NAP: Duration = Duration::from_micros(500);
/// One that was told nothing for so long has no peer that waits to join, and naps always, and longer: to wake
/// it would be most of what a server with a thousand idle sessions does.
const CALM: Duration = Duration::from_secs(1);
const LONG_NAP: Duration = Duration::from_millis(2);
/// A thread does what it is told for so long before it looks at its sockets: descriptions of a large meeting
/// take milliseconds each, and handshakes of others should not wait for all of them.
const OBEYS: Duration = Duration::from_millis(2);
/// How long a poll waits when no timer is set.
const IDLE: Duration = Duration::from_millis(500);

/// What a peer's owner is told, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// ICE and DTLS are done.
    Connected(Instant),
    /// The first packet of media came.
    FirstMedia(Instant),
    /// The other side closed, or it failed.
    Closed,
}

/// To a worker.
pub enum Command {
    /// A new peer of this number, at any port of an address.
    Open {
        /// Unique in the worker.
        id: usize,
        /// For the report.
        name: String,
        /// Port 0.
        local: SocketAddr,
        /// Where news go.
        news: mpsc::Sender<News>,
        /// Its address, or why there is none.
        reply: oneshot::Sender<io::Result<SocketAddr>>,
    },
    /// To a peer.
    Peer(usize, PeerCommand),
    /// Counting begins anew.
    Reset,
    /// What was counted so far.
    Snapshot(oneshot::Sender<Snapshot>),
    /// The thread ends.
    Stop,
}

type Described = oneshot::Sender<Result<String, String>>;

/// To one peer.
pub enum PeerCommand {
    /// Answer this offer.
    Answer(String, Described),
    /// Make an offer of this.
    Offer(Wanted, Described),
    /// Take this answer.
    Accept(String, oneshot::Sender<Result<(), String>>),
    /// Take this candidate.
    Candidate(String),
    /// Say goodbye; its counts are kept.
    Close,
}

/// What a worker counted.
pub struct Snapshot {
    /// Sums and latencies; the counts hold the streams of closed peers as well.
    pub tallies: Tallies,
    /// Streams of open peers.
    pub streams: Vec<StreamReport>,
    /// Packets that sources sent, ever.
    pub sent: u64,
    /// Keyframes that sources were asked for, ever.
    pub keyframe_requests: u64,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
    /// When media came to each peer, also to those that are closed.
    pub pulses: Vec<Pulses>,
}

/// How far it has come with that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All of it is done.
    All,
    /// There may be more.
    Part,
    /// The thread is to end.
    ToStop,
}

struct Slot {
    name: String,
    peer: Peer,
    seat: Seat,
    news: mpsc::Sender<News>,
    /// The earliest time that stands for it among the timers.
    scheduled: u64,
    told: (Stage, bool),
}

/// See the module's documentation.
pub struct Worker {
    clock: Clock,
    host: u32,
    poll: Poll,
    commands: Commands<Command>,
    slots: Vec<Option<Box<Slot>>>,
    doors: Doors,
    sender: Sender,
    /// Peers whose datagrams were just read.
    touched: Vec<usize>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    tallies: Tallies,
    /// Of peers that were closed.
    sent: u64,
    keyframe_requests: u64,
    unsent: u64,
    /// Of peers that were closed since counting began.
    pulses: Vec<Pulses>,
    /// When a peer was told something last.
    told_at: Instant,
}

/// What a worker waits with, and what wakes it after a command.
///
/// # Errors
/// No descriptors left.
pub fn poll() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    Ok((poll, waker))
}

impl Worker {
    /// A worker. It stays on its thread.
    pub fn new(clock: Clock, poll: Poll, commands: Commands<Command>) -> Self {
        Worker {
            clock,
            host: host_tag(),
            poll,
            commands,
            slots: Vec::new(),
            doors: Doors::default(),
            sender: Sender::new(),
            touched: Vec::new(),
            timers: BinaryHeap::new(),
            tallies: Tallies::new(),
            sent: 0,
            keyframe_requests: 0,
            unsent: 0,
            pulses: Vec::new(),
            told_at: Instant::now(),
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut receiver = Receiver::new();
        let (mut busy, mut told) = (false, Told::All);
        loop {
            let now = self.clock.now();
            let due = self.timers.peek().map(|Reverse((due, _))| due.saturating_sub(now.ns));
            let mut wait = due.map_or(IDLE, |ns| Duration::from_nanos(ns).min(IDLE));
            let calm = now.instant.saturating_duration_since(self.told_at) > CALM;
            if told == Told::Part {
                wait = Duration::ZERO;
            } else if busy || calm {
                std::thread::sleep(wait.min(if calm { LONG_NAP } else { NAP }));
                wait = Duration::ZERO;
            }
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The descriptor of epoll is gone: nothing can be done here any more.
                Err(_) => return,
                Ok(()) => {}
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.read(event.token().0, &mut receiver);
            }
            busy = self.answer() >= BUSY;
            told = self.obey();
            if told == Told::ToStop {
                return;
            }
            self.ring();
        }
    }

    /// Takes all that one socket has.
    fn read(&mut self, door: usize, receiver: &mut Receiver) {
        let Some(door) = self.doors.get(door) else { return };
        loop {
            let take = |datagram: Datagram<'_>| {
                let Some(id) = door.peer(datagram.local) else { return };
                let Some(Some(slot)) = self.slots.get_mut(id) else { return };
                if self.touched.last() != Some(&id) {
                    self.touched.push(id);
                }
                let Slot { peer, seat, .. } = &mut **slot;
                let mut send = by(door, seat, &mut self.sender, &mut self.unsent);
                peer.receive(
                    self.clock.at(datagram.arrived),
                    datagram,
                    &mut self.tallies,
                    &mut send,
                );
            };
            match receiver.receive(&door.socket, take) {
                Ok(true) => {}
                // An error of an earlier send, such as an ICMP refusal, leaves the rest to be read.
                Err(error) if error.kind() != ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Lets those report to whom something came. Returns how many.
    fn answer(&mut self) -> usize {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for id in &touched {
            self.with(*id, |peer, now, mut send| peer.report(now, &mut send));
            self.settle(*id);
        }
        let count = touched.len();
        touched.clear();
        self.touched = touched;
        count
    }

    /// After a peer was changed: tells news and sets its timer.
    fn settle(&mut self, id: usize) {
        let Some(Some(slot)) = self.slots.get_mut(id) else { return };
        let stage = slot.peer.stage();
        if slot.told.0 != stage {
            slot.told.0 = stage;
            let news = match stage {
                Stage::Closed => News::Closed,
                Stage::Connected | Stage::Connecting => News::Connected(Instant::now()),
            };
            // Three pieces of news at most: the channel has room, or its reader is gone.
            let _ = slot.news.try_send(news);
        }
        if !slot.told.1 && slot.peer.streams.any() {
            slot.told.1 = true;
            let _ = slot.news.try_send(News::FirstMedia(Instant::now()));
        }
        if stage == Stage::Closed {
            return;
        }
        let (media, transport) = slot.peer.deadline();
        let transport = self.clock.at(transport).ns;
        let due = media.map_or(transport, |media| media.min(transport));
        if due < slot.scheduled {
            slot.scheduled = due;
            self.timers.push(Reverse((due, id)));
        }
    }

    /// Lets time pass for all whose time has come. An entry that came too early stays lazy.
    fn ring(&mut self) {
        loop {
            let now = self.clock.now();
            match self.timers.peek() {
                Some(Reverse((due, _))) if *due <= now.ns => {}
                _ => return,
            }
            let Some(Reverse((due, id))) = self.timers.pop() else { return };
            let Some(Some(slot)) = self.slots.get_mut(id) else { continue };
            if slot.scheduled != due {
                continue;
            }
            slot.scheduled = u64::MAX;
            let (media, transport) = slot.peer.deadline();
            if media.is_some_and(|media| media <= now.ns) || transport <= now.instant {
                self.tick(id);
            }
            self.settle(id);
        }
    }

    fn tick(&mut self, id: usize) {
        self.with(id, |peer, now, mut send| peer.tick(now, &mut send));
    }

    /// Lets a peer do something at this time, with its socket.
    fn with(
        &mut self,
        id: usize,
        work: impl FnOnce(&mut Peer, Now, &mut dyn FnMut(SocketAddr, &[u8])),
    ) {
        let Some(Some(slot)) = self.slots.get_mut(id) else { return };
        let now = self.clock.now();
        let Slot { peer, seat, .. } = &mut **slot;
        let Some(door) = self.doors.get(seat.door) else { return };
        work(peer, now, &mut by(door, seat, &mut self.sender, &mut self.unsent));
    }

    /// Does what it was told, for some time.
    fn obey(&mut self) -> Told {
        let since = Instant::now();
        while since.elapsed() < OBEYS {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Told::ToStop,
                Err(TryRecvError::Empty) => return Told::All,
                Ok(Command::Open { id, name, local, news, reply }) => {
                    // An owner that is gone leaves a peer that nobody talks to.
                    let _ = reply.send(self.open(id, name, local, news));
                }
                Ok(Command::Peer(id, command)) => {
                    self.told_at = Instant::now();
                    self.command(id, command);
                }
                Ok(Command::Reset) => {
                    self.tallies = Tallies::new();
                    self.pulses.clear();
                    let now = self.clock.now().ns;
                    let slots = self.slots.iter_mut().flatten();
                    slots.for_each(|slot| slot.peer.streams.reset(now));
                }
                Ok(Command::Snapshot(reply)) => {
                    let _ = reply.send(self.snapshot());
                }
            }
        }
        Told::Part
    }

    fn open(
        &mut self,
        id: usize,
        name: String,
        local: SocketAddr,
        news: mpsc::Sender<News>,
    ) -> io::Result<SocketAddr> {
        let seat = self.doors.open(id, local, self.poll.registry())?;
        let local = seat.local;
        let now = self.clock.now();
        let peer = Peer::new(local, self.host, now.instant).map_err(io::Error::other)?;
        if self.slots.len() <= id {
            self.slots.resize_with(id + 1, || None);
        }
        let told = (Stage::Connecting, false);
        let slot = Slot { name, peer, seat, news, scheduled: u64::MAX, told };
        self.slots[id] = Some(Box::new(slot));
        self.settle(id);
        Ok(local)
    }

    fn command(&mut self, id: usize, command: PeerCommand) {
        let Some(Some(slot)) = self.slots.get_mut(id) else { return };
        let peer = &mut slot.peer;
        // Whoever asked may have given up waiting.
        match command {
            PeerCommand::Answer(offer, reply) => drop(reply.send(peer.answer(&offer))),
            PeerCommand::Offer(wanted, reply) => drop(reply.send(peer.offer(wanted))),
            PeerCommand::Accept(answer, reply) => drop(reply.send(peer.accept(&answer))),
            PeerCommand::Candidate(candidate) => peer.candidate(&candidate),
            PeerCommand::Close => return self.close(id),
        }
        self.tick(id);
        self.settle(id);
    }

    fn close(&mut self, id: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(id) {
            slot.peer.close();
        }
        self.tick(id);
        let Some(slot) = self.slots.get_mut(id).and_then(Option::take) else { return };
        self.doors.leave(&slot.seat);
        retire(&slot.peer.streams, &mut self.tallies);
        let pulses = slot.peer.streams.pulses(&slot.name);
        if self.pulses.len() < PULSES_MAX && pulses.audio.or(pulses.video).is_some() {
            self.pulses.push(pulses);
        }
        self.sent += slot.peer.sent();
        self.keyframe_requests += slot.peer.keyframe_requests;
    }

    fn snapshot(&self) -> Snapshot {
        let open = || self.slots.iter().flatten();
        Snapshot {
            tallies: self.tallies.clone(),
            streams: open().flat_map(|slot| slot.peer.streams.report(&slot.name)).collect(),
            sent: self.sent + open().map(|slot| slot.peer.sent()).sum::<u64>(),
            keyframe_requests: self.keyframe_requests
                + open().map(|slot| slot.peer.keyframe_requests).sum::<u64>(),
            unsent: self.unsent,
            pulses: self
                .pulses
                .iter()
                .cloned()
                .chain(open().map(|slot| slot.peer.streams.pulses(&slot.name)))
                .collect(),
        }
    }
}

/// How a peer sends; what the kernel does not take is counted.
fn by(
    door: &Door,
    seat: &Seat,
    sender: &mut Sender,
    unsent: &mut u64,
) -> impl FnMut(SocketAddr, &[u8]) {
    |to, bytes| *unsent += u64::from(sender.send(&door.socket, seat.from, to, bytes).is_err())
}

/// The counts of a closed peer's streams stay in the sums.
fn retire(streams: &Streams, tallies: &mut Tallies) {
    for stream in streams.report("") {
        tallies.of(stream.codec).counts.add(&stream.counts);
    }
}
