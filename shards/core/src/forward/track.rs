//! Tracks, their hops, and the fan-out loop.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use antipode_base::ids::{IdMap, RoomId, ShardId, TrackId};
use antipode_base::limits::{HOPS_PER_TRACK_MAX, LAYER_SILENCE, LAYERS_MAX};
use antipode_base::media::{Kind, Layer};
use antipode_base::verdict::{DropReason, Drops, Verdict};
use antipode_relay::packet::Packet;

use super::cache::Cache;
use super::keyframes::KeyframeGate;
use super::loudest::LookBack;
use super::microphones::Microphones;
use super::rates::{RateMeter, Rates};
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
    Shard(Remote),
}

/// Another shard that has viewers of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Which one.
    pub(crate) shard: ShardId,
    /// The highest layer that any of its viewers uses; `None` while all of them pause.
    pub(crate) layer_max: Option<Layer>,
}

/// What was last said about the layers that are needed: to the publisher's client by the track's home, to
/// the home by the other shards. More is said at once, less after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The highest layer that is needed.
    pub(crate) told: Option<Layer>,
    /// A timer is set that looks whether less is needed still.
    pub(crate) waiting: bool,
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
    /// What the other side was told to send.
    pub(crate) demand: Demand,
    /// The layers share one stream.
    pub(crate) svc: bool,
    /// It is the voice of one who speaks.
    pub(crate) speaks: bool,
    arrived: [Arrived; LAYERS_MAX],
    meter: RateMeter,
    cache: Cache,
    /// Of a microphone of which not every viewer gets everything.
    look_back: Option<Box<LookBack<Packet>>>,
}

/// When pictures of one layer come.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    last: Option<Instant>,
    timestamp: u32,
    /// Mean time between two pictures.
    gap: Duration,
}

impl Arrived {
    fn note(&mut self, packet: &Packet) {
        if self.timestamp != packet.timestamp
            && let Some(last) = self.last
        {
            let gap = packet.arrival.saturating_duration_since(last);
            self.gap = (self.gap * 7 + gap.min(LAYER_SILENCE)) / 8;
        }
        self.timestamp = packet.timestamp;
        self.last = Some(packet.arrival);
    }

    /// A layer is over when several pictures of it in a row are missing.
    fn alive(&self, now: Instant) -> bool {
        let patience = (self.gap * 6).clamp(LAYER_SILENCE / 4, LAYER_SILENCE);
        self.last.is_some_and(|last| now < last + patience)
    }
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
            // A publisher sends all that it has before it is told; a home nothing.
            demand: Demand {
                told: matches!(origin, Origin::Session(_)).then_some(Layer::TOP),
                waiting: false,
            },
            svc: false,
            speaks: false,
            arrived: [Arrived::default(); LAYERS_MAX],
            meter: RateMeter::default(),
            cache: Cache::default(),
            look_back: None,
        }
    }

    /// Layers that the publisher sends at the moment.
    pub(crate) fn active(&self, now: Instant) -> LayerSet {
        let bits = self.arrived.iter().enumerate().filter(|(_, arrived)| arrived.alive(now));
        LayerSet(bits.fold(0, |set, (layer, _)| set | 1 << layer))
    }

    /// What the layers cost.
    pub(crate) fn rates(&self) -> &Rates {
        self.meter.rates()
    }

    /// The highest layer that any viewer here or elsewhere uses.
    pub(crate) fn demanded(&self) -> Option<Layer> {
        let of = |hop: &Hop| match hop {
            Hop::Session(viewer) => viewer.demand(),
            Hop::Shard(remote) => remote.layer_max,
        };
        self.hops.iter().filter_map(of).max()
    }

    /// What a viewer that begins now is given at once.
    pub(crate) fn beginning(&self, layer: Layer, now: Instant) -> Vec<Packet> {
        self.cache.beginning(if self.svc { Layer::BASE } else { layer }, now)
    }

    /// Whether a packet came lately, on any layer.
    pub(crate) fn silent(&self, now: Instant) -> bool {
        self.active(now) == LayerSet::default()
    }

    /// As [`Track::viewer`], to look at.
    pub(crate) fn viewer_of(&self, session: usize, near: &Cell<usize>) -> Option<&Subscription> {
        match self.hops.get(self.place(session, near)?) {
            Some(Hop::Session(viewer)) => Some(viewer),
            _ => None,
        }
    }

    /// The viewer of that session, if it is one. `near` is where it was seen last: a track has thousands
    /// of viewers, and each of them is looked for several times a second.
    pub(crate) fn viewer(
        &mut self,
        session: usize,
        near: &Cell<usize>,
    ) -> Option<&mut Subscription> {
        let place = self.place(session, near)?;
        match self.hops.get_mut(place) {
            Some(Hop::Session(viewer)) => Some(viewer),
            _ => None,
        }
    }

    fn place(&self, session: usize, near: &Cell<usize>) -> Option<usize> {
        let is = |hop: &Hop| matches!(hop, Hop::Session(viewer) if viewer.session == session);
        if !self.hops.get(near.get()).is_some_and(is) {
            near.set(self.hops.iter().position(is)?);
        }
        Some(near.get())
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
    fn remove_viewer(&mut self, session: usize) -> Option<Subscription> {
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
            Hop::Shard(remote) => Some(remote.shard),
            Hop::Session(_) => None,
        })
    }

    /// Another shard has viewers, and they need so much. `false` when the table is full.
    pub(crate) fn watch(&mut self, remote: Remote) -> bool {
        let known = self.hops.iter_mut().find_map(|hop| match hop {
            Hop::Shard(known) if known.shard == remote.shard => Some(known),
            _ => None,
        });
        match known {
            Some(known) => {
                *known = remote;
                true
            }
            None => self.add(Hop::Shard(remote)),
        }
    }

    /// Whether any viewer of this shard is left.
    pub(crate) fn has_viewers(&self) -> bool {
        self.hops.iter().any(|hop| matches!(hop, Hop::Session(_)))
    }

    fn note_arrival(&mut self, packet: &Packet) -> LayerSet {
        self.arrived[packet.layer.index()].note(packet);
        self.svc = packet.mark.svc;
        match self.kind {
            Kind::Video => self.meter.note(packet),
            Kind::Audio => self.loudness.hear(packet),
        }
        if packet.keyframe {
            self.gate.satisfied(packet.stream());
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
