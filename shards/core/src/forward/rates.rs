//! What each layer of a track costs: measured, and until then as its publisher announces it.

use std::time::{Duration, Instant};

use antipode_base::limits::LAYERS_MAX;
use antipode_base::media::{Bitrate, Layer};
use antipode_relay::packet::{Announced, Packet};

/// Temporal layers that are told apart; those above count with the last.
const TEMPORALS: usize = Announced::TEMPORALS;
/// How long a window is. Long enough for some pictures, short enough to see a change of mind.
const WINDOW: Duration = Duration::from_millis(500);
/// Header, extensions and tag of one packet, bytes; the estimate is of UDP payloads too.
const OVERHEAD: u32 = 42;

/// Bits a second by layer and temporal layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates([[f32; TEMPORALS]; LAYERS_MAX]);

impl Rates {
    /// What a viewer of this much costs: with SVC the lower layers go along.
    pub(crate) fn of(&self, layer: Layer, temporal: u8, svc: bool) -> Bitrate {
        let temporals = (usize::from(temporal) + 1).min(TEMPORALS);
        let from = if svc { 0 } else { layer.index() };
        let layers = self.0.get(from..=layer.index()).unwrap_or_default();
        let sum: f32 = layers.iter().map(|layer| layer[..temporals].iter().sum::<f32>()).sum();
        Bitrate(sum as u64)
    }

    /// The highest temporal layer that anything was seen of.
    pub(crate) fn temporal_top(&self, layer: Layer) -> u8 {
        let of = self.0.get(layer.index());
        of.and_then(|of| of.iter().rposition(|rate| *rate > 0.0)).unwrap_or(0) as u8
    }
}

/// Measures [`Rates`]. A layer that stops keeps its last rate: it will cost that much again.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateMeter {
    rates: Rates,
    /// Layers whose rates are not those that were announced.
    measured: [bool; LAYERS_MAX],
    bytes: [[u32; TEMPORALS]; LAYERS_MAX],
    /// Timestamps of the last keyframes. They are left out: now and then one comes that is ten times as
    /// large as any other picture, and a switch of layers itself asks for one.
    keyframes: [Option<u32>; LAYERS_MAX],
    since: Option<Instant>,
}

impl RateMeter {
    /// Takes in one packet.
    pub(crate) fn note(&mut self, packet: &Packet) {
        if let Some(announced) = &packet.announced {
            self.announce(announced, packet.mark.svc);
        }
        let temporal = usize::from(packet.mark.temporal).min(TEMPORALS - 1);
        let keyframe = &mut self.keyframes[packet.layer.index()];
        if packet.keyframe {
            *keyframe = Some(packet.timestamp);
        }
        let counts = *keyframe != Some(packet.timestamp);
        let bytes = if counts { packet.payload.len() as u32 + OVERHEAD } else { 0 };
        self.bytes[packet.layer.index()][temporal] += bytes;
        let since = *self.since.get_or_insert(packet.arrival);
        let elapsed = packet.arrival.saturating_duration_since(since);
        if elapsed >= WINDOW {
            self.close(elapsed.as_secs_f32());
            self.since = Some(packet.arrival);
        }
    }

    /// Takes the publisher's word for layers of which nothing was measured yet.
    fn announce(&mut self, Announced(table): &Announced, svc: bool) {
        let known = self.rates;
        for (layer, row) in table.iter().enumerate().filter(|(layer, _)| !self.measured[*layer]) {
            let below =
                layer.checked_sub(1).filter(|_| svc && row[0] > 0).map(|below| table[below]);
            let mut before = 0;
            for (rate, (all, lower)) in
                self.rates.0[layer].iter_mut().zip(row.iter().zip(below.unwrap_or_default()))
            {
                let own = all.saturating_sub(lower);
                *rate = own.saturating_sub(before) as f32;
                before = before.max(own);
            }
        }
        if self.rates != known {
            tracing::debug!(rates = ?self.rates.0, "layers are announced");
        }
    }

    /// What is known so far.
    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    fn close(&mut self, seconds: f32) {
        let layers = self.rates.0.iter_mut().zip(&mut self.measured);
        for ((layer, measured), bytes) in layers.zip(&mut self.bytes) {
            if bytes.iter().all(|bytes| *bytes == 0) {
                continue;
            }
            if !std::mem::replace(measured, true) {
                *layer = Default::default();
            }
            for (rate, bytes) in layer.iter_mut().zip(bytes) {
                let now = std::mem::take(bytes) as f32 * 8.0 / seconds;
                // The first window is all there is; later ones are smoothed, up faster than down.
                let weight = if *rate == 0.0 {
                    1.0
                } else if now > *rate {
                    0.5
                } else {
                    0.3
                };
                *rate += weight * (now - *rate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::packet;

    #[test]
    fn believes_the_publisher_until_it_has_measured() {
        let mut meter = RateMeter::default();
        let announced = Announced([[60, 100, 100, 100], [250, 500, 500, 500], [0; 4]]);
        let mut first = packet(1, 0);
        first.announced = Some(announced.into());
        meter.note(&first);
        assert_eq!(meter.rates().of(Layer(1), 0, false), Bitrate(250));
        assert_eq!(meter.rates().of(Layer(1), 3, false), Bitrate(500));
        assert_eq!(meter.rates().temporal_top(Layer(1)), 1);
        assert_eq!(meter.rates().of(Layer(2), 3, false), Bitrate(0));
        // As layers of one stream, of which a viewer gets the lower ones too.
        first.mark.svc = true;
        meter.note(&first);
        assert_eq!(meter.rates().of(Layer(1), 0, true), Bitrate(250));
        assert_eq!(meter.rates().of(Layer(1), 3, true), Bitrate(500));
        let mut later = packet(2, 3_000);
        later.keyframe = false;
        later.arrival = first.arrival + WINDOW;
        meter.note(&later);
        let measured = meter.rates().of(Layer(0), 3, false);
        assert!(measured > Bitrate(2_000), "{measured:?}");
        meter.note(&first);
        assert_eq!(meter.rates().of(Layer(0), 3, false), measured);
    }

    #[test]
    fn measures_each_layer_and_keeps_what_stopped() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        // 30 pictures a second, every other of temporal layer 1, 958 bytes and headers each.
        for n in 0..60u32 {
            let mut packet = packet(u64::from(n), n * 3_000);
            packet.arrival = start + Duration::from_millis(33) * n;
            packet.payload = vec![0; 958].into();
            packet.layer = Layer(2);
            packet.keyframe = n == 0;
            packet.mark.temporal = (n % 2) as u8;
            meter.note(&packet);
        }
        let kbps = |temporal| meter.rates().of(Layer(2), temporal, false).0 / 1_000;
        assert!((230..260).contains(&kbps(1)), "{}", kbps(1));
        assert!((110..135).contains(&kbps(0)), "{}", kbps(0));
        assert_eq!(meter.rates().temporal_top(Layer(2)), 1);
        assert_eq!(meter.rates().of(Layer(0), 3, false), Bitrate(0));
        let both = Rates([[1.0, 2.0, 0.0, 0.0], [10.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]]);
        assert_eq!(both.of(Layer(1), 255, true), Bitrate(13));
        assert_eq!(both.of(Layer(1), 255, false), Bitrate(10));
    }
}
