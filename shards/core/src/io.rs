//! What goes into a shard and what comes out of it.

use std::net::SocketAddr;

use antipode_base::command::Command;
use antipode_base::ids::ShardId;
use antipode_base::notice::Notice;
use antipode_relay::parcel::{Addressed, Parcel};

/// The payload of one UDP datagram, borrowed from the receive batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The peer's address; an IPv4 peer of a dual-stack socket is given as IPv4.
    pub source: SocketAddr,
    /// Our address, to which the peer sent (from `IP_PKTINFO`), with the media port.
    pub local: SocketAddr,
    /// At most [`antipode_base::limits::DATAGRAM_MAX`] bytes.
    pub bytes: &'a [u8],
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
    /// Our address, to be given to the kernel (`IP_PKTINFO`) so that the peer sees the one it knows.
    pub local: SocketAddr,
    /// The peer's address.
    pub destination: SocketAddr,
    /// UDP payload. Consecutive transmits to one destination are in order and belong together.
    pub bytes: Vec<u8>,
}

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// To the network.
    Transmit(Transmit),
    /// To another shard.
    Parcel(Addressed),
    /// To signaling.
    Notice(Notice),
}
