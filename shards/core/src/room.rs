//! Rooms and their members, as far as this shard holds them.

use antipode_base::command::Grants;
use antipode_base::ids::{IdMap, MemberId, ShardId};

/// Someone in a room on this shard.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Name towards others.
    pub(crate) identity: String,
    /// Public id.
    pub(crate) sid: String,
    /// What the member may do.
    pub(crate) grants: Grants,
    /// Its sessions, by their place in the shard's table.
    pub(crate) sessions: Vec<usize>,
    /// The one that data packets go to.
    pub(crate) data_session: Option<usize>,
}

/// One room on this shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// Members here.
    pub(crate) members: IdMap<MemberId, Member>,
    /// All shards with members, this one too; empty when signaling named none.
    pub(crate) shards: Vec<ShardId>,
    /// Someone was audible in the last report, so that silence must be reported once.
    pub(crate) audible: bool,
}
