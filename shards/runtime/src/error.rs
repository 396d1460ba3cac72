//! Why a node does not start or does not go on. Each message names the field and the mend.

use std::io;
use std::net::SocketAddr;

/// See the module's documentation.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Somebody else has the media port.
    #[error(
        "media.port {port} is taken by another process: stop it or set --media-port \
         (`ss -ulpn 'sport = :{port}'` names it)"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The media socket cannot be opened for another reason.
    #[error("media.bind {address}: {error}; give an address of this host, or [::] for all")]
    MediaSocket {
        /// What was to be bound.
        address: SocketAddr,
        /// Why it was not.
        error: io::Error,
    },
    /// Somebody else has the port of ICE-TCP.
    #[error(
        "media.tcp: port {port} is taken by another process: stop it, or set --media-tcp to another \
         address:port or to off (`ss -tlpn 'sport = :{port}'` names it)"
    )]
    TcpPortTaken {
        /// The port.
        port: u16,
    },
    /// The listening socket of ICE-TCP cannot be opened for another reason.
    #[error("media.tcp {address}: {error}; set --media-tcp to an address of this host, or to off")]
    TcpSocket {
        /// What was to be bound.
        address: SocketAddr,
        /// Why it was not.
        error: io::Error,
    },
    /// There is nothing that clients could be told.
    #[error(
        "media.advertise: no usable address ({found}); set --advertise to the address that clients \
         reach"
    )]
    NoCandidates {
        /// What there was instead.
        found: String,
    },
    /// The public address could not be learned.
    #[error(
        "media.stun_discover {server}: {why}; name the public address in --advertise instead, or \
         another server"
    )]
    Stun {
        /// Who was asked.
        server: String,
        /// What came of it.
        why: String,
    },
    /// A core that this process may not run on.
    #[error(
        "node.cores: core {core} is not among those of this process ({allowed}); change --cores"
    )]
    NoSuchCore {
        /// The core.
        core: usize,
        /// The affinity mask.
        allowed: String,
    },
    /// A core that is named twice.
    #[error("node.cores: core {core} is named twice; each shard needs its own")]
    CoreTwice {
        /// The core.
        core: usize,
    },
    /// A number of shards that cannot be.
    #[error("node.shards: {shards} shards, {why}; change --shards")]
    Shards {
        /// How many were asked for.
        shards: usize,
        /// What is wrong with it.
        why: String,
    },
    /// glommio was asked for by name and the host forbids it.
    #[error("node.runtime glommio: {why}; {mend}, or set --runtime auto")]
    Glommio {
        /// What is missing.
        why: String,
        /// How to get it.
        mend: String,
    },
    /// The shared secret is missing.
    #[error("control.secret is empty: give node and signaling the same secret")]
    NoSecret,
    /// A system call that every start needs failed.
    #[error("{what}: {error}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        error: io::Error,
    },
    /// A thread of the node ended by itself; its shard's sessions are gone and the node with them.
    #[error("{thread} ended: {why}")]
    ThreadEnded {
        /// Which one.
        thread: String,
        /// Why.
        why: String,
    },
}

impl NodeError {
    /// For [`Result::map_err`].
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> NodeError {
        move |error| NodeError::System { what, error }
    }
}
