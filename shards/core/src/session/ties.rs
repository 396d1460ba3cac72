//! Spatial layers of VP9 that need one another in keyframes alone (`L3T3_KEY`), kept together.
//!
//! A browser takes a picture for whole once its highest layer is there, whatever is missing below; it
//! decodes that, throws away a lower frame that was lost and comes again, and waits for it for ever. So
//! each frame is made to say that it needs the one below it, where that is sent. AV1 says the same in
//! its descriptors ([`super::descriptors`]).
//!
//! ```text
//!   spatial 2      ^ tied       ^ tied        ^
//!   spatial 1      ^ tied       . lost        (not sent)
//!   spatial 0      |            |             |
//! ```

use std::sync::Arc;

use super::descriptors::STREAMS_MAX;
use crate::ingress::Numbers;
use crate::payload::vp9;

/// The newest packet of a stream.
#[derive(Clone, Copy, Debug)]
struct Newest {
    ssrc: u32,
    ext_seq: u64,
    timestamp: u32,
    spatial: u8,
    /// It was the last one of its picture.
    ended: bool,
}

impl Newest {
    /// Whether another packet, which comes behind it, is of a frame with the next lower layer in its own
    /// picture, whether that came or is late.
    fn is_below(&self, other: &Newest) -> bool {
        let gap = other.ext_seq > self.ext_seq + 1;
        if other.timestamp != self.timestamp {
            return gap && self.ended;
        }
        self.spatial + 1 == other.spatial || (gap && self.spatial < other.spatial)
    }
}

/// The streams of a session. With one more than [`STREAMS_MAX`] the oldest is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Ties(Vec<Newest>);

impl Ties {
    /// Takes note of a packet of spatial layer `spatial`, and changes its payload where that is needed.
    pub(crate) fn tie(&mut self, numbers: Numbers, spatial: u8, payload: &mut Arc<[u8]>) {
        let Numbers { ssrc, ext_seq, timestamp, marker: ended } = numbers;
        let packet = Newest { ssrc, ext_seq, timestamp, spatial, ended };
        let Some(newest) = self.0.iter_mut().find(|newest| newest.ssrc == ssrc) else {
            if self.0.len() == STREAMS_MAX {
                self.0.remove(0);
            }
            return self.0.push(packet);
        };
        if spatial > 0
            && ext_seq > newest.ext_seq
            && newest.is_below(&packet)
            && let Some(tied) = vp9::tie(payload)
        {
            *payload = tied;
        }
        if ext_seq > newest.ext_seq {
            *newest = packet;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_of_one_picture_alone_stays_together() {
        let mut ties = Ties::default();
        // Sequence number, picture, spatial layer, marker, whether it is to be tied.
        for (ext_seq, picture, spatial, marker, tied) in [
            (1, 1, 0, false, false),
            (2, 1, 1, false, true),
            (3, 1, 2, true, true),
            // The second layer is not sent.
            (4, 2, 0, false, false),
            (5, 2, 2, true, false),
            // It is late, or all below are.
            (6, 3, 0, false, false),
            (8, 3, 2, true, true),
            (7, 3, 1, false, false),
            (11, 4, 2, true, true),
            // The highest one alone: nothing is missing. Then the end of a picture may be.
            (12, 5, 2, false, false),
            (15, 6, 2, true, false),
        ] {
            let numbers = Numbers { ssrc: 0, ext_seq, timestamp: picture * 3_000, marker };
            let before = [0xe8, 0x12, spatial << 1, 0x07, 0x99];
            let mut payload: Arc<[u8]> = before.into();
            ties.tie(numbers, spatial, &mut payload);
            assert_eq!(payload[2] & 1 == 1, tied, "packet {ext_seq}");
            assert_eq!(payload[2] >> 1, spatial);
        }
        for ssrc in 1..1_000 {
            let numbers = Numbers { ssrc, ext_seq: 1, ..Numbers::default() };
            ties.tie(numbers, 0, &mut [].into());
        }
        assert_eq!(ties.0.len(), STREAMS_MAX);
    }
}
