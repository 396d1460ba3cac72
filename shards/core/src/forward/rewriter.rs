//! Rewriting of sequence, timestamp and VP8 numbers, so that a viewer sees one unbroken stream.
//!
//! A rewriter belongs to a slot (an SSRC towards one viewer), not to a track: whoever is in the slot,
//! its numbers go on. At each start of another stream it takes new offsets; between starts it only
//! adds them, so that the publisher's own gaps stay visible to the viewer, who may then ask for
//! the lost packet.
//!
//! ```text
//!   layer 0   100 101 102 .   .   .         in
//!   layer 2    .   .   .  900 901 903
//!   viewer      7   8   9  10  11  13       out: the switch leaves no gap, the loss of 902 does
//! ```

use std::time::Instant;

use antipode_relay::packet::{Packet, Shape};

use crate::payload;

/// The numbers of one packet towards one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// Extended sequence number.
    pub(crate) ext_seq: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// VP8 PictureID, masked to the width that the packet has.
    pub(crate) picture_id: Option<u16>,
    /// VP8 TL0PICIDX.
    pub(crate) tl0_pic_idx: Option<u8>,
    /// The first of another stream.
    pub(crate) start: bool,
    /// How the numbers came about, to find them again.
    pub(crate) shift: Shift,
}

impl Rewrite {
    /// Writes the VP8 numbers into a copy of the packet's payload.
    pub(crate) fn patch_vp8(&self, payload: &mut [u8]) {
        payload::patch_vp8(payload, self.picture_id, self.tl0_pic_idx);
    }
}

/// From the numbers of one input stream to those towards one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    ext_seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
}

impl Shift {
    /// The numbers of a packet of that stream.
    pub(crate) fn apply(self, packet: &Packet) -> Rewrite {
        masked(&self.shifted(packet), packet.shape, self, false)
    }

    /// The input's extended sequence number behind the viewer's.
    pub(crate) fn input(self, ext_seq: u64) -> u64 {
        ext_seq.wrapping_sub(self.ext_seq)
    }

    fn shifted(self, packet: &Packet) -> Sent {
        let (picture_id, tl0_pic_idx) = vp8_numbers(packet.shape);
        Sent {
            ext_seq: packet.ext_seq.wrapping_add(self.ext_seq),
            timestamp: packet.timestamp.wrapping_add(self.timestamp),
            arrival: packet.arrival,
            picture_id: picture_id.wrapping_add(self.picture_id),
            tl0_pic_idx: tl0_pic_idx.wrapping_add(self.tl0_pic_idx),
        }
    }
}

/// Highest numbers that were sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ext_seq: u64,
    timestamp: u32,
    arrival: Instant,
    picture_id: u16,
    tl0_pic_idx: u8,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Rewriter {
    ext_seq_first: u64,
    sent: Option<Sent>,
    shift: Option<Shift>,
    /// First input packet that may pass; older ones belong before the switch.
    ext_seq_min: u64,
}

/// The widest PictureID (RFC 7741 §4.2).
const PICTURE_ID_MASK: u16 = 0x7fff;

impl Rewriter {
    /// A rewriter whose first packet gets this sequence number: below 2^16, because a receiver
    /// begins with a rollover counter of zero (RFC 3711 §3.3.1), and not near its end.
    pub(crate) fn new(seq_first: u16) -> Self {
        let ext_seq_first = u64::from(seq_first >> 1) + 1;
        Rewriter { ext_seq_first, sent: None, shift: None, ext_seq_min: 0 }
    }

    /// Numbers for the first packet of another stream.
    pub(crate) fn start(&mut self, packet: &Packet) -> Rewrite {
        let (picture_id, tl0_pic_idx) = vp8_numbers(packet.shape);
        let out = match self.sent {
            None => Sent {
                ext_seq: self.ext_seq_first,
                timestamp: packet.timestamp,
                arrival: packet.arrival,
                picture_id,
                tl0_pic_idx,
            },
            Some(sent) => Sent {
                ext_seq: sent.ext_seq + 1,
                timestamp: sent.timestamp.wrapping_add(elapsed_ticks(&sent, packet)),
                arrival: packet.arrival,
                picture_id: sent.picture_id.wrapping_add(1),
                tl0_pic_idx: sent.tl0_pic_idx.wrapping_add(1),
            },
        };
        let shift = Shift {
            ext_seq: out.ext_seq.wrapping_sub(packet.ext_seq),
            timestamp: out.timestamp.wrapping_sub(packet.timestamp),
            picture_id: out.picture_id.wrapping_sub(picture_id),
            tl0_pic_idx: out.tl0_pic_idx.wrapping_sub(tl0_pic_idx),
        };
        self.shift = Some(shift);
        self.ext_seq_min = packet.ext_seq;
        self.sent = Some(out);
        masked(&out, packet.shape, shift, true)
    }

    /// Numbers for a further packet of the same stream; `None` when it is from before the start.
    pub(crate) fn go_on(&mut self, packet: &Packet) -> Option<Rewrite> {
        let shift = self.shift?;
        let sent = self.sent.as_mut()?;
        if packet.ext_seq < self.ext_seq_min {
            return None;
        }
        let out = shift.shifted(packet);
        if out.ext_seq > sent.ext_seq {
            *sent = out;
        }
        Some(masked(&out, packet.shape, shift, false))
    }
}

/// How far the output's clock moves across a switch: by the time between the arrivals, so that the
/// picture neither jumps nor stands, and by one tick at least, so that it is another frame.
fn elapsed_ticks(sent: &Sent, packet: &Packet) -> u32 {
    let elapsed = packet.arrival.saturating_duration_since(sent.arrival);
    let ticks = elapsed.as_micros() * u128::from(packet.codec.clock_hz()) / 1_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX / 2).max(1)
}

fn vp8_numbers(shape: Shape) -> (u16, u8) {
    match shape {
        Shape::Vp8 { picture_id, tl0_pic_idx, .. } => {
            (picture_id.unwrap_or(0), tl0_pic_idx.unwrap_or(0))
        }
        Shape::Plain => (0, 0),
    }
}

fn masked(out: &Sent, shape: Shape, shift: Shift, start: bool) -> Rewrite {
    let (picture_id, tl0_pic_idx) = match shape {
        Shape::Vp8 { picture_id, picture_id_long, tl0_pic_idx } => {
            let mask = if picture_id_long { PICTURE_ID_MASK } else { 0x7f };
            (picture_id.map(|_| out.picture_id & mask), tl0_pic_idx.map(|_| out.tl0_pic_idx))
        }
        Shape::Plain => (None, None),
    };
    let (ext_seq, timestamp) = (out.ext_seq, out.timestamp);
    Rewrite { ext_seq, timestamp, picture_id, tl0_pic_idx, start, shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_base::ids::TrackId;
    use antipode_base::media::{Codec, Layer};
    use std::time::Duration;

    fn packet(start: Instant, ext_seq: u64, timestamp: u32, picture_id: u16, ms: u64) -> Packet {
        Packet {
            track: TrackId(1),
            layer: Layer::BASE,
            codec: Codec::Vp8,
            ext_seq,
            timestamp,
            marker: false,
            keyframe: true,
            shape: Shape::Vp8 {
                picture_id: Some(picture_id),
                picture_id_long: true,
                tl0_pic_idx: Some(picture_id as u8),
            },
            extensions: Default::default(),
            sender_clock: None,
            arrival: start + Duration::from_millis(ms),
            payload: vec![0u8; 4].into(),
        }
    }

    fn rows(out: &[Rewrite]) -> Vec<(u64, u32, u16, u8)> {
        out.iter()
            .map(|r| (r.ext_seq, r.timestamp, r.picture_id.unwrap(), r.tl0_pic_idx.unwrap()))
            .collect()
    }

    #[test]
    fn a_switch_leaves_no_gap_and_a_loss_does() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(12); // first number 7
        let out = [
            rewriter.start(&packet(t, 100, 5_000, 50, 0)),
            rewriter.go_on(&packet(t, 101, 5_000, 50, 1)).unwrap(),
            rewriter.go_on(&packet(t, 103, 8_000, 51, 33)).unwrap(),
            rewriter.go_on(&packet(t, 102, 5_000, 50, 34)).unwrap(),
            rewriter.start(&packet(t, 900, 70_000, 9, 53)),
            rewriter.go_on(&packet(t, 901, 73_000, 10, 86)).unwrap(),
        ];
        assert_eq!(
            rows(&out),
            [
                (7, 5_000, 50, 50),
                (8, 5_000, 50, 50),
                (10, 8_000, 51, 51),
                (9, 5_000, 50, 50),
                // 20 ms after the last frame: 1800 ticks of 90 kHz.
                (11, 9_800, 52, 52),
                (12, 12_800, 53, 53),
            ]
        );
        assert_eq!(rewriter.go_on(&packet(t, 899, 70_000, 8, 90)), None);
    }

    #[test]
    fn numbers_wrap_as_on_the_wire() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(0);
        rewriter.start(&packet(t, 1, u32::MAX, 0x7fff, 0));
        let next = rewriter.start(&packet(t, 1, 0, 3, 0));
        assert_eq!((next.timestamp, next.picture_id), (0, Some(0)));
        let mut short = packet(t, 2, 0, 0x7f, 0);
        short.shape =
            Shape::Vp8 { picture_id: Some(0x7f), picture_id_long: false, tl0_pic_idx: None };
        let out = rewriter.go_on(&short).unwrap();
        assert!(out.picture_id.unwrap() <= 0x7f);
        assert_eq!(out.tl0_pic_idx, None);
    }
}
