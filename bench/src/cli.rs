//! The command line of `antipode bench`, close to that of `lk load-test`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum as _};

use crate::media::codec::Codec;
use crate::scenario::Growth;
use crate::signal::Protocol;

/// Loads a server with real WebRTC clients and measures what becomes of each packet
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// The scenarios, and the tools beside them.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Everybody publishes a camera and a microphone and receives all others
    Meeting(LoadArgs),
    /// A few publish, many watch
    Broadcast(LoadArgs),
    /// Microphones only
    Audio(LoadArgs),
    /// Viewers of a broadcast come and go the whole time
    Churn(LoadArgs),
    /// Adds viewers until loss exceeds 0.1 % or the p99 of latency 50 ms
    FindCapacity(LoadArgs),
    /// Publishers at the first of several nodes, viewers at the others
    Cascade(LoadArgs),
    /// CPU per packet as viewers, rooms and publishers grow, of a server that it starts itself
    Sweep(SweepArgs),
    /// Adds up the JSON of several harness machines that loaded one server at once
    Merge(MergeArgs),
    /// Measures what kernel and cipher alone cost on this host
    Floor(FloorArgs),
}

/// What a run needs to know of the server, whatever it plays.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// The server; several for a cascade
    #[arg(long, env = "LIVEKIT_URL", default_value = "ws://127.0.0.1:7880")]
    pub url: Vec<String>,
    /// The API key; that of a development server when left out
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    pub api_key: String,
    /// The key's secret; every user of the host sees it here: prefer the variable
    #[arg(long, env = "LIVEKIT_API_SECRET", default_value = "secret", hide_env_values = true)]
    pub api_secret: String,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Protocol::Livekit)]
    pub protocol: Protocol,
    /// Where the server takes WHIP; {room} and {identity} are filled in
    #[arg(long, value_name = "PATH", default_value = "/whip/{room}")]
    pub whip_path: String,
    /// Where the server takes WHEP
    #[arg(long, value_name = "PATH", default_value = "/whep/{room}?audio=all")]
    pub whep_path: String,
    /// What cameras are encoded with
    #[arg(long, visible_alias = "video-codec", value_enum, default_value_t = Codec::Vp8)]
    pub codec: Codec,
    /// The address of this host to send from; the one towards the server when left out
    #[arg(long, value_name = "IP")]
    pub source_ip: Option<IpAddr>,
    /// Threads for media; one for each core that this process may use when left out
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result as one HTML page
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Report a harness that was too busy, and do not fail for it
    #[arg(long)]
    pub tolerate_busy: bool,
}

/// Servers that the harness starts and ends by itself.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Starting the server")]
pub struct HostedArgs {
    /// Start this shell command, pin it, measure it, end it. {antipode}, {address}, {port},
    /// {media_port} and {driver} are filled in
    #[arg(long, value_name = "COMMAND")]
    pub server: Option<String>,
    /// The cores of servers that the harness starts, such as 0 or 0,2-3; it takes the others itself
    #[arg(long, value_name = "CORES", default_value = "0")]
    pub server_cores: String,
    /// What the server waits for packets with, as its {driver}
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "auto")]
    pub driver: Vec<String>,
}

/// Another server to compare with.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Comparing")]
pub struct RivalArgs {
    /// Build this tree and that commit, and let them take turns
    #[arg(long, value_name = "COMMIT", conflicts_with = "against_command")]
    pub against: Option<String>,
    /// Take turns with the server that this shell command starts
    #[arg(long, value_name = "COMMAND")]
    pub against_command: Option<String>,
    /// Where the other server is; --url when left out
    #[arg(long, value_name = "URL")]
    pub against_url: Option<String>,
    /// What the other server speaks; --protocol when left out
    #[arg(long, value_enum)]
    pub against_protocol: Option<Protocol>,
    /// How often each of the two is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: u32,
}

/// What all scenarios share. What is left out takes the scenario's own default.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// Of the server.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The room; one of a random name when left out
    #[arg(long)]
    pub room: Option<String>,
    /// Clients that publish a camera and a microphone
    #[arg(long, value_name = "N")]
    pub publishers: Option<u32>,
    /// Clients that publish a camera
    #[arg(long, value_name = "N")]
    pub video_publishers: Option<u32>,
    /// Clients that publish a microphone
    #[arg(long, value_name = "N")]
    pub audio_publishers: Option<u32>,
    /// Clients that watch and listen; find-capacity begins with so many
    #[arg(long, value_name = "N")]
    pub subscribers: Option<u32>,
    /// How long is measured, such as 30s or 5m, after everybody has joined
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub duration: Duration,
    /// How long everything runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    pub warmup: Duration,
    /// Three layers a camera
    #[arg(long, overrides_with = "no_simulcast")]
    pub simulcast: bool,
    /// One layer a camera
    #[arg(long)]
    pub no_simulcast: bool,
    /// Bitrate of a camera's highest layer in kbit/s
    #[arg(long, value_name = "KBIT/S", default_value_t = 1_500)]
    pub video_bitrate: u32,
    /// Frames a second of a camera
    #[arg(long, value_name = "FPS", default_value_t = 25)]
    pub fps: u32,
    /// Video tracks that each viewer shows large; the others it shows as thumbnails
    #[arg(long, visible_alias = "high-tiles", value_name = "N")]
    pub tiles: Option<usize>,
    /// Joins a second
    #[arg(long, value_name = "N")]
    pub num_per_second: Option<f64>,
    /// Begins the clients' identities; give each of several harness machines its own
    #[arg(long, value_name = "TEXT", default_value = "bench")]
    pub identity_prefix: String,
    /// The server's processes on this host: their CPU time and memory are measured, children
    /// included
    #[arg(long)]
    pub pid: Vec<u32>,
    /// In the middle, kill the process of this id or run this command; clients come back by
    /// themselves, and the longest time without media is what counts
    #[arg(long, value_name = "PID or COMMAND")]
    pub restart: Option<String>,
    /// When that is, from the beginning of the measurement
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub restart_after: Duration,
    /// Servers that the harness starts.
    #[command(flatten)]
    pub hosted: HostedArgs,
    /// Another server.
    #[command(flatten)]
    pub rival: RivalArgs,
}

/// See [`What::Sweep`].
#[derive(Clone, Debug, Args)]
pub struct SweepArgs {
    /// Of the server.
    #[command(flatten)]
    pub target: TargetArgs,
    /// What grows, such as viewers or rooms=1,10,100; all three when left out
    #[arg(long, value_name = "WHAT", value_parser = axis)]
    pub axis: Vec<Axis>,
    /// How often each point is measured; its median counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rounds: u32,
    /// How long each point is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub duration: Duration,
    /// How long everything runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    pub warmup: Duration,
    /// Bitrate of a camera in kbit/s
    #[arg(long, value_name = "KBIT/S", default_value_t = 300)]
    pub video_bitrate: u32,
    /// Frames a second of a camera
    #[arg(long, value_name = "FPS", default_value_t = 15)]
    pub fps: u32,
    /// Joins a second
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub num_per_second: f64,
    /// Servers that the harness starts.
    #[command(flatten)]
    pub hosted: HostedArgs,
}

impl SweepArgs {
    /// The same as a scenario has it, for one point.
    pub fn load(&self) -> LoadArgs {
        LoadArgs {
            target: self.target.clone(),
            room: None,
            publishers: None,
            video_publishers: None,
            audio_publishers: None,
            subscribers: None,
            duration: self.duration,
            warmup: self.warmup,
            simulcast: false,
            no_simulcast: true,
            video_bitrate: self.video_bitrate,
            fps: self.fps,
            tiles: None,
            num_per_second: Some(self.num_per_second),
            identity_prefix: "bench".into(),
            pid: Vec::new(),
            restart: None,
            restart_after: self.duration,
            hosted: self.hosted.clone(),
            rival: RivalArgs {
                against: None,
                against_command: None,
                against_url: None,
                against_protocol: None,
                rounds: 1,
            },
        }
    }
}

/// What a sweep lets grow, and the points at which it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What.
    pub growth: Growth,
    /// How many of it, rising.
    pub points: Vec<u32>,
}

/// An axis such as `rooms=1,10,100`, or `rooms` alone.
///
/// # Errors
/// It is none, or its points do not rise.
pub fn axis(text: &str) -> Result<Axis, String> {
    let (name, points) =
        text.split_once('=').map_or((text, None), |(name, points)| (name, Some(points)));
    let growth = Growth::from_str(name, false).map_err(|_| {
        format!("\"{name}\" is nothing that grows; give viewers, rooms or publishers")
    })?;
    let Some(points) = points else { return Ok(growth.axis()) };
    let points: Vec<u32> = points
        .split(',')
        .map(|point| point.parse().ok().filter(|point| *point > 0))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("\"{points}\" are no points; give numbers such as 1,10,100"))?;
    if !points.is_sorted_by(|one, next| one < next) {
        return Err(format!("the points of {name} do not rise"));
    }
    Ok(Axis { growth, points })
}

/// See [`What::Merge`].
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Results that `--json` wrote
    #[arg(required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Write the sum as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the sum as one HTML page
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// See [`What::Floor`].
#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// Peers, each with its own key and address
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub peers: usize,
    /// Bytes of a datagram before it is sealed
    #[arg(long, value_name = "BYTES", default_value_t = 1_200)]
    pub bytes: usize,
    /// How long each row is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub duration: Duration,
    /// Send to all peers so often and sleep between, as a server does; without a pause when left out
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub every: Option<Duration>,
    /// Have the peers read what comes, on other cores than --server-cores, as a load's clients do
    #[arg(long)]
    pub read: bool,
    /// The cores to send from when peers read, such as 0 or 0,2-3
    #[arg(long, value_name = "CORES", default_value = "0", requires = "read")]
    pub server_cores: String,
    /// Write the table as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A time such as 500ms, 30s, 5m or 1h.
///
/// # Errors
/// It is none, or zero.
pub fn time(text: &str) -> Result<Duration, String> {
    let flaw = || format!("\"{text}\" is no time; give one such as 500ms, 30s, 5m or 1h");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: u64 = text[..digits].parse().map_err(|_| flaw())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(flaw()),
    };
    let ms = count.checked_mul(unit_ms).filter(|ms| (1..=7 * 24 * 3_600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(flaw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let rows = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0s", None),
            ("30", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("9999999999999999999999s", None),
            ("169h", None),
        ];
        for (text, want) in rows {
            assert_eq!(time(text).ok(), want.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn axes() {
        let rows = [
            ("rooms=1,10", Some((Growth::Rooms, vec![1, 10]))),
            ("viewers=7", Some((Growth::Viewers, vec![7]))),
            ("rooms=10,1", None),
            ("rooms=1,1", None),
            ("rooms=0", None),
            ("rooms=", None),
            ("cats", None),
            ("", None),
        ];
        for (text, want) in rows {
            let got = axis(text).ok().map(|axis| (axis.growth, axis.points));
            assert_eq!(got, want, "{text:?}");
        }
        assert_eq!(axis("publishers").expect("a name is enough"), Growth::Publishers.axis());
    }
}
