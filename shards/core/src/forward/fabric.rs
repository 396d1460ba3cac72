//! All tracks of a shard, and the fan-out loop.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::time::Instant;

use antipode_base::ids::{IdMap, ShardId, TrackId};
use antipode_base::media::Layer;
use antipode_base::verdict::{DropReason, Drops, Verdict};
use antipode_relay::packet::Packet;

use super::microphones::Microphones;
use super::rewriter::Rewrite;
use super::subscription::{LayerSet, Subscription};
use super::track::{Hop, Track};

/// Where forwarded packets go. Implemented by the shard; by a list in tests.
pub(crate) trait Sink {
    /// To a viewer on this shard. An error is why it could not be taken.
    fn to_session(
        &mut self,
        session: usize,
        slot: usize,
        rewrite: Rewrite,
        packet: &Packet,
    ) -> Result<(), DropReason>;
    /// To another shard.
    fn to_shard(&mut self, shard: ShardId, packet: &Packet);
}

/// What one packet led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fanned {
    /// Viewers on this shard that got it.
    pub(crate) sent: usize,
    /// It is the track's first packet that any viewer got.
    pub(crate) first: bool,
    /// Layers whose keyframe some viewer is missing.
    pub(crate) need: LayerSet,
}

/// All tracks of one shard.
#[derive(Debug, Default)]
pub(crate) struct Fabric {
    tracks: IdMap<TrackId, Track>,
    /// Who of the rooms' microphones goes on.
    pub(crate) microphones: Microphones,
}

impl Fabric {
    /// Fans one packet out. `None` when nobody here knows its track.
    pub(crate) fn forward(
        &mut self,
        packet: &Packet,
        drops: &mut Drops,
        sink: &mut impl Sink,
    ) -> Option<Fanned> {
        let track = self.tracks.get_mut(&packet.track)?;
        let active = track.note_arrival(packet);
        let choice = self.microphones.choose(track, packet);
        let mut fanned = Fanned::default();
        if track.gate.kept(packet.stream()) {
            fanned.need.0 |= 1 << packet.stream().0;
        }
        for hop in &mut track.hops {
            let viewer = match hop {
                Hop::Session(viewer) => viewer,
                Hop::Shard(remote) => {
                    if Some(packet.layer) <= remote.layer_max {
                        sink.to_shard(remote.shard, packet);
                    }
                    continue;
                }
            };
            if let (Some(choice), Some(listener)) = (&choice, viewer.listener) {
                if !choice.audience.includes(listener) {
                    drops.count(viewer.leave_out());
                    continue;
                }
                if choice.moved
                    && let Some(look_back) = &track.look_back
                {
                    let missed = look_back.since(viewer.got(), packet.arrival);
                    fanned.sent += viewer_gets(viewer, missed, active, sink);
                }
            }
            let offered = viewer.offer(packet, active);
            if let Some(Layer(layer)) = offered.need_keyframe {
                fanned.need.0 |= 1 << layer;
            }
            let sent = match offered.verdict {
                Verdict::Forward(rewrite) => hand(viewer, rewrite, packet, sink),
                Verdict::Drop(reason) => Err(reason),
            };
            match sent {
                Ok(()) => fanned.sent += 1,
                Err(reason) => drops.count(reason),
            }
        }
        if choice.is_some() {
            let look_back = track.look_back.get_or_insert_default();
            look_back.give(packet.ext_seq, packet.arrival, packet.clone());
        }
        fanned.first = fanned.sent > 0 && !track.watched;
        track.watched |= fanned.first;
        Some(fanned)
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
        let count = |track: &Track| track.hops.len() - track.shards().count();
        self.tracks.values().map(count).sum()
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
            sent += usize::from(hand(viewer, rewrite, packet, sink).is_ok());
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
    sink: &mut impl Sink,
) -> Result<(), DropReason> {
    let handed = sink.to_session(viewer.session, viewer.slot, rewrite, packet);
    if handed == Err(DropReason::PacerFull) {
        viewer.restart();
    }
    handed
}

#[cfg(test)]
mod tests;
