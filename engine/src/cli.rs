//! The command line. It knows names and forms; what a value means is the table of fields' business.

use std::path::PathBuf;

use antipode_bench::cli::BenchArgs;
use clap::{Args, Parser, Subcommand};

/// A flag that sets a field, and what it was given.
pub(crate) type Flag = (&'static str, String);

/// A WebRTC media server: one shard a core, signaling as its own process.
#[derive(Debug, Parser)]
#[command(name = "antipode", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Runs a node and signaling on loopback with development keys, and prints two links to try
    Dev(DevArgs),
    /// Runs the media plane: one shard a core on one UDP port
    Node(NodeArgs),
    /// Runs the control plane: WebSocket, HTTP, tokens, placement
    Signal(SignalArgs),
    /// Prints an access token and nothing else
    Token(TokenArgs),
    /// Checks the host and prints how to mend what is amiss; exit code 1 when media cannot run
    Doctor(DoctorArgs),
    Bench(Box<BenchArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    media: Media,
    /// Send every join to the next shard, so that two people meet across shards
    #[arg(long)]
    spread: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    media: Media,
    #[command(flatten)]
    control: Control,
    #[command(flatten)]
    pub(crate) tie: Tie,
}

#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    control: Control,
    #[command(flatten)]
    pub(crate) tie: Tie,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The room that the token opens
    #[arg(long)]
    pub(crate) room: String,
    /// Who joins with it; unique in the room
    #[arg(long)]
    pub(crate) identity: String,
    /// What the others see; the identity when left out
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long it is valid, such as 90s, 30m, 6h or 7d
    #[arg(long, default_value = "6h")]
    pub(crate) ttl: String,
    /// May not publish tracks
    #[arg(long)]
    pub(crate) no_publish: bool,
    /// May not receive tracks
    #[arg(long)]
    pub(crate) no_subscribe: bool,
    /// The API key; else the first of ANTIPODE_KEYS or the file, else the one of development
    #[arg(long, requires = "secret")]
    pub(crate) key: Option<String>,
    /// The key's secret. Every user of the host sees it here: prefer ANTIPODE_KEYS
    #[arg(long, requires = "key", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// The TOML file to take the key from
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    media: Media,
    /// Print one JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The TOML file to read; environment and flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Which log lines are written, such as info or warn,antipode_signaling=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Print the effective configuration, without its secrets, and end
    #[arg(long)]
    pub(crate) show_config: bool,
}

#[derive(Debug, Args)]
struct Http {
    /// Where HTTP and the WebSocket are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
}

#[derive(Debug, Args)]
struct Media {
    /// The addresses that clients are told to send media to; every address of the host when left out
    #[arg(long, value_name = "IP[,IP]")]
    advertise: Option<String>,
    /// Ask this STUN server for the public address behind a one-to-one NAT, and tell clients that
    #[arg(long, value_name = "HOST:PORT")]
    stun_discover: Option<String>,
    /// How many shards; one for each core when left out
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// The cores that shards are pinned to, such as 2-7 or 0,2,4
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,
    /// The one UDP port of all media
    #[arg(long, value_name = "PORT")]
    media_port: Option<String>,
    /// Where clients without UDP connect by TCP, or off
    #[arg(long, value_name = "ADDRESS:PORT")]
    media_tcp: Option<String>,
    /// What waits for packets: auto, glommio or epoll
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,
}

#[derive(Debug, Args)]
struct Control {
    /// Where signaling listens for nodes: unix:/path or tcp:host:port
    #[arg(long, value_name = "ADDRESS")]
    control: Option<String>,
}

/// Between `dev` and its children.
#[derive(Debug, Args)]
pub(crate) struct Tie {
    /// End when the process of this id ends
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) supervised_by: Option<i32>,
}

impl Common {
    fn flags(&self) -> Vec<Flag> {
        given([("--log", &self.log)])
    }
}

impl Http {
    fn flags(&self) -> Vec<Flag> {
        given([("--bind", &self.bind)])
    }
}

impl Media {
    fn flags(&self) -> Vec<Flag> {
        given([
            ("--advertise", &self.advertise),
            ("--stun-discover", &self.stun_discover),
            ("--shards", &self.shards),
            ("--cores", &self.cores),
            ("--media-port", &self.media_port),
            ("--media-tcp", &self.media_tcp),
            ("--runtime", &self.runtime),
        ])
    }
}

impl Control {
    fn flags(&self) -> Vec<Flag> {
        given([("--control", &self.control)])
    }
}

impl DevArgs {
    /// The flags that set a field.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let spread = self.spread.then(|| ("--spread", "true".to_owned()));
        let flags = [self.common.flags(), self.http.flags(), self.media.flags()].concat();
        flags.into_iter().chain(spread).collect()
    }
}

impl NodeArgs {
    /// The flags that set a field.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        [self.common.flags(), self.media.flags(), self.control.flags()].concat()
    }
}

impl SignalArgs {
    /// The flags that set a field.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        [self.common.flags(), self.http.flags(), self.control.flags()].concat()
    }
}

impl DoctorArgs {
    /// The flags that set a field.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        [self.common.flags(), self.http.flags(), self.media.flags()].concat()
    }
}

fn given<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> Vec<Flag> {
    flags.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::{FIELDS, by_flag};
    use clap::CommandFactory;

    #[test]
    fn the_command_line_and_the_table_of_fields_agree() {
        Cli::command().debug_assert();
        let dev = Cli::parse_from([
            "antipode",
            "dev",
            "--bind=a",
            "--advertise=a",
            "--stun-discover=a",
            "--shards=a",
            "--cores=a",
            "--media-port=a",
            "--media-tcp=a",
            "--runtime=a",
            "--log=a",
            "--spread",
        ]);
        let signal = Cli::parse_from(["antipode", "signal", "--control=a"]);
        let (What::Dev(dev), What::Signal(signal)) = (dev.what, signal.what) else { panic!() };
        let offered = [dev.flags(), signal.flags()].concat();
        for (flag, _) in &offered {
            assert!(by_flag(flag).is_some(), "{flag}");
        }
        for field in FIELDS.iter().filter_map(|field| field.flag) {
            assert!(offered.iter().any(|(flag, _)| *flag == field), "{field}");
        }
    }
}
