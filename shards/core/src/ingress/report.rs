//! Receiver reports (RFC 3550 §6.4.2).

use std::time::Instant;

use super::stream::Stream;
use crate::rtcp::{set_length, write_name};

/// Streams that one report is about: five bits count them.
pub const BLOCKS_MAX: usize = 31;

/// Appends a report on streams to `out`, on [`BLOCKS_MAX`] of them at most, and its sender's name, which no
/// compound packet goes without (RFC 3550 §6.5). `cname`: at most 255 bytes.
pub fn write_report(
    now: Instant,
    own: u32,
    cname: &[u8],
    streams: &mut [&mut Stream],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let count = streams.len().min(BLOCKS_MAX);
    out.extend_from_slice(&[0x80 | count as u8, 201, 0, 0]);
    out.extend_from_slice(&own.to_be_bytes());
    streams.iter_mut().take(count).for_each(|stream| stream.block(now, out));
    set_length(start, out);
    write_name(own, cname, out);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ingress::stream::SenderTime;

    #[test]
    fn a_report_of_two_streams() {
        let now = Instant::now();
        let mut streams = [5, 6].map(|ssrc| Stream::new(ssrc, 90_000, true));
        // Of the first, one of four is missing; the second wraps around.
        for (stream, numbers) in [(0, [7, 8, 10]), (1, [65_534, 65_535, 0])] {
            for number in numbers {
                let ext_seq = streams[stream].extend(number);
                assert!(streams[stream].take(ext_seq, 0, now));
            }
        }
        streams[1].sender = Some(SenderTime { ntp: 0x1234_5678 << 16, timestamp: 0, at: now });
        let mut both: Vec<&mut Stream> = streams.iter_mut().collect();
        let mut out = vec![9; 4];
        write_report(now + Duration::from_millis(500), 1, b"bench", &mut both, &mut out);
        let want = [
            &[9, 9, 9, 9, 0x82, 201, 0, 13, 0, 0, 0, 1][..],
            &[0, 0, 0, 5, 64, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[
                0, 0, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80,
                0,
            ],
            &[0x81, 202, 0, 3, 0, 0, 0, 1, 1, 5, b'b', b'e', b'n', b'c', b'h', 0],
        ];
        assert_eq!(out, want.concat());
        // Nothing came since: nothing was lost since. A name may need more zeros behind it.
        out.clear();
        write_report(now, 1, b"", &mut both, &mut out);
        assert_eq!(out[12..16], [0, 0, 0, 1]);
        assert_eq!(out[8 + 2 * 24..], [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0]);
    }
}
