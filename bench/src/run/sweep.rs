//! `antipode bench sweep`: what a packet costs the server as its work grows. Each point is a server of
//! its own, so that no point pays for another's.
//!
//! An axis ends where a point says nothing of the server any more: the harness was the bottleneck, or
//! the server was past what it carries.

use std::io::Write as _;

use antipode_base::limits::BENCH_ROUNDS_MAX;
use tokio::sync::watch;

use crate::cli::{Axis, LoadArgs, SweepArgs};
use crate::error::BenchError;
use crate::hosted::{self, Scratch};
use crate::report::figures::Figures;
use crate::report::sweep::{self, Line, Point, Sweep, VERSION};
use crate::report::{Fault, Report};
use crate::run::interruption;
use crate::run::stint::{Host, drivers};
use crate::scenario::{Growth, Plan};

/// Past these a server drops or queues: what its packets cost then is another question.
const LOSS_MAX: f64 = 0.001;
const LATENCY_P99_MS_MAX: f64 = 50.0;

/// Measures all points, prints and writes.
///
/// # Errors
/// Flags that make no sweep, or nothing was measured.
pub async fn run(args: &SweepArgs) -> Result<(), BenchError> {
    let rounds = check(args)?;
    let command = args.hosted.server.as_deref().unwrap_or(hosted::COMMAND);
    let drivers = drivers(command, &args.hosted.driver)?;
    let (interrupted, load) = (interruption(), args.load());
    let cores = hosted::settle(&args.hosted.server_cores)?;
    let (scratch, antipode) = (Scratch::make()?, hosted::own_binary()?);
    let mut sweep = Sweep {
        version: VERSION,
        command: command.to_owned(),
        cores: [cores.server.len(), cores.harness.len()],
        video_bitrate: args.video_bitrate,
        fps: args.fps,
        lines: Vec::new(),
    };
    let axes = if args.axis.is_empty() {
        Growth::ALL.map(Growth::axis).to_vec()
    } else {
        args.axis.clone()
    };
    for axis in &axes {
        for driver in drivers {
            let (antipode, cores, scratch) = (&*antipode, &cores, &scratch);
            let interrupted = &interrupted;
            let host = Host { command, antipode, driver, cores, scratch, interrupted };
            sweep.lines.push(line(&host, axis, &load, rounds).await?);
        }
    }
    let _ = write!(std::io::stdout(), "{}", sweep::text(&sweep));
    sweep::save(&sweep, load.target.json.as_deref(), load.target.report.as_deref())?;
    verdict(&sweep, &interrupted)
}

fn check(args: &SweepArgs) -> Result<u32, BenchError> {
    if !(1..=BENCH_ROUNDS_MAX).contains(&args.rounds) {
        let fault = format!("{}; give 1 to {BENCH_ROUNDS_MAX}", args.rounds);
        return Err(BenchError::Flag { flag: "--rounds", fault });
    }
    Ok(args.rounds)
}

async fn line(
    host: &Host<'_>,
    axis: &Axis,
    load: &LoadArgs,
    rounds: u32,
) -> Result<Line, BenchError> {
    let mut line = Line {
        growth: axis.growth,
        driver: host.driver.to_owned(),
        points: Vec::new(),
        ended: None,
    };
    for x in axis.points.iter().copied() {
        let name = format!("{} {x}, {}", axis.growth.name(), host.driver);
        let _ = writeln!(std::io::stderr(), "{name}");
        let mut point = Point { x, rounds: Vec::new(), void: None, doubt: None };
        for _ in 0..rounds {
            let played = host.play(Plan::grown(axis.growth, x, load)?, load).await;
            let report = match played {
                Ok(report) => report,
                // The first point of a line shows whether the sweep is possible at all.
                Err(error) if line.points.is_empty() => return Err(error),
                Err(error) => {
                    point.void = Some(error.to_string());
                    break;
                }
            };
            let tolerated = |fault: &&Fault| fault.busy && load.target.tolerate_busy;
            let doubt = report.faults.iter().find(tolerated).map(|fault| fault.text.clone());
            point.doubt = point.doubt.or(doubt);
            point.void = void(&report, load.target.tolerate_busy);
            if !report.interrupted {
                point.rounds.push(Figures::of(&report));
            }
            if point.void.is_some() {
                break;
            }
        }
        let void = point.void.clone();
        line.points.push(point);
        if let Some(void) = void {
            line.ended = Some(format!("at {x}: {void}"));
            break;
        }
    }
    Ok(line)
}

/// Why a run says nothing of what the server's packets cost.
fn void(report: &Report, tolerate_busy: bool) -> Option<String> {
    let all = report.all();
    let (loss, p99) = (all.counts.loss(), all.latency.quantile_ms(0.99));
    if let Some(fault) = report.faults.iter().find(|fault| !(fault.busy && tolerate_busy)) {
        return Some(fault.text.clone());
    }
    if report.cpu_us_per_packet().is_none() {
        return Some("nothing arrived".into());
    }
    if loss > LOSS_MAX {
        return Some(format!("past what the server carries: loss of {:.2} %", loss * 100.0));
    }
    (p99 > LATENCY_P99_MS_MAX)
        .then(|| format!("past what the server carries: p99 of latency {p99:.1} ms"))
}

fn verdict(sweep: &Sweep, interrupted: &watch::Receiver<bool>) -> Result<(), BenchError> {
    let counted = sweep.lines.iter().flat_map(|line| &line.points);
    if *interrupted.borrow() {
        Err(BenchError::Verdict("interrupted: the result is partial".into()))
    } else if !counted.into_iter().any(|point| point.void.is_none()) {
        Err(BenchError::Verdict("no point counts: see the table".into()))
    } else {
        Ok(())
    }
}
