//! An authenticated peer that misbehaves: RTP, RTCP, SCTP and data packets as they look once opened,
//! commands and notes in any order between them.
//!
//! It is the publisher or the viewer of the stage. It may end its own session. It must not end the
//! other's, have anything sent to strangers, or pass for somebody else in a data packet.
#![no_main]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::command::{Command, Grants, Tune};
use antipode_base::ids::{MemberId, SessionId, ShardId, TrackId};
use antipode_base::media::{Codec, Layer};
use antipode_core::Input;
use antipode_fuzz::client::Client;
use antipode_fuzz::feed::Feed;
use antipode_fuzz::stage::{
    GRANTS, Keeper, PUBLISHER, PUBLISHING, ROOM, Stage, TRACKS, VIEWER, VIEWING, publish, subscribe,
};
use antipode_fuzz::{panics, plain};
use antipode_relay::packet::{Extensions, Packet};
use antipode_relay::parcel::{Note, Parcel};
use libfuzzer_sys::fuzz_target;

fn stage() -> Stage {
    Stage::connected(plain::crypto(), Instant::now())
}

thread_local! {
    /// A stage for each role: what a peer did to its own connection in one input must not end it in another,
    /// in which it is the other one.
    static KEEPERS: RefCell<[Keeper; 2]> = RefCell::new([0; 2].map(|_| Keeper::new(stage, 100)));
}

fuzz_target!(init: panics::install(), |data: &[u8]| {
    KEEPERS.with_borrow_mut(|keepers| {
        let role = usize::from(data.first().is_some_and(|byte| byte & 1 == 1));
        keepers[role].run(data, |stage| {
            let mut feed = Feed(data);
            feed.byte();
            let peer = if role == 0 { Peer::PUBLISHER } else { Peer::VIEWER };
            stage.pass(Duration::from_millis(1));
            for _ in 0..24 {
                if feed.is_empty() {
                    break;
                }
                act(stage, &peer, &mut feed);
                stage.settle();
            }
            check(stage, &peer)
        });
    });
});

/// Who misbehaves, and who must not notice.
struct Peer {
    index: usize,
    address: SocketAddr,
    session: SessionId,
    victim: SessionId,
    /// `participant_identity` and `participant_sid` on all that it sends.
    stamp: &'static [u8],
}

impl Peer {
    const PUBLISHER: Peer = Peer {
        index: 0,
        address: PUBLISHER,
        session: PUBLISHING,
        victim: VIEWING,
        stamp: &[0x22, 2, b'm', b'1', 0x8a, 1, 4, b'P', b'A', b'_', b'1'],
    };
    const VIEWER: Peer = Peer {
        index: 1,
        address: VIEWER,
        session: VIEWING,
        victim: PUBLISHING,
        stamp: &[0x22, 2, b'm', b'2', 0x8a, 1, 4, b'P', b'A', b'_', b'2'],
    };

    fn client<'a>(&self, stage: &'a mut Stage) -> &'a mut Client {
        if self.index == 0 { &mut stage.publisher } else { &mut stage.viewer }
    }
}

/// Whether the stage can be used again: the misbehaved session is still there.
fn check(stage: &mut Stage, peer: &Peer) -> bool {
    let victim = stage.ended.iter().find(|(session, _)| *session == peer.victim);
    assert_eq!(victim, None, "the other one's session ended");
    assert_eq!(stage.astray, [], "a stranger was answered");
    assert_eq!(stage.shard.stats().sessions, 2 - stage.ended.len() as u64);
    let heard = if peer.index == 0 { &mut stage.viewer.data } else { &mut stage.publisher.data };
    for packet in heard.drain(..) {
        assert!(packet.ends_with(peer.stamp), "a data packet without its sender");
    }
    stage.ended.is_empty()
}

fn act(stage: &mut Stage, peer: &Peer, feed: &mut Feed<'_>) {
    match feed.byte() % 11 {
        0 => {
            let packet = [feed.chunk(), &[0; plain::TAG]].concat();
            stage.inject(peer.address, &packet);
        }
        1 => {
            // SRTCP of RFC 7714 §9.1: the tag, the E bit and an index behind the packet.
            let index = [0x80, 0, feed.byte(), feed.byte()];
            let packet = [feed.chunk(), &[0; plain::TAG], &index].concat();
            stage.inject(peer.address, &packet);
        }
        2 => {
            let chunks = feed.chunk();
            if let Some(packet) = sctp(&stage.records[peer.index], chunks) {
                stage.inject(peer.address, &packet);
            }
        }
        3 => {
            let reliable = feed.byte() & 1 == 0;
            peer.client(stage).say(reliable, feed.chunk());
        }
        4 => stage.inject(peer.address, feed.chunk()),
        5 => stage.pass(Duration::from_millis(u64::from(feed.byte()))),
        6 => {
            let command = command(feed);
            stage.shard.handle(Input::Command(command), stage.now);
        }
        7 => {
            let parcel = Parcel::Note(note(feed));
            stage.shard.handle(Input::Parcel { from: ShardId(1), parcel }, stage.now);
        }
        8 => {
            let parcel = Parcel::Media(packet(feed, stage.now));
            stage.shard.handle(Input::Parcel { from: ShardId(1), parcel }, stage.now);
        }
        9 => speak(stage, feed),
        _ => {
            let sdp = String::from_utf8_lossy(feed.chunk()).into_owned();
            let offer = Command::Offer { session: peer.session, id: 9, sdp };
            stage.shard.handle(Input::Command(offer), stage.now);
        }
    }
}

/// Media that the client's own stack numbers, so that it is taken in: any payload, any layer.
fn speak(stage: &mut Stage, feed: &mut Feed<'_>) {
    let layer = usize::from(feed.byte() % 4);
    let payload = feed.chunk();
    // What str0m cannot write, a client that is built on it cannot send.
    if payload.len() > 1_200 || !stage.ended.is_empty() {
        return;
    }
    match layer {
        3 => stage.publisher.speak(payload, stage.now),
        layer => stage.publisher.show(layer, payload, stage.now),
    }
}

/// A packet of the publisher's association, with a checksum that is right.
fn sctp(record: &[u8], chunks: &[u8]) -> Option<Vec<u8>> {
    let (kind, header) =
        record.split_first().filter(|(kind, _)| **kind == plain::APPLICATION_DATA)?;
    let mut packet = [header.get(..8)?, &[0; 4], chunks].concat();
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet.insert(0, *kind);
    Some(packet)
}

/// RFC 9260 appendix A, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

fn command(feed: &mut Feed<'_>) -> Command {
    let (what, choice) = (feed.byte(), feed.byte());
    let track = TRACKS[usize::from(choice & 1)];
    let flag = choice & 2 != 0;
    match what % 9 {
        0 => Command::Mute { session: PUBLISHING, track: track.0, muted: flag },
        1 => {
            let tune = Tune { paused: flag, layer_max: Layer(choice >> 2), ..Tune::default() };
            Command::Tune { session: VIEWING, track: track.0, tune }
        }
        2 => Command::Unsubscribe { session: VIEWING, track: track.0 },
        3 => subscribe(VIEWING, track),
        4 => Command::Unpublish { session: PUBLISHING, track: track.0 },
        5 => publish(PUBLISHING, track),
        6 => {
            let grants = Grants { publish: flag, publish_data: choice & 4 != 0, ..GRANTS };
            Command::Permit { session: PUBLISHING, grants }
        }
        7 => Command::SpanRoom { room: ROOM, shards: vec![ShardId(0), ShardId(1)] },
        _ => Command::RestartIce { session: PUBLISHING },
    }
}

fn note(feed: &mut Feed<'_>) -> Note {
    let (what, choice) = (feed.byte(), feed.byte());
    let track = TRACKS.get(usize::from(choice & 3)).map_or(TrackId(99), |track| track.0);
    let address = match choice & 3 {
        0 => PUBLISHER,
        1 => VIEWER,
        _ => SocketAddr::from(([10, 9, 9, 9], 9)),
    };
    match what % 6 {
        0 => {
            let layer_max = Layer(choice >> 2 & 3).min(Layer::TOP);
            Note::Watch { track, room: ROOM, layer_max: (choice & 16 == 0).then_some(layer_max) }
        }
        1 => Note::Unwatch { track },
        2 => Note::Keyframe { track, layer: Layer(choice >> 2 & 3).min(Layer::TOP) },
        3 => Note::TrackEnded { track },
        4 => Note::Claim { address },
        _ => Note::Disclaim { address },
    }
}

/// What another shard would send of a peer's packet: everything of it is the peer's but its size.
fn packet(feed: &mut Feed<'_>, now: Instant) -> Packet {
    let choice = feed.byte();
    let codec = match choice & 3 {
        0 => Codec::Opus,
        1 => Codec::Vp8,
        2 => Codec::H264,
        _ => Codec::Av1,
    };
    let ext_seq = u64::from(feed.word());
    let timestamp = u32::from(feed.word()) << 16;
    let bytes = feed.byte();
    let payload = feed.chunk();
    let (keyframe, shape) = antipode_core::fuzz::glance(codec, payload)
        .unwrap_or((false, antipode_relay::packet::Shape::Plain));
    Packet {
        track: TRACKS[usize::from(choice >> 2 & 1)].0,
        layer: Layer(choice >> 3 & 3).min(Layer::TOP),
        codec,
        ext_seq,
        timestamp,
        marker: choice & 0x20 != 0,
        keyframe,
        shape,
        mark: Default::default(),
        descriptor: None,
        announced: None,
        sender_clock: None,
        microphone: (codec == Codec::Opus).then_some(MemberId(PUBLISHING.0)),
        extensions: Extensions {
            audio_level: Some(-((bytes & 0x7f) as i8)),
            voice_activity: Some(bytes & 0x80 != 0),
            orientation: Some(choice >> 6),
        },
        arrival: now,
        payload: payload.into(),
    }
}
