//! The command line of `antipode bench`, close to that of `lk load-test`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::media::codec::Codec;
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
    /// Adds up the JSON of several harness machines that loaded one server at once
    Merge(MergeArgs),
    /// Measures what kernel and cipher alone cost on this host
    Floor(FloorArgs),
}

/// What all scenarios share. What is left out takes the scenario's own default.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// The server
    #[arg(long, env = "LIVEKIT_URL", default_value = "ws://127.0.0.1:7880")]
    pub url: String,
    /// The API key; that of a development server when left out
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    pub api_key: String,
    /// The key's secret; every user of the host sees it here: prefer the variable
    #[arg(long, env = "LIVEKIT_API_SECRET", default_value = "secret", hide_env_values = true)]
    pub api_secret: String,
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
    /// What cameras are encoded with
    #[arg(long, visible_alias = "video-codec", value_enum, default_value_t = Codec::Vp8)]
    pub codec: Codec,
    /// Video tracks of which each viewer wants the highest layer; of the others the lowest
    #[arg(long, value_name = "N")]
    pub high_tiles: Option<usize>,
    /// Joins a second
    #[arg(long, value_name = "N")]
    pub num_per_second: Option<f64>,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Protocol::Livekit)]
    pub protocol: Protocol,
    /// Where the server takes WHIP; {room} and {identity} are filled in
    #[arg(long, value_name = "PATH", default_value = "/whip/{room}")]
    pub whip_path: String,
    /// Where the server takes WHEP
    #[arg(long, value_name = "PATH", default_value = "/whep/{room}?audio=all")]
    pub whep_path: String,
    /// Begins the clients' identities; give each of several harness machines its own
    #[arg(long, value_name = "TEXT", default_value = "bench")]
    pub identity_prefix: String,
    /// The address of this host to send from; the one towards the server when left out
    #[arg(long, value_name = "IP")]
    pub source_ip: Option<IpAddr>,
    /// Threads for media; one for each core that this process may use when left out
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The server's process on this host: its CPU time and memory are measured, children included
    #[arg(long)]
    pub pid: Option<u32>,
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
}
