//! What a session's turn led to, collected so that the shard can act on it afterwards.
//!
//! A session cannot reach other sessions; it leaves here what they need to know. The vectors are
//! kept from turn to turn, so that nothing grows on the media path once it is warm.

use std::collections::VecDeque;

use antipode_base::ids::TrackId;
use antipode_base::notice::{EndReason, Notice};
use antipode_base::verdict::{DropReason, Drops};
use antipode_relay::packet::Packet;

use crate::egress::Heard;
use crate::io::Transmit;
use crate::outbox::Outbox;
use crate::session::slots::Wish;
use crate::timers::Beats;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Datagrams to send, of all sessions.
    pub(crate) outbox: Outbox,
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

impl Effects {
    /// Puts a datagram into the outbox, or counts it when there is no room.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        let left = self.outbox.push(transmit);
        self.leave(left);
    }

    /// What became of a packet on its way out.
    pub(crate) fn leave(&mut self, left: Result<(), DropReason>) {
        if let Err(reason) = left {
            self.drops.count(reason);
        }
    }
}
