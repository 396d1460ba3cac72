//! AV1 and its dependency descriptors, through the shard.

use antipode_base::command::Tune;
use antipode_base::media::{Codec, Layer};
use str0m::format::Codec as Format;
use str0m::media::KeyframeRequestKind;
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

use super::*;
use crate::payload::dependency::parse;
use crate::payload::dependency::tests::{CHROMIUM_L3T3, hex};
use crate::session::descriptors::URI;

/// What a client writes into a packet's header, or reads in it.
struct Bytes(Vec<u8>);

#[derive(Debug)]
struct Writer;

impl ExtensionSerializer for Writer {
    fn write_to(&self, out: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Bytes(bytes)) = values.user_values.get() else { return 0 };
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(Bytes(bytes.to_vec()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get().is_some_and(|Bytes(bytes)| bytes.len() > 16)
    }
}

/// What every client of these scenes knows.
pub(super) fn client_extensions() -> ExtensionMap {
    let mut map = ExtensionMap::standard();
    map.set(12, Extension::with_serializer(URI, Writer));
    map
}

/// A publisher of this codec and one viewer.
fn call_in(codec: Codec) -> Scene {
    call_with(codec, |sdp| sdp)
}

/// The same; the viewer's offer is changed on its way.
fn call_with(codec: Codec, change: impl Fn(String) -> String) -> Scene {
    let mut scene = Scene::new();
    scene.open(0);
    scene.command(Command::Publish {
        session: session(0),
        track: TrackId(1),
        kind: Kind::Video,
        client_id: "cam".to_owned(),
        codec: Some(codec),
        source: Source::Other,
        red: true,
        stereo: false,
    });
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    scene.open(1);
    scene.subscribe(1, 1, Kind::Video);
    let mut api = scene.clients[1].rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    scene.clients[1].pending = Some(pending);
    let sdp = change(offer.to_sdp_string());
    scene.command(Command::Offer { session: session(1), id: 1, sdp });
    scene.pass(Duration::from_millis(500));
    scene
}

fn send(scene: &mut Scene, seq: u64, picture: u32, descriptor: &[u8]) {
    let mid = scene.mid(0);
    let client = &mut scene.clients[0];
    let params = client.rtc.codec_config().params().iter();
    let pt = params.clone().find(|params| params.spec().codec == Format::Av1).unwrap().pt();
    let mut values = ExtensionValues::default();
    values.user_values.set(Bytes(descriptor.to_vec()));
    let mut api = client.rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).unwrap();
    let write = RtpWrite::new(pt, seq.into(), picture * 3_000, scene.now, [0x10, 7]);
    stream.write_rtp(write.ext_vals(values));
    scene.settle();
    // Without a marker the rest of a picture is waited for.
    scene.pass(Duration::from_millis(1));
}

/// The descriptors that the viewer got.
fn got(scene: &Scene) -> Vec<Vec<u8>> {
    let of =
        |packet: &RtpPacket| packet.header.ext_vals.user_values.get().map(|Bytes(b)| b.clone());
    scene.clients[1].packets.iter().map(|packet| of(packet).unwrap_or_default()).collect()
}

#[test]
fn descriptors_are_negotiated_with_publishers_of_av1_alone() {
    for (codec, want) in [(Codec::Av1, true), (Codec::Vp8, false), (Codec::Vp9, false)] {
        let scene = call_in(codec);
        for (n, want) in [(0, want), (1, true)] {
            let to = session(n);
            let of = |notice: &&Notice| matches!(notice, Notice::Answer { session, .. } if *session == to);
            let Some(Notice::Answer { sdp, .. }) = scene.notices.iter().find(of) else {
                panic!("no answer to {n}")
            };
            assert_eq!(sdp.contains(URI), want, "{codec:?} {n} {sdp}");
        }
    }
}

#[test]
fn descriptors_pass_with_numbers_and_masks_for_the_viewer() {
    let mut scene = call_in(Codec::Av1);
    let key = hex(CHROMIUM_L3T3);
    send(&mut scene, 1, 1, &[0xc2, 0, 5]);
    assert_eq!(scene.shard.stats().drops.get(DropReason::DescriptorUnread), 1, "no keyframe yet");
    send(&mut scene, 2, 2, &key);
    // A frame of temporal layer 1, as Chromium sent it.
    let frame = hex("c20005 1a60201800");
    send(&mut scene, 3, 3, &frame);
    assert_eq!(got(&scene), [key.clone(), frame]);
    let tune = Tune { layer_max: Layer(0), ..Tune::default() };
    scene.command(Command::Tune { session: session(1), track: TrackId(1), tune });
    send(&mut scene, 4, 4, &[0xc2, 0, 7]);
    send(&mut scene, 5, 4, &[0xc8, 0, 8]);
    let all = got(&scene);
    assert_eq!(all.len(), 3, "the second spatial layer is left out: {all:x?}");
    let known = parse(&key, None).unwrap().attached.unwrap();
    let read = parse(&all[2], Some(&known)).unwrap();
    assert_eq!((read.frame_number, read.active_targets), (7, Some(0b000_000_111)));
    // Who comes back is given the keyframe and what followed, numbered on: 1, 5, 7 as 8, 12, 14.
    for paused in [true, false] {
        let tune = Tune { paused, ..tune };
        scene.command(Command::Tune { session: session(1), track: TrackId(1), tune });
    }
    let read = parse(got(&scene).last().unwrap(), Some(&known)).unwrap();
    assert_eq!(read.frame_number, 14);
}

#[test]
fn who_does_not_take_extensions_of_both_forms_gets_no_descriptors() {
    const LINE: &str = "a=extmap-allow-mixed\r\n";
    for mixed in [true, false] {
        let mut scene = call_with(Codec::Av1, |sdp| {
            assert!(sdp.contains(LINE));
            if mixed { sdp } else { sdp.replace(LINE, "") }
        });
        let answer = scene.notices.iter().rev().find_map(|notice| match notice {
            Notice::Answer { sdp, .. } => Some(sdp.contains(LINE)),
            _ => None,
        });
        assert_eq!(answer, Some(mixed), "an answer allows what the offer does");
        let key = hex(CHROMIUM_L3T3);
        send(&mut scene, 1, 1, &key);
        assert_eq!(got(&scene), [if mixed { key } else { Vec::new() }]);
    }
}

/// Three pictures of three spatial layers in a packet each, of which the viewer gets the lowest; the
/// second one is lost on its way at first, or not. What the viewer got: time, marker, descriptor.
fn lowest_layers(lossy: bool) -> Vec<(u32, bool, Vec<u8>)> {
    let mut scene = call_in(Codec::Av1);
    let tune = Tune { layer_max: Layer(0), ..Tune::default() };
    scene.command(Command::Tune { session: session(1), track: TrackId(1), tune });
    send(&mut scene, 1, 1, &hex(CHROMIUM_L3T3));
    for picture in 2..5 {
        scene.clients[1].losing = lossy && picture == 3;
        let seq = u64::from(picture) * 3;
        // Templates 0, 1 and 2 are the lowest temporal layer of the three spatial ones.
        for (layer, byte) in [0xc1, 0xc6, 0xcb].into_iter().enumerate() {
            let number = 10 + picture as u8 * 3 + layer as u8;
            send(&mut scene, seq + layer as u64, picture, &[byte, 0, number]);
        }
    }
    scene.pass(Duration::from_millis(500));
    let of = |packet: &RtpPacket| {
        let header = &packet.header;
        let bytes = header.ext_vals.user_values.get().map(|Bytes(bytes)| bytes.clone());
        (header.timestamp, header.marker, bytes.unwrap_or_default())
    };
    let mut got: Vec<_> = scene.clients[1].packets.iter().map(of).collect();
    got.sort();
    got
}

#[test]
fn what_is_repeated_is_as_it_was() {
    let whole = lowest_layers(false);
    assert_eq!(whole.len(), 4, "{whole:?}");
    assert!(whole[1..].iter().all(|(_, marker, _)| *marker), "each ends its picture: {whole:?}");
    assert_eq!(lowest_layers(true), whole);
}

#[test]
fn a_keyframe_of_all_layers_is_asked_for_at_their_one_stream() {
    let mut scene = call_in(Codec::Av1);
    send(&mut scene, 1, 1, &hex(CHROMIUM_L3T3));
    scene.pass(Duration::from_secs(2));
    let before = scene.shard.stats().keyframe_requests;
    let ssrc = scene.clients[1].packets[0].header.ssrc;
    let mut api = scene.clients[1].rtc.direct_api();
    api.stream_rx(&ssrc).expect("it gets it").request_keyframe(KeyframeRequestKind::Pli);
    scene.pass(Duration::from_millis(100));
    assert_eq!(scene.shard.stats().keyframe_requests, before + 1);
}
