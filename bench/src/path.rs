//! What the microbenches of the data path share; `cargo bench -p antipode-bench` runs them.

use std::sync::Arc;
use std::time::Instant;

use antipode_base::ids::TrackId;
use antipode_base::media::{Codec, Layer};
use antipode_relay::doorbell::{Doorbell, Wake};
use antipode_relay::mesh::{Port, mesh};
use antipode_relay::packet::{Mark, Packet, Pictures, Shape};

/// Bytes of a full video packet's payload.
pub const PAYLOAD: usize = 1_100;

/// The head of a VP8 payload as browsers send it: 15-bit picture id, TL0PICIDX, TID; a keyframe.
pub const VP8_KEYFRAME: [u8; 12] =
    [0x90, 0xe0, 0x92, 0x34, 0x07, 0x20, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];

/// One video packet as it comes from a publisher's session.
pub fn packet(ext_seq: u64, arrival: Instant) -> Packet {
    let mut payload = vec![0; PAYLOAD];
    payload[..VP8_KEYFRAME.len()].copy_from_slice(&VP8_KEYFRAME);
    Packet {
        track: TrackId(1),
        layer: Layer::BASE,
        codec: Codec::Vp8,
        ext_seq,
        timestamp: (ext_seq * 3_000) as u32,
        marker: true,
        keyframe: true,
        shape: Shape::Pictures(Pictures {
            picture_id: Some(0x1234),
            picture_id_long: true,
            picture_id_at: 2,
            tl0_pic_idx: Some(7),
            tl0_pic_idx_at: 4,
        }),
        mark: Mark { begins: true, sync: true, ..Mark::default() },
        descriptor: None,
        announced: None,
        sender_clock: None,
        microphone: None,
        extensions: Default::default(),
        arrival,
        payload: payload.into(),
    }
}

/// Nobody sleeps while a benchmark runs.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}

/// The two ports of a node with two shards.
pub fn ports() -> [Port; 2] {
    let bells = [0, 1].map(|_| Arc::new(Doorbell::new(Box::new(Awake))));
    let mut ports = mesh(&bells).into_iter();
    let mut next = || ports.next().expect("one port for each bell");
    [next(), next()]
}
