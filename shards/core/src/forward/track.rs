//! Tracks, their hops, and the fan-out loop.

use std::collections::hash_map::Entry;
use std::time::Instant;

use antipode_base::ids::{IdMap, RoomId, ShardId, TrackId};
use antipode_base::limits::{HOPS_PER_TRACK_MAX, LAYER_SILENCE, LAYERS_MAX};
use antipode_base::media::{Kind, Layer};
use antipode_base::verdict::{DropReason, Drops, Verdict};
use antipode_relay::packet::Packet;

use super::cache::Cache;
use super::keyframes::KeyframeGate;
use super::rewriter::Rewrite;
use super::subscription::{LayerSet, Subscription};
use crate::levels::Loudness;

/// Where a track's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A session of this shard, by its place in the table.
    Session(usize),
    /// The shard of the publisher.
    Shard(ShardId),
}

/// One next place of a track.
#[derive(Debug)]
pub(crate) enum Hop {
    /// A viewer on this shard.
    Session(Subscription),
    /// A shard with viewers of its own.
    Shard(ShardId),
}

/// One track as one shard knows it.
#[derive(Debug)]
pub(crate) struct Track {
    /// Audio or video.
    pub(crate) kind: Kind,
    /// Whence it comes.
    pub(crate) origin: Origin,
    /// The publisher's room.
    pub(crate) room: RoomId,
    /// Whither it goes; at most [`HOPS_PER_TRACK_MAX`].
    pub(crate) hops: Vec<Hop>,
    /// Requests on their way to the publisher.
    pub(crate) gate: KeyframeGate,
    /// The publisher says so; no speaker, no keyframe requests.
    pub(crate) muted: bool,
    /// Of a microphone.
    pub(crate) loudness: Loudness,
    /// A packet has gone to a viewer.
    pub(crate) watched: bool,
    arrived: [Option<Instant>; LAYERS_MAX],
    cache: Cache,
}

impl Track {
    /// A track without hops.
    pub(crate) fn new(kind: Kind, origin: Origin, room: RoomId) -> Self {
        Track {
            kind,
            origin,
            room,
            hops: Vec::new(),
            gate: KeyframeGate::default(),
            muted: false,
            loudness: Loudness::default(),
            watched: false,
            arrived: [None; LAYERS_MAX],
            cache: Cache::default(),
        }
    }

    /// Layers with a packet in the last [`LAYER_SILENCE`].
    pub(crate) fn active(&self, now: Instant) -> LayerSet {
        let alive = |at: &Option<Instant>| at.is_some_and(|at| now < at + LAYER_SILENCE);
        let bits = self.arrived.iter().enumerate().filter(|(_, at)| alive(at));
        LayerSet(bits.fold(0, |set, (layer, _)| set | 1 << layer))
    }

    /// Whether a packet came lately, on any layer.
    pub(crate) fn silent(&self, now: Instant) -> bool {
        self.active(now) == LayerSet::default()
    }

    /// The viewer of that session, if it is one.
    pub(crate) fn viewer(&mut self, session: usize) -> Option<&mut Subscription> {
        self.hops.iter_mut().find_map(|hop| match hop {
            Hop::Session(viewer) if viewer.session == session => Some(viewer),
            _ => None,
        })
    }

    /// Adds a hop unless the table is full.
    pub(crate) fn add(&mut self, hop: Hop) -> bool {
        let fits = self.hops.len() < HOPS_PER_TRACK_MAX;
        if fits {
            self.hops.push(hop);
        }
        fits
    }

    /// Takes a viewer away and returns its numbering.
    pub(crate) fn remove_viewer(&mut self, session: usize) -> Option<Subscription> {
        let is = |hop: &Hop| matches!(hop, Hop::Session(viewer) if viewer.session == session);
        let at = self.hops.iter().position(is)?;
        match self.hops.swap_remove(at) {
            Hop::Session(viewer) => Some(viewer),
            Hop::Shard(_) => None,
        }
    }

    /// Shards that get its packets.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.hops.iter().filter_map(|hop| match hop {
            Hop::Shard(shard) => Some(*shard),
            Hop::Session(_) => None,
        })
    }

    /// Whether any viewer of this shard is left.
    pub(crate) fn has_viewers(&self) -> bool {
        self.hops.iter().any(|hop| matches!(hop, Hop::Session(_)))
    }

    fn note_arrival(&mut self, packet: &Packet) -> LayerSet {
        self.arrived[packet.layer.index()] = Some(packet.arrival);
        if packet.keyframe {
            self.gate.satisfied(packet.layer);
        }
        if self.has_viewers() {
            self.cache.keep(packet);
        }
        self.active(packet.arrival)
    }
}

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
        let mut fanned = Fanned::default();
        if track.gate.kept(packet.layer) {
            fanned.need.0 |= 1 << packet.layer.0;
        }
        for hop in &mut track.hops {
            let viewer = match hop {
                Hop::Session(viewer) => viewer,
                Hop::Shard(shard) => {
                    sink.to_shard(*shard, packet);
                    continue;
                }
            };
            let offered = viewer.offer(packet, active);
            if let Some(Layer(layer)) = offered.need_keyframe {
                fanned.need.0 |= 1 << layer;
            }
            let sent = match offered.verdict {
                Verdict::Forward(rewrite) => {
                    sink.to_session(viewer.session, viewer.slot, rewrite, packet)
                }
                Verdict::Drop(reason) => Err(reason),
            };
            match sent {
                Ok(()) => fanned.sent += 1,
                Err(reason) => drops.count(reason),
            }
        }
        fanned.first = fanned.sent > 0 && !track.watched;
        track.watched |= fanned.first;
        Some(fanned)
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
        self.tracks.remove(&id)
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
