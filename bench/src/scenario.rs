//! From flags to who joins, what they publish and who watches.

use std::time::Duration;

use antipode_base::limits::{BENCH_CLIENTS_MAX, BENCH_SERVERS_MAX};
use serde::{Deserialize, Serialize};

use crate::cli::{Axis, LoadArgs};
use crate::error::BenchError;
use crate::media::codec::Codec;
use crate::media::source::{Layer, Shape};
use crate::signal::{Member, Protocol};

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Everybody publishes and watches.
    Meeting,
    /// A few publish, many watch.
    Broadcast,
    /// Microphones only.
    Audio,
    /// Viewers come and go.
    Churn,
    /// More and more viewers.
    FindCapacity,
    /// Publishers at one node, viewers at others.
    Cascade,
}

impl Kind {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Meeting => "meeting",
            Kind::Broadcast => "broadcast",
            Kind::Audio => "audio",
            Kind::Churn => "churn",
            Kind::FindCapacity => "find-capacity",
            Kind::Cascade => "cascade",
        }
    }
}

/// What a sweep lets grow, one at a time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Viewers of one camera.
    Viewers,
    /// Rooms of one camera and two viewers each.
    Rooms,
    /// Cameras in a room of ten viewers.
    Publishers,
}

impl Growth {
    /// All of them.
    pub const ALL: [Growth; 3] = [Growth::Viewers, Growth::Rooms, Growth::Publishers];

    /// For the report.
    pub fn name(self) -> &'static str {
        match self {
            Growth::Viewers => "viewers of one track",
            Growth::Rooms => "rooms of one publisher and two viewers",
            Growth::Publishers => "publishers in a room of ten viewers",
        }
    }

    /// The points that are looked at when none are named.
    pub fn axis(self) -> Axis {
        let points: &[u32] = match self {
            Growth::Viewers => &[10, 30, 100, 300, 1_000, 2_000, 3_000],
            Growth::Rooms => &[1, 5, 20, 50, 100, 200, 500],
            Growth::Publishers => &[1, 2, 5, 10, 20, 50],
        };
        Axis { growth: self, points: points.to_vec() }
    }

    /// Cameras of each room, viewers of each room, and rooms at one point.
    fn numbers(self, point: u32) -> (u32, u32, u32) {
        match self {
            Growth::Viewers => (1, point, 1),
            Growth::Rooms => (1, 2, point),
            Growth::Publishers => (point, 10, 1),
        }
    }
}

/// Who joins and what they do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is played.
    pub kind: Kind,
    /// They join first.
    pub publishers: Vec<Member>,
    /// So many join when all publishers stand.
    pub viewers: u32,
    /// They take turns with the rooms.
    rooms: u32,
    /// And with the servers, but for the first, where the publishers are; one is for all.
    servers: usize,
    /// Each of them, but for the name.
    guest: Member,
    /// Joins a second.
    pub joins_per_second: f64,
    /// How long is measured.
    pub duration: Duration,
    /// How long everything runs before.
    pub warmup: Duration,
    /// Streams that all members together should receive.
    pub streams: usize,
    /// Those of them that are microphones, of which a server may leave out all but the loudest.
    pub microphones: usize,
    /// Members that should hear one at least.
    pub listeners: usize,
}

/// Joins a second when nothing is said: what a server takes without being measured by it.
const JOINS_PER_SECOND: f64 = 20.0;
const CHURN_PER_SECOND: f64 = 10.0;

impl Plan {
    /// Fills in a scenario's defaults and checks the sums.
    ///
    /// # Errors
    /// Values that make no run.
    pub fn new(kind: Kind, args: &LoadArgs) -> Result<Self, BenchError> {
        check(kind, args)?;
        let (both, video, audio, viewers) = numbers(kind, args);
        let camera = camera(kind, args);
        let mut members = Vec::new();
        for (count, shapes) in [
            (both, vec![camera.clone(), Shape::Microphone]),
            (video, vec![camera]),
            (audio, vec![Shape::Microphone]),
        ] {
            for _ in 0..count {
                let subscribe = kind == Kind::Meeting;
                members.push(publisher(&args.identity_prefix, members.len(), &shapes, subscribe));
            }
        }
        Ok(Plan::of(kind, args, members, viewers, 1))
    }

    /// One point of a sweep: the same camera everywhere.
    ///
    /// # Errors
    /// Values that make no run.
    pub fn grown(growth: Growth, point: u32, args: &LoadArgs) -> Result<Self, BenchError> {
        check(Kind::Broadcast, args)?;
        let (cameras, viewers, rooms) = growth.numbers(point);
        let clients = u64::from(rooms) * u64::from(cameras + viewers);
        if clients > u64::from(BENCH_CLIENTS_MAX) {
            let fault = format!("{point} make {clients} clients; {BENCH_CLIENTS_MAX} at most");
            return Err(BenchError::Flag { flag: "--axis", fault });
        }
        let shapes = [camera(Kind::Broadcast, args)];
        let mut members = Vec::new();
        for index in 0..cameras * rooms {
            let index = index as usize;
            let mut member = publisher(&args.identity_prefix, index, &shapes, false);
            member.room = index as u32 % rooms;
            members.push(member);
        }
        Ok(Plan::of(Kind::Broadcast, args, members, viewers * rooms, rooms))
    }

    /// From the publishers on.
    fn of(kind: Kind, args: &LoadArgs, mut members: Vec<Member>, viewers: u32, rooms: u32) -> Self {
        // All rooms are alike.
        let in_a_room = |count: usize| count / rooms as usize;
        let tracks: usize = in_a_room(members.iter().map(|member| member.publish.len()).sum());
        let of = |member: &Member| {
            let cameras = member.publish.iter().filter(|shape| shape.codec() != Codec::Opus);
            cameras.count()
        };
        let cameras: usize = in_a_room(members.iter().map(of).sum());
        let mut receive = [tracks - cameras, cameras];
        if args.target.protocol == Protocol::Whip {
            // WHEP plays one camera of a room.
            receive[1] = receive[1].min(1);
        }
        for member in &mut members {
            let own = of(member);
            let sound = member.publish.len() - own;
            member.receive = [tracks - cameras - sound, cameras - own];
        }
        let guest = Member { subscribe: true, receive, ..Member::default() };
        let receivers = members.iter().filter(|_| kind == Kind::Meeting);
        let receive_all = receivers.map(|member| member.receive);
        let receive_all = receive_all.chain(std::iter::repeat_n(receive, viewers as usize));
        let (mut streams, mut microphones, mut listeners) = (0, 0, 0);
        for [sound, pictures] in receive_all {
            streams += sound + pictures;
            microphones += sound;
            listeners += usize::from(sound > 0);
        }
        let per_second = if kind == Kind::Churn { CHURN_PER_SECOND } else { JOINS_PER_SECOND };
        Plan {
            kind,
            publishers: members,
            viewers,
            rooms,
            servers: args.target.url.len(),
            guest,
            joins_per_second: args.num_per_second.unwrap_or(per_second),
            duration: args.duration,
            warmup: args.warmup,
            streams,
            microphones,
            listeners,
        }
    }

    /// A viewer by its number.
    pub fn viewer(&self, prefix: &str, index: u32) -> Member {
        let others = self.servers.saturating_sub(1).max(1);
        let server = if self.servers > 1 { 1 + index as usize % others } else { 0 };
        let identity = format!("{prefix}-v{index}");
        Member { identity, server, room: index % self.rooms, ..self.guest.clone() }
    }
}

fn publisher(prefix: &str, index: usize, shapes: &[Shape], subscribe: bool) -> Member {
    Member {
        identity: format!("{prefix}-p{index}"),
        first_source: source_base(prefix) + index as u32 * 2,
        publish: shapes.to_vec(),
        subscribe,
        ..Member::default()
    }
}

fn check(kind: Kind, args: &LoadArgs) -> Result<(), BenchError> {
    let flaw = |flag: &'static str, fault: String| Err(BenchError::Flag { flag, fault });
    if !(50..=50_000).contains(&args.video_bitrate) {
        return flaw("--video-bitrate", format!("{} kbit/s; give 50 to 50000", args.video_bitrate));
    }
    if !(1..=120).contains(&args.fps) {
        return flaw("--fps", format!("{}; give 1 to 120", args.fps));
    }
    if args.num_per_second.is_some_and(|rate| !(0.01..=10_000.0).contains(&rate)) {
        return flaw("--num-per-second", "give 0.01 to 10000".into());
    }
    let numbers = [args.publishers, args.video_publishers, args.audio_publishers, args.subscribers];
    let sum: u64 = numbers.iter().flatten().map(|count| u64::from(*count)).sum();
    if sum > u64::from(BENCH_CLIENTS_MAX) {
        return flaw("--subscribers", format!("{sum} clients in all; {BENCH_CLIENTS_MAX} at most"));
    }
    if args.target.protocol == Protocol::Whip && kind == Kind::Meeting {
        return flaw(
            "--protocol",
            "a WHEP client watches one camera; a meeting needs another".into(),
        );
    }
    if args.target.threads == Some(0) {
        return flaw("--threads", "give at least one".into());
    }
    match (kind, args.target.url.len()) {
        (Kind::Cascade, 0 | 1) => {
            let fault = "a cascade has one for its publishers and more for its viewers";
            return flaw("--url", fault.into());
        }
        (Kind::Cascade, count) if count > BENCH_SERVERS_MAX => {
            return flaw("--url", format!("{count}; {BENCH_SERVERS_MAX} at most"));
        }
        (Kind::Cascade, _) | (_, 1) => {}
        _ => return flaw("--url", "give one; several are for a cascade".into()),
    }
    Ok(())
}

/// Publishers of both kinds, of video, of audio, and viewers.
fn numbers(kind: Kind, args: &LoadArgs) -> (u32, u32, u32, u32) {
    let given = [args.publishers, args.video_publishers, args.audio_publishers];
    let silent = given.iter().all(Option::is_none);
    let [both, video, audio] = given.map(Option::unwrap_or_default);
    let viewers = |count| args.subscribers.unwrap_or(count);
    match kind {
        Kind::Meeting if silent => (6, 0, 0, viewers(0)),
        Kind::Meeting => (both, video, audio, viewers(0)),
        // Whoever publishes here has a microphone alone.
        Kind::Audio if silent => (0, 0, 1, viewers(10)),
        Kind::Audio => (0, 0, both + video + audio, viewers(10)),
        Kind::Broadcast | Kind::Churn | Kind::Cascade if silent => (0, 1, 0, viewers(10)),
        Kind::FindCapacity if silent => (0, 1, 0, viewers(50)),
        Kind::FindCapacity => (both, video, audio, viewers(50)),
        Kind::Broadcast | Kind::Churn | Kind::Cascade => (both, video, audio, viewers(10)),
    }
}

/// Several machines publish into one room: the prefix keeps their sources apart.
fn source_base(prefix: &str) -> u32 {
    crc32fast::hash(prefix.as_bytes()) & 0xffff_0000
}

/// Each lower layer has half the width and about a quarter of the bitrate of the one above.
fn camera(kind: Kind, args: &LoadArgs) -> Shape {
    let simulcast =
        if args.simulcast || args.no_simulcast { args.simulcast } else { kind == Kind::Meeting };
    let layer = |divisor: u32, width, height| Layer {
        bitrate: args.video_bitrate * 1_000 / divisor,
        size: (width, height),
    };
    let top = layer(1, 1_280, 720);
    let layers =
        if simulcast { vec![layer(11, 320, 180), layer(4, 640, 360), top] } else { vec![top] };
    let codec = if args.target.codec == Codec::H264 { Codec::H264 } else { Codec::Vp8 };
    Shape::Camera { codec, fps: args.fps, layers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn plan(kind: Kind, flags: &[&str]) -> Result<Plan, BenchError> {
        let all = [&["bench"], flags].concat();
        Plan::new(kind, &Cli::parse_from(all).load)
    }

    #[test]
    fn defaults_and_flags() {
        let rows: [(Kind, &[&str], usize, u32, usize); 8] = [
            (Kind::Broadcast, &[], 1, 10, 10),
            (Kind::Broadcast, &["--video-publishers=2", "--subscribers=3"], 2, 3, 6),
            (Kind::Broadcast, &["--publishers=1", "--subscribers=3"], 1, 3, 6),
            (Kind::Meeting, &[], 6, 0, 60),
            (Kind::Meeting, &["--publishers=3", "--subscribers=1"], 3, 1, 18),
            (Kind::Audio, &["--audio-publishers=4"], 4, 10, 40),
            (Kind::Churn, &[], 1, 10, 10),
            (Kind::Broadcast, &["--protocol=whip", "--publishers=3"], 3, 10, 40),
        ];
        for (kind, flags, publishers, viewers, streams) in rows {
            let plan = plan(kind, flags).expect("it is a plan");
            let got = (plan.publishers.len(), plan.viewers, plan.streams);
            assert_eq!(got, (publishers, viewers, streams), "{kind:?} {flags:?}");
        }
    }

    #[test]
    fn who_should_hear_and_how_many() {
        let rows: [(Kind, &[&str], usize, usize); 4] = [
            (Kind::Broadcast, &[], 0, 0),
            (Kind::Meeting, &[], 30, 6),
            (Kind::Meeting, &["--publishers=1", "--subscribers=2"], 2, 2),
            (Kind::Audio, &["--audio-publishers=4"], 40, 10),
        ];
        for (kind, flags, microphones, listeners) in rows {
            let plan = plan(kind, flags).expect("it is a plan");
            let got = (plan.microphones, plan.listeners);
            assert_eq!(got, (microphones, listeners), "{kind:?} {flags:?}");
        }
    }

    #[test]
    fn sources_are_unique_and_apart_by_prefix() {
        let one = plan(Kind::Meeting, &["--publishers=5"]).expect("it is a plan");
        let two = plan(Kind::Meeting, &["--identity-prefix=other"]).expect("it is a plan");
        let mut seen = std::collections::HashSet::new();
        for member in one.publishers.iter().chain(&two.publishers) {
            for at in 0..member.publish.len() as u32 {
                assert!(seen.insert(member.first_source + at), "{}", member.identity);
            }
        }
    }

    #[test]
    fn simulcast_is_the_meetings_default() {
        let layers = |kind, flags: &[&str]| {
            plan(kind, flags).expect("it is a plan").publishers[0].publish[0].layers()
        };
        assert_eq!(layers(Kind::Meeting, &[]), 3);
        assert_eq!(layers(Kind::Meeting, &["--no-simulcast"]), 1);
        assert_eq!(layers(Kind::Broadcast, &[]), 1);
        assert_eq!(layers(Kind::Broadcast, &["--simulcast"]), 3);
    }

    #[test]
    fn a_sweep_grows_one_thing() {
        let args = Cli::parse_from(["bench"]).load;
        // Publishers, viewers, streams.
        let rows = [
            (Growth::Viewers, 300, (1, 300, 300)),
            (Growth::Rooms, 50, (50, 100, 100)),
            (Growth::Publishers, 5, (5, 10, 50)),
        ];
        for (growth, point, want) in rows {
            let plan = Plan::grown(growth, point, &args).expect("it is a plan");
            assert_eq!((plan.publishers.len(), plan.viewers, plan.streams), want, "{growth:?}");
            let mut crowd = vec![0; plan.rooms as usize];
            (0..plan.viewers).for_each(|index| crowd[plan.viewer("x", index).room as usize] += 1);
            assert!(crowd.iter().all(|count| *count == crowd[0]), "{crowd:?}");
        }
        assert!(Plan::grown(Growth::Rooms, 10_000, &args).is_err(), "too many clients");
    }

    #[test]
    fn a_cascades_viewers_are_where_its_publishers_are_not() {
        let urls = ["--url=ws://a", "--url=ws://b", "--url=ws://c"];
        let plan = plan(Kind::Cascade, &urls).expect("it is a plan");
        assert!(plan.publishers.iter().all(|member| member.server == 0));
        let servers: Vec<usize> = (0..4).map(|index| plan.viewer("x", index).server).collect();
        assert_eq!(servers, [1, 2, 1, 2]);
    }

    #[test]
    fn bad_values_name_their_flag() {
        let error = plan(Kind::Cascade, &[]).expect_err("one URL").to_string();
        assert!(error.starts_with("--url"), "{error}");
        let rows = [
            ("--url=ws://a\n--url=ws://b", "--url"),
            ("--video-bitrate=1", "--video-bitrate"),
            ("--fps=0", "--fps"),
            ("--num-per-second=0", "--num-per-second"),
            ("--subscribers=4000000000", "--subscribers"),
            ("--threads=0", "--threads"),
        ];
        for (flag, want) in rows {
            let flags: Vec<&str> = flag.split('\n').collect();
            let error = plan(Kind::Broadcast, &flags).expect_err(flag).to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
