//! Stops 4 to 7 of a packet: fan-out to viewers and shards. And backwards: keyframe requests,
//! merged and throttled; the levels of speakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use antipode_base::ids::{IdMap, RoomId, TrackId};
use antipode_base::media::{Kind, Layer};
use antipode_base::notice::{EndReason, Level, Notice};
use antipode_base::verdict::{DropReason, Drops};
use antipode_relay::packet::Packet;
use antipode_relay::parcel::{Addressed, Note, Parcel};
use slab::Slab;

use super::Shard;
use super::sessions::note_fault;
use crate::forward::{Ask, Fabric, Origin, Rewrite, Sink, Step};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::timers::Reason;

/// Reports of levels between two looks for foreign tracks that are silent: two seconds.
const WATCH_AGAIN: u64 = 5;

/// Where the fan-out loop puts what viewers get.
struct Exits<'a> {
    sessions: &'a mut Slab<Box<Session>>,
    outbox: &'a mut Outbox,
    dirty: &'a mut Vec<usize>,
    faulty: &'a mut Vec<usize>,
    now: Instant,
}

impl Sink for Exits<'_> {
    /// What lies behind a pointer can be asked for only when that is here.
    fn expect(&self, session: usize, slot: usize, ahead: usize) {
        if let Some(viewer) = self.sessions.get(session) {
            match ahead {
                1 => viewer.fetch_lane(slot),
                2 => viewer.fetch_behind(slot),
                _ => viewer.fetch(),
            }
        }
    }

    fn to_session(
        &mut self,
        session: usize,
        slot: usize,
        rewrite: Rewrite,
        packet: &Packet,
        padding: u8,
    ) -> Result<(), DropReason> {
        let viewer = self.sessions.get_mut(session).ok_or(DropReason::SessionGone)?;
        let (outbox, now) = (&mut *self.outbox, self.now);
        let write = || viewer.write(slot, &rewrite, packet, padding, outbox, now);
        let Ok(written) = catch_unwind(AssertUnwindSafe(write)) else {
            self.faulty.push(session);
            return Err(DropReason::SessionGone);
        };
        if viewer.hurries() && !std::mem::replace(&mut viewer.queued, true) {
            self.dirty.push(session);
        }
        written
    }
}

impl Shard {
    /// Forwards what the last session took in.
    pub(super) fn forward_all(&mut self) {
        let mut packets = std::mem::take(&mut self.fx.packets);
        for packet in packets.drain(..) {
            self.counters.packets_in += 1;
            self.forward(packet);
        }
        self.fx.packets = packets;
    }

    /// Takes a packet in: other shards get it at once, viewers at a turn's end. `false` when its track is
    /// not here.
    pub(super) fn forward(&mut self, packet: Packet) -> bool {
        let (parcels, parcels_out) = (&mut self.parcels, &mut self.counters.parcels_out);
        self.fabric.take_in(packet, |to, packet| {
            *parcels_out += 1;
            parcels.push_back(Addressed { to, parcel: Parcel::Media(packet.clone()) });
        })
    }

    /// The tracks, and where their packets go.
    fn exits(&mut self, now: Instant) -> (&mut Fabric, &mut Drops, Exits<'_>) {
        let exits = Exits {
            sessions: &mut self.sessions,
            outbox: &mut self.fx.outbox,
            dirty: &mut self.dirty,
            faulty: &mut self.faulty,
            now,
        };
        (&mut self.fabric, &mut self.fx.drops, exits)
    }

    /// Seals what the next viewer gets of this turn. `false`: all have what they are due.
    pub(super) fn fan_out(&mut self, now: Instant) -> bool {
        let (fabric, drops, mut exits) = self.exits(now);
        let Some(step) = fabric.fan_out(drops, &mut exits) else { return false };
        if let Step::Done(track, fanned) = step {
            self.counters.packets_out += fanned.sent as u64;
            if fanned.first {
                self.fx.notices.push_back(Notice::TrackWatched { track });
            }
            for layer in fanned.need.iter() {
                self.ask_keyframe(track, layer, now);
            }
        }
        true
    }

    /// Fans out all that came so far.
    pub(super) fn catch_up(&mut self, now: Instant) {
        while self.fabric.release(None) || self.fan_out(now) {}
    }

    /// Ends sessions whose packets a defect of ours kept from being sealed. At the turn's end, since whoever
    /// catches up may hold on to one.
    pub(super) fn end_faulty(&mut self, now: Instant) {
        while let Some(key) = self.faulty.pop() {
            if let Some(session) = self.sessions.get(key) {
                note_fault(session.id, &mut self.counters);
                self.end(key, EndReason::Fault, now);
            }
        }
    }

    /// What a viewer's RTCP asked for: packets again, keyframes.
    pub(super) fn heard(&mut self, key: usize, now: Instant) {
        let mut heard = std::mem::take(&mut self.fx.heard);
        for repeat in heard.repeats.drain(..) {
            let origin = &repeat.origin;
            let packet = self.fabric.cached(origin.track, origin.stream, origin.ext_seq);
            if let (Some(packet), Some(session)) = (packet, self.sessions.get_mut(key)) {
                self.counters.repeats_out += 1;
                let left = session.repeat(&repeat, packet, &mut self.fx.outbox, now);
                self.fx.leave(left);
            }
        }
        for slot in heard.keyframes.drain(..) {
            let track = self.sessions.get(key).and_then(|session| session.slots.occupant(slot));
            if let Some(track) = track {
                self.viewer_needs_keyframe(key, track, now);
            }
        }
        if std::mem::take(&mut heard.estimate_moved)
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.want_allocation(now);
            self.enqueue(key);
        }
        self.fx.heard = heard;
    }

    /// A viewer can be sent to from now on. What came since the last keyframe it gets at once; if that
    /// was too long ago, a keyframe is asked for. What came with this turn is among it, so all others have
    /// to have that already ([`Shard::catch_up`]).
    pub(super) fn viewer_begins(&mut self, key: usize, track: TrackId, now: Instant) {
        let (fabric, _, mut exits) = self.exits(now);
        let sent = fabric.begin(track, key, now, &mut exits);
        self.counters.packets_out += sent as u64;
        if sent == 0 {
            self.viewer_needs_keyframe(key, track, now);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.want_allocation(now);
            self.enqueue(key);
        }
    }

    /// A viewer begins, or its decoder lost the thread.
    pub(super) fn viewer_needs_keyframe(&mut self, key: usize, track: TrackId, now: Instant) {
        let Some(entry) = self.fabric.get_mut(track) else { return };
        let (active, svc) = (entry.active(now), entry.svc);
        let near = self.sessions.get(key).and_then(|session| session.slots.hop(track));
        let Some(viewer) = near.and_then(|near| entry.viewer(key, near)) else { return };
        // All layers of one stream begin with the lowest.
        let layer = if svc { Layer::BASE } else { viewer.wanted(active) };
        self.ask_keyframe(track, layer, now);
    }

    /// Merges and throttles one request.
    pub(super) fn ask_keyframe(&mut self, track: TrackId, layer: Layer, now: Instant) {
        let Some(entry) = self.fabric.get_mut(track) else { return };
        if entry.kind != Kind::Video || entry.muted {
            return;
        }
        match entry.gate.ask(layer, now) {
            Ask::Now => {
                if !self.pass_keyframe(track, layer)
                    && let Some(entry) = self.fabric.get_mut(track)
                {
                    entry.gate.keep(layer);
                }
            }
            Ask::Later(at) => self.timers.set(at, Reason::Keyframe(track, layer)),
            Ask::Merged => {}
        }
    }

    pub(super) fn keyframe_due(&mut self, track: TrackId, layer: Layer, now: Instant) {
        if self.fabric.get_mut(track).is_some_and(|entry| entry.gate.take_due(layer, now)) {
            self.pass_keyframe(track, layer);
        }
    }

    /// One request on its way to the publisher, on this shard or through its home. `false` when
    /// there is nothing to ask yet: no packet of the layer has come.
    fn pass_keyframe(&mut self, track: TrackId, layer: Layer) -> bool {
        let Some(entry) = self.fabric.get_mut(track) else { return false };
        match entry.origin {
            Origin::Shard(home) => {
                self.send_note(home, Note::Keyframe { track, layer });
                true
            }
            Origin::Session(key) => {
                let Some(session) = self.sessions.get_mut(key) else { return false };
                let asked = session.request_keyframe(track, layer);
                if asked {
                    self.counters.keyframe_requests += 1;
                    self.enqueue(key);
                }
                asked
            }
        }
    }

    /// Reports the speakers of each room, and asks again for foreign tracks that are silent: the
    /// note that asked first may have been lost to a full ring.
    pub(super) fn levels_due(&mut self, now: Instant) {
        self.levels_armed = false;
        if self.sessions.is_empty() {
            return;
        }
        self.arm_levels(now);
        let mut rooms: IdMap<RoomId, Vec<Level>> = IdMap::default();
        let mut silent = Vec::new();
        for (id, track) in self.fabric.iter_mut() {
            if let Origin::Shard(home) = track.origin
                && track.silent(now)
            {
                silent.push((id, track.room, home, track.demand.told));
            }
            let level = track.loudness.take().filter(|_| !track.muted);
            track.speaks = level.is_some();
            let home = matches!(track.origin, Origin::Session(_));
            if let Some(level) = level.filter(|_| home) {
                rooms.entry(track.room).or_default().push(Level { track: id, level });
            }
        }
        self.levels_reported += 1;
        if self.levels_reported.is_multiple_of(WATCH_AGAIN) {
            silent.sort_unstable();
            for (track, room, home, layer_max) in silent {
                self.send_note(home, Note::Watch { track, room, layer_max });
            }
        }
        self.report_levels(rooms);
    }

    fn report_levels(&mut self, mut heard: IdMap<RoomId, Vec<Level>>) {
        let mut notices = Vec::new();
        for (id, room) in &mut self.rooms {
            let mut levels = heard.remove(id).unwrap_or_default();
            levels.sort_by(|a, b| b.level.total_cmp(&a.level).then(a.track.cmp(&b.track)));
            let audible = !levels.is_empty();
            if audible || room.audible {
                notices.push((*id, levels));
            }
            room.audible = audible;
        }
        notices.sort_by_key(|(id, _)| *id);
        let notices = notices.into_iter().map(|(room, levels)| Notice::Levels { room, levels });
        self.fx.notices.extend(notices);
    }
}
