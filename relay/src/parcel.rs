//! What travels between shards.

use std::net::SocketAddr;
use std::sync::Arc;

use antipode_base::ids::{RoomId, ShardId, TrackId};
use antipode_base::media::Layer;

use crate::packet::Packet;

/// A datagram that the kernel gave to a shard that does not own its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The peer's address.
    pub source: SocketAddr,
    /// Our address, to which it was sent.
    pub local: SocketAddr,
    /// UDP payload, at most [`antipode_base::limits::DATAGRAM_MAX`] bytes.
    pub bytes: Box<[u8]>,
}

/// A data packet for all members of a room on the receiving shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataParcel {
    /// The room.
    pub room: RoomId,
    /// Delivered in order and complete, or as it comes.
    pub reliable: bool,
    /// Stamped with its sender; at most [`antipode_base::limits::DATA_PACKET_MAX`] bytes and stamp.
    pub bytes: Arc<[u8]>,
    /// Identities that shall receive it; empty: all.
    pub destinations: Arc<[String]>,
}

/// Small messages between shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The sender has viewers of this track of yours. Sent again when they need more or less of it.
    Watch {
        /// The track.
        track: TrackId,
        /// The viewers' room; a track of another room is not handed out.
        room: RoomId,
        /// The highest layer that any of them uses; `None` while all of them pause.
        layer_max: Option<Layer>,
    },
    /// The sender's last viewer of it is gone. Idempotent.
    Unwatch {
        /// The track.
        track: TrackId,
    },
    /// A viewer of the sender needs a keyframe; merged and throttled again at the track's home.
    Keyframe {
        /// The track.
        track: TrackId,
        /// The rung.
        layer: Layer,
    },
    /// A track of the sender has ended.
    TrackEnded {
        /// The track.
        track: TrackId,
    },
    /// Datagrams from this address belong to the sender.
    Claim {
        /// The peer's address.
        address: SocketAddr,
    },
    /// They no longer do.
    Disclaim {
        /// The peer's address.
        address: SocketAddr,
    },
}

/// A packet or a small note as it crosses a core border.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// One per shard with a viewer, never one per viewer.
    Media(Packet),
    /// To the owner of its session.
    Stray(Stray),
    /// To every shard that the room spans.
    Data(DataParcel),
    /// Control between shards.
    Note(Note),
}

/// A parcel and where it goes.
#[derive(Clone, Debug)]
pub struct Addressed {
    /// The receiving shard.
    pub to: ShardId,
    /// What it gets.
    pub parcel: Parcel,
}
