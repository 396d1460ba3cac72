//! The shard itself: takes inputs, owns everything, hands out outputs.
//!
//! | file | what it does |
//! | --- | --- |
//! | `mod` | the turn: handle, flush, poll |
//! | `datagrams` | stops 2 and 3: from a datagram to its session |
//! | `media` | stops 4 to 7: fan-out, keyframe requests, speakers |
//! | `bandwidth` | what each viewer gets, what no viewer needs |
//! | `sessions` | opening, settling and ending sessions |
//! | `commands` | what signaling says |
//! | `parcels` | what other shards say, data packets |

mod bandwidth;
mod commands;
mod datagrams;
pub(crate) mod gallery;
mod media;
mod parcels;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use antipode_base::ids::{IdMap, RoomId, SessionId, ShardId, TrackId};
use antipode_base::limits::{LEVEL_INTERVAL, TURN_TIMERS_MAX};
use antipode_base::stats::ShardStats;
use antipode_relay::parcel::{Addressed, Note, Parcel};
use slab::Slab;

use crate::demux::Demux;
use crate::effects::Effects;
use crate::forward::Fabric;
use crate::forward::allocation::Grant;
use crate::io::{Input, Output, Standing};
use crate::room::Room;
use crate::session::Session;
use crate::session::config::SessionSetup;
use crate::timers::{Reason, Timers};

/// What a shard must be told at its birth.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its own number; carried in every ufrag that it chooses.
    pub shard: ShardId,
    /// How many shards the node has.
    pub shards: u16,
    /// Host candidates: where clients reach the node's media socket. Not empty.
    pub candidates: Vec<SocketAddr>,
    /// Passive TCP candidates: where clients reach the node when UDP is blocked. May be empty.
    pub candidates_tcp: Vec<SocketAddr>,
    /// For the choices that are ours alone (first sequence numbers); credentials never depend on it.
    pub seed: u64,
}

/// The end of a turn, as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Ending {
    /// The turn's time; `None` when all is done.
    now: Option<Instant>,
    /// The next of the dirty sessions, and the last of this pass.
    next: usize,
    until: usize,
    /// How many more there are.
    passes: u8,
}

/// Draining one session can make another dirty, but only through media that came in, and none comes in at a
/// turn's end: the second pass is for what the first pass's endings left.
const PASSES: u8 = 2;

/// See the crate's documentation.
pub struct Shard {
    config: ShardConfig,
    setup: SessionSetup,
    /// Boxed: the table grows, and they are 2 KiB each.
    sessions: Slab<Box<Session>>,
    by_id: IdMap<SessionId, usize>,
    rooms: IdMap<RoomId, Room>,
    demux: Demux,
    fabric: Fabric,
    timers: Timers,
    fx: Effects,
    parcels: VecDeque<Addressed>,
    /// What is new of peers' addresses.
    addresses: VecDeque<(SocketAddr, Standing)>,
    /// Sessions that the end of the turn must drain, in the order in which they became so.
    dirty: Vec<usize>,
    /// How far it has come with that.
    ending: Ending,
    /// Whose report comes after the next datagram.
    expected: Option<usize>,
    /// Who may be sent which track from now on.
    beginners: VecDeque<(usize, SessionId, TrackId)>,
    /// Sessions that could not be sealed for.
    faulty: Vec<usize>,
    counters: ShardStats,
    /// Scratch of the allocation.
    grants: Vec<Grant>,
    levels_armed: bool,
    levels_reported: u64,
}

impl Shard {
    /// A shard without sessions.
    ///
    /// # Panics
    /// When none of the candidates is an address that a client can reach.
    pub fn new(config: ShardConfig, _now: Instant) -> Self {
        let setup = SessionSetup::new(&config);
        Self::with_setup(config, setup)
    }

    pub(crate) fn with_setup(config: ShardConfig, setup: SessionSetup) -> Self {
        Shard {
            setup,
            sessions: Slab::new(),
            by_id: IdMap::default(),
            rooms: IdMap::default(),
            demux: Demux::new(config.shard, config.shards),
            fabric: Fabric::default(),
            timers: Timers::default(),
            fx: Effects::default(),
            parcels: VecDeque::new(),
            addresses: VecDeque::new(),
            dirty: Vec::new(),
            ending: Ending::default(),
            expected: None,
            beginners: VecDeque::new(),
            faulty: Vec::new(),
            counters: ShardStats::default(),
            grants: Vec::new(),
            levels_armed: false,
            levels_reported: 0,
            config,
        }
    }

    /// Takes in one input. `now` is the turn's reading of the clock. An input may also come between two calls
    /// of [`Shard::poll`]: sound then goes before the pictures that are on their way out. After the last of
    /// them another [`Shard::flush`] must follow.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram(datagram) => self.datagram(&datagram, now),
            Input::Parcel { from, parcel } => self.parcel(from, parcel, now),
            Input::Command(command) => self.command(command, now),
        }
    }

    /// Ends a turn: fires some of the timers that are due; for the others another turn should follow, as
    /// [`Shard::deadline`] is past. What viewers are to get is sealed while [`Shard::poll`] is called,
    /// one session after the other, so call that until it has no more.
    pub fn flush(&mut self, now: Instant) {
        for _ in 0..TURN_TIMERS_MAX {
            let Some((at, reason)) = self.timers.take_due(now) else { break };
            match reason {
                Reason::Session(key, id) => self.session_due(at, key, id, now),
                Reason::Keyframe(track, layer) => self.keyframe_due(track, layer, now),
                Reason::Begin(key, id, track) => self.beginners.push_back((key, id, track)),
                Reason::Demand(track) => self.demand_due(track),
                Reason::Levels => self.levels_due(now),
            }
        }
        self.fabric.release(Some(now));
        self.ending = Ending { now: Some(now), next: 0, until: 0, passes: PASSES };
    }

    /// Seals what the next viewer gets, and when all have theirs, lets the next one begin, and then drains
    /// the next dirty session. `false`: all is done.
    fn end_next(&mut self) -> bool {
        let Some(now) = self.ending.now else { return false };
        if self.fan_out(now) || self.begin_next(now) {
            return true;
        }
        self.end_faulty(now);
        if self.ending.next == self.ending.until {
            self.dirty.drain(..self.ending.until);
            let (passes, until) = (self.ending.passes, self.dirty.len());
            let goes_on = passes > 0 && until > 0;
            let passes = passes.saturating_sub(1);
            self.ending = Ending { now: goes_on.then_some(now), next: 0, until, passes };
            if !goes_on {
                return false;
            }
        }
        let key = self.dirty[self.ending.next];
        self.ending.next += 1;
        self.session_turn(key, now);
        true
    }

    /// The next output. Call again after `handle` and `flush`, until `None`.
    // Inline, a datagram is moved once less on its way.
    #[inline]
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(parcel) = self.parcels.pop_front() {
                return Some(Output::Parcel(parcel));
            }
            if let Some((address, standing)) = self.addresses.pop_front() {
                return Some(Output::Address(address, standing));
            }
            if let Some(transmit) = self.fx.outbox.pop() {
                return Some(Output::Transmit(transmit));
            }
            if !self.end_next() {
                return self.fx.notices.pop_front().map(Output::Notice);
            }
        }
    }

    /// Whether sound waits that not all viewers have been sent.
    pub fn has_sound(&self) -> bool {
        self.fabric.has_sound()
    }

    /// Takes back the buffer of a datagram that left.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        self.fx.outbox.take_back(buffer);
    }

    /// When to call [`Shard::flush`] again if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.fabric.release_at()].into_iter().flatten().min()
    }

    /// Since when parts of pictures wait for the rest. Once [`Shard::poll`] has no more, what came before
    /// that has left; `None`: everything has.
    pub fn holds_since(&self) -> Option<Instant> {
        self.fabric.waits_since()
    }

    /// The counters; those of the runtime (turns, trains, depths, sent bytes) are left at 0.
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            sessions: self.sessions.len() as u64,
            rooms: self.rooms.len() as u64,
            tracks: self.fabric.len() as u64,
            subscriptions: self.fabric.viewers() as u64,
            drops: self.fx.drops.clone(),
            ..self.counters.clone()
        }
    }

    fn send_note(&mut self, to: ShardId, note: Note) {
        self.send_parcel(to, Parcel::Note(note));
    }

    fn send_parcel(&mut self, to: ShardId, parcel: Parcel) {
        self.counters.parcels_out += 1;
        self.parcels.push_back(Addressed { to, parcel });
    }

    /// A note to every other shard of the node.
    fn tell_all(&mut self, note: &Note) {
        for shard in (0..self.config.shards).map(ShardId) {
            if shard != self.config.shard {
                self.send_note(shard, note.clone());
            }
        }
    }

    fn arm_levels(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.levels_armed, true) {
            self.timers.set_patient(now + LEVEL_INTERVAL, Reason::Levels);
        }
    }
}
