//! The RTCP that peers send, and the sender reports that we write.
//!
//! Reading is bounded: one pass, no allocation but for the feedback's own list, and anything that does
//! not parse ends the compound packet (RFC 3550 §6.1) and costs its sender nothing else.

use std::time::Duration;

use antipode_base::limits::FEEDBACK_PACKETS_MAX;
use antipode_base::media::Bitrate;

/// One report block (RFC 3550 §6.4.1) about a stream of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// The stream.
    pub(crate) ssrc: u32,
    /// Fraction lost since the last report, in 1/256.
    pub(crate) fraction_lost: u8,
    /// Middle 32 bits of the NTP time of our last report; 0 when it saw none.
    pub(crate) last_sr: u32,
    /// Time since then at the receiver.
    pub(crate) delay: Duration,
}

/// One packet in a transport-wide feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Transport-wide sequence number.
    pub(crate) seq: u16,
    /// Receiver's clock since the feedback's reference, in units of 250 µs; `None` when lost.
    pub(crate) at: Option<i64>,
}

/// Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransportFeedback {
    /// Reference time in units of 64 ms, 24 bits, signed.
    pub(crate) reference: i32,
    /// In the order of their sequence numbers.
    pub(crate) arrivals: Vec<Arrival>,
}

/// What a peer says, of what it sends or of what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// Its clock (RFC 3550 §6.4.1).
    Sender {
        /// The stream that it sends.
        ssrc: u32,
        /// Its wall clock: seconds since 1900 in the upper 32 bits.
        ntp: u64,
        /// RTP timestamp at that time.
        timestamp: u32,
    },
    /// When our time came (RFC 3611 §4.5).
    TimeHeard {
        /// Middle 32 bits of it.
        told: u32,
        /// How long ago that was.
        delay: Duration,
    },
    /// How a stream of ours arrives.
    Report(ReportBlock),
    /// Packets of a stream that are missing (RFC 4585 §6.2.1): the first, and a mask of the next 16.
    Nack {
        /// The stream.
        ssrc: u32,
        /// Packet id.
        first: u16,
        /// Bit n: `first + n + 1` is missing too.
        mask: u16,
    },
    /// A decoder lost the thread (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    Keyframe {
        /// The stream.
        ssrc: u32,
    },
    /// Arrivals of everything that we sent.
    Transport(TransportFeedback),
    /// No more than this, please (REMB, draft-alvestrand-rmcat-remb-03 §2.2).
    Cap(Bitrate),
}

/// Reads a compound packet.
pub(crate) fn read(mut compound: &[u8], mut take: impl FnMut(Feedback)) {
    while let Some((head, rest)) = compound.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let Some((body, rest)) = rest.split_at_checked(length) else { return };
        if head[0] >> 6 != 2 {
            return;
        }
        let count = head[0] & 0x1f;
        match (head[1], count) {
            (200, _) => {
                read_sender(body, &mut take);
                read_blocks(body.get(24..).unwrap_or_default(), count, &mut take);
            }
            (201, _) => read_blocks(body.get(4..).unwrap_or_default(), count, &mut take),
            (205, 1) => read_nacks(body, &mut take),
            (205, 15) => {
                if let Some(feedback) = read_transport(body) {
                    take(Feedback::Transport(feedback));
                }
            }
            (206, 1) => read_keyframes(body.get(4..8).unwrap_or_default(), &mut take),
            (206, 15) => {
                if let Some(rate) = read_remb(body) {
                    take(Feedback::Cap(rate));
                }
            }
            (206, 4) => read_keyframes(body.get(8..).unwrap_or_default(), &mut take),
            (207, _) => read_extended(body.get(4..).unwrap_or_default(), &mut take),
            _ => {}
        }
        compound = rest;
    }
}

fn read_sender(body: &[u8], take: &mut impl FnMut(Feedback)) {
    let Some(head) = body.first_chunk::<16>() else { return };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let ntp = u64::from(word(4)) << 32 | u64::from(word(8));
    take(Feedback::Sender { ssrc: word(0), ntp, timestamp: word(12) });
}

/// Blocks of RFC 3611 §3, of which those of type 5 answer us: twelve bytes to each that told its time.
fn read_extended(mut blocks: &[u8], take: &mut impl FnMut(Feedback)) {
    while let Some((head, rest)) = blocks.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let Some((body, rest)) = rest.split_at_checked(length) else { return };
        for answer in body.chunks_exact(12).filter(|_| head[0] == 5) {
            let word = |at: usize| {
                u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
            };
            take(Feedback::TimeHeard { told: word(4), delay: compact(word(8)) });
        }
        blocks = rest;
    }
}

/// A time in units of 1/65536 s.
fn compact(units: u32) -> Duration {
    Duration::from_micros(u64::from(units) * 1_000_000 / 65_536)
}

fn read_blocks(blocks: &[u8], count: u8, take: &mut impl FnMut(Feedback)) {
    for block in blocks.chunks_exact(24).take(usize::from(count)) {
        let word = |at: usize| {
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        take(Feedback::Report(ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            last_sr: word(16),
            delay: compact(word(20)),
        }));
    }
}

fn read_nacks(body: &[u8], take: &mut impl FnMut(Feedback)) {
    let Some((ids, entries)) = body.split_first_chunk::<8>() else { return };
    let ssrc = u32::from_be_bytes([ids[4], ids[5], ids[6], ids[7]]);
    for entry in entries.chunks_exact(4) {
        let first = u16::from_be_bytes([entry[0], entry[1]]);
        let mask = u16::from_be_bytes([entry[2], entry[3]]);
        take(Feedback::Nack { ssrc, first, mask });
    }
}

/// ```text
///   | SSRC | 0 | 'R' 'E' 'M' 'B' | count | exponent (6) mantissa (18) | SSRCs ... |
/// ```
fn read_remb(body: &[u8]) -> Option<Bitrate> {
    let (name, rest) = body.get(8..)?.split_first_chunk::<4>()?;
    let [_count, high, middle, low] = *rest.first_chunk::<4>()?;
    let mantissa = u64::from(high & 3) << 16 | u64::from(middle) << 8 | u64::from(low);
    let exponent = u32::from(high >> 2);
    // What leaves 64 bits is more than anything: the estimator has its own ceiling.
    let fits = exponent <= mantissa.leading_zeros();
    (name == b"REMB").then(|| Bitrate(if fits { mantissa << exponent } else { u64::MAX }))
}

/// SSRCs, eight bytes apart.
fn read_keyframes(entries: &[u8], take: &mut impl FnMut(Feedback)) {
    for entry in entries.chunks(8) {
        if let Some(ssrc) = entry.first_chunk() {
            take(Feedback::Keyframe { ssrc: u32::from_be_bytes(*ssrc) });
        }
    }
}

/// ```text
///   | SSRC | SSRC | base seq | count | reference (24) | fb count | chunks ... | deltas ... |
///   chunk: 0 SS run length (13)   run of one symbol
///          1 0 14 × 1 bit         received or not
///          1 1 7 × 2 bits         not, small delta, large delta
/// ```
fn read_transport(body: &[u8]) -> Option<TransportFeedback> {
    let (head, mut rest) = body.split_first_chunk::<16>()?;
    let base = u16::from_be_bytes([head[8], head[9]]);
    let count = usize::from(u16::from_be_bytes([head[10], head[11]])).min(FEEDBACK_PACKETS_MAX);
    // 24 bits, signed: shifted up and down again.
    let reference = i32::from_be_bytes([head[12], head[13], head[14], 0]) >> 8;
    // Each with its symbol in the place of its time, until the times are read.
    let mut arrivals: Vec<Arrival> = Vec::with_capacity(count);
    while arrivals.len() < count {
        let (chunk, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let chunk = u16::from_be_bytes(*chunk);
        let (run, bits) = match chunk >> 14 {
            0 | 1 => (usize::from(chunk & 0x1fff), 0),
            2 => (14, 1),
            _ => (7, 2),
        };
        if run == 0 {
            return None;
        }
        for left in (0..run).rev().take(count - arrivals.len()) {
            let symbol = match bits {
                0 => chunk >> 13 & 3,
                _ => chunk >> (bits * left) & ((1 << bits) - 1),
            };
            let seq = base.wrapping_add(arrivals.len() as u16);
            arrivals.push(Arrival { seq, at: Some(i64::from(symbol)) });
        }
    }
    let mut clock = 0i64;
    for arrival in &mut arrivals {
        let delta = match arrival.at {
            Some(0) => None,
            Some(1) => {
                let (delta, after) = rest.split_first()?;
                rest = after;
                Some(i64::from(*delta))
            }
            Some(2) => {
                let (delta, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                Some(i64::from(i16::from_be_bytes(*delta)))
            }
            _ => return None,
        };
        clock += delta.unwrap_or(0);
        arrival.at = delta.map(|_| clock);
    }
    Some(TransportFeedback { reference, arrivals })
}

/// What a sender report says of a stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport<'a> {
    /// The stream.
    pub(crate) ssrc: u32,
    /// Wall clock of the publisher at `timestamp`: seconds since 1900 in the upper 32 bits.
    pub(crate) ntp: u64,
    /// RTP timestamp as the viewer sees it.
    pub(crate) timestamp: u32,
    /// Packets sent so far, modulo 2^32.
    pub(crate) packets: u32,
    /// Payload bytes sent so far, modulo 2^32.
    pub(crate) bytes: u32,
    /// Canonical name; the same for all that one member publishes. At most 255 bytes.
    pub(crate) cname: &'a str,
}

impl SenderReport<'_> {
    /// Writes the compound packet of report and source description.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0x80, 200, 0, 6]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.ntp.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        write_name(self.ssrc, self.cname.as_bytes(), out);
    }
}

/// Appends the name of who sends a compound packet, which none goes without (RFC 3550 §6.5). `cname`: at most
/// 255 bytes.
pub(crate) fn write_name(ssrc: u32, cname: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let cname = &cname[..cname.len().min(255)];
    out.extend_from_slice(&[0x81, 202, 0, 0]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, cname.len() as u8]);
    out.extend_from_slice(cname);
    // At least one zero ends the list of items.
    out.resize(start + (out.len() - start + 1).next_multiple_of(4), 0);
    set_length(start, out);
}

/// Writes how long the packet is that begins at `start` and ends with `out` (RFC 3550 §6.4.1).
pub(crate) fn set_length(start: usize, out: &mut [u8]) {
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Feedback> {
        let mut list = Vec::new();
        read(bytes, |feedback| list.push(feedback));
        list
    }

    #[test]
    fn a_cap() {
        let remb = |exponent: u8, mantissa: u32| {
            let [_, high, middle, low] = mantissa.to_be_bytes();
            let mut bytes = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
            bytes.extend(b"REMB");
            bytes.extend([1, exponent << 2 | high, middle, low, 0, 0, 0, 9]);
            bytes
        };
        for (exponent, mantissa, want) in [
            (2, 125_000, 500_000),
            (0, 0x3ffff, 0x3ffff),
            (63, 0x3ffff, u64::MAX),
            (50, 0x20001, u64::MAX),
            (63, 0, 0),
        ] {
            assert_eq!(all(&remb(exponent, mantissa)), [Feedback::Cap(Bitrate(want))]);
        }
        let mut other = remb(1, 1);
        other[12] = b'X';
        assert_eq!(all(&other), []);
    }

    #[test]
    fn a_receiver_report_and_a_nack() {
        let bytes = [
            0x81, 201, 0, 7, 0, 0, 0, 1, // RR with one block
            0, 0, 0, 9, 64, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 3, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0,
            0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 0x00, 0x64, 0x00,
            0x05, // NACK 100, 101, 103
            0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, // PLI
            0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 3, 0, 0, 0, // FIR
        ];
        assert_eq!(
            all(&bytes),
            [
                Feedback::Report(ReportBlock {
                    ssrc: 9,
                    fraction_lost: 64,
                    last_sr: 0x1234_5678,
                    delay: Duration::from_millis(500),
                }),
                Feedback::Nack { ssrc: 9, first: 100, mask: 5 },
                Feedback::Keyframe { ssrc: 9 },
                Feedback::Keyframe { ssrc: 8 },
            ]
        );
        for cut in 0..bytes.len() {
            assert!(all(&bytes[..cut]).len() < 4, "{cut}");
        }
    }

    #[test]
    fn clocks_of_a_sender_and_answers_to_ours() {
        let bytes = [
            // SR without blocks: its time, its timestamp, two counters.
            0x80, 200, 0, 6, 0, 0, 0, 9, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0,
            8, // XR of a time of its own, and of answers to two of us.
            0x80, 207, 0, 11, 0, 0, 0, 9, 4, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 6, 0, 0, 0,
            7, 0, 1, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 8, 0, 2, 0, 0, 0, 1, 0, 0,
        ];
        let heard = |told, ms| Feedback::TimeHeard { told, delay: Duration::from_millis(ms) };
        let sender = Feedback::Sender { ssrc: 9, ntp: 0x1_8000_0000, timestamp: 5 };
        assert_eq!(all(&bytes), [sender, heard(0x1_8000, 500), heard(0x2_0000, 1_000)]);
        for cut in 0..bytes.len() {
            assert!(all(&bytes[..cut]).len() < 2, "{cut}");
        }
        // A block that says it is longer than the packet is none.
        let mut long = bytes;
        long[28 + 23] = 7;
        assert_eq!(all(&long).len(), 1);
    }

    #[test]
    fn transport_feedback_of_all_chunk_kinds() {
        let bytes = [
            0x8f,
            205,
            0,
            8,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            9, // header, SSRCs
            0xff,
            0xfe,
            0,
            12,
            0xff,
            0xff,
            0xfe,
            7, // base 65534, 12 packets, reference -2
            0x20,
            0x02, // run of 2 small deltas
            0xd2,
            0x00, // two-bit: small, not, large, not, not, not, not
            0x80 | 0x20,
            0x00, // one-bit: received first of three
            4,
            8, // run
            1,
            0xff,
            0xfc, // small 1, large -4
            2,    // one-bit
            0,
            0,
            0,
            0, // padding
        ];
        let [Feedback::Transport(feedback)] = &all(&bytes)[..] else { panic!("no feedback") };
        assert_eq!(feedback.reference, -2);
        let rows: Vec<_> = feedback.arrivals.iter().map(|a| (a.seq, a.at)).collect();
        let want = [
            (65534, Some(4)),
            (65535, Some(12)),
            (0, Some(13)),
            (1, None),
            (2, Some(9)),
            (3, None),
            (4, None),
            (5, None),
            (6, None),
            (7, Some(11)),
            (8, None),
            (9, None),
        ];
        assert_eq!(rows, want);
        // Whatever is cut off, nothing is invented.
        for cut in 12..34 {
            let mut short = bytes[..cut].to_vec();
            short[3] = ((cut - 4) / 4) as u8;
            all(&short);
        }
    }

    #[test]
    fn an_absurd_feedback_is_bounded() {
        // 65,535 packets in runs of zero: refused. In runs of 8,191: cut.
        let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        let mut zero = bytes.clone();
        zero.extend_from_slice(&[0, 0, 0, 0]);
        zero[3] = 5;
        assert_eq!(all(&zero), []);
        bytes.extend_from_slice(&[0x1f, 0xff, 0, 0]);
        bytes[3] = 5;
        let [Feedback::Transport(feedback)] = &all(&bytes)[..] else { panic!("no feedback") };
        assert_eq!(feedback.arrivals.len(), FEEDBACK_PACKETS_MAX);
    }

    #[test]
    fn a_sender_report_in_bytes() {
        let report = SenderReport {
            ssrc: 7,
            ntp: 0x0102_0304_0506_0708,
            timestamp: 9,
            packets: 10,
            bytes: 11,
            cname: "PA_x",
        };
        let mut out = Vec::new();
        report.write(&mut out);
        assert_eq!(
            out,
            [
                0x80, 200, 0, 6, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0,
                0, 11, //
                0x81, 202, 0, 3, 0, 0, 0, 7, 1, 4, b'P', b'A', b'_', b'x', 0, 0,
            ]
        );
    }
}
