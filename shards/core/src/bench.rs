//! Doors for the benchmarks to what this crate keeps to itself. No part of its interface.

use std::net::SocketAddr;

use antipode_base::command::Tune;
use antipode_base::ids::{RoomId, ShardId};
use antipode_base::verdict::{DropReason, Drops};
use antipode_relay::packet::Packet;

use crate::demux::{Demux, Owner};
use crate::forward::{Fabric, Origin, Rewrite, Rewriter, Sink, Step, Subscription, Track};
use crate::io::Transport;

pub use crate::shard::gallery::{Gallery, picture};

/// One track with viewers that are ready, as the fan-out loop sees them.
pub struct Fanout {
    fabric: Fabric,
    drops: Drops,
}

/// Where nothing is sealed and nothing is sent: the decisions alone are timed.
struct Nowhere;

impl Sink for Nowhere {
    fn to_session(
        &mut self,
        session: usize,
        slot: usize,
        rewrite: Rewrite,
        _: &Packet,
        _: u8,
    ) -> Result<(), DropReason> {
        std::hint::black_box((session, slot, rewrite));
        Ok(())
    }
}

impl Fanout {
    /// So many viewers of the track that `packet` is of.
    pub fn new(viewers: usize, packet: &Packet) -> Self {
        let mut fabric = Fabric::default();
        let origin = Origin::Session(0);
        let kind = packet.codec.kind();
        let track = fabric.get_or_make(packet.track, || Track::new(kind, origin, RoomId(1)));
        for session in 0..viewers {
            let tune = Tune::default();
            let mut viewer = Subscription::new(session, 0, tune, Rewriter::new(session as u16));
            viewer.ready = true;
            track.add_viewer(viewer);
        }
        Fanout { fabric, drops: Drops::default() }
    }

    /// Decides and rewrites for every viewer; returns how many would get it.
    pub fn forward(&mut self, packet: &Packet) -> usize {
        self.fabric.take_in(packet.clone(), |_, _| {});
        self.fabric.release(None);
        loop {
            match self.fabric.fan_out(&mut self.drops, &mut Nowhere) {
                Some(Step::Served) => {}
                Some(Step::Done(_, fanned)) => return fanned.sent,
                None => return 0,
            }
        }
    }
}

/// The tables of a shard with many sessions.
pub struct Demultiplexer(Demux);

impl Demultiplexer {
    /// One session for each address; its ufrag is `00` and its place in `addresses`.
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let mut demux = Demux::new(ShardId(0), 2);
        for (session, address) in addresses.iter().enumerate() {
            demux.add_ufrag(&format!("00{session}"), session);
            demux.add_address((Transport::Udp, *address), session);
        }
        Demultiplexer(demux)
    }

    /// Whether a session owns the datagram.
    pub fn finds(&self, source: SocketAddr, bytes: &[u8]) -> bool {
        matches!(
            self.0.find((Transport::Udp, source), bytes),
            Ok(Owner::Session(_) | Owner::Stun(_))
        )
    }
}
