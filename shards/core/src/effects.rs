//! What a session's turn led to, collected so that the shard can act on it afterwards.
//!
//! A session cannot reach other sessions; it leaves here what they need to know. The vectors are
//! kept from turn to turn, so that nothing grows on the media path once it is warm.

use std::collections::VecDeque;

use antipode_base::ids::TrackId;
use antipode_base::limits::{DATAGRAM_MAX, OUTBOX_MAX, SPARE_BUFFERS_MAX};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::verdict::{DropReason, Drops};
use antipode_relay::packet::Packet;

use crate::egress::Heard;
use crate::io::Transmit;
use crate::payload::dependency::DESCRIPTOR_MAX;
use crate::session::slots::Wish;
use crate::timers::Beats;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Datagrams to send, of all sessions; the shard's outbox.
    pub(crate) outbox: VecDeque<Transmit>,
    /// Buffers of datagrams that left.
    pub(crate) spare: Spare,
    /// When to do what may wait.
    pub(crate) beats: Beats,
    /// For signaling.
    pub(crate) notices: VecDeque<Notice>,
    /// Drops of this shard by reason.
    pub(crate) drops: Drops,
    /// Where a datagram is opened, with whatever is there.
    pub(crate) plain: Vec<u8>,
    /// Media that came in.
    pub(crate) packets: Vec<Packet>,
    /// What the client's RTCP asks for.
    pub(crate) heard: Heard,
    /// Data packets that came in, with whether their channel is reliable.
    pub(crate) data: Vec<(bool, Vec<u8>)>,
    /// Wishes whose packets may flow from now on.
    pub(crate) announced: Vec<Wish>,
    /// Tracks whose sections stopped.
    pub(crate) stopped: Vec<TrackId>,
    /// The session just connected.
    pub(crate) connected: bool,
    /// The session is over.
    pub(crate) ended: Option<EndReason>,
}

/// What packets on their way out are written into. It is the shard's: of each viewer's own, every viewer's
/// first packet of a turn would find it out of the core's cache.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// Buffers to use again, the last one first: it is still in the core's cache.
    buffers: Vec<Vec<u8>>,
    /// The packet that is sealed next.
    pub(crate) draft: Draft,
}

/// Parts of one packet before it is sealed, with whatever is in them.
#[derive(Debug)]
pub(crate) struct Draft {
    /// RTP header with its extensions.
    pub(crate) header: Vec<u8>,
    /// The payload, where it is not as it came.
    pub(crate) payload: Vec<u8>,
    /// The dependency descriptor.
    pub(crate) described: [u8; DESCRIPTOR_MAX],
}

impl Default for Draft {
    fn default() -> Self {
        Draft { header: Vec::new(), payload: Vec::new(), described: [0; DESCRIPTOR_MAX] }
    }
}

impl Spare {
    /// One with whatever is in it, which holds a datagram of media without growing.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(DATAGRAM_MAX))
    }

    /// Keeps a buffer of ours unless there are enough.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < SPARE_BUFFERS_MAX && buffer.capacity() == DATAGRAM_MAX {
            self.buffers.push(buffer);
        }
    }
}

impl Effects {
    /// What became of a packet on its way out.
    pub(crate) fn leave(&mut self, sealed: Result<Transmit, DropReason>) {
        match sealed {
            Ok(transmit) => self.send(transmit),
            Err(reason) => self.drops.count(reason),
        }
    }

    /// Puts a datagram into the outbox, or counts it when there is no room.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(transmit);
        } else {
            self.drops.count(DropReason::OutboxFull);
        }
    }
}
