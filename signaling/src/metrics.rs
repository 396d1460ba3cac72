//! `/metrics`: the counters of every shard and of signaling itself, as OpenMetrics text.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use antipode_base::delays::{BOUNDS_US, Delays};
use antipode_base::ids::{NodeId, ShardId};
use antipode_base::stats::{ProcessStats, ShardStats, TcpEnding, TcpStats};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::actor::Inspection;
use crate::admission::Admission;

/// What a scraper is to take the text for.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Read = fn(&ShardStats) -> u64;
type ReadDelays = fn(&ShardStats) -> &Delays;
type ReadTcp = fn(&TcpStats) -> u64;

const GAUGES: [(&str, &str, Read); 4] = [
    ("antipode_sessions", "Sessions of the shard", |stats| stats.sessions),
    ("antipode_rooms", "Rooms with a member on the shard", |stats| stats.rooms),
    ("antipode_tracks", "Tracks known to the shard, local and from elsewhere", |s| s.tracks),
    ("antipode_subscriptions", "Subscriptions of sessions of the shard", |s| s.subscriptions),
];

const COUNTERS: [(&str, &str, Read); 15] = [
    ("antipode_datagrams_in", "Datagrams received", |stats| stats.datagrams_in),
    ("antipode_datagrams_out", "Datagrams sent", |stats| stats.datagrams_out),
    ("antipode_bytes_in", "Bytes of UDP payload received", |stats| stats.bytes_in),
    ("antipode_bytes_out", "Bytes of UDP payload sent", |stats| stats.bytes_out),
    ("antipode_packets_in", "RTP packets taken from publishers", |stats| stats.packets_in),
    ("antipode_packets_out", "RTP packets handed to viewers", |stats| stats.packets_out),
    ("antipode_parcels_in", "Parcels received from other shards", |stats| stats.parcels_in),
    ("antipode_parcels_out", "Parcels sent to other shards", |stats| stats.parcels_out),
    ("antipode_strays_out", "Datagrams that hopped to their owner", |stats| stats.strays_out),
    ("antipode_keyframe_requests", "Keyframe requests to publishers", |s| s.keyframe_requests),
    ("antipode_sessions_opened", "Sessions since the start", |stats| stats.sessions_opened),
    ("antipode_session_faults", "Sessions ended by a defect of ours", |s| s.session_faults),
    ("antipode_shard_restarts", "Restarts of the shard after a panic", |stats| stats.restarts),
    ("antipode_turns", "Turns of the shard's loop", |stats| stats.turns),
    ("antipode_trains_out", "Segmented sends", |stats| stats.trains_out),
];

const DELAYS: [(&str, &str, ReadDelays); 2] = [
    (
        "antipode_media_held_seconds",
        "From when the kernel had a publisher's packet until all that its turn sent had left",
        |stats| &stats.held,
    ),
    ("antipode_hop_seconds", "Time of a parcel in the ring between two shards", |s| &s.hops),
];

const TCP_COUNTERS: [(&str, &str, ReadTcp); 5] = [
    ("antipode_tcp_accepted", "TCP connections taken in", |stats| stats.accepted),
    ("antipode_tcp_messages_in", "Messages received by TCP", |stats| stats.messages_in),
    ("antipode_tcp_messages_out", "Messages sent by TCP", |stats| stats.messages_out),
    ("antipode_tcp_bytes_in", "Bytes received by TCP, with framing", |stats| stats.bytes_in),
    ("antipode_tcp_bytes_out", "Bytes sent by TCP, with framing", |stats| stats.bytes_out),
];

const TCP_DROPS: [(&str, ReadTcp); 4] = [
    ("ring_full", |stats| stats.dropped_ring_full),
    ("queue_full", |stats| stats.dropped_queue_full),
    ("late", |stats| stats.dropped_late),
    ("gone", |stats| stats.dropped_gone),
];

/// A shard's delays as a histogram.
#[derive(Debug, Default)]
struct Histogram(OnceLock<Delays>);

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Some(delays) = self.0.get() else { return Ok(()) };
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(delays.counts().iter().copied()).collect();
        let count = delays.counts().iter().sum();
        encoder.encode_histogram::<Labels>(delays.sum_us() as f64 / 1e6, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The text of one scrape. `process`: signaling's own.
pub(crate) fn text(
    seen: &Inspection,
    admission: &Admission,
    process: Option<ProcessStats>,
) -> String {
    let mut registry = Registry::default();
    shards(&mut registry, &seen.stats);
    tcp(&mut registry, &seen.tcp);
    processes(&mut registry, &seen.processes, process);
    own(&mut registry, seen, admission);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            String::from("# EOF\n")
        }
    }
}

fn labels(node: NodeId, shard: ShardId) -> Labels {
    vec![("node", node.to_string()), ("shard", shard.0.to_string())]
}

fn shards(registry: &mut Registry, stats: &[(NodeId, ShardId, ShardStats)]) {
    for (name, help, read) in GAUGES {
        let family = Family::<Labels, Gauge>::default();
        for (node, shard, stats) in stats {
            set(&family, &labels(*node, *shard), read(stats));
        }
        registry.register(name, help, family);
    }
    for (name, help, read) in COUNTERS {
        let family = Family::<Labels, Counter>::default();
        for (node, shard, stats) in stats {
            family.get_or_create(&labels(*node, *shard)).inc_by(read(stats));
        }
        registry.register(name, help, family);
    }
    for (name, help, read) in DELAYS {
        let family = Family::<Labels, Histogram>::default();
        for (node, shard, stats) in stats {
            // There is one of each shard.
            let _ = family.get_or_create(&labels(*node, *shard)).0.set(read(stats).clone());
        }
        registry.register(name, help, family);
    }
    let drops = Family::<Labels, Counter>::default();
    let depths = Family::<Labels, Gauge>::default();
    for (node, shard, stats) in stats {
        for (reason, count) in stats.drops.iter() {
            let mut labels = labels(*node, *shard);
            labels.push(("reason", reason.as_str().to_owned()));
            drops.get_or_create(&labels).inc_by(count);
        }
        for (from, depth) in stats.ring_depths.iter().enumerate() {
            let mut labels = labels(*node, *shard);
            labels.push(("from", from.to_string()));
            set(&depths, &labels, *depth);
        }
    }
    registry.register("antipode_drops", "What went no further, by reason", drops);
    registry.register("antipode_ring_depth", "Parcels waiting in the ring from a shard", depths);
}

/// ICE-TCP, which is the node's and no shard's.
fn tcp(registry: &mut Registry, stats: &[(NodeId, TcpStats)]) {
    let with = |node: &NodeId, reason: Option<&str>| -> Labels {
        let reason = reason.map(|reason| ("reason", reason.to_owned()));
        [("node", node.to_string())].into_iter().chain(reason).collect()
    };
    let connections = Family::<Labels, Gauge>::default();
    let drops = Family::<Labels, Counter>::default();
    let endings = Family::<Labels, Counter>::default();
    for (node, stats) in stats {
        set(&connections, &with(node, None), stats.connections);
        for (reason, read) in TCP_DROPS {
            drops.get_or_create(&with(node, Some(reason))).inc_by(read(stats));
        }
        for ending in TcpEnding::ALL {
            let labels = with(node, Some(ending.as_str()));
            endings.get_or_create(&labels).inc_by(stats.endings.get(*ending));
        }
    }
    for (name, help, read) in TCP_COUNTERS {
        let family = Family::<Labels, Counter>::default();
        for (node, stats) in stats {
            family.get_or_create(&with(node, None)).inc_by(read(stats));
        }
        registry.register(name, help, family);
    }
    registry.register("antipode_tcp_connections", "TCP connections at the moment", connections);
    registry.register("antipode_tcp_drops", "Messages by TCP that went no further", drops);
    let help = "TCP connections refused or closed, by reason";
    registry.register("antipode_tcp_endings", help, endings);
}

/// By the names that exporters of processes use. Nodes and signaling are told apart by a label.
fn processes(
    registry: &mut Registry,
    nodes: &[(NodeId, ProcessStats)],
    signal: Option<ProcessStats>,
) {
    let cpu = Family::<Labels, Counter<f64, AtomicU64>>::default();
    let memory = Family::<Labels, Gauge>::default();
    let switches = Family::<Labels, Counter>::default();
    let own = signal.map(|stats| (vec![("process", "signal".to_owned())], stats));
    let of_nodes = nodes.iter().map(|(node, stats)| {
        (vec![("process", "node".to_owned()), ("node", node.to_string())], *stats)
    });
    for (labels, stats) in of_nodes.chain(own) {
        cpu.get_or_create(&labels).inc_by(stats.cpu_us as f64 / 1e6);
        set(&memory, &labels, stats.resident_bytes);
        for (kind, count) in
            [("voluntary", stats.switches_voluntary), ("nonvoluntary", stats.switches_involuntary)]
        {
            let mut labels = labels.clone();
            labels.push(("ctxswitchtype", kind.to_owned()));
            switches.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("process_cpu_seconds", "CPU time of all threads", cpu);
    registry.register("process_resident_memory_bytes", "Memory in use", memory);
    let help = "Context switches of the threads that run now";
    registry.register("process_context_switches", help, switches);
}

fn set(family: &Family<Labels, Gauge>, labels: &Labels, value: u64) {
    family.get_or_create(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn own(registry: &mut Registry, seen: &Inspection, admission: &Admission) {
    for (name, help, value) in [
        ("antipode_signal_clients", "WebSockets at the moment", admission.clients()),
        ("antipode_signal_members", "Members of all rooms", seen.members),
        ("antipode_signal_rooms", "Rooms", seen.rooms),
        ("antipode_signal_publishers_by_http", "Publishers by WHIP", seen.resources.0),
        ("antipode_signal_players_by_http", "Players by WHEP", seen.resources.1),
        ("antipode_signal_nodes", "Nodes with a control link", seen.nodes),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    let counters = seen.counters;
    for (name, help, value) in [
        ("antipode_signal_joins", "Members let in", counters.joins),
        ("antipode_signal_resumes", "WebSockets that took up their member", counters.resumes),
        ("antipode_signal_resumes_unknown", "Resumes of nobody", counters.resumes_unknown),
        ("antipode_signal_rebuilt", "Members found in snapshots", counters.rebuilt),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let refused = Family::<Labels, Counter>::default();
    for (reason, count) in admission.refused.iter() {
        refused.get_or_create(&vec![("reason", reason.as_str().to_owned())]).inc_by(count);
    }
    registry.register("antipode_signal_refused", "Turned away or thrown out, by reason", refused);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdmissionLimits;
    use crate::model::Counters;
    use antipode_base::verdict::DropReason;
    use std::time::Duration;

    #[test]
    fn every_shard_has_its_line() {
        let mut stats = ShardStats { packets_in: 7, sessions: 2, ..Default::default() };
        stats.drops.count(DropReason::Oversized);
        stats.ring_depths = vec![0, 5];
        stats.hops.add(Duration::from_micros(35), 3);
        stats.held.add(Duration::from_secs(1), 1);
        let mut tcp = TcpStats { connections: 4, dropped_late: 6, ..Default::default() };
        tcp.endings.count(TcpEnding::Silent);
        let process = ProcessStats {
            cpu_us: 2_250_000,
            resident_bytes: 4_096,
            switches_voluntary: 8,
            switches_involuntary: 6,
        };
        let seen = Inspection {
            members: 3,
            rooms: 1,
            nodes: 1,
            resources: (2, 1),
            counters: Counters { joins: 9, ..Default::default() },
            stats: vec![
                (NodeId(0xa), ShardId(0), stats),
                (NodeId(0xa), ShardId(1), ShardStats::default()),
            ],
            tcp: vec![(NodeId(0xa), tcp)],
            processes: vec![(NodeId(0xa), process)],
        };
        let own = ProcessStats { cpu_us: 500_000, ..ProcessStats::default() };
        let text = text(&seen, &Admission::new(&AdmissionLimits::default()), Some(own));
        for line in [
            "antipode_sessions{node=\"node-a\",shard=\"0\"} 2",
            "antipode_packets_in_total{node=\"node-a\",shard=\"0\"} 7",
            "antipode_packets_in_total{node=\"node-a\",shard=\"1\"} 0",
            "antipode_drops_total{node=\"node-a\",shard=\"0\",reason=\"oversized\"} 1",
            "antipode_ring_depth{node=\"node-a\",shard=\"0\",from=\"1\"} 5",
            "antipode_hop_seconds_bucket{le=\"0.00002\",node=\"node-a\",shard=\"0\"} 0",
            "antipode_hop_seconds_bucket{le=\"0.00005\",node=\"node-a\",shard=\"0\"} 3",
            "antipode_hop_seconds_sum{node=\"node-a\",shard=\"0\"} 0.000105",
            "antipode_media_held_seconds_bucket{le=\"0.1\",node=\"node-a\",shard=\"0\"} 0",
            "antipode_media_held_seconds_bucket{le=\"+Inf\",node=\"node-a\",shard=\"0\"} 1",
            "antipode_media_held_seconds_count{node=\"node-a\",shard=\"0\"} 1",
            "antipode_tcp_connections{node=\"node-a\"} 4",
            "antipode_tcp_drops_total{node=\"node-a\",reason=\"late\"} 6",
            "antipode_tcp_endings_total{node=\"node-a\",reason=\"silent\"} 1",
            "process_cpu_seconds_total{process=\"node\",node=\"node-a\"} 2.25",
            "process_cpu_seconds_total{process=\"signal\"} 0.5",
            "process_resident_memory_bytes{process=\"node\",node=\"node-a\"} 4096",
            "process_context_switches_total{process=\"node\",node=\"node-a\",\
             ctxswitchtype=\"voluntary\"} 8",
            "process_context_switches_total{process=\"node\",node=\"node-a\",\
             ctxswitchtype=\"nonvoluntary\"} 6",
            "antipode_signal_members 3",
            "antipode_signal_publishers_by_http 2",
            "antipode_signal_players_by_http 1",
            "antipode_signal_joins_total 9",
            "antipode_signal_refused_total{reason=\"token\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
