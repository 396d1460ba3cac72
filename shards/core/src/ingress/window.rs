//! Which numbers of one sequence came: the highest, and those close below it.

/// What a number is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first of all.
    First,
    /// Above the highest; so many between them have not come.
    Ahead(u64),
    /// Below the highest, and missing until now.
    Late,
    /// It was here before.
    Duplicate,
    /// Too far below to tell.
    Ancient,
}

/// See the module's documentation. Remembers [`Window::SPAN`] numbers.
#[derive(Clone, Debug, Default)]
pub struct Window {
    highest: Option<u64>,
    /// Bit `n`: the highest less `n` came.
    came: [u64; WORDS],
}

const WORDS: usize = 16;

impl Window {
    /// How far below the highest number one is still known: at 1.5 Mbit/s, six seconds.
    pub const SPAN: u64 = WORDS as u64 * 64;

    /// Takes an extended number.
    pub fn offer(&mut self, number: u64) -> Seen {
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            self.came[0] = 1;
            return Seen::First;
        };
        if number > highest {
            self.shift(number - highest);
            self.highest = Some(number);
            self.came[0] |= 1;
            return Seen::Ahead(number - highest - 1);
        }
        let below = highest - number;
        if below >= Self::SPAN {
            return Seen::Ancient;
        }
        let (word, bit) = ((below / 64) as usize, 1 << (below % 64));
        if self.came[word] & bit != 0 {
            return Seen::Duplicate;
        }
        self.came[word] |= bit;
        Seen::Late
    }

    /// Takes a number of 16 bits, which is extended to the nearest one of the highest.
    pub fn offer_wire(&mut self, number: u16) -> Seen {
        self.offer(extend(self.highest, number))
    }

    fn shift(&mut self, by: u64) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        for at in (0..WORDS).rev() {
            let from = |below: usize| at.checked_sub(words + below).map_or(0, |at| self.came[at]);
            let carried = if bits == 0 { 0 } else { from(1) >> (64 - bits) };
            self.came[at] = from(0) << bits | carried;
        }
    }
}

/// The number nearest to the highest so far whose low bits these are; the first has room below it.
pub fn extend(highest: Option<u64>, number: u16) -> u64 {
    let highest = highest.unwrap_or(1 << 16 | u64::from(number));
    let step = number.wrapping_sub(highest as u16) as i16;
    highest.saturating_add_signed(i64::from(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        use Seen::{Ahead, Ancient, Duplicate, First, Late};
        let mut window = Window::default();
        let rows = [
            (5_000, First),
            (5_001, Ahead(0)),
            (5_001, Duplicate),
            (5_004, Ahead(2)),
            (5_003, Late),
            (5_003, Duplicate),
            (5_134, Ahead(129)),
            (5_002, Late),
            (5_001, Duplicate),
            (4_999, Late),
            (3_000, Ancient),
            (9_000, Ahead(3_865)),
            (5_134, Ancient),
            (8_999, Late),
        ];
        for (number, want) in rows {
            assert_eq!(window.offer(number), want, "{number}");
        }
    }

    #[test]
    fn a_number_of_16_bits_wraps() {
        let mut window = Window::default();
        assert_eq!(window.offer_wire(65_535), Seen::First);
        assert_eq!(window.offer_wire(1), Seen::Ahead(1));
        assert_eq!(window.offer_wire(0), Seen::Late);
        assert_eq!(window.offer_wire(65_535), Seen::Duplicate);
        assert_eq!(window.offer_wire(65_534), Seen::Late);
    }

    /// Against a set that forgets nothing.
    #[test]
    fn agrees_with_a_set() {
        let (mut window, mut set) = (Window::default(), std::collections::BTreeSet::new());
        let mut state = 1_u64;
        for step in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = 10_000 + step + (state >> 33) % 700;
            let highest = set.last().copied();
            let seen = window.offer(number);
            let want = match highest {
                None => Seen::First,
                Some(highest) if number > highest => Seen::Ahead(number - highest - 1),
                Some(_) if set.contains(&number) => Seen::Duplicate,
                Some(_) => Seen::Late,
            };
            assert_eq!(seen, want, "step {step}");
            set.insert(number);
        }
    }
}
