//! A packet for the tests of this crate.

use std::time::Instant;

use antipode_base::ids::TrackId;
use antipode_base::media::{Codec, Layer};
use antipode_base::verdict::Drops;
use antipode_relay::packet::{Packet, Shape};

use super::fabric::{Fabric, Fanned, Sink, Step};

/// The first packet of a keyframe of the lowest layer, 100 bytes.
pub(crate) fn packet(ext_seq: u64, timestamp: u32) -> Packet {
    Packet {
        track: TrackId(1),
        layer: Layer::BASE,
        codec: Codec::Vp8,
        ext_seq,
        timestamp,
        marker: false,
        keyframe: true,
        shape: Shape::Plain,
        mark: Default::default(),
        descriptor: None,
        extensions: Default::default(),
        announced: None,
        sender_clock: None,
        microphone: None,
        arrival: Instant::now(),
        payload: vec![0; 100].into(),
    }
}

/// Takes a packet in and offers it to all. `None` when nobody knows its track.
pub(crate) fn forward(
    fabric: &mut Fabric,
    packet: &Packet,
    drops: &mut Drops,
    sink: &mut impl Sink,
) -> Option<Fanned> {
    fabric.take_in(packet.clone(), |_, _| {}).then_some(())?;
    fabric.release(None);
    loop {
        if let Step::Done(_, fanned) = fabric.fan_out(drops, sink)? {
            return Some(fanned);
        }
    }
}
