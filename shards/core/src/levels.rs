//! Loudness of microphones, from the levels that publishers put into each packet (RFC 6464).
//!
//! A microphone is audible in a window when enough of its packets were louder than a threshold;
//! its level is then the mean of those. That is no voice detector: a publisher's V bit, where it is
//! sent, must be set too.

use antipode_relay::packet::Packet;

/// Packets quieter than this do not count, in -dBov. Breathing and fans lie below.
const QUIETEST: i8 = -45;
/// Packets that a window needs above the threshold; 20 ms each, so a fifth of a second of 400 ms.
const PACKETS_MIN: u32 = 10;

/// What one window has heard so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Loudness {
    loud: u32,
    sum: f32,
}

impl Loudness {
    /// Takes in one packet.
    pub(crate) fn hear(&mut self, packet: &Packet) {
        let Some(level) = packet.extensions.audio_level else { return };
        if level >= QUIETEST && packet.extensions.voice_activity != Some(false) {
            self.loud += 1;
            // -dBov to amplitude: 0 is full scale.
            self.sum += 10f32.powf(f32::from(level.min(0)) / 20.0);
        }
    }

    /// Ends the window: its level (0..=1), if it was audible.
    pub(crate) fn take(&mut self) -> Option<f32> {
        let window = std::mem::take(self);
        (window.loud >= PACKETS_MIN).then(|| window.sum / window.loud as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::packet;
    use antipode_relay::packet::Extensions;

    fn heard(level: i8, voice: Option<bool>) -> Packet {
        Packet {
            extensions: Extensions {
                audio_level: Some(level),
                voice_activity: voice,
                orientation: None,
            },
            ..packet(0, 0)
        }
    }

    fn window(level: i8, voice: Option<bool>, packets: usize) -> Option<f32> {
        let mut loudness = Loudness::default();
        (0..packets).for_each(|_| loudness.hear(&heard(level, voice)));
        let level = loudness.take();
        assert_eq!(loudness, Loudness::default(), "a window starts empty");
        level
    }

    #[test]
    fn levels_table() {
        assert_eq!(window(0, None, 20), Some(1.0));
        assert!((window(-20, Some(true), 20).unwrap() - 0.1).abs() < 1e-6);
        assert_eq!(window(-20, Some(true), 9), None, "too short");
        assert_eq!(window(-20, Some(false), 20), None, "no voice");
        assert_eq!(window(-60, None, 20), None, "too quiet");
        assert_eq!(window(i8::MIN, None, 20), None);
    }
}
