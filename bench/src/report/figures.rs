//! The few figures of a run that comparisons and sweeps are made of, and what several rounds of them
//! come to.

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::sink::tally::Latency;

/// What one run came to. `None`: nobody could tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// CPU microseconds of the server for each packet that arrived.
    pub cpu_us_per_packet: Option<f64>,
    /// Packets that arrived a second.
    pub packets_per_second: f64,
    /// Of all packets, 0 to 1.
    pub loss: f64,
    /// Milliseconds from sender to receiver.
    pub latency_ms_p50: f64,
    /// See `latency_ms_p50`.
    pub latency_ms_p99: f64,
    /// Bytes of the server's memory that came with each client.
    pub rss_per_client: Option<f64>,
    /// Milliseconds from a client's first packet to its last peer connection.
    pub join_ms_p50: f64,
    /// See `join_ms_p50`.
    pub join_ms_p99: f64,
    /// Mean length of the server's trains in datagrams.
    pub train: Option<f64>,
    /// Mean bytes of a payload.
    pub payload_bytes: f64,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Viewers that held, where that was sought.
    pub capacity: Option<u32>,
}

impl Figures {
    /// Of a run.
    pub fn of(report: &Report) -> Self {
        let all = report.all();
        let joins = Latency::from_text(&report.joins).unwrap_or_else(Latency::new);
        let seconds = report.seconds.max(1e-3);
        Figures {
            cpu_us_per_packet: report.cpu_us_per_packet(),
            packets_per_second: report.packets_per_second(),
            loss: all.counts.loss(),
            latency_ms_p50: all.latency.quantile_ms(0.5),
            latency_ms_p99: all.latency.quantile_ms(0.99),
            rss_per_client: report.rss_per_client(),
            join_ms_p50: joins.quantile_ms(0.5),
            join_ms_p99: joins.quantile_ms(0.99),
            train: report.server.train,
            payload_bytes: all.counts.bytes as f64 / all.counts.packets.max(1) as f64,
            server_cores: report.server.cpu_us.map(|cpu| cpu / 1e6 / seconds),
            capacity: report.capacity,
        }
    }
}

/// What several rounds came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// `None` of no value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { median, min, max })
    }

    /// `1.50 (1.20 to 2.00)`, with so many decimals.
    pub fn text(&self, decimals: usize) -> String {
        let Spread { median, min, max } = self;
        if min == max {
            return format!("{median:.decimals$}");
        }
        format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 9.0 }));
        assert_eq!(of(&[4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(of(&[4.0, 1.0]).expect("two").text(1), "2.5 (1.0 to 4.0)");
        assert_eq!(of(&[4.0]).expect("one").text(2), "4.00");
    }
}
