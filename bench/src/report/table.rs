//! The result for a terminal: two columns, nothing that a reader must look up.

use std::fmt::Write as _;

use crate::report::{Part, Report};
use crate::scrape::Told;
use crate::sink::tally::Latency;

/// Columns of the names.
const NAME: usize = 32;

/// The whole text, with a line break at its end.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for (name, value) in rows(report) {
        let _ = writeln!(out, "{name:NAME$}{value}");
    }
    for step in &report.steps {
        let verdict = step.verdict.as_deref().unwrap_or("held");
        let _ = writeln!(
            out,
            "{:NAME$}{:.0} packets/s, loss {}, p99 {:.1} ms: {verdict}",
            format!("  step of {} viewers", step.viewers),
            step.packets_per_second,
            percent(step.loss),
            step.latency_ms_p99,
        );
    }
    for fault in &report.faults {
        let word = if fault.busy { "BUSY" } else { "FAILED" };
        let _ = writeln!(out, "{word:NAME$}{}", fault.text);
    }
    out
}

/// Names and values, shared with the page.
pub fn rows(report: &Report) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row(
        "scenario",
        format!("{} over {}, {}", report.scenario.name(), report.protocol.name(), report.url),
    );
    let (stood, started) = (report.connected, report.started);
    row("clients", format!("{stood} of {started} stood, {} at the end", report.standing));
    let (arrived, expected) = (report.streams_arrived, report.streams_expected);
    // Guests of a churn bring streams of their own.
    let of = if arrived > expected { String::new() } else { format!(" of {expected}") };
    let [sound_expected, sound_arrived] = report.microphones;
    let silent = sound_expected.saturating_sub(sound_arrived);
    let silent = match silent {
        0 => String::new(),
        _ => format!("; of {sound_expected} microphones {silent} were never among those sent on"),
    };
    row("streams", format!("{arrived}{of} arrived{silent}"));
    row("measured", format!("{:.1} s", report.seconds));
    row("join", quantiles(&report.joins));
    row("join to first media", quantiles(&report.first_media));
    for (name, part) in [("video", &report.video), ("audio", &report.audio)] {
        if part.counts.packets > 0 {
            rows.extend(part_rows(name, part, report.seconds));
        }
    }
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(gaps) = &report.gaps {
        row("longest gap of a client", quantiles(gaps));
    }
    if let Some(at_s) = report.restarted_at_s {
        row("restart", format!("at {at_s:.1} s; clients came back {} times", report.returned));
    }
    for node in &report.nodes {
        let of = format!("{} of {}", node.streams_arrived, node.streams_expected);
        let (mean, max) = (node.latency_ms_mean, node.latency_ms_max);
        row(
            &format!("  {} viewers at", node.viewers),
            format!(
                "{}: {of} streams, {} packets, {} lost, latency mean {mean:.2}, max {max:.2} ms",
                node.url, node.packets, node.lost
            ),
        );
    }
    row("packets/s", format!("{:.0}", report.packets_per_second()));
    rows.extend(server_rows(report));
    let load = &report.harness;
    rows.push((
        "harness".to_owned(),
        format!(
            "{:.0} % of {} cores, busiest thread {:.0} %, cores idle {:.0} %",
            load.own * 100.0,
            load.cores,
            load.worker_max * 100.0,
            load.idle * 100.0,
        ),
    ));
    if let Some(capacity) = report.capacity {
        rows.push(("capacity".to_owned(), format!("{capacity} viewers held")));
    }
    rows
}

fn part_rows(name: &str, part: &Part, seconds: f64) -> Vec<(String, String)> {
    let counts = &part.counts;
    let mbit = counts.bytes as f64 * 8.0 / 1e6 / seconds.max(1e-3);
    let mut rows = vec![
        (format!("{name} packets"), format!("{}, {mbit:.2} Mbit/s of payload", counts.packets)),
        (
            format!("{name} lost"),
            format!(
                "{} for good ({}), {} on the way",
                counts.lost,
                percent(counts.loss()),
                percent(counts.loss_on_the_way()),
            ),
        ),
        (
            format!("{name} disorder"),
            format!(
                "{} out of order, {} twice, {} repaired or late",
                counts.reordered, counts.duplicates, counts.filled
            ),
        ),
        (
            format!("{name} content"),
            format!(
                "{} corrupt, {} foreign, {} padding, {} held back, {} changes of layer",
                counts.corrupt, counts.foreign, counts.padding, counts.withheld, counts.switches
            ),
        ),
    ];
    rows.push((format!("{name} latency"), quantiles(&part.latency)));
    rows
}

fn server_rows(report: &Report) -> Vec<(String, String)> {
    let server = &report.server;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push((name.to_owned(), value));
        }
    };
    let cores = server.cpu_us.map(|cpu| cpu / 1e6 / report.seconds.max(1e-3));
    row("server CPU", cores.map(|cores| format!("{cores:.3} cores")));
    let each = report.cpu_us_per_packet();
    row("server CPU per packet", each.map(|us| format!("{us:.2} µs of each that arrived")));
    row("packets/s per core", each.map(|us| format!("{:.0}", 1e6 / us.max(1e-6))));
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / 1_048_576.0);
    row("server memory", server.rss.map(mib));
    let each = report.rss_per_client().map(|bytes| format!("{:.1} KiB", bytes / 1_024.0));
    row("server memory per client", each);
    let switches = server.voluntary_switches.zip(server.involuntary_switches);
    row(
        "context switches/s",
        switches.map(|(voluntary, involuntary)| {
            let seconds = report.seconds.max(1e-3);
            let (waited, aside) = (voluntary as f64 / seconds, involuntary as f64 / seconds);
            format!("{waited:.0} waiting, {aside:.0} put aside")
        }),
    );
    let train = server.train.map(|train| format!("{train:.2} datagrams a send"));
    row("server trains", train);
    let told =
        |told: Told| format!("p50 {:.3}, p99 {:.3} ms, as it says", told.p50_ms, told.p99_ms);
    row("server held media for", server.held.map(told));
    row("hops between its shards", server.hops.map(told));
    row(
        "server's own cores",
        server.cores.map(|cores| {
            let [own, others, interrupts, stolen] =
                [cores.server, cores.others, cores.interrupts, cores.stolen].map(|s| s * 100.0);
            format!(
                "{} of them: server {own:.0} %, others {others:.0} %, interrupts {interrupts:.0} %, \
                 taken by the host {stolen:.0} %",
                cores.count
            )
        }),
    );
    row("server says it sent", server.packets_out.map(|packets| format!("{packets:.0} packets")));
    rows
}

/// The usual quantiles of a histogram's text.
pub fn quantiles(text: &str) -> String {
    let latency = Latency::from_text(text).unwrap_or_else(Latency::new);
    if latency.count() == 0 {
        return "nothing measured".into();
    }
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|q| latency.quantile_ms(q));
    let max = latency.max_ms();
    format!("p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2} ms")
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}
