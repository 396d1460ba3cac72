//! The last packets of a track, once per shard, for whoever of its viewers missed one.

use antipode_base::limits::{CACHE_PACKETS, LAYERS_MAX};
use antipode_base::media::{Kind, Layer};
use antipode_relay::packet::Packet;

/// A ring of packets for each layer, by the low bits of their sequence numbers. Rings are made with
/// their first packet, so that audio and unused layers cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Cache([Vec<Option<Packet>>; LAYERS_MAX]);

impl Cache {
    /// Keeps a packet, in the place of the one that came [`CACHE_PACKETS`] before it. Sound is not
    /// kept: it would come too late to be played.
    pub(crate) fn keep(&mut self, packet: &Packet) {
        if packet.codec.kind() == Kind::Audio {
            return;
        }
        let ring = &mut self.0[packet.layer.index()];
        if ring.is_empty() {
            ring.resize_with(CACHE_PACKETS, || None);
        }
        ring[packet.ext_seq as usize % CACHE_PACKETS] = Some(packet.clone());
    }

    /// The packet, if it is still here.
    pub(crate) fn get(&self, layer: Layer, ext_seq: u64) -> Option<&Packet> {
        let place = self.0.get(layer.index())?.get(ext_seq as usize % CACHE_PACKETS)?;
        place.as_ref().filter(|packet| packet.ext_seq == ext_seq)
    }
}
