//! The counters of one shard, and of a node's TCP connections. All but the gauges only grow.

use serde::{Deserialize, Serialize};

use crate::delays::Delays;
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
    /// From when the kernel had a publisher's datagram until the turn that took it in had sent everything:
    /// no packet of it was longer here.
    pub held: Delays,
    /// From when another shard put the oldest parcel into a ring until it was taken, counted for each
    /// parcel that was taken then: none was longer in the ring.
    pub hops: Delays,
    /// Drops by reason.
    pub drops: Drops,
}

macro_rules! endings {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a TCP connection was refused or closed. Each is a label of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum TcpEnding { $($(#[$doc])* $name,)* }

        impl TcpEnding {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [TcpEnding] = &[$(TcpEnding::$name,)*];

            /// The label in `/metrics`.
            pub fn as_str(self) -> &'static str {
                match self { $(TcpEnding::$name => $text,)* }
            }
        }
    };
}

endings! {
    // -- refused when it came
    /// The node has as many connections as it may.
    NodeFull = "node_full",
    /// Its address has as many connections as it may.
    AddressFull = "address_full",
    /// Its address opens them too fast.
    TooFast = "too_fast",
    /// There is one with the same remote address and port already, to another of our addresses.
    Twin = "twin",
    /// The kernel refused an operation on it.
    System = "system",
    // -- closed later
    /// The client closed or reset it.
    ByPeer = "by_peer",
    /// No whole message came in time.
    NoGreeting = "no_greeting",
    /// The first message was no STUN binding request that names one of the node's shards.
    NotOurs = "not_ours",
    /// A message's length is above [`crate::limits::DATAGRAM_MAX`].
    TooLong = "too_long",
    /// Its shard never answered: no session knows the client.
    Unanswered = "unanswered",
    /// One of the two sides was silent, or the client did not read, for too long.
    Silent = "silent",
}

/// What `/metrics` shows of one process. All but the gauge only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStats {
    /// CPU time of all its threads, in microseconds.
    pub cpu_us: u64,
    /// Gauge: memory that is in use, in bytes.
    pub resident_bytes: u64,
    /// Times that a thread of those that run now has waited.
    pub switches_voluntary: u64,
    /// Times that one of them was put aside.
    pub switches_involuntary: u64,
}

/// Reads the figures of the process that calls it.
pub type ReadProcess = fn() -> ProcessStats;

/// What `/metrics` shows of a node's TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpStats {
    /// Gauge: connections.
    pub connections: u64,
    /// Connections that were taken in.
    pub accepted: u64,
    /// Messages from clients to shards.
    pub messages_in: u64,
    /// Messages that the kernel took.
    pub messages_out: u64,
    /// Bytes received, with their framing.
    pub bytes_in: u64,
    /// Bytes that the kernel took, with their framing.
    pub bytes_out: u64,
    /// Messages to a shard whose ring was full.
    pub dropped_ring_full: u64,
    /// Messages to a client whose queue was full.
    pub dropped_queue_full: u64,
    /// Messages to a client that waited for too long.
    pub dropped_late: u64,
    /// Messages to a client whose connection is gone.
    pub dropped_gone: u64,
    /// By [`TcpEnding`].
    pub endings: TcpEndings,
}

/// Connections by the reason of their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpEndings(Vec<u64>);

impl Default for TcpEndings {
    fn default() -> Self {
        TcpEndings(vec![0; TcpEnding::ALL.len()])
    }
}

impl TcpEndings {
    /// One more.
    pub fn count(&mut self, ending: TcpEnding) {
        self.0[ending as usize] += 1;
    }

    /// How many so far.
    pub fn get(&self, ending: TcpEnding) -> u64 {
        self.0.get(ending as usize).copied().unwrap_or(0)
    }
}
