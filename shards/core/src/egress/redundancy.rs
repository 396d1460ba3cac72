//! When one viewer's sound is sent twice (RFC 2198), and how often.
//!
//! ```text
//!              lost >= 2 %              lost >= 5 %
//!   none ---------------------> one <---------------> two        earlier packets in each
//!        <---------------------      below 2.5 %
//!          below 0.5 % for 10 s
//! ```
//!
//! A publisher that sends redundant blocks itself is passed on with no fewer than one. It costs its
//! bitrate once more, but a viewer's first report comes only after seconds.

use std::time::{Duration, Instant};

use antipode_relay::packet::{Packet, Shape};

use crate::forward::Rewrite;
use crate::red::Encoder;

/// Of packets lost: from here on one earlier packet goes along.
const ONE_FROM: f32 = 0.02;
/// From here on two.
const TWO_FROM: f32 = 0.05;
/// Below this one is enough again: half of what asked for the second.
const TWO_UNTIL: f32 = TWO_FROM / 2.0;
/// Below this the path counts as whole.
const WHOLE_BELOW: f32 = 0.005;
/// How long it must be whole before the redundancy ends.
const WHOLE_TIME: Duration = Duration::from_secs(10);
/// The weight of the newest report. Chromium reports on sound every 5 s or so, over some 250 packets
/// of speech: that is much already.
const NEWEST: f32 = 0.5;
/// The longest payload that is sent three times: 20 ms at 64 kbit/s. Longer ones are music, which
/// would crowd out a picture.
const TWICE_MAX: usize = 160;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Redundancy {
    /// Smoothed fraction of packets lost.
    loss: f32,
    /// Earlier packets that go along because of it.
    earlier: usize,
    /// Since when the path has been whole.
    whole: Option<Instant>,
    /// Made when it is first needed: most streams are pictures.
    encoder: Option<Encoder>,
}

impl Redundancy {
    /// The viewer reports the fraction that it lost, in 256ths (RFC 3550 §6.4.1).
    pub(crate) fn report(&mut self, fraction_lost: u8, now: Instant) {
        let newest = f32::from(fraction_lost) / 256.0;
        self.loss += (newest - self.loss) * NEWEST;
        let whole = self.loss < WHOLE_BELOW;
        let since = whole.then(|| *self.whole.get_or_insert(now));
        self.whole = since;
        let over = since.is_some_and(|since| now >= since + WHOLE_TIME);
        self.earlier = match self.earlier {
            _ if self.loss >= TWO_FROM => 2,
            2 if self.loss >= TWO_UNTIL => 2,
            0 if self.loss < ONE_FROM => 0,
            _ if over => 0,
            _ => 1,
        };
    }

    /// Writes a packet's sound with earlier sound before it into `out`; `payload_type` is Opus's,
    /// `pass_on` says that what the publisher sent redundantly may go on so. `false`: it goes as it is,
    /// because the path is good or nothing earlier is at hand.
    pub(crate) fn wrap(
        &mut self,
        payload_type: u8,
        rewrite: &Rewrite,
        packet: &Packet,
        pass_on: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let Shape::Block { sent } = packet.shape else { return false };
        let most = if packet.payload.len() > TWICE_MAX { 1 } else { 2 };
        let distance = self.earlier.max(usize::from(sent && pass_on)).min(most);
        if distance == 0 {
            self.encoder = None;
            return false;
        }
        let encoder = self.encoder.get_or_insert_default();
        encoder.encode(payload_type, rewrite.timestamp, &packet.payload, distance, out);
        out.len() > packet.payload.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Rewriter;
    use crate::forward::testing::packet;
    use crate::red::split;
    use antipode_base::media::Codec;

    const OPUS: u8 = 111;
    /// Packets of 20 ms at 48 kHz.
    const STEP: u32 = 960;

    /// How many earlier packets go along with the last of the four from `timestamp` on.
    fn carried(redundancy: &mut Redundancy, timestamp: u32, shape: Shape, bytes: usize) -> usize {
        let mut rewriter = Rewriter::new(0);
        let mut out = Vec::new();
        let mut wrapped = 0;
        for at in 0..4u8 {
            let packet = Packet {
                codec: Codec::Opus,
                shape,
                payload: vec![at; bytes].into(),
                ..packet(u64::from(at), timestamp + u32::from(at) * STEP)
            };
            let rewrite = match at {
                0 => rewriter.start(&packet, false),
                _ => rewriter.go_on(&packet, false).unwrap(),
            };
            if !redundancy.wrap(OPUS, &rewrite, &packet, true, &mut out) {
                wrapped = 0;
                continue;
            }
            let blocks = split(&out, rewrite.timestamp).unwrap();
            assert_eq!(blocks.primary().payload, &packet.payload[..]);
            for (back, block) in (1..).zip(blocks.redundant().collect::<Vec<_>>().iter().rev()) {
                assert_eq!(
                    (block.payload_type, block.payload),
                    (OPUS, &vec![at - back; bytes][..])
                );
                let time = rewrite.timestamp.wrapping_sub(u32::from(back) * STEP);
                assert_eq!(block.timestamp, time);
            }
            wrapped = blocks.redundant().count();
        }
        wrapped
    }

    #[test]
    fn follows_the_loss_up_at_once_and_down_slowly() {
        let mut redundancy = Redundancy::default();
        let start = Instant::now();
        let percent = |percent: f32| (percent * 2.56).round() as u8;
        // Seconds, percent lost, earlier packets from then on; each report weighs a half.
        let rows = [
            (0, 0.0, 0),
            (5, 2.0, 0),  // 1.2
            (10, 4.0, 1), // 2.5
            (15, 8.0, 2), // 5.4
            (20, 2.0, 2), // 3.7
            (25, 2.0, 2), // 2.9
            (30, 0.0, 1), // 1.4
            (35, 0.0, 1), // 0.7
            (40, 0.0, 1), // 0.4: whole from here
            (45, 2.0, 1), // 1.2: no more
            (50, 0.0, 1), // 0.6
            (55, 0.0, 1), // 0.3: whole again
            (64, 0.0, 1),
            (65, 0.0, 0),
            (70, 12.0, 2),
        ];
        for (second, lost, expected) in rows {
            redundancy.report(percent(lost), start + Duration::from_secs(second.into()));
            let shape = Shape::Block { sent: false };
            assert_eq!(
                carried(&mut redundancy, second * 48_000, shape, 80),
                expected,
                "at {second} s"
            );
        }
    }

    #[test]
    fn wraps_what_may_be_wrapped() {
        let mut redundancy = Redundancy::default();
        let (made, passed) = (Shape::Block { sent: false }, Shape::Block { sent: true });
        assert_eq!(carried(&mut redundancy, 0, made, 80), 0);
        assert_eq!(carried(&mut redundancy, 48_000, passed, 80), 1, "the publisher does it");
        redundancy.report(26, Instant::now());
        for (row, (shape, bytes, expected, why)) in [
            (made, 80, 2, "10 % are lost"),
            (passed, 80, 2, "more than the publisher does"),
            (made, TWICE_MAX, 2, "speech"),
            (made, TWICE_MAX + 1, 1, "music"),
            (made, 1_190, 0, "no room"),
            (Shape::Plain, 80, 0, "encrypted"),
        ]
        .into_iter()
        .enumerate()
        {
            let timestamp = 100_000 + 48_000 * row as u32;
            assert_eq!(carried(&mut redundancy, timestamp, shape, bytes), expected, "{why}");
        }
    }
}
