//! `antipode bench merge`: several machines that loaded one server at once become one result.
//!
//! Counts and histograms add up exactly. What the server used is taken from the one result that knows
//! it, and set against the packets of all.

use std::io::Write as _;
use std::path::Path;

use crate::cli::MergeArgs;
use crate::error::BenchError;
use crate::report::{self, Part, Report, VERSION, table};
use crate::sink::tally::{Latency, Tally};

/// Runs that began further apart than this part of their length did not load the server together.
const APART_MAX: f64 = 0.1;

/// Reads, adds, prints and writes.
///
/// # Errors
/// A file that is none of ours, or results that do not belong together.
pub fn run(args: &MergeArgs) -> Result<(), BenchError> {
    let reports: Vec<Report> =
        args.files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let merged = merge(reports)?;
    let _ = write!(std::io::stdout(), "{}", table::text(&merged));
    report::save(&merged, args.json.as_deref(), args.report.as_deref())?;
    match merged.faults.first() {
        None => Ok(()),
        Some(fault) => Err(BenchError::Verdict(fault.text.clone())),
    }
}

fn read(path: &Path) -> Result<Report, BenchError> {
    let text = std::fs::read_to_string(path).map_err(BenchError::file(path))?;
    let report: Report = serde_json::from_str(&text).map_err(BenchError::file(path))?;
    let histograms =
        [&report.joins, &report.first_media, &report.video.latency, &report.audio.latency];
    if report.version != VERSION {
        let fault = format!("version {} of the format; this is {VERSION}", report.version);
        return Err(BenchError::file(path)(fault));
    }
    if histograms.iter().any(|text| Latency::from_text(text).is_none()) {
        return Err(BenchError::file(path)("a histogram does not parse"));
    }
    Ok(report)
}

/// Adds up. At least one.
///
/// # Errors
/// Results that do not belong together.
pub fn merge(reports: Vec<Report>) -> Result<Report, BenchError> {
    let mut reports = reports.into_iter();
    let Some(mut sum) = reports.next() else {
        return Err(BenchError::Verdict("nothing to merge".into()));
    };
    for other in reports {
        if (sum.scenario, &sum.url) != (other.scenario, &other.url) {
            let fault = "the results are of different scenarios or servers";
            return Err(BenchError::Verdict(fault.into()));
        }
        let apart = sum.started_unix_s.abs_diff(other.started_unix_s) as f64;
        if apart > 1.0 + APART_MAX * sum.seconds.max(other.seconds) {
            sum.fault(format!(
                "the runs began {apart} s apart and did not load the server together"
            ));
        }
        add(&mut sum, other);
    }
    Ok(sum)
}

fn add(sum: &mut Report, other: Report) {
    let texts = |one: &str, two: &str| {
        let mut latency = Latency::from_text(one).unwrap_or_else(Latency::new);
        latency.add(&Latency::from_text(two).unwrap_or_else(Latency::new));
        latency.to_text()
    };
    let parts = |one: &Part, two: &Part| {
        let mut tally: Tally = one.tally();
        tally.add(&two.tally());
        Part::of(&tally)
    };
    sum.joins = texts(&sum.joins, &other.joins);
    sum.first_media = texts(&sum.first_media, &other.first_media);
    sum.video = parts(&sum.video, &other.video);
    sum.audio = parts(&sum.audio, &other.audio);
    sum.gaps = match (sum.gaps.take(), other.gaps) {
        (Some(one), Some(two)) => Some(texts(&one, &two)),
        (one, two) => one.or(two),
    };
    sum.restarted_at_s = sum.restarted_at_s.or(other.restarted_at_s);
    sum.nodes.extend(other.nodes);
    sum.seconds = sum.seconds.max(other.seconds);
    sum.started_unix_s = sum.started_unix_s.min(other.started_unix_s);
    for (own, others) in [
        (&mut sum.publishers, other.publishers),
        (&mut sum.viewers, other.viewers),
        (&mut sum.started, other.started),
        (&mut sum.connected, other.connected),
        (&mut sum.failed, other.failed),
        (&mut sum.dropped, other.dropped),
        (&mut sum.standing, other.standing),
        (&mut sum.streams_expected, other.streams_expected),
        (&mut sum.streams_arrived, other.streams_arrived),
        (&mut sum.sent, other.sent),
        (&mut sum.keyframe_requests, other.keyframe_requests),
        (&mut sum.unsent, other.unsent),
        (&mut sum.returned, other.returned),
    ] {
        *own += others;
    }
    for (own, others) in
        [(&mut sum.microphones, other.microphones), (&mut sum.listeners, other.listeners)]
    {
        own.iter_mut().zip(others).for_each(|(own, other)| *own += other);
    }
    sum.machines += other.machines;
    sum.errors.extend(other.errors);
    sum.streams.extend(other.streams);
    sum.steps.extend(other.steps);
    sum.faults.extend(other.faults);
    sum.interrupted |= other.interrupted;
    if sum.server.cpu_us.is_none() && other.server.cpu_us.is_some() {
        (sum.server, sum.samples) = (other.server, other.samples);
    }
    // The busier machine speaks for the harness.
    if other.harness.bottleneck().is_some() || other.harness.worker_max > sum.harness.worker_max {
        sum.harness = other.harness;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LoadArgs;
    use crate::scenario::{Kind, Plan};
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn report(packets: u64, latency_ms: u64) -> Report {
        let args = Cli::parse_from(["bench"]).load;
        let plan = Plan::new(Kind::Broadcast, &args).expect("defaults are right");
        let mut report = Report::new(&plan, &args);
        let mut tally = Tally::new();
        tally.counts.packets = packets;
        (0..packets).for_each(|_| tally.latency.record(latency_ms * 1_000_000));
        report.video = Part::of(&tally);
        (report.seconds, report.connected, report.started) = (10.0, 11, 11);
        report
    }

    #[test]
    fn packets_and_latencies_add_up() {
        let mut with_server = report(300, 20);
        with_server.server.cpu_us = Some(800.0);
        let sum = merge(vec![report(100, 1), with_server]).expect("they belong together");
        assert_eq!((sum.machines, sum.video.counts.packets, sum.connected), (2, 400, 22));
        assert_eq!(sum.cpu_us_per_packet(), Some(2.0), "against the packets of both");
        let latency = sum.video.tally().latency;
        assert_eq!(latency.count(), 400);
        assert!(latency.quantile_ms(0.2) < 1.1 && latency.quantile_ms(0.5) > 19.0);
    }

    #[test]
    fn microphones_that_are_not_among_the_loudest_are_no_fault() {
        let of = |streams: u64, microphones, listeners| {
            let mut one = report(1, 1);
            (one.streams_expected, one.streams_arrived) = (40, streams);
            (one.microphones, one.listeners) = (microphones, listeners);
            one
        };
        for (streams, microphones, listeners, fault) in [
            (40, [20, 20], [5, 5], None),
            (32, [20, 12], [5, 5], None),
            (31, [20, 12], [5, 5], Some("38 of 40 cameras arrived")),
            (24, [20, 4], [5, 4], Some("8 of 10 clients hear anybody")),
        ] {
            let both =
                vec![of(streams, microphones, listeners), of(streams, microphones, listeners)];
            let mut sum = merge(both).expect("they belong together");
            sum.judge();
            let said: Vec<&str> = sum.faults.iter().map(|fault| fault.text.as_str()).collect();
            let said: Vec<&str> = said
                .into_iter()
                .filter(|text| text.contains("arrived") || text.contains("hear"))
                .collect();
            assert_eq!(said, Vec::from_iter(fault), "{streams} {microphones:?}");
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused_or_said() {
        let mut other = report(1, 1);
        other.url = "ws://elsewhere".into();
        assert!(merge(vec![report(1, 1), other]).is_err());
        let mut late = report(1, 1);
        late.started_unix_s = 100;
        let sum = merge(vec![report(1, 1), late]).expect("they add up");
        assert!(sum.faults.iter().any(|fault| fault.text.contains("apart")), "{:?}", sum.faults);
        assert!(merge(Vec::new()).is_err());
    }
}
