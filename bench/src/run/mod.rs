//! One run: joins, waits, counts, and makes the report.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`company`] | the clients of a run: joining, leaving, how far they are |
//! | [`measure`] | one span of time in which packets and CPU are counted |
//! | [`capacity`] | more and more viewers until it is too many |

pub mod capacity;
pub mod company;
pub mod measure;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use antipode_signaling::ApiKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use crate::cli::{BenchArgs, LoadArgs, What};
use crate::client::crew::Crew;
use crate::clock::{Clock, host_tag};
use crate::error::BenchError;
use crate::report::{self, Report};
use crate::run::company::Company;
use crate::run::measure::{Ends, Meter};
use crate::scenario::{Kind, Plan};
use crate::signal::{Stage, http};
use crate::{floor, proc};

/// Descriptors beside those of clients: standard ones, polls, `/proc`.
const DESCRIPTORS_OWN: u64 = 64;

/// Does what the command line says.
///
/// # Errors
/// One line for the operator.
pub fn run(args: &BenchArgs) -> Result<(), BenchError> {
    match &args.what {
        What::Meeting(load) => play(Kind::Meeting, load),
        What::Broadcast(load) => play(Kind::Broadcast, load),
        What::Audio(load) => play(Kind::Audio, load),
        What::Churn(load) => play(Kind::Churn, load),
        What::FindCapacity(load) => play(Kind::FindCapacity, load),
        What::Merge(merge) => report::merge::run(merge),
        What::Floor(args) => floor::run(args),
    }
}

fn play(kind: Kind, args: &LoadArgs) -> Result<(), BenchError> {
    let plan = Plan::new(kind, args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::host("a runtime"))?;
    let report = runtime.block_on(perform(plan, args))?;
    deliver(&report, args)
}

/// Prints and writes the report; its verdict decides how the process ends.
fn deliver(report: &Report, args: &LoadArgs) -> Result<(), BenchError> {
    let _ = write!(std::io::stdout(), "{}", report::table::text(report));
    report::save(report, args.json.as_deref(), args.report.as_deref())?;
    let failures: Vec<&str> = report
        .faults
        .iter()
        .filter(|fault| !(fault.busy && args.tolerate_busy))
        .map(|fault| &*fault.text)
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(BenchError::Verdict(failures.join("; "))) }
}

async fn perform(plan: Plan, args: &LoadArgs) -> Result<Report, BenchError> {
    raise_descriptors(&plan)?;
    if let Some(pid) = args.pid
        && proc::usage(pid).is_none()
    {
        let fault = format!("no process {pid} on this host");
        return Err(BenchError::Flag { flag: "--pid", fault });
    }
    let server = http::Server::resolve(&args.url).await?;
    let stage = Arc::new(Stage {
        protocol: args.protocol,
        server: server.clone(),
        key: ApiKey { key: args.api_key.clone(), secret: args.api_secret.clone() },
        room: args.room.clone().unwrap_or_else(room),
        high_tiles: args.high_tiles,
        whip_path: args.whip_path.clone(),
        whep_path: args.whep_path.clone(),
        crew: Crew::start(args.threads.unwrap_or(proc::cores().len()), Clock::new())?,
        host: host_tag(),
        source_ip: args.source_ip,
    });
    let interrupted = interruption();
    let meter = Meter::new(args.pid, server).await;
    let mut company = Company::new(Arc::clone(&stage), interrupted.clone());
    let mut report = Report::new(&plan, args);
    report.started_unix_s =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let done = act(&plan, args, &mut company, &meter, &mut report).await;
    company.leave().await;
    company.fill(&mut report);
    // What was seen before it failed is worth keeping, unless nobody even came in.
    match done {
        Err(error) if report.connected == 0 => Err(error),
        Err(error) => {
            // An interruption says so by itself.
            if !report.interrupted {
                report.fault(error.to_string());
            }
            report.judge();
            Ok(report)
        }
        Ok(()) => {
            report.judge();
            Ok(report)
        }
    }
}

/// Everything between the first join and the last leave.
async fn act(
    plan: &Plan,
    args: &LoadArgs,
    company: &mut Company,
    meter: &Meter,
    report: &mut Report,
) -> Result<(), BenchError> {
    let rate = plan.joins_per_second;
    company.join(plan.publishers.clone(), rate, "publishers join").await?;
    if company.stands() == 0
        && let Some(error) = company.first_error.take()
    {
        return Err(error);
    }
    if plan.kind == Kind::FindCapacity {
        return capacity::find(plan, args, company, meter, report).await;
    }
    let viewers = (0..plan.viewers).map(|index| plan.viewer(&args.identity_prefix, index));
    company.join(viewers.collect(), rate, "viewers join").await?;
    if company.stands() == 0
        && let Some(error) = company.first_error.take()
    {
        return Err(error);
    }
    company.settle(plan.warmup).await;
    let churn = (plan.kind == Kind::Churn).then_some(rate);
    let ends = Ends { plan, prefix: &args.identity_prefix, churn, label: plan.kind.name() };
    let span = measure::span(company, meter, plan.duration, &ends).await?;
    report.take(span);
    Ok(())
}

/// A room that nobody else is in.
fn room() -> String {
    format!("bench-{:08x}", rand::random::<u32>())
}

/// Becomes true at Ctrl-C: the run ends, what was counted stays.
fn interruption() -> watch::Receiver<bool> {
    let (tell, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            tell.send_replace(true);
        }
        // The channel stays open for as long as anybody listens.
        tell.closed().await;
    });
    interrupted
}

/// One socket for each peer connection and one for each WebSocket.
fn raise_descriptors(plan: &Plan) -> Result<(), BenchError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // When even this is refused, the check below tells by what was granted.
    let _ = setrlimit(Resource::Nofile, raised);
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let clients = plan.publishers.len() as u64 + u64::from(plan.viewers);
    let needed = plan.publishers.len() as u64 * 3 + u64::from(plan.viewers) * 2 + DESCRIPTORS_OWN;
    if needed > granted {
        return Err(BenchError::Descriptors { clients, needed, granted });
    }
    Ok(())
}
