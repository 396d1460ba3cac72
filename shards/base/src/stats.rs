//! The counters of one shard. All but the gauges only grow.

use serde::{Deserialize, Serialize};

use crate::verdict::Drops;

/// What `/metrics` shows of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStats {
    /// Gauge: sessions.
    pub sessions: u64,
    /// Gauge: rooms that have a member here.
    pub rooms: u64,
    /// Gauge: tracks, local and from elsewhere.
    pub tracks: u64,
    /// Gauge: subscriptions of sessions here.
    pub subscriptions: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of UDP payload received.
    pub bytes_in: u64,
    /// Bytes of UDP payload sent.
    pub bytes_out: u64,
    /// RTP packets taken in from publishers here.
    pub packets_in: u64,
    /// RTP packets handed to viewers here.
    pub packets_out: u64,
    /// Parcels received from other shards.
    pub parcels_in: u64,
    /// Parcels sent to other shards.
    pub parcels_out: u64,
    /// Datagrams that had landed on this shard and hopped to their owner.
    pub strays_out: u64,
    /// RTP packets that were sent again because a viewer missed them.
    pub repeats_out: u64,
    /// Keyframe requests that reached publishers here.
    pub keyframe_requests: u64,
    /// Sessions that were opened since the start.
    pub sessions_opened: u64,
    /// Sessions that a defect of ours ended.
    pub session_faults: u64,
    /// How often the shard was restarted after a panic.
    pub restarts: u64,
    /// Turns of the shard's loop.
    pub turns: u64,
    /// Segmented sends; `datagrams_out / trains_out` is the mean train.
    pub trains_out: u64,
    /// Gauge: parcels waiting in the ring from each shard, by its index.
    pub ring_depths: Vec<u64>,
    /// Drops by reason.
    pub drops: Drops,
}
