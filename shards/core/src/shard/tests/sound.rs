//! Redundant sound (RFC 2198) from its publisher to viewers with and without it.

use super::*;
use crate::red::{Encoder, split};

/// What str0m and browsers number so.
const OPUS: u8 = 111;
const RED: u8 = 63;
/// 20 ms at 48 kHz.
const STEP: u32 = 960;

fn open(scene: &mut Scene, n: usize, role: Role, red: bool) {
    let rtc = Rtc::builder().set_rtp_mode(true).enable_opus(true, red).build(scene.now);
    let address = SocketAddr::from(([10, 0, 1, n as u8 + 1], 5_000));
    scene.open_with(n, role, rtc, (Transport::Udp, address));
}

fn publish(scene: &mut Scene, red: bool) {
    scene.command(Command::Publish {
        session: session(0),
        track: TrackId(1),
        kind: Kind::Audio,
        client_id: "mic".to_owned(),
        codec: None,
        source: Source::Other,
        red,
        stereo: false,
    });
}

/// A microphone (0) whose track welcomes redundancy or not, a viewer (1) that knows it and one (2)
/// that does not.
fn call(welcome: bool) -> Scene {
    let mut scene = Scene::new();
    open(&mut scene, 0, Role::Both, true);
    publish(&mut scene, welcome);
    scene.offer(0, &[(MediaKind::Audio, Direction::SendOnly, "mic")]);
    for (n, red) in [(1, true), (2, false)] {
        open(&mut scene, n, Role::Both, red);
        scene.subscribe(n, 1, Kind::Audio);
        scene.offer(n, &[(MediaKind::Audio, Direction::RecvOnly, "x")]);
    }
    scene.pass(Duration::from_millis(500));
    assert!(scene.clients.iter().all(|client| client.connected));
    scene
}

fn sound(seq: u64) -> Vec<u8> {
    vec![seq as u8; 40]
}

fn send(scene: &mut Scene, payload_type: u8, seq: u64, payload: &[u8]) {
    let mid = scene.mid(0);
    let mut api = scene.clients[0].rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).expect("negotiated");
    let time = seq as u32 * STEP;
    stream.write_rtp(RtpWrite::new(payload_type.into(), seq.into(), time, scene.now, payload));
    scene.settle();
}

/// What a publisher sends as blocks, each packet with the one before.
fn blocks(seqs: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
    let mut encoder = Encoder::default();
    let block = |seq: u64| {
        let mut out = Vec::new();
        encoder.encode(OPUS, seq as u32 * STEP, &sound(seq), 1, &mut out);
        (seq, out)
    };
    seqs.map(block).collect()
}

/// Payload type and own sound of all that a client got, and how many earlier packets came along.
fn heard(scene: &Scene, n: usize) -> Vec<(u8, u8, usize)> {
    let read = |packet: &RtpPacket| {
        let payload_type = *packet.header.payload_type;
        if payload_type == OPUS {
            assert_eq!(packet.payload.len(), sound(0).len());
            return (payload_type, packet.payload[0], 0);
        }
        let blocks = split(&packet.payload, packet.header.timestamp).unwrap();
        assert_eq!(blocks.primary().payload_type, OPUS);
        (payload_type, blocks.primary().payload[0], blocks.redundant().count())
    };
    scene.clients[n].packets.iter().map(read).collect()
}

fn answer(scene: &Scene, n: usize) -> String {
    let of = |notice: &Notice| match notice {
        Notice::Answer { session: of, sdp, .. } if *of == session(n) => Some(sdp.clone()),
        _ => None,
    };
    scene.notices.iter().rev().find_map(of).expect("an answer")
}

/// Answers an offer of ours and returns it.
fn accept(scene: &mut Scene, n: usize, id: u32) -> String {
    let of = |notice: &Notice| match notice {
        Notice::Offer { id: of, sdp, .. } if *of == id => Some(sdp.clone()),
        _ => None,
    };
    let offer = scene.notices.iter().find_map(of).expect("an offer");
    let api = scene.clients[n].rtc.sdp_api();
    let answer = api.accept_offer(SdpOffer::from_sdp_string(&offer).unwrap()).unwrap();
    let sdp = answer.to_sdp_string();
    scene.command(Command::Answer { session: session(n), id, sdp });
    offer
}

fn audio_line(sdp: &str) -> &str {
    sdp.lines().find(|line| line.starts_with("m=audio")).expect("a section of sound")
}

#[test]
fn what_the_publisher_lost_is_mended_for_every_viewer() {
    let mut scene = call(true);
    let sent = blocks(1..9);
    for (seq, payload) in sent.iter().filter(|(seq, _)| *seq != 3 && *seq != 6) {
        send(&mut scene, RED, *seq, payload);
    }
    // It was only late.
    send(&mut scene, RED, 6, &sent[5].1);
    let own = |n: usize| heard(&scene, n).iter().map(|packet| packet.1).collect::<Vec<_>>();
    assert_eq!(own(1), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(own(2), own(1));
    let seqs: Vec<u64> = scene.clients[2].packets.iter().map(|packet| *packet.seq_no).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    let drops = &scene.shard.stats().drops;
    assert_eq!(drops.get(DropReason::AlreadyMended), 1);
    assert_eq!(drops.get(DropReason::NotMedia), 0, "one reason for one packet");
    // It is passed on to whom it helps.
    assert_eq!(heard(&scene, 1)[0], (OPUS, 1, 0), "there was nothing before");
    assert!(heard(&scene, 1)[1..].iter().all(|packet| (packet.0, packet.2) == (RED, 1)));
    assert!(heard(&scene, 2).iter().all(|packet| (packet.0, packet.2) == (OPUS, 0)));
}

#[test]
fn plain_sound_stays_plain_on_a_good_path() {
    let mut scene = call(true);
    for seq in 1..5 {
        send(&mut scene, OPUS, seq, &sound(seq));
    }
    for n in [1, 2] {
        assert_eq!(heard(&scene, n), [1, 2, 3, 4].map(|seq| (OPUS, seq, 0)));
    }
}

#[test]
fn encrypted_sound_is_never_put_into_blocks() {
    let mut scene = call(false);
    assert!(audio_line(&answer(&scene, 0)).ends_with(" 63"), "{}", answer(&scene, 0));
    for (seq, payload) in blocks(1..5) {
        send(&mut scene, RED, seq, &payload);
    }
    for n in [1, 2] {
        assert_eq!(heard(&scene, n), [1, 2, 3, 4].map(|seq| (OPUS, seq, 0)));
    }
}

#[test]
fn malformed_blocks_are_counted_and_hurt_nobody() {
    let mut scene = call(true);
    let many = [[0xef, 0, 4, 0].repeat(9), vec![0x6f, 1]].concat();
    // Cut short; too many; of another codec; blocks within blocks; nothing of its own.
    let bad = [&[0xef, 0x0f][..], &many, &[0x00, 1, 2], &[RED, 0x6f, 1], &[0x6f]];
    for (seq, payload) in (1..).zip(bad) {
        send(&mut scene, RED, seq, payload);
    }
    let drops = &scene.shard.stats().drops;
    assert_eq!(drops.get(DropReason::PayloadMalformed), bad.len() as u64);
    send(&mut scene, RED, 9, &blocks(9..10)[0].1);
    assert_eq!(heard(&scene, 2), [(OPUS, 9, 0)]);
}

/// The sound of an offer as Chromium writes it: a microphone, and a place for another's.
const CHROMIUM: &str = "v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS s
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Ecb9
a=ice-pwd:r5PBWbHo3XXdeIuFATX8hzc1
a=ice-options:trickle
a=fingerprint:sha-256 FINGERPRINT
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:s mic
a=rtcp-mux
a=rtcp-rsize
CODECS
a=ssrc:7 cname:c
a=ssrc:7 msid:s mic
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=ice-ufrag:Ecb9
a=ice-pwd:r5PBWbHo3XXdeIuFATX8hzc1
a=fingerprint:sha-256 FINGERPRINT
a=setup:actpass
a=mid:1
a=recvonly
a=rtcp-mux
CODECS
";
const CHROMIUM_CODECS: &str = "a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000";

#[test]
fn a_browser_is_answered_with_redundancy_first_where_it_is_welcome() {
    let fingerprint = ["00"; 32].join(":");
    let text = CHROMIUM.replace("CODECS", CHROMIUM_CODECS).replace("FINGERPRINT", &fingerprint);
    for (welcome, expected) in [(true, " 63 111 0 8"), (false, " 111 0 8 63")] {
        let mut scene = Scene::new();
        // Only the session is of interest: the answer is not for this client.
        open(&mut scene, 0, Role::Both, true);
        publish(&mut scene, welcome);
        scene.clients.clear();
        let sdp = text.replace('\n', "\r\n");
        scene
            .shard
            .handle(Input::Command(Command::Offer { session: session(0), id: 1, sdp }), scene.now);
        scene.shard.flush(scene.now);
        while let Some(output) = scene.shard.poll() {
            if let Output::Notice(notice) = output {
                scene.notices.push(notice);
            }
        }
        let answer = answer(&scene, 0);
        let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=audio")).collect();
        assert!(lines[0].ends_with(expected), "{answer}");
        assert!(lines[1].ends_with(" 111 63 0 8"), "the offer's order: {answer}");
        for line in ["a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111"] {
            assert_eq!(answer.lines().filter(|l| *l == line).count(), 2, "{answer}");
        }
    }
}

#[test]
fn our_own_offer_has_redundancy_behind_opus() {
    for red in [true, false] {
        let mut scene = Scene::new();
        open(&mut scene, 0, Role::Both, true);
        publish(&mut scene, true);
        scene.offer(0, &[(MediaKind::Audio, Direction::SendOnly, "mic")]);
        open(&mut scene, 1, Role::Subscribe, red);
        scene.subscribe(1, 1, Kind::Audio);
        // One for the data channels, one for the track.
        let offer = [1, 2].map(|id| accept(&mut scene, 1, id))[1].clone();
        assert!(audio_line(&offer).contains(" 111 63 "), "{offer}");
        assert!(offer.contains("a=fmtp:63 111/111\r\n"), "{offer}");
        scene.pass(Duration::from_millis(500));
        for (seq, payload) in blocks(1..4) {
            send(&mut scene, RED, seq, &payload);
        }
        let wrapped = if red { (RED, 1) } else { (OPUS, 0) };
        let expected = [(OPUS, 1, 0), (wrapped.0, 2, wrapped.1), (wrapped.0, 3, wrapped.1)];
        assert_eq!(heard(&scene, 1), expected);
    }
}

/// Transport-wide numbers of what the viewer got of each kind since it was last asked.
fn numbers(scene: &mut Scene) -> [Vec<Option<u16>>; 2] {
    let packets = std::mem::take(&mut scene.clients[1].packets);
    let of = |sound: bool| {
        let of_kind =
            packets.iter().filter(|packet| (*packet.header.payload_type == OPUS) == sound);
        of_kind.map(|packet| packet.header.ext_vals.transport_cc).collect()
    };
    [of(true), of(false)]
}

/// The publisher's section of a track.
fn mid_of(scene: &Scene, track: u64) -> Mid {
    let of = |notice: &Notice| match notice {
        Notice::TrackLive { track: of, mid, .. } if *of == TrackId(track) => Some(mid.clone()),
        _ => None,
    };
    Mid::from(&*scene.notices.iter().find_map(of).expect("the track went live"))
}

#[test]
fn arrivals_of_sound_are_reported_beside_pictures_alone() {
    let mut scene = Scene::new();
    for n in [0, 1] {
        scene.open(n);
    }
    scene.publish(0, 1, Kind::Audio, "mic");
    scene.publish(0, 2, Kind::Video, "cam");
    scene.offer(
        0,
        &[
            (MediaKind::Audio, Direction::SendOnly, "mic"),
            (MediaKind::Video, Direction::SendOnly, "cam"),
        ],
    );
    scene.subscribe(1, 1, Kind::Audio);
    scene.subscribe(1, 2, Kind::Video);
    let sections = [
        (MediaKind::Audio, Direction::RecvOnly, "x"),
        (MediaKind::Video, Direction::RecvOnly, "x"),
    ];
    scene.offer(1, &sections);
    scene.pass(Duration::from_millis(500));
    let (mic, cam) = (mid_of(&scene, 1), mid_of(&scene, 2));
    let mut seq = 0;
    let mut speak = |scene: &mut Scene, packets: u64| {
        for _ in 0..packets {
            seq += 1;
            scene.send(0, mic, seq, &sound(seq));
            scene.pass(Duration::from_millis(20));
        }
    };
    speak(&mut scene, 10);
    assert_eq!(numbers(&mut scene), [vec![None; 10], vec![]], "sound alone");

    scene.send(0, cam, 1, KEY);
    speak(&mut scene, 3);
    assert_eq!(numbers(&mut scene), [(2..5).map(Some).collect(), vec![Some(1)]], "beside pictures");

    speak(&mut scene, 60);
    let [heard, _] = numbers(&mut scene);
    assert_eq!(heard.iter().filter(|number| number.is_some()).count(), 47, "for a second");
    assert_eq!(heard.last(), Some(&None));
}
