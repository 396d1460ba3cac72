//! More and more viewers until loss exceeds 0.1 % or the p99 of latency 50 ms.

use std::time::Duration;

use antipode_base::limits::BENCH_CLIENTS_MAX;

use crate::cli::LoadArgs;
use crate::error::BenchError;
use crate::report::{Report, Step};
use crate::run::company::Company;
use crate::run::measure::{self, Ends, Meter, Span};
use crate::scenario::Plan;

const LOSS_MAX: f64 = 0.001;
const LATENCY_P99_MS_MAX: f64 = 50.0;
/// Each step has a quarter more viewers than the one before.
const GROWTH: f64 = 1.25;
/// How long a step is measured at most; more would not tell more.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Raises the number of viewers. The report holds the last step that held; a run in which the
/// harness itself was too busy says so.
///
/// # Errors
/// Not even the first step could be measured.
pub async fn find(
    plan: &Plan,
    args: &LoadArgs,
    company: &mut Company,
    meter: &Meter,
    report: &mut Report,
) -> Result<(), BenchError> {
    let (mut viewers, mut held) = (0_u32, 0_u32);
    let mut want = plan.viewers.max(1);
    loop {
        let more = (viewers..want).map(|index| plan.viewer(&args.identity_prefix, index));
        let label = format!("up to {want} viewers");
        company.join(more.collect(), plan.joins_per_second, &label).await?;
        viewers = viewers.max(want);
        company.settle(plan.warmup).await;
        let ends = Ends {
            plan,
            prefix: "",
            churn: None,
            restart: None,
            label: &format!("{want} viewers"),
        };
        let span = measure::span(company, meter, plan.duration.min(STEP_MAX), &ends).await?;
        let step = step(want, plan.publishers.len() as u64 + u64::from(want), &span);
        let (failed, busy) = (step.verdict.is_some(), span.load.bottleneck());
        report.steps.push(step);
        if *company.interrupted.borrow() {
            return Ok(());
        }
        if !failed {
            held = want;
        }
        // A run in which no step held shows the first.
        if !failed || held == 0 {
            report.take(span);
        }
        report.capacity = Some(held);
        if let Some(busy) = busy.filter(|_| failed || !args.target.tolerate_busy) {
            report.busy(format!("the harness was the bottleneck at {want} viewers: {busy}"));
            return Ok(());
        }
        // Viewers do not leave between steps: the first that fails ends it.
        if failed || want >= BENCH_CLIENTS_MAX {
            return Ok(());
        }
        want = ((f64::from(want) * GROWTH).ceil() as u32).min(BENCH_CLIENTS_MAX);
    }
}

fn step(viewers: u32, clients: u64, span: &Span) -> Step {
    let all = span.sums.tallies.all();
    let (loss, p99) = (all.counts.loss(), all.latency.quantile_ms(0.99));
    let verdict = if span.clients < clients {
        Some(format!("{} of {clients} clients stood", span.clients))
    } else if all.counts.packets == 0 {
        Some("nothing arrived".to_owned())
    } else if loss > LOSS_MAX {
        Some(format!("loss of {:.2} %", loss * 100.0))
    } else if p99 > LATENCY_P99_MS_MAX {
        Some(format!("p99 of latency {p99:.1} ms"))
    } else {
        None
    };
    Step {
        viewers,
        standing: span.clients,
        packets_per_second: all.counts.packets as f64 / span.seconds.max(0.001),
        loss,
        latency_ms_p99: p99,
        verdict,
    }
}
