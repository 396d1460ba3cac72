//! Stops 4 to 7 of a packet: fan-out to viewers and shards. And backwards: keyframe requests,
//! merged and throttled; the levels of speakers.

use std::collections::VecDeque;
use std::time::Instant;

use antipode_base::ids::{IdMap, RoomId, ShardId, TrackId};
use antipode_base::media::{Kind, Layer};
use antipode_base::notice::{Level, Notice};
use antipode_base::verdict::{DropReason, Drops};
use antipode_relay::packet::Packet;
use antipode_relay::parcel::{Addressed, Note, Parcel};
use slab::Slab;

use super::Shard;
use crate::forward::{Ask, Fabric, Origin, Rewrite, Sink};
use crate::session::Session;
use crate::timers::Reason;

/// Reports of levels between two looks for foreign tracks that are silent: two seconds.
const WATCH_AGAIN: u64 = 5;

/// Where the fan-out loop puts what it forwards.
struct Exits<'a> {
    sessions: &'a mut Slab<Box<Session>>,
    dirty: &'a mut Vec<usize>,
    turn: &'a mut Vec<Packet>,
    now: Instant,
    parcels: &'a mut VecDeque<Addressed>,
    parcels_out: &'a mut u64,
}

impl Sink for Exits<'_> {
    fn to_session(
        &mut self,
        session: usize,
        slot: usize,
        rewrite: Rewrite,
        packet: &Packet,
    ) -> Result<(), DropReason> {
        let viewer = self.sessions.get_mut(session).ok_or(DropReason::SessionGone)?;
        viewer.write(slot, &rewrite, packet, self.turn, self.now)?;
        if !std::mem::replace(&mut viewer.queued, true) {
            self.dirty.push(session);
        }
        Ok(())
    }

    fn to_shard(&mut self, shard: ShardId, packet: &Packet) {
        *self.parcels_out += 1;
        self.parcels.push_back(Addressed { to: shard, parcel: Parcel::Media(packet.clone()) });
    }
}

impl Shard {
    /// Forwards what the last session took in.
    pub(super) fn forward_all(&mut self, now: Instant) {
        let mut packets = std::mem::take(&mut self.fx.packets);
        for packet in packets.drain(..) {
            self.counters.packets_in += 1;
            self.forward(&packet, now);
        }
        self.fx.packets = packets;
    }

    /// The tracks, and where their packets go.
    fn exits(&mut self, now: Instant) -> (&mut Fabric, &mut Drops, Exits<'_>) {
        let exits = Exits {
            sessions: &mut self.sessions,
            dirty: &mut self.dirty,
            turn: &mut self.fx.turn,
            now,
            parcels: &mut self.parcels,
            parcels_out: &mut self.counters.parcels_out,
        };
        (&mut self.fabric, &mut self.fx.drops, exits)
    }

    /// Fans one packet out. `false` when its track is not here.
    pub(super) fn forward(&mut self, packet: &Packet, now: Instant) -> bool {
        let (fabric, drops, mut exits) = self.exits(now);
        let Some(fanned) = fabric.forward(packet, drops, &mut exits) else {
            return false;
        };
        self.counters.packets_out += fanned.sent as u64;
        if fanned.first {
            self.fx.notices.push_back(Notice::TrackWatched { track: packet.track });
        }
        for layer in fanned.need.iter() {
            self.ask_keyframe(packet.track, layer, now);
        }
        true
    }

    /// What a viewer's RTCP asked for: packets again, keyframes.
    pub(super) fn heard(&mut self, key: usize, now: Instant) {
        let mut heard = std::mem::take(&mut self.fx.heard);
        for repeat in heard.repeats.drain(..) {
            let origin = &repeat.origin;
            let packet = self.fabric.cached(origin.track, origin.stream, origin.ext_seq);
            if let (Some(packet), Some(session)) = (packet, self.sessions.get_mut(key)) {
                session.repeat(&repeat, packet, now);
                self.counters.repeats_out += 1;
            }
            self.enqueue(key);
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
    /// was too long ago, a keyframe is asked for.
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
