//! What the shard reads of packets by itself: data packets, the headers of payloads, redundant sound,
//! headers of RTP with their extensions, those that describe layers too, and the reports of peers.
//!
//! The stamp is compared with how a client reads it: whatever a sender put into its packet, the
//! receiver must see the sender that we stamped, and the destinations that we honoured.
#![no_main]

use std::time::Instant;

use antipode_base::limits::{DATA_PACKET_MAX, RED_BLOCKS_MAX};
use antipode_base::media::Codec;
use antipode_fuzz::feed::Feed;
use antipode_fuzz::panics;
use antipode_relay::packet::{Pictures, Shape};
use libfuzzer_sys::fuzz_target;
use livekit_protocol::DataPacket;
use livekit_protocol::data_packet::Value;
use prost::Message;
use str0m::rtp::Vp8Descriptor;

const CODECS: [Codec; 8] = [
    Codec::Opus,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::Vp8,
    Codec::Vp9,
    Codec::H264,
    Codec::H265,
    Codec::Av1,
];

fuzz_target!(init: panics::install(), |data: &[u8]| {
    panics::run(data, &[], || {
        let mut feed = Feed(data);
        match feed.byte() % 14 {
            8 => data_packet(feed.rest()),
            9 => dependency(feed),
            10 => allocation(feed.rest()),
            11 => red(feed),
            12 => report(feed.rest()),
            13 => antipode_core::fuzz::header(feed.rest()),
            codec => payload(CODECS[usize::from(codec)], feed.rest()),
        }
    });
});

/// Whatever a viewer reports, the estimate stays between its floor and its ceiling.
fn report(compound: &[u8]) {
    let estimate = antipode_core::fuzz::report(compound, Instant::now());
    assert!((30_000..=100_000_000).contains(&estimate), "{estimate}");
}

fn data_packet(packet: &[u8]) {
    let Some((stamped, destinations)) = antipode_core::fuzz::stamp(packet, "al", "PA_1") else {
        return;
    };
    assert!(packet.len() <= DATA_PACKET_MAX);
    assert!(stamped.starts_with(packet), "the sender's bytes were changed");
    // A packet whose inner fields are broken is the receivers' to refuse.
    let Ok(seen) = DataPacket::decode(stamped.as_slice()) else { return };
    assert_eq!(seen.participant_identity, "al", "a forged sender");
    assert_eq!(seen.participant_sid, "PA_1", "a forged sender");
    let user = match &seen.value {
        #[allow(deprecated)]
        Some(Value::User(user)) => user.destination_identities.as_slice(),
        _ => &[],
    };
    for name in seen.destination_identities.iter().chain(user) {
        assert!(destinations.contains(name), "{name:?} was meant");
    }
    #[allow(deprecated)]
    let speaker = matches!(seen.value, Some(Value::Speaker(_)));
    assert!(!speaker, "only the server names speakers");
}

fn payload(codec: Codec, payload: &[u8]) {
    let glance = antipode_core::fuzz::glance(codec, payload);
    assert_eq!(glance, antipode_core::fuzz::glance(codec, payload));
    if payload.is_empty() {
        assert_eq!(glance, None);
    }
    antipode_core::fuzz::layers(codec, payload);
    // What we read is what the rewriter will find in the same place.
    if let (Codec::Vp8, Some((_, shape))) = (codec, glance) {
        let Shape::Pictures(Pictures { picture_id, tl0_pic_idx, .. }) = shape else {
            panic!("VP8 has picture numbers")
        };
        if let Ok(descriptor) = Vp8Descriptor::parse(payload) {
            let mut patch = descriptor.patch();
            patch = picture_id.map_or(patch, |id| patch.picture_id(id));
            patch = tl0_pic_idx.map_or(patch, |index| patch.tl0_pic_idx(index));
            patch.build().expect("the numbers that were read can be written");
        }
    }
}

/// A bit that says whether there is a mask, a frame number, the mask, a keyframe's descriptor, and one
/// that may refer to it.
fn dependency(mut feed: Feed<'_>) {
    let masked = feed.byte() & 1 == 1;
    let frame_number = feed.word();
    let mask = u32::from(feed.word()) << 16 | u32::from(feed.word());
    let keyframe = feed.chunk();
    antipode_core::fuzz::dependency(keyframe, feed.rest(), frame_number, masked.then_some(mask));
}

/// A timestamp, then redundant sound: blocks that are from before, that do not overlap and that are
/// all of what lies behind their headers.
fn red(mut feed: Feed<'_>) {
    let timestamp = u32::from(feed.word()) << 16 | u32::from(feed.word());
    let payload = feed.rest();
    let Some(blocks) = antipode_core::fuzz::red(payload, timestamp) else { return };
    assert!(blocks.len() <= RED_BLOCKS_MAX);
    let (_, last, primary) = blocks.last().expect("there is a primary block");
    assert!(*last == timestamp && !primary.is_empty());
    let data: Vec<u8> = blocks.iter().flat_map(|(_, _, bytes)| *bytes).copied().collect();
    assert!(payload.len() > data.len() && payload.ends_with(&data));
    for (payload_type, earlier, _) in blocks {
        assert!(payload_type < 128 && timestamp.wrapping_sub(earlier) < 1 << 14);
    }
}

fn allocation(message: &[u8]) {
    let Some(layers) = antipode_core::fuzz::allocation(message) else { return };
    assert!(layers.len() <= 16);
    let places = |(stream, spatial, _): &(u8, u8, Vec<u64>)| (*stream, *spatial);
    assert!(layers.is_sorted_by(|one, other| places(one) < places(other)), "{layers:?}");
    for (stream, spatial, bitrates) in layers {
        assert!(stream < 4 && spatial < 4 && (1..=4).contains(&bitrates.len()));
        assert!(bitrates.iter().all(|bitrate| *bitrate < 1_000 << 35));
    }
}
