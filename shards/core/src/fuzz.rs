//! Doors for the fuzz targets to what this crate keeps to itself. No part of its interface.

use std::time::{Duration, Instant};

use antipode_base::media::Codec;
use antipode_relay::packet::{Pictures, Shape};
use str0m::config::CryptoProvider;

use crate::egress::estimator::{Estimator, Watched};
use crate::ingress::{Fields, Header, Ids};
use crate::payload::dependency::{self, DESCRIPTOR_MAX, Descriptor, Structure};
use crate::payload::{allocation, vp8, vp9};
use crate::rtcp::{self, Feedback};
use crate::session::config::SessionSetup;
use crate::session::descriptors;
use crate::shard::{Shard, ShardConfig};
use crate::srtp::keys;
use crate::{data, payload, red, sdp};

/// A shard with another cipher library: one that seals nothing lets a fuzzer in behind the seal.
///
/// # Panics
/// As [`Shard::new`].
pub fn shard(config: ShardConfig, crypto: CryptoProvider) -> Shard {
    let crypto = keys::showing(crypto);
    let setup = SessionSetup::with_crypto(&config, crypto.clone(), [crypto.clone(), crypto]);
    Shard::with_setup(config, setup)
}

/// A data packet with its sender's stamp, and its destinations.
pub fn stamp(packet: &[u8], identity: &str, sid: &str) -> Option<(Vec<u8>, Vec<String>)> {
    data::stamp(packet, identity, sid).map(|stamped| (stamped.bytes, stamped.destinations))
}

/// Whether a decoder can start with this payload, and its numbers.
pub fn glance(codec: Codec, payload: &[u8]) -> Option<(bool, Shape)> {
    payload::glance(codec, payload).ok().map(|glance| (glance.keyframe, glance.shape))
}

/// Writes other numbers into a payload; its own change nothing.
fn renumber(pictures: &Pictures, payload: &mut [u8]) {
    let came = payload.to_vec();
    let (id, index) = (pictures.picture_id.unwrap_or(0), pictures.tl0_pic_idx.unwrap_or(0));
    assert!(pictures.says(id, index));
    pictures.patch(payload, id, index);
    assert_eq!(payload, came, "its own numbers were changed");
    pictures.patch(payload, !0, !0);
}

/// Reads the layers of a payload, and writes other numbers into it.
///
/// # Panics
/// When what was read does not hold together.
pub fn layers(codec: Codec, payload: &[u8]) {
    match codec {
        Codec::Vp8 => {
            let (Ok(layers), Ok(seen)) = (vp8::layers(payload), vp8::glance(payload)) else {
                return assert!(vp8::layers(payload).is_err() && vp8::glance(payload).is_err());
            };
            assert!(layers.temporal <= Some(3));
            let mut copy = payload.to_vec();
            if let Shape::Pictures(pictures) = seen.shape {
                renumber(&pictures, &mut copy);
            }
            assert_eq!(vp8::layers(&copy), Ok(layers), "more than numbers was changed");
        }
        Codec::Vp9 => {
            let Ok(read) = vp9::parse(payload) else { return };
            assert!(read.length <= payload.len());
            assert_eq!(
                payload::glance(codec, payload).map(|seen| seen.keyframe),
                Ok(read.keyframe)
            );
            let mut copy = payload.to_vec();
            if let Shape::Pictures(pictures) = read.glance().shape {
                renumber(&pictures, &mut copy);
            }
            let picture_id = read
                .picture_id
                .map(|id| vp9::PictureId { value: if id.long { 0x7fff } else { 0x7f }, ..id });
            let tl0_pic_idx = read.tl0_pic_idx.map(|index| vp9::Tl0PicIdx { value: !0, ..index });
            assert_eq!(vp9::parse(&copy), Ok(vp9::Vp9 { picture_id, tl0_pic_idx, ..read }));
            assert_eq!(copy[read.length..], payload[read.length..], "the frame was changed");
        }
        _ => {}
    }
}

/// Reads a dependency descriptor with the structure of another one, writes it with another number and
/// mask, and reads that.
///
/// # Panics
/// When what was read does not hold together, or means something else when it was written again.
pub fn dependency(keyframe: &[u8], frame: &[u8], frame_number: u16, mask: Option<u32>) {
    let known = dependency::parse(keyframe, None).ok().and_then(|read| read.attached);
    let Ok(before) = dependency::parse(frame, known.as_deref()) else { return };
    let structure = before.attached.as_ref().or(known.as_ref());
    let structure = structure.expect("without a structure nothing can be read");
    targets(structure, &before);
    let mut out = [0; DESCRIPTOR_MAX];
    let written = dependency::rewrite(frame, structure, frame_number, mask, &mut out);
    // A mask takes up to 37 bits.
    assert!(written.is_ok() || frame.len() + 5 > DESCRIPTOR_MAX, "room enough");
    let Ok(written) = written else { return };
    let after = dependency::parse(written, known.as_deref());
    let active_targets = mask.map(|mask| mask & structure.every_target()).or(before.active_targets);
    assert_eq!(after, Ok(Descriptor { frame_number, active_targets, ..before }));
}

fn targets(structure: &Structure, frame: &Descriptor) {
    for target in 0..structure.target_count() {
        assert!(frame.is_in(target) || !frame.switches_to(target));
        if let Some(reach) = structure.target(target) {
            let best = |active| structure.target_for(reach.spatial, reach.temporal, active);
            assert_eq!(best(1 << target), Some(target));
            let best = best(structure.every_target()).and_then(|best| structure.target(best));
            assert_eq!(best, Some(reach), "nothing lower is better");
        }
        let chain = structure.chain_of(target);
        assert_eq!(chain.is_some(), structure.chain_count() > 0);
        assert!(chain.is_none_or(|chain| chain < structure.chain_count()));
        let before = chain.and_then(|chain| frame.before_in_chain(chain));
        assert!(before != Some(frame.frame_number));
    }
    assert_eq!(frame.resolution, structure.resolution(frame.spatial));
}

/// Reads which layers a sender sends: stream, spatial id and bits per second of each.
pub fn allocation(message: &[u8]) -> Option<Vec<(u8, u8, Vec<u64>)>> {
    let read = allocation::parse(message).ok()?;
    assert!(read.stream < read.streams);
    let layers = read.layers.iter().map(|layer| {
        let bitrates = layer.bitrates.iter().map(|bitrate| bitrate.0).collect();
        (layer.stream, layer.spatial, bitrates)
    });
    Some(layers.collect())
}

/// Takes a RED payload apart. Returns payload type, timestamp and payload of each block that is not
/// empty, the packet's own last.
///
/// # Panics
/// When something is put together again that did not get lost.
pub fn red(payload: &[u8], timestamp: u32) -> Option<Vec<(u8, u32, &[u8])>> {
    let blocks = red::split(payload, timestamp).ok()?;
    let mut received = red::Received::default();
    for (ext_seq, ago) in [(7, 2_880), (10, 0)] {
        received.note(ext_seq, timestamp.wrapping_sub(ago));
    }
    let mended: Vec<u64> = received.recover(10, &blocks).map(|rebuilt| rebuilt.ext_seq).collect();
    assert!(mended.iter().all(|ext_seq| (8..10).contains(ext_seq)), "{mended:?}");
    assert!(mended.iter().all(|ext_seq| !received.note(*ext_seq, 0)), "it counts as received");
    let all = blocks.redundant().chain([blocks.primary()]);
    Some(all.map(|block| (block.payload_type, block.timestamp, block.payload)).collect())
}

/// Reads a viewer's RTCP and lets an estimate follow what it says of packets that were sent a
/// millisecond apart. Returns the estimate in bits a second.
///
/// # Panics
/// When one report says more than its bytes can hold.
pub fn report(compound: &[u8], now: Instant) -> u64 {
    let mut estimator = Estimator::default();
    for seq in 0..200u64 {
        let watched = Some(Watched { slot: 0, seq: seq as u16 });
        estimator.sent(seq, 1_000, watched, now + Duration::from_millis(seq));
    }
    let end = now + Duration::from_millis(300);
    let mut heard = 0;
    rtcp::read(compound, |feedback| {
        heard += 1;
        match feedback {
            Feedback::Transport(feedback) => {
                estimator.feedback(&feedback, end);
                assert!(estimator.missed().len() <= feedback.arrivals.len());
            }
            Feedback::Cap(rate) => estimator.set_cap(rate),
            Feedback::Report(block) => estimator.set_rtt(block.delay),
            Feedback::Nack { .. } | Feedback::Keyframe { .. } => {}
            Feedback::Sender { .. } | Feedback::TimeHeard { .. } => {}
        }
    });
    assert!(heard <= compound.len() / 4, "{heard} of {} bytes", compound.len());
    estimator.estimate().0
}

/// Reads the header of a datagram of RTP, and what its extensions say.
///
/// # Panics
/// When what was read does not hold together.
pub fn header(datagram: &[u8]) {
    let Some(header) = Header::read(datagram) else { return };
    assert!(header.length <= datagram.len());
    let held: usize = header.elements(datagram).map(|(_, value)| 1 + value.len()).sum();
    assert!(held + 12 <= header.length, "{held} bytes of {}", header.length);
    Fields::read(&header, datagram, &Ids::all());
    let payload = &datagram[header.length..];
    assert!(header.unpadded(payload).is_none_or(|unpadded| payload.starts_with(unpadded)));
}

/// Scans a description and writes it again: refusing each section whose `mid` has an odd length,
/// with our labels in the others. Returns the names of the scanned sections and what was written.
pub fn dress(text: &str) -> (Vec<String>, String) {
    let sections = sdp::scan(text);
    let mids = sections.iter().map(|section| section.mid.to_owned()).collect();
    let dressed = sections.iter().map(|section| sdp::SectionDress {
        mid: section.mid.to_owned(),
        labels: Some(("PA_a|TR_b".to_owned(), "TR_b".to_owned())),
        payload_types: sdp::prefer(section, Some(Codec::Av1)),
        without: Some(descriptors::URI),
        refused: section.mid.len() % 2 == 1,
    });
    let dress = sdp::Dress { sections: dressed.collect(), ..sdp::Dress::default() };
    (mids, dress.apply(text))
}
