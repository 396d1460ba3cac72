//! Rewriting of sequence, timestamp and picture numbers, so that a viewer sees one unbroken stream.
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
//!
//! Packets of a stream that are left out on purpose (temporal and spatial layers that the viewer does
//! not get) leave no gap either: [`Rewriter::skip`] moves the offsets.

use std::collections::VecDeque;
use std::time::Instant;

use antipode_base::limits::SKIPS_MAX;
use antipode_relay::packet::{Packet, Pictures, Shape};

use super::selector::Target;

/// The numbers of one packet towards one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// Extended sequence number.
    pub(crate) ext_seq: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// PictureID, 15 bits; written in the width that the packet has.
    pub(crate) picture_id: u16,
    /// TL0PICIDX.
    pub(crate) tl0_pic_idx: u8,
    /// Frame number of the dependency descriptor, where the packet has one.
    pub(crate) frame_number: u16,
    /// Up to which layers the viewer gets the stream, where that is not plain: its descriptors say so, and
    /// the marker bit follows from it.
    pub(crate) within: Option<Target>,
    /// RTP marker bit: the last packet of the picture that this viewer gets.
    pub(crate) marker: bool,
    /// How the numbers came about, to find them again.
    pub(crate) shift: Shift,
}

/// From the numbers of one input stream to those towards one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    ext_seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
    frame_number: u16,
}

impl Shift {
    /// The numbers of a packet of that stream, of which the viewer got what is `within`.
    pub(crate) fn apply(self, packet: &Packet, within: Option<Target>) -> Rewrite {
        let marker = packet.marker || within.is_some_and(|target| target.ends(packet));
        Rewrite { within, ..self.shifted(packet).rewrite(self, marker) }
    }

    /// The input's extended sequence number behind the viewer's.
    pub(crate) fn input(self, ext_seq: u64) -> u64 {
        ext_seq.wrapping_sub(self.ext_seq)
    }

    fn shifted(self, packet: &Packet) -> Sent {
        let (picture_id, tl0_pic_idx) = picture_numbers(packet.shape);
        Sent {
            ext_seq: packet.ext_seq.wrapping_add(self.ext_seq),
            timestamp: packet.timestamp.wrapping_add(self.timestamp),
            arrival: packet.arrival,
            picture_id: picture_id.wrapping_add(self.picture_id),
            tl0_pic_idx: tl0_pic_idx.wrapping_add(self.tl0_pic_idx),
            frame_number: frame_number(packet).unwrap_or(0).wrapping_add(self.frame_number),
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
    frame_number: u16,
}

impl Sent {
    fn rewrite(&self, shift: Shift, marker: bool) -> Rewrite {
        Rewrite {
            ext_seq: self.ext_seq,
            timestamp: self.timestamp,
            picture_id: self.picture_id & Pictures::ID_MASK,
            tl0_pic_idx: self.tl0_pic_idx,
            frame_number: self.frame_number,
            within: None,
            marker,
            shift,
        }
    }
}

/// A packet that was left out on purpose.
#[derive(Clone, Copy, Debug)]
struct Skip {
    ext_seq: u64,
    /// Timestamp of its picture, if the viewer gets nothing of that.
    picture: Option<u32>,
    /// It was the first of that picture, and took its number.
    counted: bool,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Rewriter {
    ext_seq_first: u64,
    sent: Option<Sent>,
    /// Of no use before anything was sent.
    shift: Shift,
    /// First input packet that may pass; older ones belong before the switch.
    ext_seq_min: u64,
    /// Highest input packet that was sent or left out.
    ext_seq_max: u64,
    /// What was left out lately, oldest first, so that a late packet finds the numbers that were
    /// kept for it.
    skips: VecDeque<Skip>,
    /// Timestamp of the last picture that was left out.
    skipped: Option<u32>,
}

impl Rewriter {
    /// A rewriter whose first packet gets this sequence number: below 2^16, because a receiver
    /// begins with a rollover counter of zero (RFC 3711 §3.3.1), and not near its end.
    pub(crate) fn new(seq_first: u16) -> Self {
        Rewriter {
            ext_seq_first: u64::from(seq_first >> 1) + 1,
            sent: None,
            shift: Shift::default(),
            ext_seq_min: 0,
            ext_seq_max: 0,
            skips: VecDeque::new(),
            skipped: None,
        }
    }

    /// Numbers for the first packet of another stream.
    pub(crate) fn start(&mut self, packet: &Packet, marker: bool) -> Rewrite {
        let (picture_id, tl0_pic_idx) = picture_numbers(packet.shape);
        let frame = frame_number(packet);
        let out = match self.sent {
            None => Sent {
                ext_seq: self.ext_seq_first,
                timestamp: packet.timestamp,
                arrival: packet.arrival,
                picture_id,
                tl0_pic_idx,
                frame_number: frame.unwrap_or(0),
            },
            Some(sent) => Sent {
                ext_seq: sent.ext_seq + 1,
                timestamp: sent.timestamp.wrapping_add(elapsed_ticks(&sent, packet)),
                arrival: packet.arrival,
                picture_id: sent.picture_id.wrapping_add(1),
                tl0_pic_idx: sent.tl0_pic_idx.wrapping_add(1),
                // Those without descriptors in between take no number.
                frame_number: sent.frame_number.wrapping_add(u16::from(frame.is_some())),
            },
        };
        let shift = Shift {
            ext_seq: out.ext_seq.wrapping_sub(packet.ext_seq),
            timestamp: out.timestamp.wrapping_sub(packet.timestamp),
            picture_id: out.picture_id.wrapping_sub(picture_id),
            tl0_pic_idx: out.tl0_pic_idx.wrapping_sub(tl0_pic_idx),
            frame_number: out.frame_number.wrapping_sub(frame.unwrap_or(0)),
        };
        self.shift = shift;
        self.ext_seq_min = packet.ext_seq;
        self.ext_seq_max = packet.ext_seq;
        self.skips.clear();
        self.skipped = None;
        self.sent = Some(out);
        out.rewrite(shift, marker)
    }

    /// Numbers for a further packet of the same stream; `None` when it is from before the start, of a
    /// picture that was left out, or from so long ago that its numbers are forgotten.
    pub(crate) fn go_on(&mut self, packet: &Packet, marker: bool) -> Option<Rewrite> {
        let sent = self.sent.as_mut()?;
        let mut shift = self.shift;
        if packet.ext_seq < self.ext_seq_min {
            return None;
        }
        if packet.ext_seq < self.ext_seq_max {
            let oldest = self.skips.front().filter(|_| self.skips.len() == SKIPS_MAX);
            if oldest.is_some_and(|oldest| packet.ext_seq < oldest.ext_seq) {
                return None;
            }
            if self.skips.iter().any(|skip| skip.picture == Some(packet.timestamp)) {
                return None;
            }
            // What was left out behind this packet did not move its numbers.
            for skip in self.skips.iter().filter(|skip| skip.ext_seq > packet.ext_seq) {
                shift.ext_seq = shift.ext_seq.wrapping_add(1);
                shift.picture_id = shift.picture_id.wrapping_add(u16::from(skip.counted));
            }
        } else {
            self.ext_seq_max = packet.ext_seq;
        }
        let out = shift.shifted(packet);
        if out.ext_seq > sent.ext_seq {
            *sent = out;
        }
        Some(out.rewrite(shift, marker))
    }

    /// Numbers for a packet of the same stream behind others that were not sent, and for whose sake
    /// [`Rewriter::skip`] was not called, since it was not known yet whether they would be. It leaves
    /// no gap and keeps the stream's own time. `None` when nothing is missing before it, as it is late.
    ///
    /// For sound: pictures that were not sent stay missing in the numbers of pictures.
    pub(crate) fn resume(&mut self, packet: &Packet) -> Option<Rewrite> {
        let sent = self.sent.as_mut()?;
        if packet.ext_seq <= self.ext_seq_max {
            return None;
        }
        self.shift.ext_seq = (sent.ext_seq + 1).wrapping_sub(packet.ext_seq);
        self.ext_seq_min = packet.ext_seq;
        self.ext_seq_max = packet.ext_seq;
        self.skips.clear();
        *sent = self.shift.shifted(packet);
        // RFC 3551 §4.1: the marker bit is on the first packet after silence.
        Some(sent.rewrite(self.shift, true))
    }

    /// The highest number of the input stream that was sent or left out.
    pub(crate) fn newest(&self) -> u64 {
        self.ext_seq_max
    }

    /// A packet of the stream is left out on purpose: those behind it close the gap. `picture` says
    /// that the viewer gets nothing of its picture.
    pub(crate) fn skip(&mut self, packet: &Packet, picture: bool) {
        if self.sent.is_none() || packet.ext_seq <= self.ext_seq_max {
            return;
        }
        let counted = picture && self.skipped != Some(packet.timestamp);
        if counted {
            self.skipped = Some(packet.timestamp);
            self.shift.picture_id = self.shift.picture_id.wrapping_sub(1);
        }
        self.shift.ext_seq = self.shift.ext_seq.wrapping_sub(1);
        self.ext_seq_max = packet.ext_seq;
        if self.skips.len() == SKIPS_MAX {
            self.skips.pop_front();
        }
        let picture = picture.then_some(packet.timestamp);
        self.skips.push_back(Skip { ext_seq: packet.ext_seq, picture, counted });
    }
}

/// How far the output's clock moves across a switch: by the time between the arrivals, so that the
/// picture neither jumps nor stands, and by one tick at least, so that it is another frame.
fn elapsed_ticks(sent: &Sent, packet: &Packet) -> u32 {
    let elapsed = packet.arrival.saturating_duration_since(sent.arrival);
    let ticks = elapsed.as_micros() * u128::from(packet.codec.clock_hz()) / 1_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX / 2).max(1)
}

fn picture_numbers(shape: Shape) -> (u16, u8) {
    match shape {
        Shape::Pictures(pictures) => {
            (pictures.picture_id.unwrap_or(0), pictures.tl0_pic_idx.unwrap_or(0))
        }
        Shape::Plain | Shape::Block { .. } => (0, 0),
    }
}

/// Second and third byte of a dependency descriptor. Frames that are left out leave gaps in them: what a
/// frame needs is told by distances between numbers, and chains tell gaps from losses.
fn frame_number(packet: &Packet) -> Option<u16> {
    match packet.descriptor.as_deref()? {
        [_, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing;
    use std::time::Duration;

    fn packet(start: Instant, ext_seq: u64, timestamp: u32, picture_id: u16, ms: u64) -> Packet {
        Packet {
            shape: Shape::Pictures(Pictures {
                picture_id: Some(picture_id),
                picture_id_long: true,
                picture_id_at: 2,
                tl0_pic_idx: Some(picture_id as u8),
                tl0_pic_idx_at: 4,
            }),
            arrival: start + Duration::from_millis(ms),
            payload: vec![0u8; 4].into(),
            ..testing::packet(ext_seq, timestamp)
        }
    }

    fn rows(out: &[Rewrite]) -> Vec<(u64, u32, u16, u8)> {
        out.iter().map(|r| (r.ext_seq, r.timestamp, r.picture_id, r.tl0_pic_idx)).collect()
    }

    #[test]
    fn a_switch_leaves_no_gap_and_a_loss_does() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(12); // first number 7
        let out = [
            rewriter.start(&packet(t, 100, 5_000, 50, 0), false),
            rewriter.go_on(&packet(t, 101, 5_000, 50, 1), false).unwrap(),
            rewriter.go_on(&packet(t, 103, 8_000, 51, 33), false).unwrap(),
            rewriter.go_on(&packet(t, 102, 5_000, 50, 34), false).unwrap(),
            rewriter.start(&packet(t, 900, 70_000, 9, 53), false),
            rewriter.go_on(&packet(t, 901, 73_000, 10, 86), false).unwrap(),
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
        assert_eq!(rewriter.go_on(&packet(t, 899, 70_000, 8, 90), false), None);
    }

    #[test]
    fn numbers_wrap_as_on_the_wire() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(0);
        rewriter.start(&packet(t, 1, u32::MAX, 0x7fff, 0), false);
        let next = rewriter.start(&packet(t, 1, 0, 3, 0), false);
        assert_eq!((next.timestamp, next.picture_id), (0, 0));
    }

    #[test]
    fn a_stream_that_resumes_leaves_no_gap_and_keeps_its_time() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(12); // first number 7
        let at = |seq: u64| packet(t, seq, seq as u32 * 960, 0, 0);
        assert_eq!(rewriter.resume(&at(100)), None, "nothing to go on with");
        let mut out = vec![rewriter.start(&at(100), false)];
        out.push(rewriter.go_on(&at(102), false).unwrap());
        // 103 to 149 are not sent; 101 is only late.
        assert_eq!(rewriter.resume(&at(101)), None);
        assert_eq!(rewriter.newest(), 102);
        out.push(rewriter.resume(&at(150)).unwrap());
        assert_eq!(rewriter.go_on(&at(149), false), None, "it would have the number of 102");
        out.push(rewriter.go_on(&at(151), false).unwrap());
        let rows: Vec<_> = out.iter().map(|r| (r.ext_seq, r.timestamp / 960, r.marker)).collect();
        assert_eq!(rows, [(7, 100, false), (9, 102, false), (10, 150, true), (11, 151, false)]);
    }

    #[test]
    fn what_is_left_out_leaves_no_gap() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(12); // first number 7
        let at = |seq, picture: u16| packet(t, seq, u32::from(picture) * 3_000, picture, 0);
        let mut out = vec![rewriter.start(&at(100, 50), false)];
        // Picture 51, two packets, is left out; of picture 53 the first packet is late.
        rewriter.skip(&at(101, 51), true);
        rewriter.skip(&at(102, 51), true);
        out.push(rewriter.go_on(&at(103, 52), false).unwrap());
        out.push(rewriter.go_on(&at(105, 53), false).unwrap());
        rewriter.skip(&at(106, 54), true);
        out.push(rewriter.go_on(&at(107, 55), false).unwrap());
        out.push(rewriter.go_on(&at(104, 53), false).unwrap());
        // What is late may be of a picture that was left out, whatever the viewer gets by now.
        assert_eq!(rewriter.go_on(&at(102, 51), false), None);
        out.push(rewriter.go_on(&at(108, 56), true).unwrap());
        let seqs: Vec<_> = out.iter().map(|r| (r.ext_seq, r.picture_id)).collect();
        assert_eq!(seqs, [(7, 50), (8, 51), (10, 52), (11, 53), (9, 52), (12, 54)]);
        assert!(out[5].marker);
        // Numbers that are forgotten are not guessed.
        for seq in 0..SKIPS_MAX as u64 {
            rewriter.skip(&at(200 + seq, 60), true);
        }
        assert_eq!(rewriter.go_on(&at(109, 57), false), None);
    }

    #[test]
    fn frames_are_numbered_on_across_publishers() {
        let t = Instant::now();
        let mut rewriter = Rewriter::new(0);
        let at = |seq, frame: Option<u16>| {
            let descriptor = frame.map(|frame| [&[0x80][..], &frame.to_be_bytes()].concat().into());
            Packet { descriptor, ..packet(t, seq, 0, 0, 0) }
        };
        let out = [
            rewriter.start(&at(10, Some(0xffff)), false),
            // A frame that another viewer gets leaves its number unused.
            rewriter.go_on(&at(11, Some(1)), false).unwrap(),
            rewriter.start(&at(70, None), false),
            rewriter.go_on(&at(71, None), false).unwrap(),
            rewriter.start(&at(500, Some(300)), false),
            rewriter.go_on(&at(501, Some(301)), false).unwrap(),
        ];
        assert_eq!(out.map(|rewrite| rewrite.frame_number), [0xffff, 1, 1, 1, 2, 3]);
        assert_eq!(out[5].shift.apply(&at(501, Some(301)), None).frame_number, 3, "as repeated");
    }
}
