//! Newtypes for everything that has a number, so that no two are mixed up.
//!
//! Ids other than [`ShardId`] are chosen at random by signaling (64 bits), hence unique across nodes
//! without any agreement. Being ours, they may key a fast hash.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:x}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

id!(
    /// One `antipode node` process. Chosen at its start; a restarted node is another node.
    NodeId, u64, "node-");
id!(
    /// One pinned core of a node; 0-based, below [`crate::limits::SHARDS_MAX`].
    ShardId, u16, "shard-");
id!(
    /// One peer connection, or one adapter's seat.
    SessionId, u64, "session-");
id!(
    /// Someone in a room: one session, or two where the client keeps a publishing and a
    /// subscribing peer connection.
    MemberId, u64, "member-");
id!(
    /// A room. Rooms never share a track or a member.
    RoomId, u64, "room-");
id!(
    /// One audio or video source as published by one member.
    TrackId, u64, "track-");

impl ShardId {
    /// The shard's place in a table of shards.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
