//! What came in, until all viewers have been offered it.

use antipode_base::limits::{LAYERS_MAX, LEVEL_PADDING_MAX};
use antipode_base::media::Kind;
use antipode_relay::packet::Packet;

use super::loudest::Decision;
use super::subscription::LayerSet;

/// A packet that waits for the end of its turn, or for the rest of its picture.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// As it came.
    pub(crate) packet: Packet,
    /// Layers that its publisher sends at the moment.
    pub(crate) active: LayerSet,
    /// Who is due it; `None`: whoever views its track.
    pub(crate) choice: Option<Decision>,
    /// The rest of its picture is about to come.
    pub(crate) part: bool,
    /// Bytes that make it as long as its neighbours.
    pub(crate) padding: u8,
}

/// Makes neighbours of one layer equally long where a few bytes do it: then they leave as one train.
/// Senders cut a picture into parts that differ by a byte. The last one of a train may be shorter.
pub(super) fn level(fresh: &mut [Fresh]) {
    for layer in 0..LAYERS_MAX {
        let mut start = 0;
        while let Some((first, length)) = next_of(fresh, layer, start) {
            let (mut low, mut high, mut last) = (length, length, first);
            while let Some((next, length)) = next_of(fresh, layer, last + 1)
                && length.max(high) - length.min(low) <= LEVEL_PADDING_MAX
            {
                (low, high, last) = (length.min(low), length.max(high), next);
            }
            let run = fresh[first..last].iter_mut();
            for it in run.filter(|it| it.packet.layer.index() == layer) {
                it.padding = (high - it.packet.payload.len()) as u8;
            }
            start = last + 1;
        }
    }
}

/// The next picture's packet of a layer: its place and its length.
fn next_of(fresh: &[Fresh], layer: usize, from: usize) -> Option<(usize, usize)> {
    let of = |(_, it): &(usize, &Fresh)| {
        it.packet.layer.index() == layer && it.packet.codec.kind() == Kind::Video
    };
    let (place, it) = fresh.iter().enumerate().skip(from).find(of)?;
    Some((place, it.packet.payload.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing;
    use antipode_base::media::{Codec, Layer};

    #[test]
    fn neighbours_of_one_layer_become_equally_long() {
        // Layer, whether it is a picture, length, padding.
        for packets in [
            vec![(0, true, 1_101, 0), (0, true, 1_100, 1), (0, true, 1_100, 0)],
            // The last one may be shorter, and a much shorter one ends the train.
            vec![(0, true, 1_100, 0), (0, true, 600, 0), (0, true, 1_100, 0)],
            vec![(0, true, 1_090, 10), (0, true, 1_100, 0), (0, true, 1_083, 0)],
            vec![(0, true, 1_090, 0), (0, true, 1_107, 0)],
            // A viewer gets one of two layers that came by turns.
            vec![(0, true, 700, 0), (1, true, 1_099, 1), (0, true, 699, 0), (1, true, 1_100, 0)],
            vec![(0, false, 100, 0), (0, false, 99, 0), (0, false, 100, 0)],
        ] {
            let it = |(layer, picture, length, _): &(u8, bool, usize, u8)| Fresh {
                packet: Packet {
                    layer: Layer(*layer),
                    codec: if *picture { Codec::Vp8 } else { Codec::Opus },
                    payload: vec![0; *length].into(),
                    ..testing::packet(1, 0)
                },
                active: LayerSet::default(),
                choice: None,
                part: false,
                padding: 0,
            };
            let mut fresh: Vec<Fresh> = packets.iter().map(it).collect();
            level(&mut fresh);
            let want: Vec<u8> = packets.iter().map(|packet| packet.3).collect();
            let got: Vec<u8> = fresh.iter().map(|it| it.padding).collect();
            assert_eq!(got, want, "{packets:?}");
        }
    }
}
