//! Packets of a stream that did not come, until they come or nobody hopes for them any more.

use std::time::{Duration, Instant};

use antipode_base::limits::MISSING_MAX;

use crate::rtcp::set_length;

/// From one request to the next for the same packet where the round-trip time is not known, as browsers
/// have it.
pub const AGAIN: Duration = Duration::from_millis(100);
/// Requests for one packet, as browsers have it.
const TRIES: u8 = 10;
/// Bytes of one request's entries; what is left is due at once.
const ENTRIES_MAX: usize = 800;
/// Numbers that one entry names behind its first (RFC 4585 §6.2.1).
const MASK: u64 = 16;

#[derive(Clone, Copy, Debug)]
struct Gap {
    number: u64,
    tries: u8,
    /// When to ask for it.
    next: Instant,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Missing {
    /// In the order of their numbers.
    gaps: Vec<Gap>,
}

impl Missing {
    /// Numbers that were skipped.
    pub fn skipped(&mut self, numbers: std::ops::Range<u64>, now: Instant) {
        let start = numbers.start.max(numbers.end.saturating_sub(MISSING_MAX as u64));
        self.gaps.extend((start..numbers.end).map(|number| Gap { number, tries: 0, next: now }));
        let over = self.gaps.len().saturating_sub(MISSING_MAX);
        self.gaps.drain(..over);
    }

    /// One came after all.
    pub fn came(&mut self, number: u64) {
        self.gaps.retain(|gap| gap.number != number);
    }

    /// When to ask.
    pub fn due(&self) -> Option<Instant> {
        self.gaps.iter().map(|gap| gap.next).min()
    }

    /// Asks for all whose time has come (RFC 4585 §6.2.1), at the end of `out`. `ssrcs`: who asks, and of
    /// which stream; `again`: how long until the next request for the same packet.
    pub fn write(&mut self, now: Instant, ssrcs: [u32; 2], again: Duration, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0x81, 205, 0, 0]);
        ssrcs.iter().for_each(|ssrc| out.extend_from_slice(&ssrc.to_be_bytes()));
        let mut entry: Option<(u64, u16)> = None;
        let put = |(first, mask): (u64, u16), out: &mut Vec<u8>| {
            out.extend_from_slice(&(first as u16).to_be_bytes());
            out.extend_from_slice(&mask.to_be_bytes());
        };
        for gap in self.gaps.iter_mut().filter(|gap| gap.next <= now) {
            if out.len() - start >= ENTRIES_MAX {
                break;
            }
            gap.tries += 1;
            gap.next = now + again;
            entry = match entry {
                Some((first, mask)) if gap.number - first <= MASK => {
                    Some((first, mask | 1 << (gap.number - first - 1)))
                }
                full => {
                    full.into_iter().for_each(|full| put(full, out));
                    Some((gap.number, 0))
                }
            };
        }
        entry.into_iter().for_each(|last| put(last, out));
        self.gaps.retain(|gap| gap.tries < TRIES);
        set_length(start, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_again_until_it_comes_or_ten_times() {
        let now = Instant::now();
        let (mut missing, mut out) = (Missing::default(), Vec::new());
        assert_eq!(missing.due(), None);
        missing.skipped(65_535..65_538, now);
        missing.skipped(65_552..65_554, now);
        missing.came(65_536);
        missing.write(now, [1, 2], AGAIN, &mut out);
        // 65535 with 65537 (bit 1); 65552 is 17 behind, and the first of an entry with 65553.
        let head = [0x81, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(out, [&head[..], &[0xff, 0xff, 0, 2, 0, 16, 0, 1]].concat());
        assert_eq!(missing.due(), Some(now + AGAIN));
        missing.came(65_535);
        missing.came(65_552);
        missing.came(65_553);
        for nth in 1..u32::from(TRIES) {
            assert_eq!(missing.due(), Some(now + nth * AGAIN));
            out.clear();
            missing.write(now + nth * AGAIN, [1, 2], AGAIN, &mut out);
            assert_eq!(out[12..], [0, 1, 0, 0], "65537");
        }
        assert_eq!(missing.due(), None);
    }

    #[test]
    fn an_outage_is_bounded_and_so_is_what_asks_for_it() {
        let now = Instant::now();
        let (mut missing, mut out) = (Missing::default(), Vec::new());
        missing.skipped(0..1 << 40, now);
        missing.skipped(1 << 40..(1 << 40) + 5, now);
        missing.write(now, [1, 2], AGAIN, &mut out);
        // A thousand numbers in a row: an entry has seventeen.
        assert_eq!(out.len(), 12 + 4 * MISSING_MAX.div_ceil(17));
        let mut sparse = Missing::default();
        (0..1_000).for_each(|nth| sparse.skipped(nth * 20..nth * 20 + 1, now));
        let mut entries = 0;
        while sparse.due() == Some(now) {
            out.clear();
            sparse.write(now, [1, 2], AGAIN, &mut out);
            assert!(out.len() <= ENTRIES_MAX + 4);
            entries += (out.len() - 12) / 4;
        }
        assert_eq!(entries, 1_000);
    }
}
