//! What a server says of itself at `/metrics`.

use serde::{Deserialize, Serialize};

/// What a server tells of itself over HTTP, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scraped {
    /// Packets handed to viewers: ours.
    pub packets_out: Option<f64>,
    /// Datagrams sent, and segmented sends that they left in: ours.
    pub datagrams_out: Option<f64>,
    /// See `datagrams_out`.
    pub trains_out: Option<f64>,
    /// Context switches: voluntary and not.
    pub switches: [Option<f64>; 2],
    /// CPU time in seconds: the usual name of exporters.
    pub cpu_s: Option<f64>,
    /// Memory in bytes: the usual name of exporters.
    pub rss: Option<f64>,
}

/// Reads the text of `/metrics`.
pub fn scrape(text: &str) -> Scraped {
    Scraped {
        packets_out: metric(text, &["antipode_packets_out_total", "antipode_packets_out"]),
        datagrams_out: metric(text, &["antipode_datagrams_out_total"]),
        trains_out: metric(text, &["antipode_trains_out_total"]),
        switches: ["voluntary", "nonvoluntary"].map(|kind| {
            labelled(text, "process_context_switches_total", &format!("ctxswitchtype=\"{kind}\""))
        }),
        cpu_s: metric(text, &["process_cpu_seconds_total"]),
        rss: metric(text, &["process_resident_memory_bytes"]),
    }
}

/// The sum of all samples of the first of `names` that is there.
fn metric(text: &str, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| labelled(text, name, ""))
}

/// The sum of all samples of a name whose labels hold a text.
fn labelled(text: &str, name: &str, label: &str) -> Option<f64> {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let ends = rest.starts_with('{') || rest.starts_with(' ');
        let (labels, value) = rest.rsplit_once(['}', ' '])?;
        value.trim().parse::<f64>().ok().filter(|_| ends && labels.contains(label))
    };
    let values: Vec<f64> = text.lines().filter_map(of).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name() {
        let text = "# TYPE antipode_packets_out counter\n\
            antipode_packets_out_total{node=\"a\",shard=\"0\"} 40\n\
            antipode_packets_out_total{node=\"a\",shard=\"1\"} 2\n\
            antipode_packets_out_totals 9\n\
            process_cpu_seconds_total{process=\"signal\"} 1.0\n\
            process_cpu_seconds_total{process=\"node\",node=\"a\"} 0.5\n\
            process_context_switches_total{ctxswitchtype=\"voluntary\"} 5\n\
            process_context_switches_total{ctxswitchtype=\"nonvoluntary\"} 3\n";
        let want = Scraped {
            packets_out: Some(42.0),
            cpu_s: Some(1.5),
            switches: [Some(5.0), Some(3.0)],
            ..Scraped::default()
        };
        assert_eq!(scrape(text), want);
        assert_eq!(scrape("nonsense {"), Scraped::default());
    }
}
