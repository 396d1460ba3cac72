//! From a numbered packet to the outbox: waiting for a narrow path, sealing, leaving together.

use std::time::Instant;

use antipode_base::media::Kind;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::Packet;

use super::Session;
use crate::effects::Effects;
use crate::egress::Repeat;
use crate::forward::Rewrite;

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
    /// What viewers get of this turn leaves together, so that it can leave as one train.
    pub(crate) fn send_queue(&mut self, now: Instant, fx: &mut Effects) {
        if self.pace_at.is_some_and(|at| at <= now) {
            self.pace(now, fx);
        }
        for transmit in self.queue.drain(..) {
            fx.send(transmit);
        }
        self.set_deadline(self.deadline);
    }

    /// Takes one packet for the client. Sound, and pictures on a wide path, leave at the turn's end.
    pub(crate) fn write(
        &mut self,
        slot: usize,
        rewrite: &Rewrite,
        packet: &Packet,
        now: Instant,
    ) -> Result<(), DropReason> {
        let bytes = packet.payload.len() + HEADERS;
        if packet.codec.kind() == Kind::Audio {
            self.pacer.spend(bytes);
            return self.seal(slot, rewrite, packet, now);
        }
        if packet.keyframe {
            // Nobody needs what still waits of the stream whose place it takes.
            let stream = packet.stream();
            self.pacer.forget(|it| it.slot == slot && it.packet.stream() != stream);
        }
        if self.pacer.passes(bytes, now) {
            return self.seal(slot, rewrite, packet, now);
        }
        let waiting = Waiting { slot, rewrite: *rewrite, packet: packet.clone() };
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
            if let Err(reason) = self.seal(slot, &rewrite, &packet, now) {
                fx.drops.count(reason);
            }
        }
        self.pace_at = self.pacer.deadline(now);
    }

    /// Seals one packet for the client; it leaves at the end of the turn.
    fn seal(
        &mut self,
        slot: usize,
        rewrite: &Rewrite,
        packet: &Packet,
        now: Instant,
    ) -> Result<(), DropReason> {
        let types = self.codecs.types(packet.codec).ok_or(DropReason::CodecNotNegotiated)?;
        self.queue.push(self.egress.send(slot, types, rewrite, packet, now)?);
        Ok(())
    }

    /// Seals one packet again.
    pub(crate) fn repeat(&mut self, repeat: &Repeat, packet: &Packet, now: Instant) {
        self.pacer.spend(packet.payload.len() + HEADERS);
        self.queue.extend(self.egress.repeat(repeat, packet, now));
    }

    /// What is under way in a slot, or might be asked for again, is not wanted any more.
    pub(crate) fn abandon(&mut self, slot: usize) {
        self.pacer.forget(|waiting| waiting.slot == slot);
        if let Some(lane) = self.egress.lane_mut(slot) {
            lane.abandon();
        }
    }
}
