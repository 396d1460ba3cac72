//! A track and its hops.

use std::cell::Cell;
use std::time::{Duration, Instant};

use antipode_base::ids::{RoomId, ShardId};
use antipode_base::limits::{HOPS_PER_TRACK_MAX, LAYER_SILENCE, LAYERS_MAX};
use antipode_base::media::{Kind, Layer};
use antipode_relay::packet::Packet;

use super::cache::Cache;
use super::due::REST_MAX;
use super::fabric::{Cursor, Fanned};
use super::fresh::Fresh;
use super::keyframes::KeyframeGate;
use super::loudest::LookBack;
use super::rates::{RateMeter, Rates};
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
    /// Whither it goes on this shard; with `remotes` at most [`HOPS_PER_TRACK_MAX`] hops.
    pub(super) viewers: Vec<Subscription>,
    /// Whither else.
    remotes: Vec<Remote>,
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
    pub(super) cache: Cache,
    /// What came in and is still to be offered, as much as a turn or two take: viewers get it at a turn's
    /// end, a picture when its rest has come or been waited for.
    pub(super) fresh: Vec<Fresh>,
    pub(super) cursor: Cursor,
    /// Of a microphone of which not every viewer gets everything.
    pub(super) look_back: Option<Box<LookBack<Packet>>>,
}

/// When pictures of one layer come.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    last: Option<Instant>,
    timestamp: u32,
    /// Mean time between two pictures.
    gap: Duration,
    /// Whether the last two packets of one picture came so far apart that the sender spreads them.
    spread: bool,
}

impl Arrived {
    fn note(&mut self, packet: &Packet) {
        if self.timestamp != packet.timestamp
            && let Some(last) = self.last
        {
            let gap = packet.arrival.saturating_duration_since(last);
            self.gap = (self.gap * 7 + gap.min(LAYER_SILENCE)) / 8;
        } else if let Some(last) = self.last {
            self.spread = packet.arrival.saturating_duration_since(last) > REST_MAX;
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
            viewers: Vec::new(),
            remotes: Vec::new(),
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
            fresh: Vec::new(),
            cursor: Cursor::default(),
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
        let here = self.viewers.iter().filter_map(Subscription::demand).max();
        let elsewhere = self.remotes.iter().filter_map(|remote| remote.layer_max).max();
        here.max(elsewhere)
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
        self.viewers.get(self.place(session, near)?)
    }

    /// The viewer of that session, if it is one. `near` is where it was seen last: a track has thousands
    /// of viewers, and each of them is looked for several times a second.
    pub(crate) fn viewer(
        &mut self,
        session: usize,
        near: &Cell<usize>,
    ) -> Option<&mut Subscription> {
        let place = self.place(session, near)?;
        self.viewers.get_mut(place)
    }

    fn place(&self, session: usize, near: &Cell<usize>) -> Option<usize> {
        let is = |viewer: &Subscription| viewer.session == session;
        if !self.viewers.get(near.get()).is_some_and(is) {
            near.set(self.viewers.iter().position(is)?);
        }
        Some(near.get())
    }

    fn is_full(&self) -> bool {
        self.viewers.len() + self.remotes.len() >= HOPS_PER_TRACK_MAX
    }

    /// Adds a viewer of this shard. `false` when there is no room for one more hop.
    pub(crate) fn add_viewer(&mut self, viewer: Subscription) -> bool {
        let fits = !self.is_full();
        if fits {
            self.viewers.push(viewer);
        }
        fits
    }

    /// Takes a viewer away and returns its numbering.
    pub(super) fn remove_viewer(&mut self, session: usize) -> Option<Subscription> {
        let mut at = self.viewers.iter().position(|viewer| viewer.session == session)?;
        if let Some(served) = self.cursor.leave(at) {
            self.viewers.swap(at, served);
            at = served;
        }
        Some(self.viewers.swap_remove(at))
    }

    /// All viewers were offered what the cursor began with. Says what it led to.
    pub(super) fn end_fan_out(&mut self) -> Fanned {
        let Cursor { until, mut fanned, .. } = std::mem::take(&mut self.cursor);
        for it in self.fresh.drain(..until) {
            let stream = it.packet.stream();
            fanned.need.0 |= u8::from(self.gate.kept(stream)) << stream.0;
        }
        fanned.first = fanned.sent > 0 && !self.watched;
        self.watched |= fanned.first;
        fanned
    }

    /// What is left of it when it ends: the shards that get its packets, and its viewers here.
    pub(crate) fn into_hops(self) -> (Vec<Remote>, Vec<Subscription>) {
        (self.remotes, self.viewers)
    }

    /// Another shard has viewers, and they need so much. `false` when there is no room for one more hop.
    pub(crate) fn watch(&mut self, remote: Remote) -> bool {
        let full = self.is_full();
        match self.remotes.iter_mut().find(|known| known.shard == remote.shard) {
            Some(known) => *known = remote,
            None if full => return false,
            None => self.remotes.push(remote),
        }
        true
    }

    /// A shard has none any more.
    pub(crate) fn unwatch(&mut self, shard: ShardId) {
        self.remotes.retain(|remote| remote.shard != shard);
    }

    /// Shards that get packets of a layer.
    pub(super) fn shards(&self, layer: Layer) -> impl Iterator<Item = ShardId> + '_ {
        let takes = move |remote: &&Remote| Some(layer) <= remote.layer_max;
        self.remotes.iter().filter(takes).map(|remote| remote.shard)
    }

    /// Whether any viewer of this shard is left.
    pub(crate) fn has_viewers(&self) -> bool {
        !self.viewers.is_empty()
    }

    pub(super) fn note_arrival(&mut self, packet: &Packet) -> LayerSet {
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

    /// Whether the rest of a picture is about to come, of which this is a part: its last packet has the
    /// marker (RFC 7741 §4.1, RFC 6184 §5.1, RFC 9628 §4.1).
    pub(super) fn awaits_rest(&self, packet: &Packet) -> bool {
        self.kind == Kind::Video && !packet.marker && !self.arrived[packet.layer.index()].spread
    }
}
