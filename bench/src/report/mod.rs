//! The result of a run, and its forms.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`table`] | for the terminal |
//! | [`html`] | one page with plots, nothing else needed |
//! | [`merge`] | the sum of several machines' results |
//! | [`nodes`] | what came at each server of a cascade |
//! | [`figures`] | the few figures that comparisons and sweeps are made of |
//! | [`sweep`] | the result of many runs along an axis |
//! | [`versus`] | the result of two servers by turns |
//! | [`plot`] | lines as SVG |

pub mod figures;
pub mod html;
pub mod merge;
pub mod nodes;
pub mod plot;
pub mod sweep;
pub mod table;
pub mod versus;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::LoadArgs;
use crate::error::BenchError;
use crate::media::codec::Codec;
use crate::proc::{Load, ServerCores};
use crate::report::nodes::NodePart;
use crate::run::measure::{Reading, Span};
use crate::scenario::{Kind, Plan};
use crate::scrape::Told;
use crate::signal::Protocol;
use crate::sink::stream::StreamReport;
use crate::sink::tally::{Counts, Latency, Tally};

/// The form of the JSON; another is refused.
pub const VERSION: u32 = 1;
/// Streams that the JSON names one by one, those with most loss first.
const STREAMS_MAX: usize = 1_000;

/// What a run came to. Histograms are texts of [`Latency::to_text`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// What was played.
    pub scenario: Kind,
    /// What the server was spoken to in.
    pub protocol: Protocol,
    /// What cameras were encoded with.
    pub codec: Codec,
    /// The server.
    pub url: String,
    /// When the first client came, in seconds since 1970.
    pub started_unix_s: u64,
    /// How long was measured.
    pub seconds: f64,
    /// Harness machines in this result.
    pub machines: u32,
    /// Clients that were to publish.
    pub publishers: u64,
    /// Clients that were to watch only.
    pub viewers: u64,
    /// Clients that came at all, that stood, that failed to, and that fell later.
    pub started: u64,
    /// See `started`.
    pub connected: u64,
    /// See `started`.
    pub failed: u64,
    /// See `started`.
    pub dropped: u64,
    /// Clients that stood at the end.
    pub standing: u64,
    /// The first few failures.
    pub errors: Vec<String>,
    /// Time from a client's first packet to its last peer connection.
    pub joins: String,
    /// The same to its first media.
    pub first_media: String,
    /// Streams that should arrive.
    pub streams_expected: u64,
    /// Streams of which anything arrived while it was measured.
    pub streams_arrived: u64,
    /// Of both, microphones: a server may leave out all but the loudest.
    #[serde(default)]
    pub microphones: [u64; 2],
    /// Clients that should hear somebody, and that did.
    #[serde(default)]
    pub listeners: [u64; 2],
    /// Cameras.
    pub video: Part,
    /// Microphones.
    pub audio: Part,
    /// Streams one by one, those with most loss first.
    pub streams: Vec<StreamReport>,
    /// Packets that sources sent, from the start.
    pub sent: u64,
    /// Keyframes that they were asked for, from the start.
    pub keyframe_requests: u64,
    /// Datagrams that the harness's kernel did not take.
    pub unsent: u64,
    /// What the server used.
    pub server: ServerPart,
    /// The harness.
    pub harness: Load,
    /// By the second.
    pub samples: Vec<Sample>,
    /// Steps of a search for the capacity.
    pub steps: Vec<Step>,
    /// Viewers of the last step that held.
    pub capacity: Option<u32>,
    /// Ended by Ctrl-C.
    pub interrupted: bool,
    /// Why the run is a failure.
    pub faults: Vec<Fault>,
    /// The longest time that each client went without media: pictures where it has any, else sound. Not
    /// of a churn, whose guests come and go.
    #[serde(default)]
    pub gaps: Option<String>,
    /// When something was restarted, in seconds from the beginning of the measurement.
    #[serde(default)]
    pub restarted_at_s: Option<f64>,
    /// How often a client that had lost the server came back.
    #[serde(default)]
    pub returned: u64,
    /// Of a cascade, what came at each server.
    #[serde(default)]
    pub nodes: Vec<NodePart>,
}

/// One kind of stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    /// What came and what did not.
    pub counts: Counts,
    /// From sender to receiver.
    pub latency: String,
}

/// What the server used while it was measured; `None` where nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerPart {
    /// CPU time in microseconds.
    pub cpu_us: Option<f64>,
    /// Memory before the first client, in bytes.
    pub rss_idle: Option<f64>,
    /// Memory at the end.
    pub rss: Option<f64>,
    /// Times that its threads waited.
    pub voluntary_switches: Option<u64>,
    /// Times that they were put aside.
    pub involuntary_switches: Option<u64>,
    /// Its threads at the end.
    pub threads: Option<u64>,
    /// Packets that it says it handed to viewers.
    pub packets_out: Option<f64>,
    /// Mean length of its trains, in datagrams, as it says.
    #[serde(default)]
    pub train: Option<f64>,
    /// How long it had media before it had sent all of it, as it says.
    #[serde(default)]
    pub held: Option<Told>,
    /// How long parcels were between two of its shards, as it says.
    #[serde(default)]
    pub hops: Option<Told>,
    /// Its own cores, where the harness gave it some.
    #[serde(default)]
    pub cores: Option<ServerCores>,
}

/// One second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end, from the beginning of the measurement.
    pub at_s: f64,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Cores that the harness used.
    pub harness_cores: f64,
    /// Of one core, used by the harness's busiest media thread.
    pub worker_max: f64,
    /// Clients that stood.
    pub clients: u64,
}

/// One step of a search for the capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Viewers that were to watch.
    pub viewers: u32,
    /// Clients that stood.
    pub standing: u64,
    /// Packets that arrived.
    pub packets_per_second: f64,
    /// Of all packets, 0 to 1.
    pub loss: f64,
    /// Milliseconds.
    pub latency_ms_p99: f64,
    /// Why it did not hold.
    pub verdict: Option<String>,
}

/// Why a run is a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One line.
    pub text: String,
    /// The harness was too busy, or others were on the server's cores: the server may be better than
    /// it looks.
    pub busy: bool,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(plan: &Plan, args: &LoadArgs) -> Self {
        Report {
            version: VERSION,
            scenario: plan.kind,
            protocol: args.target.protocol,
            codec: args.target.codec,
            url: args.target.url.join(" "),
            started_unix_s: 0,
            seconds: 0.0,
            machines: 1,
            publishers: plan.publishers.len() as u64,
            viewers: u64::from(plan.viewers),
            started: 0,
            connected: 0,
            failed: 0,
            dropped: 0,
            standing: 0,
            errors: Vec::new(),
            joins: Latency::new().to_text(),
            first_media: Latency::new().to_text(),
            streams_expected: plan.streams as u64,
            streams_arrived: 0,
            microphones: [plan.microphones as u64, 0],
            listeners: [plan.listeners as u64, 0],
            video: Part::of(&Tally::new()),
            audio: Part::of(&Tally::new()),
            streams: Vec::new(),
            sent: 0,
            keyframe_requests: 0,
            unsent: 0,
            server: ServerPart::default(),
            harness: Load::default(),
            samples: Vec::new(),
            steps: Vec::new(),
            capacity: None,
            interrupted: false,
            faults: Vec::new(),
            gaps: None,
            restarted_at_s: None,
            returned: 0,
            nodes: Vec::new(),
        }
    }

    /// Takes in what was measured.
    pub fn take(&mut self, span: Span) {
        self.seconds = span.seconds;
        self.standing = span.clients;
        self.video = Part::of(&span.sums.tallies.video);
        self.audio = Part::of(&span.sums.tallies.audio);
        let mut streams = span.sums.streams;
        let arrived = || streams.iter().filter(|stream| stream.counts.packets > 0);
        let sound = || arrived().filter(|stream| stream.codec == Codec::Opus);
        let heard: HashSet<&str> = sound().map(|stream| stream.receiver.as_str()).collect();
        self.streams_arrived = arrived().count() as u64;
        self.microphones[1] = sound().count() as u64;
        self.listeners[1] = heard.len() as u64;
        streams.sort_by_key(|stream| std::cmp::Reverse(stream.counts.lost));
        streams.truncate(STREAMS_MAX);
        self.streams = streams;
        self.sent = span.sums.sent;
        self.keyframe_requests = span.sums.keyframe_requests;
        self.unsent = span.sums.unsent;
        self.server = ServerPart::of(&span.server, span.server_cores);
        if self.scenario != Kind::Churn {
            let mut gaps = Latency::new();
            span.sums.gaps.iter().for_each(|(_, gap_ns)| gaps.record(*gap_ns));
            self.gaps = Some(gaps.to_text());
        }
        if let Some((at_s, done)) = span.restarted {
            self.restarted_at_s = Some(at_s);
            // A process that is gone takes its CPU time along.
            self.server.cpu_us = None;
            if let Err(why) = done {
                self.fault(format!("the restart did not happen: {why}"));
            }
        }
        if span.away > 0 {
            self.fault(format!("{} clients did not come back", span.away));
        }
        self.harness = span.load;
        self.samples = span.samples;
        if self.scenario == Kind::FindCapacity {
            // The plan only knew the first step.
            self.streams_expected = self.streams_arrived;
            self.microphones[0] = self.microphones[1];
            self.listeners[0] = self.listeners[1];
            self.viewers = self.steps.last().map_or(self.viewers, |step| u64::from(step.viewers));
        }
    }

    /// Every camera has to arrive. Of microphones a server may choose the loudest, as long as everybody hears
    /// somebody.
    fn judge_streams(&mut self) {
        let ([sound_expected, sound_arrived], [listen, hear]) = (self.microphones, self.listeners);
        let expected = self.streams_expected.saturating_sub(sound_expected);
        let arrived = self.streams_arrived.saturating_sub(sound_arrived);
        if arrived < expected {
            self.fault(format!("{arrived} of {expected} cameras arrived"));
        }
        if hear < listen {
            self.fault(format!("{hear} of {listen} clients hear anybody"));
        }
    }

    /// Adds a failure.
    pub fn fault(&mut self, text: String) {
        self.faults.push(Fault { text, busy: false });
    }

    /// Adds that the harness was too busy, or the server not by itself.
    pub fn busy(&mut self, text: String) {
        self.faults.push(Fault { text, busy: true });
    }

    /// Looks for what makes the run a failure.
    pub fn judge(&mut self) {
        let (failed, dropped) = (self.failed, self.dropped);
        if self.interrupted {
            self.fault("interrupted: the result is partial".into());
        }
        if failed > 0 {
            let first = self.errors.first().cloned().unwrap_or_default();
            self.fault(format!("{failed} of {} clients could not join; {first}", self.started));
        }
        if dropped > 0 {
            let first = self.errors.first().cloned().unwrap_or_default();
            self.fault(format!("{dropped} clients fell out; {first}"));
        }
        // Guests of a churn come and go, and bring streams of their own.
        if !self.interrupted && failed == 0 {
            self.judge_streams();
        }
        let dry = self.nodes.iter().filter(|node| node.streams_arrived == 0).cloned();
        for node in dry.collect::<Vec<_>>() {
            self.fault(format!("nothing of the room came to the viewers at {}", node.url));
        }
        let corrupt = self.all().counts.corrupt;
        if corrupt > 0 {
            self.fault(format!("{corrupt} payloads were corrupt"));
        }
        if !self.faults.iter().any(|fault| fault.busy)
            && let Some(busy) = self.harness.bottleneck().filter(|_| self.seconds > 0.0)
        {
            self.busy(format!("the harness may have been the bottleneck: {busy}"));
        }
        if let Some(spoilt) = self.server.cores.and_then(|cores| cores.spoilt()) {
            self.busy(spoilt);
        }
    }

    /// Both kinds of stream.
    pub fn all(&self) -> Tally {
        let mut all = self.video.tally();
        all.add(&self.audio.tally());
        all
    }

    /// Packets of media that arrived a second.
    pub fn packets_per_second(&self) -> f64 {
        (self.video.counts.packets + self.audio.counts.packets) as f64 / self.seconds.max(1e-3)
    }

    /// CPU microseconds of the server for each packet that arrived.
    pub fn cpu_us_per_packet(&self) -> Option<f64> {
        let packets = self.video.counts.packets + self.audio.counts.packets;
        self.server.cpu_us.filter(|_| packets > 0).map(|cpu| cpu / packets as f64)
    }

    /// Memory that came with the clients, for each.
    pub fn rss_per_client(&self) -> Option<f64> {
        let grown = self.server.rss? - self.server.rss_idle?;
        (self.standing > 0).then(|| grown / self.standing as f64)
    }
}

impl Part {
    /// In the report's form.
    pub fn of(tally: &Tally) -> Self {
        Part { counts: tally.counts, latency: tally.latency.to_text() }
    }

    /// In the form that adds up. A histogram that cannot be read is empty; files are checked when
    /// they are read.
    pub fn tally(&self) -> Tally {
        let latency = Latency::from_text(&self.latency).unwrap_or_else(Latency::new);
        Tally { counts: self.counts, latency }
    }
}

impl ServerPart {
    fn of([idle, first, last]: &[Reading; 3], cores: usize) -> Self {
        let usages = first.usage.zip(last.usage);
        let spent = |last: Option<f64>, first: Option<f64>| Some((last? - first?).max(0.0));
        let local = usages.map(|(first, last)| last.cpu_us.saturating_sub(first.cpu_us) as f64);
        let remote = spent(last.scraped.cpu_s, first.scraped.cpu_s).map(|seconds| seconds * 1e6);
        let rss =
            |reading: &Reading| reading.usage.map(|usage| usage.rss as f64).or(reading.scraped.rss);
        let switches = |of: fn(&crate::proc::Usage) -> u64, at: usize| {
            let local = usages.map(|(first, last)| of(&last).saturating_sub(of(&first)));
            let told = || spent(last.scraped.switches[at], first.scraped.switches[at]);
            local.or_else(|| told().map(|count| count as u64))
        };
        let cpu_us = local.or(remote);
        let datagrams = spent(last.scraped.datagrams_out, first.scraped.datagrams_out);
        let trains = spent(last.scraped.trains_out, first.scraped.trains_out);
        let own = |us| ServerCores::between(cores, &first.spent, &last.spent, us);
        ServerPart {
            cpu_us,
            rss_idle: rss(idle),
            rss: rss(last),
            voluntary_switches: switches(|usage| usage.voluntary_switches, 0),
            involuntary_switches: switches(|usage| usage.involuntary_switches, 1),
            threads: last.usage.map(|usage| usage.threads),
            packets_out: spent(last.scraped.packets_out, first.scraped.packets_out),
            held: last.scraped.held.since(&first.scraped.held),
            hops: last.scraped.hops.since(&first.scraped.hops),
            train: datagrams.zip(trains).filter(|(_, trains)| *trains > 0.0).map(|(d, t)| d / t),
            cores: cpu_us.filter(|_| cores > 0).map(own),
        }
    }
}

/// Writes the files that were asked for.
///
/// # Errors
/// One cannot be written.
pub fn save(report: &Report, json: Option<&Path>, page: Option<&Path>) -> Result<(), BenchError> {
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report).map_err(BenchError::file(path))?;
        std::fs::write(path, text + "\n").map_err(BenchError::file(path))?;
    }
    if let Some(path) = page {
        std::fs::write(path, html::page(report)).map_err(BenchError::file(path))?;
    }
    Ok(())
}
