//! One span of time: packets counted by the clients, CPU and memory by the kernel.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::time::{Instant, sleep_until};

use crate::client::crew::Sums;
use crate::error::BenchError;
use crate::proc::{self, Load, Own, Spent, Usage};
use crate::report::Sample;
use crate::run::company::{Company, bar};
use crate::run::restart::Restart;
use crate::scenario::Plan;
use crate::scrape::{self, Scraped};
use crate::signal::http;

/// How long a server may take to answer `/metrics`.
const METRICS_PATIENCE: Duration = Duration::from_secs(2);
/// A guest of a churn stays for so long.
const STAY: Duration = Duration::from_secs(5);

/// What of the server is on this host.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Its processes.
    pub pids: Vec<u32>,
    /// The cores that nobody else is to use, where it has such.
    pub cores: Vec<usize>,
}

/// Reads what the server uses.
pub struct Meter {
    watched: Watched,
    server: http::Server,
    /// Before anybody joined.
    pub idle: Reading,
}

/// One reading of the server.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Of its process.
    pub usage: Option<Usage>,
    /// Of its `/metrics`.
    pub scraped: Scraped,
    /// Of its cores.
    pub spent: Spent,
}

/// What one span came to.
pub struct Span {
    /// How long it was.
    pub seconds: f64,
    /// Clients that stood at its end.
    pub clients: u64,
    /// What clients counted.
    pub sums: Sums,
    /// The server before anybody came, at the beginning and at the end.
    pub server: [Reading; 3],
    /// Cores that it has for itself.
    pub server_cores: usize,
    /// The harness.
    pub load: Load,
    /// By the second.
    pub samples: Vec<Sample>,
    /// When something was restarted, in seconds from the beginning, and whether that could be done.
    pub restarted: Option<(f64, Result<(), String>)>,
    /// Clients that had lost the server and were not back at its end.
    pub away: u64,
}

/// How a span goes.
pub struct Ends<'a> {
    /// Who may come.
    pub plan: &'a Plan,
    /// Of their identities.
    pub prefix: &'a str,
    /// Guests that come a second.
    pub churn: Option<f64>,
    /// What ends in the middle.
    pub restart: Option<&'a Restart>,
    /// Beside the bar.
    pub label: &'a str,
}

impl Meter {
    /// Takes the reading before anybody joins.
    pub async fn new(watched: Watched, server: http::Server) -> Self {
        let mut meter = Meter { watched, server, idle: Reading::default() };
        meter.idle = meter.read().await;
        meter
    }

    async fn read(&self) -> Reading {
        let scraped = self.scrape().await.unwrap_or_default();
        Reading { usage: self.usage(), scraped, spent: Spent::of(&self.watched.cores) }
    }

    fn usage(&self) -> Option<Usage> {
        proc::usage(&self.watched.pids)
    }

    /// `None`: the server has no metrics there, which is its right.
    async fn scrape(&self) -> Option<Scraped> {
        let path = format!("{}/metrics", self.server.prefix);
        let request = Request::get(path).body(Full::new(Bytes::new())).ok()?;
        let answer = http::send(&self.server, request, METRICS_PATIENCE).await.ok()?;
        answer
            .status()
            .is_success()
            .then(|| scrape::scrape(&String::from_utf8_lossy(answer.body())))
    }
}

/// Counts for `duration`, or until the run is interrupted.
///
/// # Errors
/// A worker of the harness is gone.
pub async fn span(
    company: &mut Company,
    meter: &Meter,
    duration: Duration,
    ends: &Ends<'_>,
) -> Result<Span, BenchError> {
    let bar = bar(duration.as_secs(), ends.label);
    let first = meter.read().await;
    company.stage.crew.reset();
    let (began, own) = (Instant::now(), Own::read());
    let until = began + duration;
    let mut samples = Vec::new();
    let mut last = (began, own.clone(), meter.usage());
    let mut stall = Duration::ZERO;
    let mut guests = Guests::new(ends, began);
    let strike = ends.restart.cloned().map(|restart| {
        tokio::spawn(async move {
            sleep_until(began + restart.after).await;
            (restart.after.as_secs_f64(), restart.blow.strike().await)
        })
    });
    while Instant::now() < until && !*company.interrupted.borrow() {
        let tick = (last.0 + Duration::from_secs(1)).min(until);
        while Instant::now() < tick && !*company.interrupted.borrow() {
            let next = guests.receive(company).unwrap_or(tick).min(tick);
            company.hear_until(next).await;
        }
        let now = (Instant::now(), Own::read(), meter.usage());
        if !*company.interrupted.borrow() {
            stall = stall.max(now.0.saturating_duration_since(tick));
        }
        samples.push(sample(began, &last, &now, company.stands()));
        bar.set_position(began.elapsed().as_secs());
        last = now;
    }
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let mut load = last.1.since(&own);
    load.stall_s = stall.as_secs_f64();
    let sums = company.stage.crew.sums().await?;
    let server = [meter.idle.clone(), first, meter.read().await];
    let (clients, server_cores) = (company.stands(), meter.watched.cores.len());
    // A command that still runs has done nothing that could be measured.
    let restarted = match strike {
        Some(strike) if strike.is_finished() => strike.await.ok(),
        Some(strike) => {
            strike.abort();
            Some((seconds, Err("it did not end in time".into())))
        }
        None => None,
    };
    let away = company.away();
    Ok(Span { seconds, clients, sums, server, server_cores, load, samples, restarted, away })
}

type Look = (Instant, Own, Option<Usage>);

fn sample(began: Instant, last: &Look, now: &Look, clients: u64) -> Sample {
    let seconds = now.0.duration_since(last.0).as_secs_f64();
    let cpu = |usage: &Option<Usage>| usage.map(|usage| usage.cpu_us as f64 / 1e6);
    let server = cpu(&now.2).zip(cpu(&last.2)).map(|(now, last)| (now - last).max(0.0) / seconds);
    let load = now.1.since(&last.1);
    Sample {
        at_s: now.0.duration_since(began).as_secs_f64(),
        server_cores: server,
        harness_cores: load.own * load.cores as f64,
        worker_max: load.worker_max,
        clients,
    }
}

/// Viewers who come and go.
struct Guests<'a> {
    ends: &'a Ends<'a>,
    next: Instant,
    count: u32,
}

impl<'a> Guests<'a> {
    fn new(ends: &'a Ends<'a>, now: Instant) -> Self {
        Guests { ends, next: now, count: ends.plan.viewers }
    }

    /// Lets in who is due, and out who has stayed long enough. When to call again.
    fn receive(&mut self, company: &mut Company) -> Option<Instant> {
        let rate = self.ends.churn?;
        let stay = (STAY.as_secs_f64() * rate).ceil() as usize;
        while self.next <= Instant::now() {
            self.next += Duration::from_secs_f64(1.0 / rate);
            company.begin(self.ends.plan.viewer(self.ends.prefix, self.count));
            self.count += 1;
            if company.guests() > stay {
                company.dismiss_oldest_guest();
            }
        }
        Some(self.next)
    }
}
