//! What a node must be told.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use antipode_base::stats::ReadProcess;

/// Everything that [`crate::run`] needs to know.
#[derive(Clone)]
pub struct NodeConfig {
    /// How many shards; `None`: one per core of the process's affinity mask. May exceed the cores
    /// only without [`NodeConfig::pin`]. 1..=[`antipode_base::limits::SHARDS_MAX`].
    pub shards: Option<u16>,
    /// The cores to use, in the order of the shards; each must be in the affinity mask.
    pub cores: Option<Vec<usize>>,
    /// Whether each shard stays on its own core.
    pub pin: bool,
    /// Address of the media socket. `[::]` takes IPv4 too, and becomes `0.0.0.0` on hosts without
    /// IPv6. Port 0 takes any free port.
    pub media: SocketAddr,
    /// Where clients without UDP connect by TCP (RFC 6544); `None`: nowhere. As with
    /// [`NodeConfig::media`], `[::]` takes IPv4 too, and port 0 is any free port.
    pub tcp: Option<SocketAddr>,
    /// The addresses that clients are told. Empty: all unicast addresses of the host but loopback,
    /// or the address of [`NodeConfig::media`] when that is a particular one.
    pub advertise: Vec<IpAddr>,
    /// Tell clients the loopback addresses as well; for development.
    pub include_loopback: bool,
    /// `host:port` of a STUN server that is asked for the address by which the world sees the media
    /// port; clients are told that address too.
    pub stun_discover: Option<String>,
    /// Which way to wait.
    pub driver: DriverChoice,
    /// Where signaling listens.
    pub control: ControlAddress,
    /// Proves to signaling that this node is one of its own. Not empty; never logged.
    pub secret: Vec<u8>,
    /// How the process's figures are read, for signaling's `/metrics`.
    pub process: Option<ReadProcess>,
}

impl NodeConfig {
    /// The defaults: one pinned shard per core, `[::]:7882`, ICE-TCP on `[::]:7881`.
    pub fn new(control: ControlAddress, secret: Vec<u8>) -> Self {
        NodeConfig {
            shards: None,
            cores: None,
            pin: true,
            media: SocketAddr::from(([0u16; 8], MEDIA_PORT)),
            tcp: Some(SocketAddr::from(([0u16; 8], TCP_PORT))),
            advertise: Vec::new(),
            include_loopback: false,
            stun_discover: None,
            driver: DriverChoice::Auto,
            control,
            secret,
            process: None,
        }
    }
}

/// The default media port.
pub const MEDIA_PORT: u16 = 7882;
/// The default port of ICE-TCP.
pub const TCP_PORT: u16 = 7881;

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("shards", &self.shards)
            .field("cores", &self.cores)
            .field("pin", &self.pin)
            .field("media", &self.media)
            .field("tcp", &self.tcp)
            .field("advertise", &self.advertise)
            .field("include_loopback", &self.include_loopback)
            .field("stun_discover", &self.stun_discover)
            .field("driver", &self.driver)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

/// How a shard waits for its socket, its bell and its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// glommio where the host permits io_uring, else epoll.
    #[default]
    Auto,
    /// glommio, or refuse to start.
    Glommio,
    /// epoll.
    Epoll,
}

/// Where signaling listens for nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    /// A Unix socket on this host.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ControlAddress::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}
