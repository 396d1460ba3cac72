//! ICE-TCP (RFC 6544): media for clients whose network lets no UDP through.
//!
//! ```text
//!   client ══ connection ══╗            one thread "media-tcp"           ring     shard 0
//!   client ══ connection ══╬══ framing, first message names the shard ──────────> shard 1
//!   client ══ connection ══╝  <── a small queue for each connection  <───────────
//! ```
//!
//! One thread has the listener and every connection; it only moves bytes. What a message means, and
//! whether its sender is who it says, is for the shard that it names: to the shard it is a datagram
//! like any other. A connection that no shard answers is closed soon, so that an open one is always
//! that of a session, and it is closed when the session is gone.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `framing` | messages on the byte stream |
//! | `queue` | what a client has not taken yet |
//! | `connection` | one connection, and how long it may be silent |
//! | `admission` | who is let in |
//! | `rings` | the way to the shards and back |
//! | `listener` | the listening socket |
//! | `place` | putting it all together |

mod admission;
mod connection;
mod framing;
pub(crate) mod listener;
pub(crate) mod place;
mod queue;
pub(crate) mod rings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::ids::ShardId;
use antipode_base::limits::{
    STATS_INTERVAL, TCP_QUEUES_MAX, TCP_TURN_ACCEPTS_MAX, TCP_TURN_READ_MAX,
};
use antipode_base::stats::{TcpEnding, TcpStats};
use antipode_core::{Transmit, shard_in_stun};
use antipode_relay::doorbell::Doorbell;
use crossbeam_channel::Sender;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

use self::admission::Admission;
use self::connection::{Connection, Patience};
use self::rings::{Arrived, TcpEnd};
use crate::net::locals::Locals;
use crate::wake::{EventBell, StopToken};

const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;
/// Events of one wait.
const EVENTS: usize = 64;
/// How long nobody is accepted when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the node gives to the thread.
pub(crate) struct Wiring {
    pub(crate) listener: TcpListener,
    pub(crate) locals: Locals,
    pub(crate) rings: TcpEnd,
    /// Rings `rung`.
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) rung: EventBell,
    /// To the control thread, with its bell.
    pub(crate) reports: Sender<TcpStats>,
    pub(crate) control: Arc<Doorbell>,
}

/// See the module's documentation.
pub(crate) struct MediaTcp {
    wiring: Wiring,
    patience: Patience,
    epoll: OwnedFd,
    connections: Slab<Connection>,
    /// Clients choose the key, so it is std's keyed hash.
    by_remote: HashMap<SocketAddr, usize>,
    admission: Admission,
    /// Connections that got something to write in this turn; may hold one twice, or one that is gone.
    touched: Vec<usize>,
    /// Bytes in the queues of all connections.
    queued: usize,
    buffer: Box<[u8]>,
    stats: TcpStats,
    look_at: Instant,
    stats_at: Instant,
    /// When to listen again; `None`: it does.
    deaf_until: Option<Instant>,
}

impl MediaTcp {
    /// # Errors
    /// When the kernel has no epoll for us.
    pub(crate) fn new(wiring: Wiring) -> io::Result<Self> {
        Self::with_patience(wiring, Patience::default())
    }

    fn with_patience(wiring: Wiring, patience: Patience) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wiring.listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        epoll::add(&epoll, &wiring.rung, EventData::new_u64(BELL), EventFlags::IN)?;
        let now = Instant::now();
        Ok(MediaTcp {
            wiring,
            patience,
            epoll,
            connections: Slab::new(),
            by_remote: HashMap::new(),
            admission: Admission::default(),
            touched: Vec::new(),
            queued: 0,
            buffer: vec![0; TCP_TURN_READ_MAX].into_boxed_slice(),
            stats: TcpStats::default(),
            look_at: now,
            stats_at: now,
            deaf_until: None,
        })
    }

    /// Runs until the token says stop; whoever stops it wakes it.
    ///
    /// # Errors
    /// When it cannot wait.
    pub(crate) fn run(&mut self, stop: &StopToken) -> io::Result<()> {
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(BELL) };
        let mut events = [none; EVENTS];
        while !stop.is_stopped() {
            let count = self.wait(&mut events)?;
            let now = Instant::now();
            for event in &events[..count] {
                self.happened(*event, now);
            }
            self.take_messages(now);
            self.write_touched(now);
            self.wiring.rings.flush();
            self.do_what_is_due(now);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut [Event; EVENTS]) -> io::Result<usize> {
        let due = self.look_at.min(self.stats_at);
        let due = self.deaf_until.map_or(due, |until| due.min(until));
        self.wiring.bell.say_sleeping();
        let left = match self.wiring.rings.has_messages() {
            true => Duration::ZERO,
            false => due.saturating_duration_since(Instant::now()),
        };
        let timeout =
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let result = epoll::wait(&self.epoll, events, Some(&timeout));
        self.wiring.bell.say_awake();
        match result {
            Err(rustix::io::Errno::INTR) => Ok(0),
            other => Ok(other?),
        }
    }

    fn happened(&mut self, event: Event, now: Instant) {
        match event.data.u64() {
            LISTENER => self.accept(now),
            BELL => self.wiring.rung.hear(),
            key => {
                // One that was closed in this turn may have left an event behind, which then at
                // worst looks in vain at the one that has its place now.
                let key = key as usize;
                let flags = event.flags;
                if flags.contains(EventFlags::OUT) {
                    self.touched.push(key);
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.read(key, now);
                }
            }
        }
    }

    /// Takes in those who knock, up to a number.
    fn accept(&mut self, now: Instant) {
        for _ in 0..TCP_TURN_ACCEPTS_MAX {
            match self.wiring.listener.accept() {
                Ok((stream, remote)) => {
                    if let Err(ending) = self.admit(stream, canonical(remote), now) {
                        self.stats.endings.count(ending);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "no room for another TCP connection; a short pause");
                    // Else it would be readable, again and again.
                    let _ = epoll::delete(&self.epoll, &self.wiring.listener);
                    self.deaf_until = Some(now + ACCEPT_PAUSE);
                    return;
                }
                // That one is gone already.
                Err(_) => {}
            }
        }
    }

    fn admit(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<(), TcpEnding> {
        // The shard knows a client by its remote address alone.
        if self.by_remote.contains_key(&remote) {
            return Err(TcpEnding::Twin);
        }
        listener::dress(&stream).map_err(|_| TcpEnding::System)?;
        let local = stream.local_addr().map_err(|_| TcpEnding::System)?;
        let local = self.wiring.locals.known_as(local.ip().to_canonical());
        self.admission.enter(remote.ip(), now)?;
        let connection = Connection::new(stream, remote, local, now);
        let place = self.connections.vacant_entry();
        let data = EventData::new_u64(place.key() as u64);
        if epoll::add(&self.epoll, &connection.stream, data, EventFlags::IN).is_err() {
            self.admission.leave(remote.ip());
            return Err(TcpEnding::System);
        }
        self.by_remote.insert(remote, place.key());
        place.insert(connection);
        self.stats.accepted += 1;
        Ok(())
    }

    /// Reads from one connection, once, so that all have their turn.
    fn read(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (source, local) = (connection.remote, connection.local);
        let (rings, mut lost) = (&mut self.wiring.rings, 0);
        let shards = rings.shards();
        let shard_of =
            |first: &[u8]| shard_in_stun(first).filter(|shard: &ShardId| shard.index() < shards);
        let give = |shard, message: &[u8]| {
            let arrived = Arrived { source, local, bytes: message.into() };
            lost += u64::from(!rings.send(shard, arrived));
        };
        let result = connection.read(&mut self.buffer, now, &mut self.stats, shard_of, give);
        self.stats.dropped_ring_full += lost;
        if let Err(ending) = result {
            self.close(key, ending);
        }
    }

    /// Takes what the shards have for clients, into their queues.
    fn take_messages(&mut self, now: Instant) {
        let MediaTcp { wiring, connections, by_remote, touched, queued, stats, .. } = self;
        wiring.rings.drain(|Transmit { destination, bytes, .. }| {
            let key = by_remote.get(&destination).copied();
            let Some((key, connection)) =
                key.and_then(|key| Some((key, connections.get_mut(key)?)))
            else {
                stats.dropped_gone += 1;
                return;
            };
            let before = connection.queue.bytes();
            if *queued + bytes.len() > TCP_QUEUES_MAX || !connection.queue.push(bytes, now) {
                stats.dropped_queue_full += 1;
            }
            *queued += connection.queue.bytes() - before;
            if !connection.waits_to_write && touched.last() != Some(&key) {
                touched.push(key);
            }
        });
    }

    fn write_touched(&mut self, now: Instant) {
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.write(key, now);
        }
        self.touched = touched;
    }

    /// Writes to one connection, and asks to be told when there is room for the rest.
    fn write(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let before = connection.queue.bytes();
        let result = connection.write(now, &mut self.stats);
        self.queued -= before - connection.queue.bytes();
        let result = result.and_then(|()| {
            let waits = !connection.queue.is_empty();
            if waits == std::mem::replace(&mut connection.waits_to_write, waits) {
                return Ok(());
            }
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, waits);
            let data = EventData::new_u64(key as u64);
            epoll::modify(&self.epoll, &connection.stream, data, flags)
                .map_err(|_| TcpEnding::System)
        });
        if let Err(ending) = result {
            self.close(key, ending);
        }
    }

    fn close(&mut self, key: usize, ending: TcpEnding) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        tracing::debug!(shard = ?connection.shard, ending = ending.as_str(), "a TCP connection ends");
        self.stats.endings.count(ending);
        self.queued -= connection.queue.bytes();
        self.by_remote.remove(&connection.remote);
        self.admission.leave(connection.remote.ip());
        let _ = epoll::delete(&self.epoll, &connection.stream);
    }

    /// What has its time: ends, counters, ears.
    fn do_what_is_due(&mut self, now: Instant) {
        if now >= self.look_at {
            self.look_at = now + self.patience.look;
            self.admission.forget(now);
            self.look_at_all(now);
        }
        if now >= self.stats_at {
            self.stats_at = now + STATS_INTERVAL;
            self.stats.connections = self.connections.len() as u64;
            // The next ones come in a second, so these may be lost.
            if self.wiring.reports.try_send(self.stats.clone()).is_ok() {
                self.wiring.control.ring_if_sleeping();
            }
        }
        if self.deaf_until.is_some_and(|until| now >= until) {
            let (data, flags) = (EventData::new_u64(LISTENER), EventFlags::IN);
            match epoll::add(&self.epoll, &self.wiring.listener, data, flags) {
                Ok(()) => self.deaf_until = None,
                Err(_) => self.deaf_until = Some(now + ACCEPT_PAUSE),
            }
        }
    }

    /// Closes what is overdue, and drops what waits for too long at the others.
    fn look_at_all(&mut self, now: Instant) {
        let patience = self.patience;
        let overdue: Vec<(usize, TcpEnding)> = self
            .connections
            .iter()
            .filter_map(|(key, one)| Some((key, one.overdue(&patience, now)?)))
            .collect();
        for (key, ending) in overdue {
            self.close(key, ending);
        }
        for (_, connection) in &mut self.connections {
            let before = connection.queue.bytes();
            self.stats.dropped_late += connection.queue.drop_late(now);
            self.queued -= before - connection.queue.bytes();
        }
    }
}

/// An IPv4 client of a dual-stack socket is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether the process or the host is out of something, and will be for a while.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
