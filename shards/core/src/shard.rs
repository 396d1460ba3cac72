//! The shard itself.

use std::net::SocketAddr;
use std::time::Instant;

use antipode_base::ids::ShardId;
use antipode_base::stats::ShardStats;

use crate::io::{Input, Output};

/// What a shard must be told at its birth.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its own number; carried in every ufrag that it chooses.
    pub shard: ShardId,
    /// How many shards the node has.
    pub shards: u16,
    /// Host candidates: where clients reach the node's media socket. Not empty.
    pub candidates: Vec<SocketAddr>,
    /// For the choices that are ours alone (SSRCs, picture ids); credentials never depend on it.
    pub seed: u64,
}

/// See the crate's documentation.
pub struct Shard {
    config: ShardConfig,
}

impl Shard {
    /// A shard without sessions.
    pub fn new(config: ShardConfig, _now: Instant) -> Self {
        Shard { config }
    }

    /// Takes in one input. `now` is the turn's reading of the clock.
    pub fn handle(&mut self, _input: Input<'_>, _now: Instant) {}

    /// Ends a turn: fires due timers, seals what viewers are to get. Then call [`Shard::poll`].
    pub fn flush(&mut self, _now: Instant) {}

    /// The next output. Call again after `handle` and `flush`, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`Shard::flush`] again if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The counters; those of the runtime (turns, trains, depths, sent bytes) are left at 0.
    pub fn stats(&self) -> ShardStats {
        let _ = &self.config;
        ShardStats::default()
    }
}
