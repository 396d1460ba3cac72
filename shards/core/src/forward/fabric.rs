//! All tracks of a shard, and the fan-out loop.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::time::Instant;

use antipode_base::ids::{IdMap, ShardId, TrackId};
use antipode_base::media::Layer;
use antipode_base::near;
use antipode_base::verdict::{DropReason, Drops, Verdict};
use antipode_relay::packet::Packet;

use super::due::Due;
use super::fresh::{Fresh, level};
use super::loudest::LookBack;
use super::microphones::Microphones;
use super::rewriter::Rewrite;
use super::subscription::{LayerSet, Subscription};
use super::track::Track;

/// So many viewers before its turn a subscription is asked for, which says where the rest of a viewer lies.
const AHEAD: usize = 6;

/// Where viewers' packets go. Implemented by the shard; by a list in tests.
pub(crate) trait Sink {
    /// A viewer is due something soon, `ahead` viewers from now.
    fn expect(&self, _session: usize, _slot: usize, _ahead: usize) {}

    /// To a viewer on this shard, with so many bytes of padding. An error is why it could not be taken.
    fn to_session(
        &mut self,
        session: usize,
        slot: usize,
        rewrite: Rewrite,
        packet: &Packet,
        padding: u8,
    ) -> Result<(), DropReason>;
}

/// What a turn's packets of one track led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fanned {
    /// Packets that viewers on this shard got.
    pub(crate) sent: usize,
    /// Its first packet that any viewer got is among them.
    pub(crate) first: bool,
    /// Layers whose keyframe some viewer is missing.
    pub(crate) need: LayerSet,
}

/// How far the fan-out of a track has come. What comes in meanwhile waits for the next.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Packets that it began with; 0: it has not begun.
    pub(super) until: usize,
    /// The next packet, and the next viewer to be offered it.
    packet: usize,
    viewer: usize,
    pub(super) fanned: Fanned,
}

impl Cursor {
    /// The place that a viewer leaves free, so that the last one in the list may take it: one that is
    /// served or not as that one is.
    pub(super) fn leave(&mut self, place: usize) -> Option<usize> {
        let served = place < self.viewer;
        self.viewer -= usize::from(served);
        served.then_some(self.viewer)
    }
}

/// One step of the fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A viewer got what it is due; there is more to do.
    Served,
    /// It was the last one of that track.
    Done(TrackId, Fanned),
}

/// All tracks of one shard.
#[derive(Debug, Default)]
pub(crate) struct Fabric {
    tracks: IdMap<TrackId, Track>,
    /// Who of the rooms' microphones goes on.
    pub(crate) microphones: Microphones,
    due: Due,
}

impl Fabric {
    /// Takes in a packet: other shards get it at once, viewers of this one with [`Fabric::fan_out`].
    /// `false` when nobody here knows its track.
    pub(crate) fn take_in(
        &mut self,
        packet: Packet,
        mut to_shard: impl FnMut(ShardId, &Packet),
    ) -> bool {
        let Some(track) = self.tracks.get_mut(&packet.track) else { return false };
        let active = track.note_arrival(&packet);
        track.shards(packet.layer).for_each(|shard| to_shard(shard, &packet));
        let choice = self.microphones.choose(track, &packet);
        let (id, part) = (packet.track, track.awaits_rest(&packet));
        track.fresh.push(Fresh { packet, active, choice, part, padding: 0 });
        match &track.fresh[..] {
            [_] => self.due.push(track.kind, id, &track.fresh),
            fresh => self.due.more(id, fresh),
        }
        true
    }

    /// Offers what a track has of this turn to its next viewer, all of it one after the other: a viewer's
    /// memory lies far from the core's caches, and is to come there once a turn. To be called until `None`:
    /// nobody is due anything.
    pub(crate) fn fan_out(&mut self, drops: &mut Drops, sink: &mut impl Sink) -> Option<Step> {
        let id = self.due.first()?;
        let Some(track) = self.tracks.get_mut(&id) else {
            // It ended within the turn.
            self.due.pop();
            return Some(Step::Served);
        };
        let Cursor { until, packet, viewer, fanned } = &mut track.cursor;
        if *until == 0 {
            level(&mut track.fresh);
            *until = track.fresh.len();
        }
        // A viewer that begins to hear a microphone gets what came just before, so of such each packet goes
        // to all before the next.
        let chosen = track.fresh.get(*packet).is_some_and(|fresh| fresh.choice.is_some());
        let behind = if chosen { *packet + 1 } else { *until };
        let fresh = track.fresh.get(*packet..behind).unwrap_or_default();
        let soon = if *viewer == 0 { 0 } else { *viewer + AHEAD }..=*viewer + AHEAD;
        soon.map_while(|viewer| track.viewers.get(viewer)).for_each(near::fetch);
        for ahead in [3, 2, 1] {
            if let Some(Subscription { session, slot, .. }) = track.viewers.get(*viewer + ahead) {
                sink.expect(*session, *slot, ahead);
            }
        }
        if let Some(next) = track.viewers.get_mut(*viewer) {
            *viewer += 1;
            let look_back = track.look_back.as_deref();
            fresh.iter().for_each(|it| offer(next, it, look_back, fanned, drops, sink));
            return Some(Step::Served);
        }
        if let ([it], true) = (fresh, chosen) {
            let look_back = track.look_back.get_or_insert_default();
            look_back.give(it.packet.ext_seq, it.packet.arrival, it.packet.clone());
        }
        (*packet, *viewer) = (behind, 0);
        if behind < *until {
            return Some(Step::Served);
        }
        self.due.pop();
        let fanned = track.end_fan_out();
        if !track.fresh.is_empty() {
            self.due.push(track.kind, id, &track.fresh);
        }
        Some(Step::Done(id, fanned))
    }

    /// Whether any sound is due.
    pub(crate) fn has_sound(&self) -> bool {
        self.due.has_sound()
    }

    /// Parts of pictures that have waited long enough for the rest are due; all of them without `now`.
    /// Returns whether there were any.
    pub(crate) fn release(&mut self, now: Option<Instant>) -> bool {
        self.due.release(now)
    }

    /// When that is to be called next.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.due.release_at()
    }

    /// What came before has been offered to all; `None`: so has everything.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.due.waits_since()
    }

    /// Gives a viewer that begins now what came since the last keyframe. Returns how much that was.
    pub(crate) fn begin(
        &mut self,
        id: TrackId,
        session: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> usize {
        let Some(track) = self.tracks.get_mut(&id) else { return 0 };
        let active = track.active(now);
        let near = Cell::default();
        let viewer = track.viewer(session, &near).filter(|viewer| viewer.waits());
        let Some(layer) = viewer.map(|viewer| viewer.wanted(active)) else { return 0 };
        let packets = track.beginning(layer, now);
        let Some(viewer) = track.viewer(session, &near) else { return 0 };
        viewer_gets(viewer, packets.iter(), active, sink)
    }

    /// Takes a viewer of a track away and returns its numbering.
    pub(crate) fn remove_viewer(&mut self, id: TrackId, session: usize) -> Option<Subscription> {
        let track = self.tracks.get_mut(&id)?;
        let viewer = track.remove_viewer(session);
        if !track.has_viewers() {
            self.microphones.end(track.room, id);
        }
        viewer
    }

    /// A track by its id, to look at.
    pub(crate) fn get(&self, id: TrackId) -> Option<&Track> {
        self.tracks.get(&id)
    }

    /// A track by its id.
    pub(crate) fn get_mut(&mut self, id: TrackId) -> Option<&mut Track> {
        self.tracks.get_mut(&id)
    }

    /// The track, made by `make` when it is not here yet.
    pub(crate) fn get_or_make(&mut self, id: TrackId, make: impl FnOnce() -> Track) -> &mut Track {
        match self.tracks.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()),
        }
    }

    /// A packet that went by lately.
    pub(crate) fn cached(&self, id: TrackId, layer: Layer, ext_seq: u64) -> Option<&Packet> {
        self.tracks.get(&id)?.cache.get(layer, ext_seq)
    }

    /// Takes a track away with all its hops.
    pub(crate) fn remove(&mut self, id: TrackId) -> Option<Track> {
        let track = self.tracks.remove(&id)?;
        self.microphones.end(track.room, id);
        Some(track)
    }

    /// All tracks, in no order that means anything.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TrackId, &mut Track)> {
        self.tracks.iter_mut().map(|(id, track)| (*id, track))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// How many viewers of this shard there are.
    pub(crate) fn viewers(&self) -> usize {
        self.tracks.values().map(|track| track.viewers.len()).sum()
    }
}

/// A packet for one viewer: whether it is due it, which layer it gets, and under which numbers.
fn offer(
    viewer: &mut Subscription,
    fresh: &Fresh,
    look_back: Option<&LookBack<Packet>>,
    fanned: &mut Fanned,
    drops: &mut Drops,
    sink: &mut impl Sink,
) {
    let Fresh { packet, active, choice, padding, .. } = fresh;
    if let (Some(choice), Some(listener)) = (choice, viewer.listener) {
        if !choice.audience.includes(listener) {
            return drops.count(viewer.leave_out());
        }
        if let Some(look_back) = look_back.filter(|_| choice.moved) {
            let missed = look_back.since(viewer.got(), packet.arrival);
            fanned.sent += viewer_gets(viewer, missed, *active, sink);
        }
    }
    let offered = viewer.offer(packet, *active);
    if let Some(Layer(layer)) = offered.need_keyframe {
        fanned.need.0 |= 1 << layer;
    }
    let sent = match offered.verdict {
        Verdict::Forward(rewrite) => hand(viewer, rewrite, packet, *padding, sink),
        Verdict::Drop(reason) => Err(reason),
    };
    match sent {
        Ok(()) => fanned.sent += 1,
        Err(reason) => drops.count(reason),
    }
}

/// Gives a viewer packets of before, as many as it takes. Returns how many that was.
fn viewer_gets<'a>(
    viewer: &mut Subscription,
    packets: impl Iterator<Item = &'a Packet>,
    active: LayerSet,
    sink: &mut impl Sink,
) -> usize {
    let mut sent = 0;
    for packet in packets {
        if let Verdict::Forward(rewrite) = viewer.offer(packet, active).verdict {
            sent += usize::from(hand(viewer, rewrite, packet, 0, sink).is_ok());
        }
    }
    sent
}

/// Hands a numbered packet over. One that finds no room to wait is missed for ever, since nothing knows
/// how to send it again: the viewer goes on with a keyframe.
fn hand(
    viewer: &mut Subscription,
    rewrite: Rewrite,
    packet: &Packet,
    padding: u8,
    sink: &mut impl Sink,
) -> Result<(), DropReason> {
    let handed = sink.to_session(viewer.session, viewer.slot, rewrite, packet, padding);
    if handed == Err(DropReason::PacerFull) {
        viewer.restart();
    }
    handed
}

#[cfg(test)]
mod tests;
