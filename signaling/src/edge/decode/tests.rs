//! Golden bytes of what the SDKs send, and what becomes of bytes that nobody sends in good faith.

use std::io::Write;

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The form on the wire of a join by the JavaScript SDK 2.23, with a very short offer.
const JOIN_GZIP: &str = "CAESPR-LCAAAAAAAAgPjEuRgFGIz0jMy1jOQEExgymJkFmLiYDQS4GLNT0tLLRJiLbM14OWS\
                         YAQAKKCGOCkAAAA=";
/// The same, not compressed and not padded.
const JOIN_PLAIN: &str = "EikKEQgBEgYyLjIzLjAYEWACagEDEgIIATIQCgVvZmZlchIFdj0wDQoYAQ";
/// A resume.
const RESUME_GZIP: &str = "CAESQB-LCAAAAAAAAgPjEuRgFGIz0jMy1jOQEExgymJkFmLiYLRgdGD04g9wjDcpCvYJNj\
                           I2cg7PzwUAv-9roywAAAA=";

#[test]
fn golden_join_requests() {
    for parameter in [JOIN_GZIP, JOIN_PLAIN] {
        let request = join_request(parameter).unwrap();
        let info = request.client_info.unwrap();
        assert_eq!((info.version.as_str(), info.protocol, info.client_protocol), ("2.23.0", 17, 2));
        assert_eq!(info.capabilities, [3]);
        assert!(request.connection_settings.unwrap().auto_subscribe);
        assert!(!request.reconnect);
        let offer = description(request.publisher_offer.unwrap());
        assert_eq!(offer, Description { id: 1, sdp: "v=0\r\n".into() });
    }
    let request = join_request(RESUME_GZIP).unwrap();
    assert!(request.reconnect);
    assert_eq!(request.participant_sid, "PA_4rSLS232CWom");
    assert!(request.publisher_offer.is_none());
}

fn wrap(compression: i32, join_request: Vec<u8>) -> String {
    BASE64.encode(proto::WrappedJoinRequest { compression, join_request }.encode_to_vec())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_bomb_is_refused_and_what_just_fits_is_not() {
    let bomb = wrap(1, gzip(&vec![0; 40 * 1024 * 1024]));
    assert!(bomb.len() < JOIN_REQUEST_PACKED_MAX, "{} bytes must pass the first check", bomb.len());
    assert_eq!(join_request(&bomb).err(), Some(DecodeError::UnpackedTooLong));

    // Field 3, metadata: tag, three bytes of length, text.
    let fits = |total: usize| {
        let metadata = "m".repeat(total - 4);
        let request = proto::JoinRequest { metadata, ..Default::default() };
        assert_eq!(request.encoded_len(), total);
        join_request(&wrap(1, gzip(&request.encode_to_vec()))).map(|_| ())
    };
    assert_eq!(fits(JOIN_REQUEST_MAX), Ok(()));
    assert_eq!(fits(JOIN_REQUEST_MAX + 1), Err(DecodeError::UnpackedTooLong));
}

#[test]
fn broken_join_requests_are_told_apart() {
    let mut cut = gzip(b"\x1a\x02hi");
    cut.truncate(cut.len() - 6);
    for (what, parameter, want) in [
        ("not base64", "??".to_owned(), DecodeError::Base64),
        ("not protobuf", BASE64.encode([0xff; 8]), DecodeError::JoinRequest),
        ("inside not protobuf", wrap(0, vec![0xff; 8]), DecodeError::JoinRequest),
        ("a compression of tomorrow", wrap(9, vec![]), DecodeError::Compression),
        ("not gzip", wrap(1, b"plain".to_vec()), DecodeError::Gzip),
        ("cut gzip", wrap(1, cut), DecodeError::Gzip),
        ("too long", "A".repeat(JOIN_REQUEST_PACKED_MAX + 1), DecodeError::PackedTooLong),
    ] {
        assert_eq!(join_request(&parameter).err(), Some(want), "{what}");
    }
}

fn send(message: Message) -> Inbound {
    frame(&proto::SignalRequest { message: Some(message) }.encode_to_vec()).unwrap()
}

fn request(message: Message) -> Request {
    match send(message) {
        Inbound::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

/// As the page of the wire exchange announces its camera.
fn camera() -> proto::AddTrackRequest {
    let layer = |quality, width, height, bitrate| proto::VideoLayer {
        quality,
        width,
        height,
        bitrate,
        ..Default::default()
    };
    proto::AddTrackRequest {
        cid: "4b5df736".into(),
        r#type: proto::TrackType::Video as i32,
        width: 1280,
        height: 720,
        source: proto::TrackSource::Camera as i32,
        // Not in order: the model wants the smallest first.
        layers: vec![
            layer(2, 1280, 720, 1_700_000),
            layer(0, 320, 180, 160_000),
            layer(1, 640, 360, 450_000),
        ],
        simulcast_codecs: vec![proto::SimulcastCodec {
            codec: "vp8".into(),
            cid: "4b5df736".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn an_announced_camera() {
    let Request::Publish(spec) = request(Message::AddTrack(camera())) else { panic!() };
    assert_eq!((spec.kind, spec.source), (Kind::Video, Source::Camera));
    assert_eq!(spec.codec, Some(Codec::Vp8));
    assert_eq!(spec.layers.iter().map(|layer| layer.width).collect::<Vec<_>>(), [320, 640, 1280]);

    let second = proto::AddTrackRequest { sid: "TR_VC1".into(), ..camera() };
    assert!(matches!(send(Message::AddTrack(second)), Inbound::Nothing(_)));
}

#[test]
fn wishes_are_sizes_when_there_is_one() {
    let settings = |(width, height), quality, disabled, (fps, priority)| {
        let settings = proto::UpdateTrackSettings {
            track_sids: vec!["TR_1".into()],
            width,
            height,
            quality,
            disabled,
            fps,
            priority,
        };
        match request(Message::TrackSetting(settings)) {
            Request::Tune { tracks, viewing } if tracks == ["TR_1"] => viewing,
            other => panic!("{other:?}"),
        }
    };
    let low = Viewing { wish: Wish::Quality(0), ..Viewing::default() };
    let size = |width, height| Viewing { wish: Wish::Size(width, height), ..Viewing::default() };
    let (none, plain) = ((0, 0), (0, 0));
    assert_eq!(settings(none, 2, false, plain), Viewing::default());
    assert_eq!(settings(none, -4, false, plain), low);
    assert_eq!(settings(none, 0, true, plain), Viewing { paused: true, ..low });
    assert_eq!(settings(none, 3, false, plain), Viewing { paused: true, ..Viewing::default() });
    assert_eq!(settings((640, 360), 0, false, plain), size(640, 360));
    assert_eq!(settings((640, 360), 3, false, plain), size(640, 360), "a size says more");
    assert_eq!(settings((640, 0), 0, false, plain), low);
    assert_eq!(settings((u32::MAX, 70_000), 0, false, plain), size(u16::MAX, u16::MAX));
    assert_eq!(settings(none, 0, false, (15, 1)), Viewing { fps: 15, rank: 1, ..low });
    assert_eq!(settings(none, 0, false, (256, u32::MAX)), Viewing { fps: 255, rank: 255, ..low });
}

#[test]
fn subscriptions_of_both_forms_are_one_list() {
    let update = proto::UpdateSubscription {
        track_sids: vec!["TR_1".into()],
        subscribe: false,
        participant_tracks: vec![proto::ParticipantTracks {
            participant_sid: "PA_1".into(),
            track_sids: vec!["TR_2".into()],
        }],
    };
    match request(Message::Subscription(update)) {
        Request::Subscribe { tracks, wanted: false } => assert_eq!(tracks, ["TR_1", "TR_2"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_audience_is_all_or_a_list() {
    let rule = |all_tracks| proto::TrackPermission {
        participant_identity: "bob".into(),
        all_tracks,
        track_sids: vec!["TR_1".into()],
        ..Default::default()
    };
    let ask = |all_participants| {
        let track_permissions = vec![rule(true), rule(false)];
        let permission = proto::SubscriptionPermission { all_participants, track_permissions };
        match request(Message::SubscriptionPermission(permission)) {
            Request::Audience(audience) => audience,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(true), Audience::All);
    let Audience::Listed(rules) = ask(false) else { panic!() };
    assert_eq!(rules[0].tracks, None);
    assert_eq!(rules[1].tracks, Some(vec!["TR_1".to_owned()]));
    assert_eq!(rules[1].identity, "bob");
}

#[test]
fn pings_and_strangers() {
    assert!(matches!(send(Message::Ping(7)), Inbound::Ping(7)));
    let ping = proto::Ping { timestamp: 9, rtt: 1 };
    assert!(matches!(send(Message::PingReq(ping)), Inbound::PingReq(9)));
    assert!(matches!(frame(b"").unwrap(), Inbound::Nothing(_)));
    // Field 200 of a later version of the protocol, one byte long.
    assert!(matches!(frame(&[0xc2, 0x0c, 1, 0]).unwrap(), Inbound::Nothing(_)));
}

#[test]
fn garbage_is_no_message() {
    let whole = proto::SignalRequest { message: Some(Message::AddTrack(camera())) }.encode_to_vec();
    for cut in 1..whole.len() {
        assert_eq!(frame(&whole[..cut]).err(), Some(DecodeError::Message), "cut at {cut}");
    }
    // A length that claims more than there is.
    assert_eq!(frame(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).err(), Some(DecodeError::Message));
    // Recursion of unknown groups must end in an error, not in a deep stack.
    assert_eq!(frame(&[0xcb; 4_096]).err(), Some(DecodeError::Message));
}
