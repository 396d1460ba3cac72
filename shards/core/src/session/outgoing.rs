//! From a numbered packet to the outbox: waiting for a narrow path, sealing.

use std::time::Instant;

use antipode_base::media::Kind;
use antipode_base::near;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::Packet;

use super::Session;
use crate::effects::Effects;
use crate::egress::{Leaving, Repeat};
use crate::forward::Rewrite;
use crate::outbox::Outbox;
use crate::timers::BEAT;

/// What a path carries beside a payload: RTP's header with its extensions, and SRTP's tag.
const HEADERS: usize = 44;

/// A packet on its way out: numbered, not sealed.
#[derive(Debug)]
pub(crate) struct Waiting {
    slot: usize,
    rewrite: Rewrite,
    packet: Packet,
}

impl Session {
    /// Takes one packet for the client. Sound, and pictures on a wide path, leave at once.
    pub(crate) fn write(
        &mut self,
        slot: usize,
        rewrite: &Rewrite,
        packet: &Packet,
        padding: u8,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), DropReason> {
        let types = self.codecs.types(packet.codec).ok_or(DropReason::CodecNotNegotiated)?;
        let bytes = packet.payload.len() + HEADERS;
        if packet.codec.kind() == Kind::Audio {
            self.pacer.spend(bytes);
        } else {
            if packet.keyframe {
                // Nobody needs what still waits of the stream whose place it takes.
                let stream = packet.stream();
                self.pacer.forget(|it| it.slot == slot && it.packet.stream() != stream);
            }
            if !self.pacer.passes(bytes, now) {
                self.egress.takes(slot)?;
                let waiting = Waiting { slot, rewrite: *rewrite, packet: packet.clone() };
                return self.wait(waiting, now);
            }
        }
        self.egress.send(&Leaving { slot, types, rewrite, packet, padding }, outbox, now)
    }

    /// Brings near what a packet for this client needs.
    pub(crate) fn fetch(&self) {
        self.egress.fetch();
        near::fetch(&self.pacer);
        self.codecs.fetch();
        near::fetch(&self.deadline);
        near::fetch(&self.pace_at);
    }

    /// And what lies behind that.
    pub(crate) fn fetch_behind(&self, slot: usize) {
        self.codecs.fetch_behind();
        self.egress.fetch_behind(slot);
    }

    /// And behind that again.
    pub(crate) fn fetch_lane(&self, slot: usize) {
        self.egress.fetch_lane(slot);
    }

    /// Whether the egress or the pacer wants something earlier than the shard knows.
    pub(crate) fn hurries(&self) -> bool {
        let reports_at = self.egress.reports_at().map(|at| at + BEAT);
        [reports_at, self.pace_at].into_iter().flatten().any(|at| at < self.deadline)
    }

    /// What waited and may leave by now.
    pub(crate) fn leave(&mut self, now: Instant, fx: &mut Effects) {
        if self.pace_at.is_some_and(|at| at <= now) {
            self.pace(now, fx);
        }
        self.set_deadline(fx);
    }

    fn wait(&mut self, waiting: Waiting, now: Instant) -> Result<(), DropReason> {
        let (slot, bytes) = (waiting.slot, waiting.packet.payload.len() + HEADERS);
        if !self.pacer.wait(bytes, waiting) {
            // A keyframe comes next, and should not stand behind what it replaces.
            self.abandon(slot);
            return Err(DropReason::PacerFull);
        }
        self.pace_at = self.pacer.deadline(now);
        Ok(())
    }

    /// Seals what may leave by now of what waits.
    fn pace(&mut self, now: Instant, fx: &mut Effects) {
        while let Some(Waiting { slot, rewrite, packet }) = self.pacer.take(now) {
            // They may have been negotiated anew while it waited.
            let types = self.codecs.types(packet.codec).ok_or(DropReason::CodecNotNegotiated);
            let sealed = types.and_then(|types| {
                let (rewrite, packet) = (&rewrite, &packet);
                let leaving = Leaving { slot, types, rewrite, packet, padding: 0 };
                self.egress.send(&leaving, &mut fx.outbox, now)
            });
            fx.leave(sealed);
        }
        self.pace_at = self.pacer.deadline(now);
    }

    /// Seals one packet again.
    pub(crate) fn repeat(
        &mut self,
        repeat: &Repeat,
        packet: &Packet,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), DropReason> {
        self.pacer.spend(packet.payload.len() + HEADERS);
        self.egress.repeat(repeat, packet, outbox, now)
    }

    /// What is under way in a slot, or might be asked for again, is not wanted any more.
    pub(crate) fn abandon(&mut self, slot: usize) {
        self.pacer.forget(|waiting| waiting.slot == slot);
        if let Some(lane) = self.egress.lane_mut(slot) {
            lane.abandon();
        }
    }
}
