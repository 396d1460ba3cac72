//! What a server says of itself at `/metrics`.

use serde::{Deserialize, Serialize};

/// What a server tells of itself over HTTP, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// How long media was in the server, and parcels between two shards: ours.
    pub held: Buckets,
    /// See `held`.
    pub hops: Buckets,
}

/// A histogram: the end of each bucket in seconds, the last of them infinite, and how many values are not
/// above it. Empty: there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Buckets(Vec<(f64, f64)>);

/// What a server says of delays, in milliseconds; a quantile is where it would be if the values of its
/// bucket lay evenly in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// How many there were.
    pub count: f64,
    /// Half are no longer.
    pub p50_ms: f64,
    /// 99 of 100 are no longer.
    pub p99_ms: f64,
}

impl Buckets {
    /// What has come since `first`. `None`: nothing.
    pub fn since(&self, first: &Buckets) -> Option<Told> {
        let before = |bound: f64| first.0.iter().find(|bucket| bucket.0 == bound);
        let new = self.0.iter().map(|(bound, count)| {
            (*bound, (count - before(*bound).map_or(0.0, |bucket| bucket.1)).max(0.0))
        });
        let new = Buckets(new.collect());
        let count = new.0.last().map(|bucket| bucket.1).filter(|count| *count > 0.0)?;
        let quantile_ms = |q| new.reaching(q * count) * 1e3;
        Some(Told { count, p50_ms: quantile_ms(0.5), p99_ms: quantile_ms(0.99) })
    }

    /// In seconds, the value that so many are not above; at most the last bound.
    fn reaching(&self, rank: f64) -> f64 {
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if bound.is_infinite() {
                break;
            }
            if *count >= rank {
                let share = if *count > below { (rank - below) / (count - below) } else { 1.0 };
                return low + (bound - low) * share;
            }
            (low, below) = (*bound, *count);
        }
        low
    }
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
        held: buckets(text, "antipode_media_held_seconds_bucket"),
        hops: buckets(text, "antipode_hop_seconds_bucket"),
    }
}

/// The histogram of a name, all shards together.
fn buckets(text: &str, name: &str) -> Buckets {
    let bound = |line: &str| {
        let (_, rest) = line.strip_prefix(name)?.split_once("le=\"")?;
        rest.split_once('"')?.0.parse::<f64>().ok().filter(|bound| !bound.is_nan())
    };
    let mut bounds: Vec<f64> = text.lines().filter_map(bound).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let of = |wanted: f64| text.lines().filter(move |line| bound(line) == Some(wanted));
    let count = |wanted| of(wanted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Buckets(bounds.into_iter().map(|bound| (bound, count(bound).sum())).collect())
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
    fn delays_of_all_shards_are_one_histogram() {
        let text = |low, high, all| {
            format!(
                "antipode_hop_seconds_count{{shard=\"0\"}} 9\n\
                 antipode_hop_seconds_bucket{{le=\"0.001\",shard=\"0\"}} {low}\n\
                 antipode_hop_seconds_bucket{{le=\"0.002\",shard=\"0\"}} {high}\n\
                 antipode_hop_seconds_bucket{{le=\"+Inf\",shard=\"0\"}} {all}\n\
                 antipode_hop_seconds_bucket{{le=\"0.002\",shard=\"1\"}} 10\n\
                 antipode_hop_seconds_bucket{{le=\"+Inf\",shard=\"1\"}} 10\n"
            )
        };
        let [first, last] = [text(0, 5, 5), text(10, 104, 105)].map(|text| scrape(&text).hops);
        assert_eq!(first, Buckets(vec![(0.001, 0.0), (0.002, 15.0), (f64::INFINITY, 15.0)]));
        let told = last.since(&first).expect("there are some");
        // Ten within the first millisecond, 89 within the second, one above.
        assert_eq!(told.count, 100.0);
        assert!((told.p50_ms - (1.0 + 40.0 / 89.0)).abs() < 1e-9, "{told:?}");
        assert!((told.p99_ms - 2.0).abs() < 1e-9, "{told:?}");
        assert_eq!(last.since(&last), None, "nothing came");
        assert_eq!(Buckets::default().since(&first), None, "it says nothing");
        let above = scrape("antipode_hop_seconds_bucket{le=\"+Inf\"} 3\n").hops;
        assert_eq!(above.since(&Buckets::default()).map(|told| told.p99_ms), Some(0.0));
    }

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
