//! Writes the golden inputs of every target into `seeds/`, beside this crate's manifest.
//!
//! `cargo run --example seeds`, after a target began to read its input in another way.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use antipode_base::command::{CloseReason, Command, OpenSession, Role};
use antipode_base::control::{Memo, ToNode, ToSignal, encode};
use antipode_base::ids::{MemberId, NodeId, RoomId, SessionId, ShardId};
use antipode_base::media::{Codec, Layer};
use antipode_base::notice::{EndReason, LayerInfo, Notice, Quality, Slot};
use antipode_base::stats::ShardStats;
use antipode_fuzz::client::{Client, Part};
use antipode_fuzz::plain;
use antipode_fuzz::stage::{PUBLISHER, PUBLISHING, TRACKS, open, publish, subscribe};
use livekit_protocol as proto;
use prost::Message;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    control(&folder.join("control"))?;
    datagram(&folder.join("datagram"))?;
    packet(&folder.join("packet"))?;
    peer(&folder.join("peer"))?;
    sdp(&folder.join("sdp"))?;
    signal(&folder.join("signal"))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Outcome {
    fs::create_dir_all(folder)?;
    let path: PathBuf = folder.join(name);
    fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// A piece behind its length, as `Feed::chunk` reads it.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn control(folder: &Path) -> Outcome {
    let mut calls = vec![open(PUBLISHING, Role::Both)];
    calls.extend(TRACKS.map(|track| publish(PUBLISHING, track)));
    calls.extend(TRACKS.map(|track| subscribe(PUBLISHING, track)));
    let (session, reason) = (PUBLISHING, CloseReason::Left);
    calls.push(Command::Offer { session, id: 1, sdp: offer() });
    calls.push(Command::CloseSession { session, reason });
    let mut stream = Vec::new();
    for command in calls {
        encode(&ToNode::Command { shard: ShardId(0), command }, &mut stream)?;
    }
    write(folder, "commands", &stream)?;
    let Command::OpenSession(session) = open(PUBLISHING, Role::Both) else { unreachable!() };
    let open = Command::OpenSession(OpenSession { rsa: true, ..session });
    let mut stream = Vec::new();
    for command in [open, Command::Offer { session: PUBLISHING, id: 1, sdp: offer() }] {
        encode(&ToNode::Command { shard: ShardId(0), command }, &mut stream)?;
    }
    write(folder, "http", &stream)?;
    let memo = Memo {
        member: MemberId(1),
        room: RoomId(1),
        shard: ShardId(0),
        sessions: vec![SessionId(1)],
        bytes: b"memo".to_vec(),
    };
    let mut stream = Vec::new();
    encode(&ToNode::Challenge { version: 1, nonce: [7; 32] }, &mut stream)?;
    encode(&ToNode::Memo(memo.clone()), &mut stream)?;
    write(folder, "greeting", &stream)?;
    let mut stream = Vec::new();
    let media = vec!["127.0.0.1:7882".parse()?, "[::1]:7882".parse()?];
    let node = NodeId(1);
    encode(&ToSignal::Hello { version: 1, proof: [7; 32], node, shards: 2, media }, &mut stream)?;
    encode(&ToSignal::Snapshot { members: vec![memo], last: true }, &mut stream)?;
    let shard = ShardId(1);
    for notice in notices() {
        encode(&ToSignal::Notice { shard, notice }, &mut stream)?;
    }
    let stats = Box::new(ShardStats::default());
    encode(&ToSignal::Stats { shard, stats }, &mut stream)?;
    encode(&ToSignal::TcpStats(Box::default()), &mut stream)?;
    write(folder, "notices", &stream)
}

fn notices() -> Vec<Notice> {
    let (session, track) = (PUBLISHING, TRACKS[0].0);
    let slots = vec![Slot { mid: "0".to_owned(), track }];
    let layer = LayerInfo { layer: Layer::BASE, rid: "q".to_owned(), ssrc: 1, repair_ssrc: 2 };
    vec![
        Notice::Answer { session, id: 1, sdp: "v=0\r\n".to_owned(), slots },
        Notice::TrackLive {
            session,
            track,
            mid: "0".to_owned(),
            codec: Codec::Vp8,
            layers: vec![layer],
        },
        Notice::Quality(Quality { session, loss_in: 0.1, loss_out: f32::NAN, rtt_ms: 20.0 }),
        Notice::SessionEnded { session, reason: EndReason::TimedOut },
    ]
}

fn datagram(folder: &Path) -> Outcome {
    let one = |choice: u8, bytes: &[u8]| [&[choice][..], &chunk(bytes)].concat();
    // Bits: 0 and 1 whence, 2 stray, 3 and 4 the disguise.
    for (name, bytes) in [
        ("integrity", one(0x08, &[0, 8, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
        ("username", one(0x0a, &[0, 0x24, 0, 4, 1, 2, 3, 4, 0x80, 0x28, 0, 4, 1, 2, 3, 4])),
        ("stun-response", one(0x00, &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8])),
        ("rtp", one(0x18, &[7; 40])),
        ("rtcp", one(0x00, &[0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0x80, 0, 0, 1])),
        ("dtls-alert", one(0x00, &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0])),
        ("dtls-hello", one(0x00, &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 1, 0, 0, 0])),
        ("dtls-data", one(0x10, &[0; 40])),
        ("stranger", one(0x03, &[128, 96, 0, 1])),
        ("stray", one(0x06, &[22, 254, 253])),
        ("long", one(0x00, &[128; 1_501])),
    ] {
        write(folder, name, &bytes)?;
    }
    Ok(())
}

fn packet(folder: &Path) -> Outcome {
    #[allow(deprecated)]
    let user = proto::UserPacket {
        payload: b"hi".to_vec(),
        destination_identities: vec!["bob".to_owned()],
        ..Default::default()
    };
    let data = proto::DataPacket {
        destination_identities: vec!["bob".to_owned()],
        participant_identity: "forged".to_owned(),
        participant_sid: "PA_2".to_owned(),
        value: Some(proto::data_packet::Value::User(user)),
        ..Default::default()
    };
    for (name, selector, bytes) in [
        ("data", 8, data.encode_to_vec().as_slice()),
        ("speakers", 8, &[0x1a, 0]),
        ("opus", 0, &[0xfc, 1, 2]),
        ("vp8", 3, &[0x90, 0xe0, 0x92, 0x34, 0x07, 0x20, 0x10, 2, 0, 0x9d, 1, 0x2a]),
        ("vp8-short", 3, &[0x90, 0x80, 5, 0x10]),
        ("vp9", 4, &[0xa8, 0x81, 0x23, 0]),
        ("h264-stap", 5, &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68]),
        ("h264-fu", 5, &[0x7c, 0x85, 0]),
        ("h265-ap", 6, &[0x60, 1, 0, 2, 0x40, 1]),
        ("av1", 7, &[0x18, 0x0a]),
        ("vp8-layers", 3, &[0xb0, 0xf0, 0x92, 0x35, 7, 0x7f, 0x11]),
        ("vp9-flexible", 4, &[0xf8, 5, 0x23, 3, 5, 0xfe, 0]),
        ("vp9-structure", 4, &[0xaa, 5, 0x10, 7, 0x18, 1, 0x40, 0, 0xb4, 2, 0x54, 1, 4, 4, 0]),
        ("allocation", 10, &[1, 0x80, 0x4d, 0x64, 0x8e, 1, 1, 0x3f, 0, 0xb3, 0x3c]),
        ("allocation-unequal", 10, &[0x20, 5, 0x20, 0x1c, 0, 1, 0x7f, 0x80, 1, 0x81, 1, 2, 3]),
        ("red", 11, &[0, 0, 4, 0, 0xef, 0x0f, 0, 3, 0x6f, 0xfc, 0xaa, 0xab, 0xfc, 0xba]),
        ("red-empty-block", 11, &[0, 0, 0, 9, 0xef, 0x1e, 0, 0, 0xef, 0x0f, 0, 2, 0x6f, 1, 2, 3]),
        ("red-short", 11, &[0, 0, 0, 0, 0xef, 0x0f, 0, 2, 0x6f, 1, 2]),
        ("report-remb", 12, b"\x8f\xce\0\x05\0\0\0\x01\0\0\0\0REMB\x01\x0a\xe8\x48\0\0\0\x09"),
        (
            "report-arrivals",
            12,
            b"\x8f\xcd\0\x06\0\0\0\x01\0\0\0\x09\0\x01\0\x06\0\0\x01\0\x20\x06\x04\x04\x04\x04\x04\x04",
        ),
        (
            "report-clocks",
            12,
            b"\x80\xc8\0\x06\0\0\0\x09\0\0\0\x01\x80\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\x08\
              \x80\xcf\0\x05\0\0\0\x09\x05\0\0\x03\0\0\0\x07\0\x01\x80\0\0\0\x80\0",
        ),
        (
            "header",
            13,
            b"\x90\xe0\0\x01\0\0\0\0\0\0\0\x07\xbe\xde\0\x03\x10\x9e\x31\x12\x34\x401\xa0f\0\0\0hi",
        ),
        (
            "header-wide",
            13,
            b"\xb1\x60\0\x01\0\0\0\0\0\0\0\x07\0\0\0\x08\x10\0\0\x02\x0c\x03\x01\x02\x03\x04\x011hi\x02\x02",
        ),
    ] {
        write(folder, name, &[&[selector], bytes].concat())?;
    }
    descriptors(folder)
}

/// Dependency descriptors as Chromium sends them: a keyframe of L1T3, and frames with more and more
/// fields of their own.
fn descriptors(folder: &Path) -> Outcome {
    let keyframe = [
        0x80, 0, 1, 0x80, 2, 0x14, 0xea, 0xa8, 0x60, 0x41, 0x4d, 0x14, 0x10, 0x20, 0x84, 0x27, 1,
        0x3f, 0, 0xb3,
    ];
    for (name, masked, frame) in [
        ("descriptor", 0, &[0xc3, 0, 2][..]),
        ("descriptor-masked", 1, &[0xc3, 0, 2]),
        ("descriptor-custom", 1, &[0xc2, 0, 5, 0x1a, 0x60, 0x20, 0x18]),
        ("descriptor-keyframe", 1, &keyframe),
    ] {
        let head = [9, masked, 0x12, 0x34, 0, 0, 0, 5];
        write(folder, name, &[&head[..], &chunk(&keyframe), frame].concat())?;
    }
    Ok(())
}

fn peer(folder: &Path) -> Outcome {
    let acts = |role: u8, acts: &[&[u8]]| [&[role][..], &acts.concat()].concat();
    let act = |number: u8, bytes: &[u8]| [&[number][..], &chunk(bytes)].concat();
    let rtcp = |bytes: &[u8]| [&[1, 0, 1][..], &chunk(bytes)].concat();
    let say = |reliable: u8, bytes: &[u8]| [&[3, reliable][..], &chunk(bytes)].concat();
    let show = |layer: u8, bytes: &[u8]| [&[9, layer][..], &chunk(bytes)].concat();
    let key = [0x90, 0x80, 0x81, 0x23, 0x10, 1, 2, 3];
    let delta = [0x90, 0x80, 0x81, 0x24, 0x11, 1, 2, 3];
    let report = [0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0];
    let nack = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff];
    let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    let twcc = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 2, 0, 0, 1, 0, 0x20, 2, 4, 4];
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 1];
    let rtp = [0x90, 111, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0, 1, 2];
    for (name, bytes) in [
        ("layers", acts(0, &[&show(0, &key), &show(1, &key), &show(2, &key), &show(0, &delta)])),
        ("sound", acts(0, &[&show(3, &[1, 2, 3]), &[5, 200], &show(3, &[4, 5, 6])])),
        ("rtp", acts(0, &[&act(0, &rtp)])),
        ("report", acts(1, &[&rtcp(&report), &rtcp(&nack), &rtcp(&pli)])),
        ("congestion", acts(1, &[&rtcp(&twcc)])),
        ("bye", acts(0, &[&rtcp(&bye)])),
        ("data", acts(0, &[&say(0, &[8, 1, 0x12, 4, 0x12, 2, b'h', b'i']), &say(1, &[8, 1])])),
        ("sack", acts(0, &[&act(2, &[3, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])])),
        ("abort", acts(0, &[&act(2, &[6, 0, 0, 4])])),
        ("heartbeat", acts(1, &[&act(2, &[4, 0, 0, 8, 0, 1, 0, 4])])),
        ("reconfig", acts(0, &[&act(2, &[130, 0, 0, 8, 0, 13, 0, 4])])),
        ("commands", acts(0, &[&[6, 1, 2], &[6, 2, 1], &[6, 3, 1], &[6, 4, 1], &[6, 5, 1]])),
        ("notes", acts(0, &[&[7, 0, 1], &show(0, &key), &[7, 2, 5], &[7, 1, 1], &[7, 4, 0]])),
        ("parcel", acts(0, &[&[8, 0x05, 0, 9, 0, 9, 3], &chunk(&key)])),
        ("closing", acts(0, &[&act(4, &[21, 1, 0])])),
    ] {
        write(folder, name, &bytes)?;
    }
    Ok(())
}

fn offer() -> String {
    Client::offering(Part::Publisher, PUBLISHER, plain::crypto(), Instant::now()).1
}

fn sdp(folder: &Path) -> Outcome {
    let view = Client::offering(Part::Viewer, PUBLISHER, plain::crypto(), Instant::now()).1;
    let again = [offer().as_str(), offer().as_str()].join("\u{1}");
    let data = view.find("m=application").map_or("", |at| &view[at..]);
    let twice = [view.as_str(), data.replace("a=mid:", "a=mid:x").as_str()].concat();
    for (name, role, text) in [
        ("publish", 0, offer()),
        ("publish-alone", 1, offer()),
        ("restart", 0, again),
        ("view", 0, view.clone()),
        ("text", 0, view.replace("m=application", "m=text")),
        ("data-twice", 0, twice),
        ("answer", 2, view.replace("actpass", "active")),
        ("browser", 0, BROWSER.replace('\n', "\r\n")),
    ] {
        write(folder, name, &[&[role], text.as_bytes()].concat())?;
    }
    Ok(())
}

/// What is seen in offers of browsers and not in those of str0m.
const BROWSER: &str = "v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS s
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Ecb9
a=ice-pwd:r5PBWbHo3XXdeIuFATX8hzc1
a=ice-options:trickle
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:\
88:99:AA:BB:CC:DD:EE:FF
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:s mic
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=ssrc:7 cname:c
a=ssrc:7 msid:s mic
m=video 9 UDP/TLS/RTP/SAVPF 96 97 45 46
c=IN IP4 0.0.0.0
a=ice-ufrag:Ecb9
a=ice-pwd:r5PBWbHo3XXdeIuFATX8hzc1
a=setup:actpass
a=mid:1
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=sendonly
a=msid:s cam
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:45 AV1/90000
a=fmtp:45 level-idx=5;profile=0;tier=0
a=rid:q send
a=rid:f send pt=96
a=simulcast:send q;~f
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:Ecb9
a=ice-pwd:r5PBWbHo3XXdeIuFATX8hzc1
a=setup:actpass
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
a=candidate:1 1 udp 2113937151 10.0.1.1 5000 typ host generation 0 network-cost 999
";

fn signal(folder: &Path) -> Outcome {
    use proto::signal_request::Message as Request;
    let add = proto::AddTrackRequest {
        cid: "cam".to_owned(),
        name: "camera".to_owned(),
        r#type: proto::TrackType::Video as i32,
        source: proto::TrackSource::Camera as i32,
        layers: vec![proto::VideoLayer { width: 640, height: 360, ..Default::default() }],
        simulcast_codecs: vec![proto::SimulcastCodec {
            codec: "vp8".to_owned(),
            cid: "cam".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let offer = proto::SessionDescription {
        r#type: "offer".to_owned(),
        sdp: "v=0\r\n".to_owned(),
        id: 1,
        ..Default::default()
    };
    let subscription = proto::UpdateSubscription {
        track_sids: vec!["TR_a".to_owned()],
        subscribe: true,
        participant_tracks: vec![proto::ParticipantTracks {
            participant_sid: "PA_a".to_owned(),
            track_sids: vec!["TR_b".to_owned()],
        }],
    };
    let sync = proto::SyncState { subscription: Some(subscription.clone()), ..Default::default() };
    for (name, message) in [
        ("add-track", Request::AddTrack(add)),
        ("offer", Request::Offer(offer.clone())),
        ("subscription", Request::Subscription(subscription)),
        ("sync", Request::SyncState(sync)),
        ("ping", Request::PingReq(proto::Ping { timestamp: 1, rtt: 2 })),
    ] {
        let frame = proto::SignalRequest { message: Some(message) };
        write(folder, name, &[&[0], frame.encode_to_vec().as_slice()].concat())?;
    }
    let join = proto::JoinRequest { publisher_offer: Some(offer), ..Default::default() };
    write(folder, "join", &[&[3], join.encode_to_vec().as_slice()].concat())?;
    for (name, selector, text) in [
        ("join-gzip", 1, JOIN_GZIP),
        ("no-algorithm", 5, r#"{"alg":"none","typ":"JWT"}"#),
        ("header", 5, r#"{"alg":"HS256","typ":"JWT"}"#),
        ("unsigned", 4, "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.AAAA"),
        ("claims", 6, CLAIMS),
    ] {
        write(folder, name, &[&[selector], text.as_bytes()].concat())?;
    }
    Ok(())
}

/// The form on the wire of a join by the JavaScript SDK 2.23, with a very short offer.
const JOIN_GZIP: &str = "CAESPR-LCAAAAAAAAgPjEuRgFGIz0jMy1jOQEExgymJkFmLiYDQS4GLNT0tLLRJiLbM14OWS\
                         YAQAKKCGOCkAAAA=";

const CLAIMS: &str = r#"{"iss":"devkey","sub":"alice","name":"Alice","metadata":"{}",
"exp":1800000600,"nbf":1800000000,"attributes":{"a":"b"},"video":{"roomJoin":true,"room":"lobby",
"canPublish":true,"canSubscribe":false,"canPublishSources":["camera"],"hidden":true}}"#;
