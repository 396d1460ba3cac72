//! Newtypes for everything that has a number, so that no two are mixed up.
//!
//! Ids other than [`ShardId`] are chosen at random by signaling (64 bits), hence unique across nodes
//! without any agreement. Being ours, they may key a fast hash.

use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

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

/// A map keyed by one of these ids. The hash is the id itself: we choose ids at random, so no peer
/// can make them collide.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// See [`IdMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Not reached by the ids above; still a hash for anything else.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes its bucket from the low and its tag from the high bits.
        self.0 = id ^ id.rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
