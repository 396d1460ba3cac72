//! What goes into a shard and what comes out of it.

use std::net::SocketAddr;
use std::time::Instant;

use antipode_base::command::Command;
use antipode_base::ids::ShardId;
use antipode_base::notice::Notice;
use antipode_relay::parcel::{Addressed, Parcel};
use str0m::net::Protocol;

/// How a datagram travels between us and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// By itself.
    Udp,
    /// As one message of a connection that the peer opened (RFC 6544, RFC 4571).
    Tcp,
}

impl Transport {
    /// As str0m calls it.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        }
    }

    /// We give str0m candidates of these two kinds alone, so it answers on no other.
    pub(crate) fn of(protocol: Protocol) -> Self {
        if protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp }
    }
}

/// Where a peer is: one address means two peers when they come by two transports.
pub(crate) type PeerAddress = (Transport, SocketAddr);

/// The payload of one UDP datagram, borrowed from the receive batch, or of one message by TCP.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// How it came.
    pub transport: Transport,
    /// The peer's address; an IPv4 peer of a dual-stack socket is given as IPv4.
    pub source: SocketAddr,
    /// Our address, to which the peer sent (from `IP_PKTINFO`), with the transport's port.
    pub local: SocketAddr,
    /// At most [`antipode_base::limits::DATAGRAM_MAX`] bytes.
    pub bytes: &'a [u8],
    /// When the host had it, which may be before the turn that takes it in.
    pub at: Instant,
}

impl Datagram<'_> {
    pub(crate) fn peer(&self) -> PeerAddress {
        (self.transport, self.source)
    }

    /// Whether it has the form of RTP, and not that of RTCP, STUN or DTLS (RFC 7983 §7, RFC 5761 §4).
    pub fn is_rtp(&self) -> bool {
        matches!(self.bytes, [128..=191, ..]) && !self.is_rtcp()
    }

    /// Packet types 192 to 223 in the place of the marker bit (RFC 5761 §4).
    pub(crate) fn is_rtcp(&self) -> bool {
        is_rtcp(self.bytes)
    }
}

/// See [`Datagram::is_rtcp`].
pub(crate) fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [128..=191, 192..=223, ..])
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// From the network.
    Datagram(Datagram<'a>),
    /// From another shard.
    Parcel {
        /// Which one.
        from: ShardId,
        /// What.
        parcel: Parcel,
    },
    /// From signaling.
    Command(Command),
}

/// One datagram to send.
#[derive(Debug)]
pub struct Transmit {
    /// How it goes.
    pub transport: Transport,
    /// Our address as the peer knows it; the kernel is told (`IP_PKTINFO`) where it could take another.
    pub local: SocketAddr,
    /// The peer's address.
    pub destination: SocketAddr,
    /// Its payload. Consecutive transmits to one destination are in order and belong together.
    pub bytes: Vec<u8>,
}

/// What a shard knows of a peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A session of this shard has validated it.
    Validated,
    /// Its session has been reached by it for a while: checks from it may wait.
    Settled,
    /// It is nobody's any more.
    Gone,
}

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// To whoever decides which shard gets what comes from an address by UDP.
    Address(SocketAddr, Standing),
    /// To the network.
    Transmit(Transmit),
    /// To another shard.
    Parcel(Addressed),
    /// To signaling.
    Notice(Notice),
}
