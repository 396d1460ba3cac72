//! The rings between the TCP thread and each shard: one in either direction, lock-free, of one size.

use std::net::SocketAddr;
use std::sync::Arc;

use antipode_base::ids::ShardId;
use antipode_base::limits::{TCP_RING, TCP_TURN_MESSAGES_MAX};
use antipode_core::Transmit;
use antipode_relay::doorbell::Doorbell;
use rtrb::{Consumer, Producer, RingBuffer};

/// A message of a client on its way to its shard.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) source: SocketAddr,
    /// Our address, as the client knows it.
    pub(crate) local: SocketAddr,
    pub(crate) bytes: Box<[u8]>,
}

/// A shard's ends.
pub(crate) struct ShardEnd {
    arrived: Consumer<Arrived>,
    leaving: Producer<Transmit>,
    bell: Arc<Doorbell>,
    touched: bool,
}

/// The TCP thread's ends, by shard.
pub(crate) struct TcpEnd {
    arrived: Vec<Producer<Arrived>>,
    leaving: Vec<Consumer<Transmit>>,
    touched: Vec<bool>,
    bells: Vec<Arc<Doorbell>>,
}

/// Rings for the shards with these bells; `bell` is the TCP thread's.
pub(crate) fn rings(bells: &[Arc<Doorbell>], bell: &Arc<Doorbell>) -> (TcpEnd, Vec<ShardEnd>) {
    let mut tcp = TcpEnd {
        arrived: Vec::new(),
        leaving: Vec::new(),
        touched: vec![false; bells.len()],
        bells: bells.to_vec(),
    };
    let shards = bells.iter().map(|_| {
        let (arrived_tx, arrived) = RingBuffer::new(TCP_RING);
        let (leaving, leaving_rx) = RingBuffer::new(TCP_RING);
        tcp.arrived.push(arrived_tx);
        tcp.leaving.push(leaving_rx);
        ShardEnd { arrived, leaving, bell: Arc::clone(bell), touched: false }
    });
    let shards = shards.collect();
    (tcp, shards)
}

impl ShardEnd {
    /// Up to [`TCP_TURN_MESSAGES_MAX`] messages that came. Returns how many.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Arrived)) -> usize {
        for taken in 0..TCP_TURN_MESSAGES_MAX {
            let Ok(arrived) = self.arrived.pop() else { return taken };
            take(arrived);
        }
        TCP_TURN_MESSAGES_MAX
    }

    /// Whether a message waits.
    pub(crate) fn has_messages(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Hands a message to the TCP thread. `false`: the ring is full.
    pub(crate) fn send(&mut self, transmit: Transmit) -> bool {
        let taken = self.leaving.push(transmit).is_ok();
        self.touched |= taken;
        taken
    }

    /// Wakes the TCP thread if it sleeps and got something since the last call. Once per turn.
    pub(crate) fn flush(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.bell.ring_if_sleeping();
        }
    }
}

impl TcpEnd {
    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.bells.len()
    }

    /// Hands a message to its shard. `false`: the ring is full, or there is no such shard.
    pub(crate) fn send(&mut self, to: ShardId, arrived: Arrived) -> bool {
        let Some(ring) = self.arrived.get_mut(to.index()) else { return false };
        let taken = ring.push(arrived).is_ok();
        self.touched[to.index()] |= taken;
        taken
    }

    /// Up to [`TCP_TURN_MESSAGES_MAX`] messages of each shard.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Transmit)) {
        for ring in &mut self.leaving {
            for _ in 0..TCP_TURN_MESSAGES_MAX {
                let Ok(transmit) = ring.pop() else { break };
                take(transmit);
            }
        }
    }

    /// Whether a message waits.
    pub(crate) fn has_messages(&self) -> bool {
        self.leaving.iter().any(|ring| !ring.is_empty())
    }

    /// Wakes the shards that sleep and got something since the last call. Once per turn.
    pub(crate) fn flush(&mut self) {
        for (touched, bell) in self.touched.iter_mut().zip(&self.bells) {
            if std::mem::take(touched) {
                bell.ring_if_sleeping();
            }
        }
    }
}
