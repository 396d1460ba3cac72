//! The sums over many streams, and the histogram of latency.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies are told apart from 1 µs to a minute, to three digits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What a stream, or all of them, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Packets of media that arrived, each once.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets that did not arrive, neither at first nor as a repeat.
    pub lost: u64,
    /// Packets that came late to their place: repeats, and packets out of order.
    pub filled: u64,
    /// Datagrams that were missing when a later one came; some of them came after all.
    pub missed: u64,
    /// Datagrams that came after a later one. Repeats have numbers of their own and are not here.
    pub reordered: u64,
    /// Datagrams that came twice under one number, and payloads that came under two.
    pub duplicates: u64,
    /// Payloads with a wrong check sum.
    pub corrupt: u64,
    /// Payloads that no source of ours sent.
    pub foreign: u64,
    /// Packets without payload, as probes of bandwidth are.
    pub padding: u64,
    /// Payloads that the server held back and renumbered around, while it stayed on one layer.
    pub withheld: u64,
    /// Changes from one simulcast layer to another.
    pub switches: u64,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Counts) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.filled += other.filled;
        self.missed += other.missed;
        self.reordered += other.reordered;
        self.duplicates += other.duplicates;
        self.corrupt += other.corrupt;
        self.foreign += other.foreign;
        self.padding += other.padding;
        self.withheld += other.withheld;
        self.switches += other.switches;
    }

    /// Lost packets among all that should have come, 0 to 1.
    pub fn loss(&self) -> f64 {
        share(self.lost, self.packets + self.lost)
    }

    /// Datagrams missing at first, before repeats, 0 to 1. What was merely late is no loss.
    pub fn loss_on_the_way(&self) -> f64 {
        let missed = self.missed.saturating_sub(self.reordered);
        share(missed, self.packets + missed)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A histogram of latencies in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3);
        Latency(histogram.expect("the bounds are right: 1 ≤ low, 2 × low ≤ high"))
    }

    /// Takes one; what is beyond the bounds counts as the bound.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many were taken.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds below which that part, 0 to 1, of all lie.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1e6 }
    }

    /// The highest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.max() as f64 / 1e6 }
    }

    /// Bars for a plot: the upper end in milliseconds, and how many; each bar is a quarter wider
    /// than the one before.
    pub fn bars(&self) -> Vec<(f64, u64)> {
        let bars = self.0.iter_log(10_000, 1.25);
        bars.map(|bar| (bar.value_iterated_to() as f64 / 1e6, bar.count_since_last_iteration()))
            .collect()
    }

    /// The histogram's own format, V2 without compression, in base64.
    pub fn to_text(&self) -> String {
        use base64::Engine as _;
        use hdrhistogram::serialization::{Serializer as _, V2Serializer};
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).expect("a vector takes all bytes");
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    /// Reads [`Latency::to_text`]. `None`: it is none, or its bounds are others.
    pub fn from_text(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        let mut reader = hdrhistogram::serialization::Deserializer::new();
        let read: Histogram<u64> = reader.deserialize(&mut bytes.as_slice()).ok()?;
        let mut own = Latency::new();
        own.0.add(&read).ok()?;
        Some(own)
    }
}

/// Counts and latencies of all streams of a kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What came and what did not.
    pub counts: Counts,
    /// From sender to receiver, where both have one clock.
    pub latency: Latency,
}

impl Tally {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Tally { counts: Counts::default(), latency: Latency::new() }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Tally) {
        self.counts.add(&other.counts);
        self.latency.add(&other.latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_its_text() {
        let mut latency = Latency::new();
        (1..=1_000).for_each(|ms| latency.record(ms * 1_000_000));
        let read = Latency::from_text(&latency.to_text()).expect("it is one");
        assert_eq!(read.count(), 1_000);
        assert!((read.quantile_ms(0.5) - 500.0).abs() < 1.0, "{}", read.quantile_ms(0.5));
        assert!((read.max_ms() - 1_000.0).abs() < 2.0);
        assert_eq!(read.bars().iter().map(|(_, count)| count).sum::<u64>(), 1_000);
        assert!(Latency::from_text("AAAA").is_none());
        assert!(Latency::from_text("not base64!").is_none());
    }

    #[test]
    fn shares_of_nothing_are_nothing() {
        assert_eq!(Counts::default().loss(), 0.0);
        let counts = Counts { packets: 999, lost: 1, missed: 3, reordered: 2, ..Counts::default() };
        assert!((counts.loss() - 0.001).abs() < 1e-9);
        assert!((counts.loss_on_the_way() - 0.001).abs() < 1e-9);
    }
}
