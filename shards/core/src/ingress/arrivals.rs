//! Transport-wide feedback: when each packet of a peer connection came, told twenty times a second
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use std::time::{Duration, Instant};

use antipode_base::limits::FEEDBACK_REPORTED_MAX;

use super::window::extend;
use crate::rtcp::set_length;

/// From one report to the next: browsers take this where bandwidth allows it.
const INTERVAL: Duration = Duration::from_millis(50);
/// A packet that comes so long before has all before it told of at once: the shard is awake for it.
const EARLY: Duration = Duration::from_millis(25);
/// Units of a delta and of the reference time.
const TICK_US: u128 = 250;
const REFERENCE_TICKS: i64 = 256;
/// Bytes of one report's deltas.
const DELTAS_MAX: usize = 600;
/// The longest run that one chunk tells.
const RUN_MAX: usize = 0x1fff;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// What is not told yet, as it came: extended numbers, and ticks since the first packet of all.
    fresh: Vec<(u64, i64)>,
    /// The first packet, from which times are counted.
    origin: Option<Instant>,
    highest: Option<u64>,
    /// The number behind the last that was told of.
    next: Option<u64>,
    due: Option<Instant>,
    reports: u8,
}

impl Arrivals {
    /// A packet of this number came.
    pub fn note(&mut self, seq: u16, at: Instant) {
        let number = extend(self.highest, seq);
        self.highest = self.highest.max(Some(number));
        let origin = *self.origin.get_or_insert(at);
        let ticks = at.saturating_duration_since(origin).as_micros() / TICK_US;
        self.fresh.push((number, ticks as i64));
        let due = self.due.get_or_insert(at + INTERVAL);
        if self.fresh.len() as u64 >= FEEDBACK_REPORTED_MAX {
            *due = at;
        } else if at + EARLY >= *due {
            // Past by now for certain: `at` may be after the turn began.
            *due = (*due).min(at - EARLY);
        }
    }

    /// When to tell.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Appends one report to `out`, of all that came by `now` or of the first part of it; what is left is
    /// due at once. What came later waits for the next, since what came before that may not have been read
    /// yet, and would be told of as lost. `ssrcs`: who tells, and of whom.
    pub fn write(&mut self, now: Instant, ssrcs: [u32; 2], out: &mut Vec<u8>) {
        let by = now.saturating_duration_since(self.origin.unwrap_or(now)).as_micros() / TICK_US;
        let later: Vec<_> = self.fresh.extract_if(.., |(_, ticks)| *ticks > by as i64).collect();
        self.due = None;
        if !self.fresh.is_empty() {
            self.tell(now, ssrcs, out);
        }
        if !later.is_empty() {
            self.fresh.extend(later);
            self.due.get_or_insert(now + INTERVAL);
        }
    }

    fn tell(&mut self, now: Instant, ssrcs: [u32; 2], out: &mut Vec<u8>) {
        self.fresh.sort_unstable();
        self.fresh.dedup_by_key(|(number, _)| *number);
        let first = self.fresh.first().map_or(0, |(number, _)| *number);
        // Those between the last report and this did not come, unless it is too long ago.
        let base = self.next.filter(|next| *next <= first && first - next < FEEDBACK_REPORTED_MAX);
        let base = base.unwrap_or(first);
        let reference =
            self.fresh.first().map_or(0, |(_, ticks)| ticks.div_euclid(REFERENCE_TICKS));
        let (mut symbols, mut deltas) = (Vec::new(), Vec::new());
        let mut clock = reference * REFERENCE_TICKS;
        let mut told = 0;
        for (number, ticks) in &self.fresh {
            // A pause of eight seconds fits no delta, and begins another report.
            let Ok(delta) = i16::try_from(ticks - clock) else { break };
            if number - base >= FEEDBACK_REPORTED_MAX || deltas.len() >= DELTAS_MAX {
                break;
            }
            clock = *ticks;
            symbols.resize((number - base) as usize, 0u8);
            match u8::try_from(delta) {
                Ok(small) => {
                    symbols.push(1);
                    deltas.push(small);
                }
                Err(_) => {
                    symbols.push(2);
                    deltas.extend_from_slice(&delta.to_be_bytes());
                }
            }
            told += 1;
        }
        self.fresh.drain(..told);
        self.next = Some(base + symbols.len() as u64);
        self.due = (!self.fresh.is_empty()).then_some(now);
        let start = out.len();
        out.extend_from_slice(&[0x8f, 205, 0, 0]);
        ssrcs.iter().for_each(|ssrc| out.extend_from_slice(&ssrc.to_be_bytes()));
        out.extend_from_slice(&(base as u16).to_be_bytes());
        out.extend_from_slice(&(symbols.len() as u16).to_be_bytes());
        out.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out.push(self.reports);
        self.reports = self.reports.wrapping_add(1);
        write_chunks(&symbols, out);
        out.extend_from_slice(&deltas);
        out.resize(start + (out.len() - start).next_multiple_of(4), 0);
        set_length(start, out);
    }
}

/// §3.1.2: a run of one symbol, fourteen symbols of one bit, or seven of two.
fn write_chunks(mut symbols: &[u8], out: &mut Vec<u8>) {
    while let Some(&first) = symbols.first() {
        let run = symbols.iter().take(RUN_MAX).take_while(|symbol| **symbol == first).count();
        let vector = |count: usize, bits: usize| {
            let list = symbols.iter().take(count).enumerate();
            list.fold(0u16, |all, (at, symbol)| {
                all | u16::from(*symbol) << (bits * (count - 1 - at))
            })
        };
        let (chunk, count) = if run >= 14 || run == symbols.len() {
            (u16::from(first) << 13 | run as u16, run)
        } else if symbols.iter().take(14).all(|symbol| *symbol < 2) {
            (0x8000 | vector(14, 1), 14)
        } else {
            (0xc000 | vector(7, 2), 7)
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        symbols = &symbols[count.min(symbols.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(arrivals: &mut Arrivals, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        arrivals.write(now, [1, 9], &mut out);
        out
    }

    #[test]
    fn all_kinds_of_chunks() {
        let now = Instant::now();
        let ms = |ms: u64| now + Duration::from_millis(ms);
        let mut arrivals = Arrivals::default();
        arrivals.note(65_530, now);
        assert_eq!(arrivals.due(), Some(ms(50)));
        let head = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 9];
        let want = [&head[..], &[0xff, 0xfa, 0, 1, 0, 0, 0, 0, 0x20, 1, 0, 0]].concat();
        assert_eq!(report(&mut arrivals, ms(50)), want, "a run of one");
        assert_eq!(arrivals.due(), None);
        // 65531 is lost; 65532 to 1 after 130 ms, 65535 late, and 3 after a pause of 100 ms.
        for (seq, at) in [(65_532, 130), (65_533, 130), (65_534, 131), (0, 131), (1, 131)] {
            arrivals.note(seq, ms(at));
        }
        arrivals.note(65_535, ms(132));
        arrivals.note(3, ms(232));
        let want = [
            &[0x8f, 205, 0, 8, 0, 0, 0, 1, 0, 0, 0, 9][..],
            // From 65531, nine; two times 64 ms; the second report.
            &[0xff, 0xfb, 0, 9, 0, 0, 2, 1],
            // 0 1 1 1 1 2 1, then 0 2 and nothing.
            &[0xc0 | 0b01_01, 0b01_01_10_01, 0xc0 | 0b00_10_00, 0],
            // 2 ms, 0, 1 ms, 1 ms, -1 ms, 0, 101 ms
            &[8, 0, 4, 4, 0xff, 0xfc, 0, 1, 0x94],
            &[0, 0, 0],
        ];
        assert_eq!(report(&mut arrivals, ms(240)), want.concat());
    }

    #[test]
    fn a_run_and_a_vector_of_bits() {
        let mut out = Vec::new();
        let symbols = [&[1; 20][..], &[0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]].concat();
        write_chunks(&symbols, &mut out);
        assert_eq!(out, [0x20, 20, 0x80 | 0b01_0010, 0b0000_0001, 0x20, 1]);
    }

    /// Sound is read before the pictures that came with it, and in the midst of a turn.
    #[test]
    fn what_came_after_the_turn_began_waits_for_the_next_report() {
        let now = Instant::now();
        let ms = |ms: u64| now + Duration::from_millis(ms);
        let mut arrivals = Arrivals::default();
        for (seq, at) in [(1, 0), (2, 40), (5, 53)] {
            arrivals.note(seq, ms(at));
        }
        assert_eq!(arrivals.due(), Some(ms(15)), "with the second packet");
        assert_eq!(report(&mut arrivals, ms(50))[12..16], [0, 1, 0, 2], "1 and 2");
        assert_eq!(arrivals.due(), Some(ms(100)));
        for (seq, at) in [(3, 51), (4, 52)] {
            arrivals.note(seq, ms(at));
        }
        let told = report(&mut arrivals, ms(100));
        assert_eq!(told[12..16], [0, 3, 0, 3], "3 to 5");
        assert_eq!(told[20..22], [0x20, 3], "and none of them is missing");
        assert_eq!(arrivals.due(), None);
        arrivals.note(6, ms(120));
        assert_eq!(report(&mut arrivals, ms(110)), [], "nothing to tell yet");
        assert_eq!(arrivals.due(), Some(ms(160)));
    }

    #[test]
    fn a_long_pause_begins_another_report() {
        let now = Instant::now();
        let mut arrivals = Arrivals::default();
        arrivals.note(5, now);
        arrivals.note(6, now + Duration::from_secs(9));
        let later = now + Duration::from_secs(10);
        assert_eq!(report(&mut arrivals, later)[12..16], [0, 5, 0, 1]);
        assert_eq!(arrivals.due(), Some(later));
        // 9 s are 140 times 64 ms and 40 ms.
        assert_eq!(report(&mut arrivals, later)[12..23], [0, 6, 0, 1, 0, 0, 140, 1, 0x20, 1, 160]);
        assert_eq!(arrivals.due(), None);
        // What jumped far ahead is told of without all that lies between.
        arrivals.note(5_000, later);
        assert_eq!(report(&mut arrivals, later)[12..16], [0x13, 0x88, 0, 1]);
    }
}
