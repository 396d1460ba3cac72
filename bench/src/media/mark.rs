//! What each payload carries behind its codec's header, so that the far end knows what became of it.
//!
//! ```text
//!  0       4        8      9     12        20        28      32          36
//!  | magic | source | layer| 0 0 | sequence| clock   | host  | check sum | filler ...
//! ```
//! All numbers are big-endian. The sequence counts the packets of one layer of one source; the clock
//! is the sender's `CLOCK_MONOTONIC` in nanoseconds as the packet left it; `host` tells whether the
//! reader has the same clock. The check sum (CRC-32) covers all before it and the filler.

/// Bytes of a body without filler.
pub const MARK_LEN: usize = 36;
const MAGIC: [u8; 4] = *b"ANTP";

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who sent it, unique in a run.
    pub source: u32,
    /// Simulcast layer, 0 the smallest.
    pub layer: u8,
    /// Counts packets of the layer, from 0.
    pub sequence: u64,
    /// When it was sent, in nanoseconds of the sender's clock.
    pub clock_ns: u64,
    /// The boot that the clock belongs to.
    pub host: u32,
}

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It does not begin as ours do: another's packet, or one that was cut.
    Foreign,
    /// It does, and the check sum is wrong.
    Corrupt,
}

impl Mark {
    /// Appends a body to `out`; it takes `MARK_LEN + filler.len()` bytes.
    pub fn write(&self, filler: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&[self.layer, 0, 0, 0]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.clock_ns.to_be_bytes());
        out.extend_from_slice(&self.host.to_be_bytes());
        let sum = check_sum(&out[start..], filler);
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(filler);
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(body: &[u8]) -> Result<Self, Unread> {
        let (head, filler) = body.split_at_checked(MARK_LEN).ok_or(Unread::Foreign)?;
        if head[..4] != MAGIC {
            return Err(Unread::Foreign);
        }
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if check_sum(&head[..32], filler) != word(32) {
            return Err(Unread::Corrupt);
        }
        Ok(Mark {
            source: word(4),
            layer: head[8],
            sequence: long(12),
            clock_ns: long(20),
            host: word(28),
        })
    }
}

fn check_sum(head: &[u8], filler: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(filler);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark =
        Mark { source: 7, layer: 2, sequence: 1 << 40, clock_ns: 123_456_789_012, host: 9 };

    #[test]
    fn a_body_is_read_as_it_was_written_wherever_it_stands() {
        let mut out = vec![1, 2, 3];
        MARK.write(&[5; 100], &mut out);
        assert_eq!(out.len(), 3 + MARK_LEN + 100);
        assert_eq!(Mark::read(&out[3..]), Ok(MARK));
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let mut body = Vec::new();
        MARK.write(&[5; 20], &mut body);
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let want = if bit < 32 { Unread::Foreign } else { Unread::Corrupt };
            assert_eq!(Mark::read(&bad), Err(want), "bit {bit}");
        }
    }

    #[test]
    fn what_is_cut_is_no_body() {
        let mut body = Vec::new();
        MARK.write(&[5; 20], &mut body);
        for length in 0..body.len() {
            assert!(Mark::read(&body[..length]).is_err(), "{length}");
        }
    }
}
