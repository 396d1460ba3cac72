//! One run: joins, waits, counts, and makes the report.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`company`] | the clients of a run: joining, leaving, how far they are |
//! | [`measure`] | one span of time in which packets and CPU are counted |
//! | [`capacity`] | more and more viewers until it is too many |
//! | [`restart`] | something ends in the middle |
//! | [`stint`] | a run against a server that is started for it |
//! | [`sweep`] | many runs along an axis |
//! | [`versus`] | two servers by turns |
//! | [`trees`] | builds of this tree and of a commit |

pub mod capacity;
pub mod company;
pub mod measure;
pub mod restart;
pub mod stint;
pub mod sweep;
pub mod trees;
pub mod versus;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use antipode_signaling::ApiKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{BenchArgs, LoadArgs, What};
use crate::client::crew::Crew;
use crate::clock::{Clock, host_tag};
use crate::error::BenchError;
use crate::report::{self, Report, nodes};
use crate::run::company::Company;
use crate::run::measure::{Ends, Meter, Watched};
use crate::run::restart::Restart;
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
        What::Cascade(load) => play(Kind::Cascade, load),
        What::Sweep(args) => block_on(sweep::run(args)),
        What::Merge(merge) => report::merge::run(merge),
        What::Floor(args) => floor::run(args),
    }
}

fn play(kind: Kind, args: &LoadArgs) -> Result<(), BenchError> {
    let plan = Plan::new(kind, args)?;
    block_on(async {
        let interrupted = interruption();
        if versus::wanted(args) {
            return versus::run(kind, args, &interrupted).await;
        }
        let report = match &args.hosted.server {
            Some(command) => stint::once(command, plan, args, &interrupted).await?,
            None => {
                let watched = Watched { pids: args.pid.clone(), cores: Vec::new() };
                perform(plan, args, watched, &interrupted).await?
            }
        };
        deliver(&report, args)
    })
}

/// The control of a run needs one thread; media has its own.
fn block_on<T>(task: impl Future<Output = Result<T, BenchError>>) -> Result<T, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BenchError::host("a runtime"))?.block_on(task)
}

/// Prints and writes the report; its verdict decides how the process ends.
fn deliver(report: &Report, args: &LoadArgs) -> Result<(), BenchError> {
    let _ = write!(std::io::stdout(), "{}", report::table::text(report));
    let target = &args.target;
    report::save(report, target.json.as_deref(), target.report.as_deref())?;
    let failures: Vec<&str> = report
        .faults
        .iter()
        .filter(|fault| !(fault.busy && target.tolerate_busy))
        .map(|fault| &*fault.text)
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(BenchError::Verdict(failures.join("; "))) }
}

/// One run from the first join to the last leave.
///
/// # Errors
/// Nobody came in, or the flags make no run.
async fn perform(
    plan: Plan,
    args: &LoadArgs,
    watched: Watched,
    interrupted: &watch::Receiver<bool>,
) -> Result<Report, BenchError> {
    raise_descriptors(&plan)?;
    let restart = Restart::of(plan.kind, args)?;
    for pid in &watched.pids {
        if proc::usage(&[*pid]).is_none() {
            let fault = format!("no process {pid} on this host");
            return Err(BenchError::Flag { flag: "--pid", fault });
        }
    }
    let target = &args.target;
    let mut servers = Vec::new();
    for url in &target.url {
        servers.push(http::Server::resolve(url).await?);
    }
    let meter = Meter::new(watched, servers[0].clone()).await;
    let stage = Arc::new(Stage {
        protocol: target.protocol,
        servers,
        key: ApiKey { key: target.api_key.clone(), secret: target.api_secret.clone() },
        room: args.room.clone().unwrap_or_else(room),
        tiles: args.tiles,
        whip_path: target.whip_path.clone(),
        whep_path: target.whep_path.clone(),
        crew: Crew::start(target.threads.unwrap_or(proc::cores().len()), Clock::new())?,
        host: host_tag(),
        rejoin: restart.is_some(),
        source_ip: target.source_ip,
    });
    let mut company = Company::new(Arc::clone(&stage), interrupted.clone());
    let mut report = Report::new(&plan, args);
    report.started_unix_s =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let done = act(&plan, args, restart.as_ref(), &mut company, &meter, &mut report).await;
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
    restart: Option<&Restart>,
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
    let prefix = &*args.identity_prefix;
    let ends = Ends { plan, prefix, churn, restart, label: plan.kind.name() };
    let span = measure::span(company, meter, plan.duration, &ends).await?;
    if plan.kind == Kind::Cascade {
        report.nodes = nodes::of(plan, prefix, &args.target.url, &span.sums.streams);
    }
    report.take(span);
    Ok(())
}

/// A room that nobody else is in.
fn room() -> String {
    format!("bench-{:08x}", rand::random::<u32>())
}

/// Becomes true at Ctrl-C or SIGTERM: the run ends, what was counted stays.
pub(crate) fn interruption() -> watch::Receiver<bool> {
    let (tell, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        let mut ended = match signal(SignalKind::terminate()) {
            Ok(ended) => ended,
            // Without it Ctrl-C still ends a run.
            Err(_) => return drop(tokio::signal::ctrl_c().await.map(|()| tell.send_replace(true))),
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = ended.recv() => {}
        }
        tell.send_replace(true);
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
