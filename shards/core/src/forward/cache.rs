//! The last packets of a track, once per shard, for whoever of its viewers missed one.

use std::time::{Duration, Instant};

use antipode_base::limits::{BEGINNING_MAX, CACHE_PACKETS, LAYERS_MAX};
use antipode_base::media::{Kind, Layer};
use antipode_relay::packet::Packet;

/// A keyframe older than this is not what a viewer should begin with: it would see the past go by.
const FRESH: Duration = Duration::from_millis(1_200);

/// A ring of packets for each stream of the track, by the low bits of their sequence numbers. Rings are
/// made with their first packet, so that audio and unused layers cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Cache([Ring; LAYERS_MAX]);

#[derive(Debug, Default)]
struct Ring {
    packets: Vec<Option<Packet>>,
    newest: u64,
    /// First packet of the last keyframe.
    keyframe: Option<(u64, Instant)>,
}

impl Cache {
    /// Keeps a packet, in the place of the one that came [`CACHE_PACKETS`] before it. Sound is not
    /// kept: it would come too late to be played.
    pub(crate) fn keep(&mut self, packet: &Packet) {
        if packet.codec.kind() == Kind::Audio {
            return;
        }
        let ring = &mut self.0[packet.stream().index()];
        if ring.packets.is_empty() {
            ring.packets.resize_with(CACHE_PACKETS, || None);
        }
        ring.newest = ring.newest.max(packet.ext_seq);
        if packet.keyframe && ring.keyframe.is_none_or(|(at, _)| packet.ext_seq > at) {
            ring.keyframe = Some((packet.ext_seq, packet.arrival));
        }
        ring.packets[packet.ext_seq as usize % CACHE_PACKETS] = Some(packet.clone());
    }

    /// The packet, if it is still here.
    pub(crate) fn get(&self, stream: Layer, ext_seq: u64) -> Option<&Packet> {
        let place = self.0.get(stream.index())?.packets.get(ext_seq as usize % CACHE_PACKETS)?;
        place.as_ref().filter(|packet| packet.ext_seq == ext_seq)
    }

    /// The last keyframe of a stream and all that came after it, for a viewer that begins now. Empty
    /// when it is too long ago, or anything is missing.
    pub(crate) fn beginning(&self, stream: Layer, now: Instant) -> Vec<Packet> {
        let ring = &self.0[stream.index()];
        let fresh = |(_, at): &(u64, Instant)| now < *at + FRESH;
        let Some((first, _)) = ring.keyframe.filter(fresh) else { return Vec::new() };
        if ring.newest - first >= BEGINNING_MAX {
            return Vec::new();
        }
        let packets = (first..=ring.newest).map(|ext_seq| self.get(stream, ext_seq).cloned());
        packets.collect::<Option<_>>().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::packet;

    #[test]
    fn a_beginning_is_whole_and_fresh_or_not_at_all() {
        let mut cache = Cache::default();
        let start = Instant::now();
        let mut keep = |ext_seq, keyframe| {
            let mut packet = packet(ext_seq, 0);
            (packet.keyframe, packet.arrival) = (keyframe, start);
            cache.keep(&packet);
        };
        keep(9, false);
        keep(10, true);
        keep(12, false);
        let seqs = |cache: &Cache, now| {
            cache.beginning(Layer::BASE, now).iter().map(|p| p.ext_seq).collect::<Vec<_>>()
        };
        let mut late = packet(11, 0);
        late.keyframe = false;
        assert!(seqs(&cache, start).is_empty(), "one is missing");
        cache.keep(&late);
        assert_eq!(seqs(&cache, start), [10, 11, 12]);
        assert!(seqs(&cache, start + FRESH).is_empty());
        assert!(cache.beginning(Layer(1), start).is_empty());
        assert_eq!(cache.get(Layer::BASE, 11).map(|packet| packet.ext_seq), Some(11));
        assert!(cache.get(Layer::BASE, 11 + CACHE_PACKETS as u64).is_none());
    }
}
