//! From a numbered packet to the outbox: waiting for a narrow path, sealing, leaving together.

use std::time::Instant;

use antipode_base::limits::LEVEL_PADDING_MAX;
use antipode_base::media::Kind;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::Packet;

use super::Session;
use super::codecs::PayloadTypes;
use crate::effects::Effects;
use crate::egress::{Leaving, Repeat};
use crate::forward::Rewrite;

/// What a path carries beside a payload: RTP's header with its extensions, and SRTP's tag.
const HEADERS: usize = 44;
/// Packets for which a viewer's queue keeps room from turn to turn.
const QUEUE_KEPT: usize = 32;

/// A packet on its way out: numbered, not sealed.
#[derive(Debug)]
pub(crate) struct Waiting {
    slot: usize,
    rewrite: Rewrite,
    packet: Packet,
}

/// The same of a packet that leaves with this turn, by its place among the turn's packets.
#[derive(Debug)]
pub(crate) struct Queued {
    slot: usize,
    types: PayloadTypes,
    rewrite: Rewrite,
    place: usize,
    /// Bytes that make it as long as its neighbours.
    padding: u8,
}

/// Makes neighbours of one stream equally long where a few bytes do it: then they leave as one train.
/// Senders cut a picture into parts that differ by a byte. The last one of a train may be shorter.
fn level(queue: &mut [Queued], turn: &[Packet]) {
    let picture = |queued: &Queued| {
        let packet = turn.get(queued.place).filter(|packet| packet.codec.kind() == Kind::Video);
        packet.map(|packet| packet.payload.len())
    };
    let mut start = 0;
    while start < queue.len() {
        let (slot, mut end) = (queue[start].slot, start + 1);
        let Some(first) = picture(&queue[start]) else {
            start = end;
            continue;
        };
        let (mut low, mut high) = (first, first);
        while let Some(next) = queue.get(end).filter(|it| it.slot == slot).and_then(picture)
            && next.max(high) - next.min(low) <= LEVEL_PADDING_MAX
        {
            (low, high, end) = (next.min(low), next.max(high), end + 1);
        }
        for queued in &mut queue[start..end - 1] {
            queued.padding = picture(queued).map_or(0, |length| (high - length) as u8);
        }
        start = end;
    }
}

/// The room of a queue that is empty by now, unless it was for a keyframe: a hundred packets come seldom,
/// and what they take of memory is not kept for each viewer.
fn kept(queue: Vec<Queued>) -> Vec<Queued> {
    if queue.capacity() <= QUEUE_KEPT { queue } else { Vec::new() }
}

impl Session {
    /// What the viewer gets of this turn is sealed and leaves together, so that the session's memory is
    /// touched once and the datagrams can leave as one train. Sound goes before pictures that waited.
    pub(crate) fn send_queue(&mut self, now: Instant, fx: &mut Effects) {
        self.repeats.drain(..).for_each(|repeat| fx.send(repeat));
        let mut queue = std::mem::take(&mut self.queue);
        level(&mut queue, &fx.turn);
        for Queued { slot, types, rewrite, place, padding } in queue.drain(..) {
            let packet = &fx.turn[place];
            let leaving = Leaving { slot, types, rewrite: &rewrite, packet, padding };
            let sealed = self.egress.send(&leaving, &mut fx.spare, now);
            fx.leave(sealed);
        }
        self.queue = kept(queue);
        if self.pace_at.is_some_and(|at| at <= now) {
            self.pace(now, fx);
        }
        self.set_deadline(self.deadline);
    }

    /// Takes one packet for the client. Sound, and pictures on a wide path, leave at the turn's end, and
    /// lie among the `turn`'s packets until then.
    pub(crate) fn write(
        &mut self,
        slot: usize,
        rewrite: &Rewrite,
        packet: &Packet,
        turn: &mut Vec<Packet>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let types = self.codecs.types(packet.codec).ok_or(DropReason::CodecNotNegotiated)?;
        self.egress.takes(slot)?;
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
                return self.wait(Waiting { slot, rewrite: *rewrite, packet: packet.clone() }, now);
            }
        }
        // Most often it is the same one that the last viewer got.
        let number = |packet: &Packet| (packet.track, packet.layer, packet.ext_seq);
        if turn.last().is_none_or(|last| number(last) != number(packet)) {
            turn.push(packet.clone());
        }
        let place = turn.len() - 1;
        self.queue.push(Queued { slot, types, rewrite: *rewrite, place, padding: 0 });
        Ok(())
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
                self.egress.send(&leaving, &mut fx.spare, now)
            });
            fx.leave(sealed);
        }
        self.pace_at = self.pacer.deadline(now);
    }

    /// Seals one packet again.
    pub(crate) fn repeat(&mut self, repeat: &Repeat, packet: &Packet, now: Instant) {
        self.pacer.spend(packet.payload.len() + HEADERS);
        self.repeats.extend(self.egress.repeat(repeat, packet, now));
    }

    /// What is under way in a slot, or might be asked for again, is not wanted any more.
    pub(crate) fn abandon(&mut self, slot: usize) {
        self.pacer.forget(|waiting| waiting.slot == slot);
        if let Some(lane) = self.egress.lane_mut(slot) {
            lane.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Rewriter, testing};
    use antipode_base::media::Codec;

    #[test]
    fn room_for_a_keyframe_is_not_kept() {
        assert_eq!(kept(Vec::with_capacity(QUEUE_KEPT)).capacity(), QUEUE_KEPT);
        assert_eq!(kept(Vec::with_capacity(QUEUE_KEPT + 1)).capacity(), 0);
    }

    #[test]
    fn neighbours_of_one_stream_become_equally_long() {
        // Slot, whether it is a picture, length, padding.
        for packets in [
            vec![(0, true, 1_101, 0), (0, true, 1_100, 1), (0, true, 1_100, 0)],
            // The last one may be shorter, and a much shorter one ends the train.
            vec![(0, true, 1_100, 0), (0, true, 600, 0), (0, true, 1_100, 0)],
            vec![(0, true, 1_090, 10), (0, true, 1_100, 0), (0, true, 1_083, 0)],
            vec![(0, true, 1_090, 0), (0, true, 1_107, 0)],
            vec![(0, true, 1_100, 0), (1, true, 1_099, 0)],
            vec![(0, false, 100, 0), (0, false, 99, 0), (0, false, 100, 0)],
        ] {
            let number = Rewriter::new(0).start(&testing::packet(1, 0), true);
            let turn = packets.iter().map(|(_, picture, length, _)| Packet {
                codec: if *picture { Codec::Vp8 } else { Codec::Opus },
                payload: vec![0; *length].into(),
                ..testing::packet(1, 0)
            });
            let turn: Vec<Packet> = turn.collect();
            let queued = |(place, (slot, ..)): (usize, &(usize, bool, usize, u8))| Queued {
                slot: *slot,
                types: PayloadTypes { media: 96, repair: None, red: None },
                rewrite: number,
                place,
                padding: 0,
            };
            let mut queue: Vec<Queued> = packets.iter().enumerate().map(queued).collect();
            level(&mut queue, &turn);
            let want: Vec<u8> = packets.iter().map(|packet| packet.3).collect();
            let got: Vec<u8> = queue.iter().map(|queued| queued.padding).collect();
            assert_eq!(got, want, "{packets:?}");
        }
    }
}
