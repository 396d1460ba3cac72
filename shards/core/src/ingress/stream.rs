//! One stream that comes in: its numbers, what is missing of it, its report block.

use std::time::Instant;

use super::missing::Missing;
use super::window::{Seen, Window, extend};

/// What a sender report says of its sender's clock (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderTime {
    /// Wall clock: seconds since 1900 in the upper 32 bits.
    pub ntp: u64,
    /// RTP timestamp at that time.
    pub timestamp: u32,
    /// When the report came.
    pub at: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub ssrc: u32,
    /// Ticks of its timestamps a second.
    pub clock_hz: u32,
    /// What is missing may be asked for again (RFC 4588).
    pub repeated: bool,
    /// The last sender report.
    pub sender: Option<SenderTime>,
    /// Packets that did not come.
    pub missing: Missing,
    highest: Option<u64>,
    came: Window,
    first: u64,
    received: u64,
    /// What was expected and received by the last report.
    reported: [u64; 2],
    /// When the last packet came, its timestamp, and how much that varies, in ticks (RFC 3550 §6.4.1).
    last: Option<(Instant, u32)>,
    jitter: f64,
}

impl Stream {
    /// One of which nothing came yet.
    pub fn new(ssrc: u32, clock_hz: u32, repeated: bool) -> Self {
        Stream {
            ssrc,
            clock_hz,
            repeated,
            sender: None,
            missing: Missing::default(),
            highest: None,
            came: Window::default(),
            first: 0,
            received: 0,
            reported: [0; 2],
            last: None,
            jitter: 0.0,
        }
    }

    /// The packet's index (RFC 3711 §3.3.1): the first has not rolled over.
    pub fn extend(&self, seq: u16) -> u64 {
        extend(Some(self.highest.unwrap_or(seq.into())), seq)
    }

    /// Takes a packet in. `false` when it was here before, or is too old to tell.
    pub fn take(&mut self, ext_seq: u64, timestamp: u32, at: Instant) -> bool {
        match self.came.offer(ext_seq) {
            Seen::First => self.first = ext_seq,
            Seen::Ahead(gap) => {
                if self.repeated {
                    self.missing.skipped(ext_seq - gap..ext_seq, at);
                }
            }
            Seen::Late => self.missing.came(ext_seq),
            Seen::Duplicate | Seen::Ancient => return false,
        }
        self.highest = self.highest.max(Some(ext_seq));
        self.received += 1;
        self.time(timestamp, at);
        true
    }

    /// Takes a repeat of one of its packets in. `false` when that was here before.
    pub fn mend(&mut self, ext_seq: u64) -> bool {
        self.missing.came(ext_seq);
        // What is ahead of the highest is no repeat of anything that was missed.
        self.highest.is_some_and(|highest| ext_seq < highest)
            && self.came.offer(ext_seq) == Seen::Late
    }

    fn time(&mut self, timestamp: u32, at: Instant) {
        if let Some((before, then)) = self.last {
            let ticks =
                at.saturating_duration_since(before).as_secs_f64() * f64::from(self.clock_hz);
            let late = ticks - f64::from(timestamp.wrapping_sub(then) as i32);
            self.jitter += (late.abs() - self.jitter) / 16.0;
        }
        self.last = Some((at, timestamp));
    }

    /// Whether anything came that a report would be about.
    pub fn is_heard(&self) -> bool {
        self.highest.is_some()
    }

    /// Packets that were expected and those that came, since the first.
    pub fn counts(&self) -> [u64; 2] {
        [self.highest.map_or(0, |highest| highest - self.first + 1), self.received]
    }

    /// Appends its report block (RFC 3550 §6.4.1).
    pub fn block(&mut self, now: Instant, out: &mut Vec<u8>) {
        let highest = self.highest.unwrap_or_default();
        let [expected, _] = self.counts();
        let [expected_before, received_before] = self.reported;
        let since = expected.saturating_sub(expected_before);
        let lost = since.saturating_sub(self.received - received_before);
        let fraction = (lost * 256).checked_div(since).unwrap_or(0).min(255) as u8;
        self.reported = [expected, self.received];
        // 24 bits.
        let lost_ever = expected.saturating_sub(self.received).min(0x7f_ffff) as u32;
        let (last_sr, delay) = self.sender.map_or((0, 0), |sender| {
            let delay = now.saturating_duration_since(sender.at);
            ((sender.ntp >> 16) as u32, (delay.as_micros() * 65_536 / 1_000_000) as u32)
        });
        let words = [
            self.ssrc,
            u32::from(fraction) << 24 | lost_ever,
            highest as u32,
            self.jitter as u32,
            last_sr,
            delay,
        ];
        words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stream(repeated: bool) -> Stream {
        Stream::new(1, 90_000, repeated)
    }

    #[test]
    fn numbers_go_on_past_their_end_and_come_once() {
        let (mut stream, now) = (stream(true), Instant::now());
        for (seq, ext_seq, news) in [
            (65_534, 65_534, true),
            (65_535, 65_535, true),
            (1, 65_537, true),
            (65_535, 65_535, false),
            (0, 65_536, true),
            (0, 65_536, false),
        ] {
            assert_eq!(stream.extend(seq), ext_seq);
            assert_eq!(stream.take(ext_seq, 0, now), news, "{ext_seq}");
        }
        assert_eq!(stream.missing.due(), None, "what came late is not asked for");
    }

    #[test]
    fn a_repeat_mends_once() {
        let (mut stream, now) = (stream(true), Instant::now());
        stream.take(10, 0, now);
        stream.take(12, 0, now);
        assert_eq!(stream.missing.due(), Some(now));
        assert!(!stream.mend(13), "it was not missed");
        assert!(stream.mend(11));
        assert_eq!(stream.missing.due(), None);
        assert!(!stream.mend(11) && !stream.take(11, 0, now) && !stream.mend(12));
        let (mut sound, now) = (self::stream(false), Instant::now());
        sound.take(10, 0, now);
        sound.take(12, 0, now);
        assert_eq!(sound.missing.due(), None, "nobody repeats it");
    }

    #[test]
    fn jitter_is_what_arrival_differs_from_the_timestamps() {
        let (mut stream, now) = (stream(true), Instant::now());
        // Each tenth of a second 9,000 ticks, as it should be; then 20 ms late, which is 1,800.
        for nth in 0..5 {
            stream.take(nth, nth as u32 * 9_000, now + Duration::from_millis(100) * nth as u32);
        }
        assert!(stream.jitter < 1e-6, "{}", stream.jitter);
        stream.take(5, 45_000, now + Duration::from_millis(520));
        assert!((stream.jitter - 1_800.0 / 16.0).abs() < 1e-6, "{}", stream.jitter);
    }
}
