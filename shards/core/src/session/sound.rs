//! Sound as it comes in: redundant blocks (RFC 2198) are taken apart here, once for every viewer.
//!
//! What a client lost on its way to us is put together again from its later packets. Behind this
//! stop there is plain Opus alone, each packet with its own number; `egress/redundancy.rs` makes
//! blocks of it anew for the viewers who need them.

use antipode_base::verdict::DropReason;
use antipode_relay::packet::{Packet, Shape};

use super::Session;
use crate::effects::Effects;
use crate::red::{self, Malformed};

impl Session {
    /// Takes in one packet of Opus, in `blocks` or as it is. Lost packets that it carries go on before
    /// it, which is what is returned. An error is why it goes no further itself.
    ///
    /// A lost packet's header extensions are lost. It gets those of the packet that carries it: how
    /// loud it is there, it was nearly so 20 ms before.
    pub(super) fn hear(
        &mut self,
        mut packet: Packet,
        blocks: bool,
        fx: &mut Effects,
    ) -> Result<Packet, DropReason> {
        let publication = self.publications.get_mut(packet.track).ok_or(DropReason::NoTrack)?;
        if publication.red {
            packet.shape = Shape::Block { sent: blocks };
        }
        let received = &mut publication.received;
        if !blocks {
            let fresh = received.note(packet.ext_seq, packet.timestamp);
            return if fresh { Ok(packet) } else { Err(DropReason::AlreadyMended) };
        }
        let whole = packet.payload.clone();
        let blocks = red::split(&whole, packet.timestamp)
            .map_err(|_: Malformed| DropReason::PayloadMalformed)?;
        let primary = blocks.primary();
        // Nothing but Opus itself: no other codec, and no blocks within blocks.
        if self.codecs.types(packet.codec).map(|types| types.media) != Some(primary.payload_type) {
            return Err(DropReason::PayloadMalformed);
        }
        let fresh = received.note(packet.ext_seq, packet.timestamp);
        for rebuilt in received.recover(packet.ext_seq, &blocks) {
            fx.packets.push(Packet {
                ext_seq: rebuilt.ext_seq,
                timestamp: rebuilt.block.timestamp,
                marker: false,
                payload: rebuilt.block.payload.into(),
                ..packet.clone()
            });
        }
        packet.payload = primary.payload.into();
        if fresh { Ok(packet) } else { Err(DropReason::AlreadyMended) }
    }
}
