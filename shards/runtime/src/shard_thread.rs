//! One shard with everything that it drives and that drives it. [`ShardThread::turn`] is the whole
//! of it:
//!
//! ```text
//!   read the clock once
//!     datagrams ─┐
//!     commands  ─┼─> core.handle …   core.flush   core.poll … ─┬─> outbox ─> trains ─> socket
//!     parcels   ─┤                                             ├─> rings of other shards
//!     TCP's     ─┘                                             ├─> ring of the TCP thread
//!   ring the bells of those who sleep                          └─> control thread
//! ```
//!
//! While a large room's pictures are sealed, what is urgent and what other shards send is looked for again
//! and again, and taken in: so sound waits for no fan-out but its own.
//!
//! The core gives its parcels first, and whoever sleeps is rung before anything is sealed: a large room's
//! pictures leave two shards at the same time.
//!
//! A panic within a turn ends the shard's sessions, which signaling hears of, and nothing else: a new
//! core is made, and the rings, the socket and the other shards go on.

mod intake;

use std::any::Any;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::command::Command;
use antipode_base::delays::Delays;
use antipode_base::ids::{SessionId, ShardId};
use antipode_base::limits::{STATS_INTERVAL, TURN_DATAGRAMS_MAX};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::stats::ShardStats;
use antipode_base::verdict::DropReason;
use antipode_core::{Input, Output, Shard, Transport};
use antipode_relay::doorbell::Doorbell;
use antipode_relay::mesh::Port;
use antipode_relay::parcel::Addressed;
use crossbeam_channel::Receiver;
use socket2::Socket;

use self::intake::Class;
use crate::net::locals::Locals;
use crate::net::outbox::Outbox;
use crate::net::steer::Claims;
use crate::net::sys::batch::RecvBatch;
use crate::patience::Patience;
use crate::report::Reporter;
use crate::tcp::rings::ShardEnd;

/// When a full socket is tried again. UDP frees its buffer as the card sends, within microseconds.
const SEND_RETRY: Duration = Duration::from_millis(1);

/// Outputs behind which parcels are looked for: some twenty microseconds of sealing.
const PARCELS_EVERY: usize = 16;

/// What is driven: [`Shard`], or a double in tests.
pub(crate) trait Core {
    /// What is handled after the next datagram: whence it comes, and its bytes.
    fn expect(&mut self, _: Option<(SocketAddr, &[u8])>) {}
    fn handle(&mut self, input: Input<'_>, now: Instant);
    fn flush(&mut self, now: Instant);
    fn poll(&mut self) -> Option<Output>;
    /// Whether sound waits that not all viewers have been sent.
    fn has_sound(&self) -> bool {
        false
    }
    /// What came before that has left, at a turn's end; `None`: everything has.
    fn holds_since(&self) -> Option<Instant> {
        None
    }
    fn reuse(&mut self, buffer: Vec<u8>);
    fn deadline(&self) -> Option<Instant>;
    fn stats(&self) -> ShardStats;
}

impl Core for Shard {
    fn expect(&mut self, next: Option<(SocketAddr, &[u8])>) {
        Shard::expect(self, next);
    }
    fn handle(&mut self, input: Input<'_>, now: Instant) {
        Shard::handle(self, input, now);
    }
    fn flush(&mut self, now: Instant) {
        Shard::flush(self, now);
    }
    fn poll(&mut self) -> Option<Output> {
        Shard::poll(self)
    }
    fn has_sound(&self) -> bool {
        Shard::has_sound(self)
    }
    fn holds_since(&self) -> Option<Instant> {
        Shard::holds_since(self)
    }
    fn reuse(&mut self, buffer: Vec<u8>) {
        Shard::reuse(self, buffer);
    }
    fn deadline(&self) -> Option<Instant> {
        Shard::deadline(self)
    }
    fn stats(&self) -> ShardStats {
        Shard::stats(self)
    }
}

/// What the node gives to a shard's thread.
pub(crate) struct Wiring {
    pub(crate) socket: Socket,
    /// For what may wait and for pictures, if the kernel can tell them apart.
    pub(crate) patient: Option<Socket>,
    pub(crate) pictures: Option<Socket>,
    pub(crate) v6: bool,
    pub(crate) locals: Locals,
    pub(crate) claims: Option<Arc<Claims>>,
    pub(crate) port: Port,
    pub(crate) inbox: Receiver<Command>,
    pub(crate) reporter: Reporter,
    pub(crate) bell: Arc<Doorbell>,
    /// `None`: the node has no ICE-TCP.
    pub(crate) tcp: Option<ShardEnd>,
}

/// What a turn was like, for the decision how to wait for the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The turn's reading of the clock.
    pub(crate) now: Instant,
    /// What came in.
    pub(crate) taken: Taken,
}

/// How much came in with a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Datagrams that are urgent or cannot be told apart, what came by TCP, and parcels.
    pub(crate) urgent: usize,
    /// Datagrams that may gather.
    pub(crate) pictures: usize,
    /// Datagrams that could have waited.
    pub(crate) patient: usize,
}

/// The runtime's own counters.
#[derive(Default)]
struct Tally {
    turns: u64,
    restarts: u64,
    ring_full: u64,
    oversized: u64,
    oversized_bytes: u64,
}

/// See the module's documentation.
pub(crate) struct ShardThread<C> {
    me: ShardId,
    core: C,
    birth: Box<dyn FnMut(Instant) -> C>,
    patience: Option<Patience>,
    wiring: Wiring,
    received: RecvBatch,
    /// What may wait, and the next of it: a turn may leave some to the next.
    reports: RecvBatch,
    report: usize,
    outbox: Outbox,
    /// Sessions that the core was told to open and has not ended; their keys are ours, so a fast
    /// hash would do, but this is touched twice in a session's life.
    open: HashSet<SessionId>,
    tally: Tally,
    /// Counters of cores that panicked.
    carried: ShardStats,
    stats_at: Instant,
    /// When the RTP packets of this turn came, and when those came of which it is known that they are sound.
    arrived: Vec<Instant>,
    heard: Vec<Instant>,
    /// Outputs since the start.
    given: usize,
    held: Delays,
}

impl<C: Core> ShardThread<C> {
    /// `birth` makes the core, now and after each panic.
    pub(crate) fn new(mut wiring: Wiring, mut birth: Box<dyn FnMut(Instant) -> C>) -> Self {
        let now = Instant::now();
        ShardThread {
            patience: wiring.patient.take().map(|socket| Patience::new(socket, now)),
            me: wiring.port.me(),
            core: birth(now),
            birth,
            received: RecvBatch::new(),
            reports: RecvBatch::new(),
            report: 0,
            outbox: Outbox::new(wiring.v6),
            wiring,
            open: HashSet::new(),
            tally: Tally::default(),
            carried: ShardStats::default(),
            stats_at: now,
            arrived: Vec::with_capacity(TURN_DATAGRAMS_MAX),
            heard: Vec::with_capacity(TURN_DATAGRAMS_MAX),
            given: 0,
            held: Delays::default(),
        }
    }

    /// One lap. Never waits.
    pub(crate) fn turn(&mut self) -> Turn {
        let now = Instant::now();
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(now)));
        let taken = worked.unwrap_or_else(|panic| {
            self.restart(&*panic, now);
            Taken::default()
        });
        self.send();
        self.wiring.port.flush();
        self.note_held();
        if let Some(tcp) = &mut self.wiring.tcp {
            tcp.flush();
        }
        self.wiring.reporter.flush();
        Turn { now, taken }
    }

    /// Sends what the socket takes; the core gets the buffers back.
    fn send(&mut self) {
        let (locals, core) = (&self.wiring.locals, &mut self.core);
        let source_of = |local| locals.source_of(local);
        self.outbox.send(self.wiring.socket.as_fd(), source_of, |buffer| core.reuse(buffer));
    }

    /// How long the media that has left was here.
    fn note_held(&mut self) {
        self.note_heard();
        note(&mut self.arrived, self.core.holds_since(), &mut self.held);
    }

    fn note_heard(&mut self) {
        note(&mut self.heard, None, &mut self.held);
    }

    /// The part of a turn in which the core runs.
    fn work(&mut self, now: Instant) -> Taken {
        if now >= self.stats_at {
            self.report_stats(now);
        }
        let mut taken = Taken {
            urgent: self.take_datagrams(Class::Urgent, now),
            pictures: self.take_datagrams(Class::Pictures, now),
            patient: 0,
        };
        taken.patient = self.take_patient(taken != Taken::default(), now);
        let commands = self.take_commands(now);
        let others = self.take_parcels(now) + self.take_messages(now);
        taken.urgent += others;
        let media = !self.arrived.is_empty() || !self.heard.is_empty() || others > 0;
        let due = self.core.deadline().is_some_and(|deadline| deadline <= now);
        if taken != Taken::default() || commands > 0 || due {
            self.tally.turns += 1;
            taken.urgent += self.end(now);
        }
        if let Some(patience) = self.patience.as_mut().filter(|_| media) {
            patience.note_media(now);
        }
        taken
    }

    /// Gives what the core has for everybody. Returns how much came in meanwhile that could not wait.
    fn end(&mut self, now: Instant) -> usize {
        let mut meanwhile = 0;
        loop {
            let before = meanwhile;
            self.core.flush(now);
            while let Some(output) = self.core.poll() {
                if !matches!(output, Output::Parcel(_)) {
                    self.wiring.port.flush();
                }
                let sent = self.give(output);
                if meanwhile < TURN_DATAGRAMS_MAX {
                    meanwhile += self.look(sent, now);
                }
            }
            if meanwhile == before {
                return meanwhile;
            }
        }
    }

    /// Takes in what cannot wait for the turn's end: behind each send, and parcels, for which no system
    /// call is needed, in between. Where sound has just gone to all, that is sent at once.
    fn look(&mut self, sent: bool, now: Instant) -> usize {
        if !self.heard.is_empty() && !self.core.has_sound() {
            self.send();
            self.note_heard();
        }
        self.given = self.given.wrapping_add(1);
        let mut taken = 0;
        let between = self.given.is_multiple_of(PARCELS_EVERY);
        if (sent || between) && self.wiring.port.has_parcels() {
            taken += self.take_parcels(now);
        }
        if sent && self.wiring.pictures.is_some() {
            taken += self.take_datagrams(Class::Urgent, now);
        }
        taken
    }

    /// Returns whether what waited to leave was sent.
    fn give(&mut self, output: Output) -> bool {
        match output {
            Output::Transmit(transmit) if transmit.transport == Transport::Tcp => {
                let taken = self.wiring.tcp.as_mut().is_some_and(|tcp| tcp.send(transmit));
                self.tally.ring_full += u64::from(!taken);
            }
            Output::Transmit(transmit) => {
                let ripe = self.outbox.is_ripe(&transmit);
                if ripe {
                    self.send();
                }
                self.outbox.push(transmit);
                return ripe;
            }
            Output::Parcel(Addressed { to, parcel }) => {
                let taken = self.wiring.port.send(to, parcel).is_ok();
                self.tally.ring_full += u64::from(!taken);
            }
            Output::Address(address, standing) => {
                if let Some(claims) = &self.wiring.claims {
                    claims.follow(self.me, address, standing);
                }
            }
            Output::Notice(notice) => {
                if let Notice::SessionEnded { session, .. } = &notice {
                    self.open.remove(session);
                }
                self.wiring.reporter.notice(notice);
            }
        }
        false
    }

    /// After a panic: a new core, and the end of every session that the old one had.
    fn restart(&mut self, panic: &(dyn Any + Send), now: Instant) {
        let text = panic_text(panic);
        let sessions = self.open.len();
        tracing::error!(shard = %self.me, sessions, panic = text, "a shard panicked and restarts");
        self.tally.restarts += 1;
        if let Ok(last) = catch_unwind(AssertUnwindSafe(|| self.core.stats())) {
            add_counters(&mut self.carried, &last);
        }
        let old = std::mem::replace(&mut self.core, (self.birth)(now));
        // Its own state is in doubt; a second panic while it is dropped changes nothing.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        for session in self.open.drain() {
            let reason = EndReason::ShardRestarted;
            self.wiring.reporter.notice(Notice::SessionEnded { session, reason });
        }
    }

    /// When the next turn is due if nothing happens.
    pub(crate) fn wake_at(&self, now: Instant) -> Instant {
        let mut at = self.stats_at;
        let patience = self.patience.as_ref().and_then(|patience| patience.due(now));
        for due in [self.core.deadline(), patience].into_iter().flatten() {
            at = at.min(due);
        }
        if !self.outbox.is_empty() || self.wiring.reporter.is_waiting() {
            at = at.min(now + SEND_RETRY);
        }
        at
    }

    /// Whether what may wait is to wake the shard all the same.
    pub(crate) fn is_patience_over(&self) -> bool {
        self.patience.as_ref().is_none_or(Patience::wakes)
    }

    /// Says that the shard is about to park; `false`: it must not, there is work.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.wiring.bell.say_sleeping();
        let messages = self.wiring.tcp.as_ref().is_some_and(ShardEnd::has_messages);
        !self.wiring.port.has_parcels() && self.wiring.inbox.is_empty() && !messages
    }

    /// The opposite of [`ShardThread::fall_asleep`], whether it said yes or no.
    pub(crate) fn wake_up(&self) {
        self.wiring.bell.say_awake();
    }

    fn report_stats(&mut self, now: Instant) {
        self.stats_at = now + STATS_INTERVAL;
        let stats = self.stats();
        self.wiring.reporter.stats(stats);
    }

    /// The core's counters, those of its predecessors, and the runtime's.
    pub(crate) fn stats(&self) -> ShardStats {
        let mut stats = self.core.stats();
        add_counters(&mut stats, &self.carried);
        let sent = self.outbox.sent();
        stats.turns = self.tally.turns;
        stats.restarts = self.tally.restarts;
        stats.trains_out = sent.trains;
        stats.datagrams_out = sent.datagrams;
        stats.bytes_out = sent.bytes;
        stats.datagrams_in += self.tally.oversized;
        stats.bytes_in += self.tally.oversized_bytes;
        stats.ring_depths = self.wiring.port.depths();
        stats.hops = self.wiring.port.hops().clone();
        stats.held = self.held.clone();
        stats.drops.add(DropReason::OutboxFull, sent.dropped);
        stats.drops.add(DropReason::NoticeFull, self.wiring.reporter.dropped());
        stats.drops.add(DropReason::RingFull, self.tally.ring_full);
        stats.drops.add(DropReason::Oversized, self.tally.oversized);
        stats
    }
}

/// Takes those from before `since` and adds how long ago they were.
fn note(arrived: &mut Vec<Instant>, since: Option<Instant>, held: &mut Delays) {
    if !arrived.is_empty() {
        let now = Instant::now();
        let left = |it: &mut Instant| since.is_none_or(|since| *it < since);
        for arrived in arrived.extract_if(.., left) {
            held.add(now.saturating_duration_since(arrived), 1);
        }
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// Adds what only grows; gauges stay.
fn add_counters(into: &mut ShardStats, from: &ShardStats) {
    into.datagrams_in += from.datagrams_in;
    into.bytes_in += from.bytes_in;
    into.packets_in += from.packets_in;
    into.packets_out += from.packets_out;
    into.parcels_in += from.parcels_in;
    into.parcels_out += from.parcels_out;
    into.strays_out += from.strays_out;
    into.keyframe_requests += from.keyframe_requests;
    into.sessions_opened += from.sessions_opened;
    into.session_faults += from.session_faults;
    for (reason, count) in from.drops.iter() {
        into.drops.add(reason, count);
    }
}

#[cfg(test)]
mod meanwhile_tests;
#[cfg(test)]
mod patience_tests;
#[cfg(test)]
#[path = "shard_thread_tests.rs"]
mod tests;
