//! The configuration: what can be set, and the order in which its sources override one another.
//!
//! ```text
//!   defaults  <  TOML file  <  ANTIPODE_* environment  <  flags
//! ```
//!
//! Every field stands once in [`fields::FIELDS`], which parses it, shows it and documents it; so a
//! field that can be set can also be seen, and docs/configuration.md is held to that table by a test.
//! A value that will not do is a [`Refusal`], which names the field, where the value stands and the
//! mend, and never repeats a secret.

pub(crate) mod fields;
mod file;
mod ice;
mod refusal;
mod show;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use antipode_base::limits::{SHARDS_MAX, SIGNAL_CONNECTS_PER_S};

pub(crate) use refusal::{Fault, Origin, Refusal};
pub(crate) use show::{Secrets, show};
pub(crate) use value::Value;

/// The key of development; public knowledge, as its secret is.
pub(crate) const DEV_KEY: &str = "devkey";
/// See [`DEV_KEY`].
pub(crate) const DEV_SECRET: &str = "secret";
/// Where signaling listens for nodes when nothing else is said.
const CONTROL_SOCKET: &str = "/run/antipode/control.sock";
/// glommio warns of each ring whose buffers it may not register, on hosts with the usual limit of
/// locked memory. Media does not use those buffers.
const LOG_FILTER: &str = "info,glommio=error";
/// Nobody can follow more voices at once, and smaller rooms are not touched by it.
const AUDIO_TOP: u8 = 8;
/// A day, as the TURN REST API recommends.
const TURN_TTL_S: u32 = 86_400;
/// The file that is read when no flag names another.
pub(crate) const CONFIG_ENV: &str = "ANTIPODE_CONFIG";

/// Whose defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `antipode node`, `antipode signal` and what speaks of them.
    Service,
    /// `antipode dev`: loopback, and the keys of development.
    Dev,
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) signal: SignalFields,
    pub(crate) room: RoomFields,
    pub(crate) whip: WhipFields,
    pub(crate) ice: IceFields,
    pub(crate) media: MediaFields,
    pub(crate) node: NodeFields,
    pub(crate) control: ControlFields,
    pub(crate) log: LogFields,
}

/// `[signal]`: the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignalFields {
    /// HTTP and WebSocket.
    pub(crate) bind: SocketAddr,
    /// The pairs that sign access tokens; in the order of their names, the first one also mints.
    pub(crate) keys: Vec<(String, Secret)>,
    /// New connections a second from one address; 0 switches the limit off.
    pub(crate) connects_per_s: u32,
    /// Every join goes to the next shard, round-robin.
    pub(crate) spread: bool,
    /// The page mints its own tokens: whoever reaches it may join any room.
    pub(crate) dev_page: bool,
}

/// `[room]`: what holds in every room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomFields {
    /// How many microphones a member hears at once, the loudest first; 0: all.
    pub(crate) audio_top: u8,
}

/// `[whip]`: clients that speak plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WhipFields {
    /// The server that takes those for whom there is no room here.
    pub(crate) redirect: Option<String>,
}

/// `[ice]`: the STUN and TURN servers that clients are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceFields {
    pub(crate) stun: Vec<String>,
    pub(crate) turn: Vec<String>,
    /// What the TURN servers have as their `static-auth-secret`.
    pub(crate) turn_secret: Option<Secret>,
    /// How long the credentials made with it are good.
    pub(crate) turn_ttl_s: u32,
}

/// `[media]`: the ports of the media plane and what clients are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaFields {
    pub(crate) bind: IpAddr,
    /// 0 lets the kernel choose.
    pub(crate) port: u16,
    /// For clients without UDP.
    pub(crate) tcp: MediaTcp,
    /// Empty means every address of the host.
    pub(crate) advertise: Vec<IpAddr>,
    /// Offer loopback addresses too.
    pub(crate) loopback: bool,
    /// `host:port` of a STUN server to ask for our public address.
    pub(crate) stun_discover: Option<String>,
}

/// Where ICE-TCP listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaTcp {
    /// Where the media sockets are bound, on port 7881; with a media port of the kernel's choice, on
    /// one of the kernel's choice too.
    Beside,
    /// There.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// `[node]`: the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFields {
    /// `None`: one for each core.
    pub(crate) shards: Option<u16>,
    /// Empty: the cores that the process may use.
    pub(crate) cores: Vec<usize>,
    pub(crate) pin: bool,
    pub(crate) runtime: Runtime,
}

/// `[control]`: the path between a node and signaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlFields {
    pub(crate) address: ControlAddress,
    /// `None` on a Unix socket: the two find a random one in a file beside it.
    pub(crate) secret: Option<Secret>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFields {
    /// As the environment variable `RUST_LOG` of other programs.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// What waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// glommio where the host permits it, else epoll; the log says which and why.
    Auto,
    /// io_uring, or refuse to start.
    Glommio,
    /// For hosts that forbid io_uring.
    Epoll,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line for machines.
    Json,
}

/// Where signaling listens for nodes and where a node finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlAddress {
    /// A socket in a folder made for one run of `dev`.
    Private,
    /// On one host.
    Unix(PathBuf),
    /// Between hosts.
    Tcp { host: String, port: u16 },
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlAddress::Private => f.write_str("private"),
            ControlAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ControlAddress::Tcp { host, port } if host.contains(':') => {
                write!(f, "tcp:[{host}]:{port}")
            }
            ControlAddress::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// A string that neither a log nor an error shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// For the one who signs or checks with it, never for a text that people read.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl Config {
    /// What holds when nothing is set.
    pub(crate) fn defaults(mode: Mode) -> Self {
        let dev = mode == Mode::Dev;
        let ip = if dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let keys = if dev { vec![(DEV_KEY.to_owned(), Secret::new(DEV_SECRET))] } else { vec![] };
        let address = match mode {
            Mode::Dev => ControlAddress::Private,
            Mode::Service => ControlAddress::Unix(CONTROL_SOCKET.into()),
        };
        Config {
            signal: SignalFields {
                bind: SocketAddr::from((ip, 7880)),
                keys,
                connects_per_s: SIGNAL_CONNECTS_PER_S,
                spread: false,
                dev_page: dev,
            },
            room: RoomFields { audio_top: AUDIO_TOP },
            whip: WhipFields { redirect: None },
            ice: IceFields {
                stun: vec![],
                turn: vec![],
                turn_secret: None,
                turn_ttl_s: TURN_TTL_S,
            },
            media: MediaFields {
                bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                port: 7882,
                tcp: MediaTcp::Beside,
                advertise: vec![],
                loopback: dev,
                stun_discover: None,
            },
            node: NodeFields { shards: None, cores: vec![], pin: true, runtime: Runtime::Auto },
            control: ControlFields { address, secret: None },
            log: LogFields { filter: LOG_FILTER.to_owned(), format: LogFormat::Text },
        }
    }

    /// Reads all sources, each over the one before it.
    ///
    /// `flags` are pairs of a flag's name and its value; `env` are pairs of the environment.
    ///
    /// # Errors
    /// The first value that will not do.
    pub(crate) fn load(
        mode: Mode,
        config_flag: Option<&Path>,
        env: &[(String, String)],
        flags: &[(&'static str, String)],
    ) -> Result<Self, Refusal> {
        let mut config = Config::defaults(mode);
        let from_env = || env.iter().find(|(name, _)| name == CONFIG_ENV).map(|(_, path)| path);
        if let Some(path) = config_flag.or_else(|| from_env().map(Path::new)) {
            file::apply(path, &mut config)?;
        }
        for field in fields::FIELDS {
            let Some((_, text)) = env.iter().find(|(name, _)| name == field.env) else { continue };
            field.set(&mut config, &Value::Raw(text.clone()), &Origin::Env(field.env))?;
        }
        for (flag, text) in flags {
            let field = fields::by_flag(flag).expect("cli and the table of fields agree: a test");
            field.set(&mut config, &Value::Raw(text.clone()), &Origin::Flag(flag))?;
        }
        config.check()?;
        Ok(config)
    }

    /// What no single field can tell.
    fn check(&self) -> Result<(), Refusal> {
        if let (Some(shards), cores) = (self.node.shards, self.node.cores.len())
            && cores > 0
            && cores != usize::from(shards)
        {
            return Err(Refusal::new(
                "node.shards",
                format!("{shards} shards and {cores} cores contradict one another"),
                "Leave out --shards, or name as many cores in --cores",
            ));
        }
        if !self.ice.turn.is_empty() && self.ice.turn_secret.is_none() {
            return Err(Refusal::new(
                "ice.turn_secret",
                "not set, and the servers of ice.turn let nobody in without it",
                "Set ANTIPODE_ICE_TURN_SECRET to the static-auth-secret of the TURN servers",
            ));
        }
        if self.node.cores.len() > SHARDS_MAX {
            return Err(Refusal::new(
                "node.cores",
                format!("{} cores", self.node.cores.len()),
                format!("Name at most {SHARDS_MAX}"),
            ));
        }
        Ok(())
    }

    /// The names in `env` that look like ours and are not: a typing error, or the variables that a
    /// container platform makes for a service called `antipode`. Hence worth a warning, no refusal.
    pub(crate) fn strangers(env: &[(String, String)]) -> Vec<&str> {
        let ours = |name: &str| name == CONFIG_ENV || fields::FIELDS.iter().any(|f| f.env == name);
        let names = env.iter().map(|(name, _)| name.as_str());
        names.filter(|name| name.starts_with("ANTIPODE_") && !ours(name)).collect()
    }
}

#[cfg(test)]
mod tests;
