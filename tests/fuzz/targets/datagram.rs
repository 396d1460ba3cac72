//! Datagrams of somebody who has no keys, from addresses that the shard knows and does not know,
//! straight from the socket and as strays of another shard.
//!
//! Whatever they are: no session ends or panics, no packet and no address is taken in, each datagram
//! of a stranger is exactly one counted drop or one stray, nobody is answered who did not prove that
//! he is somebody, and sound goes on.
#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use antipode_base::ids::ShardId;
use antipode_core::Input;
use antipode_fuzz::feed::Feed;
use antipode_fuzz::panics;
use antipode_fuzz::stage::{Keeper, PUBLISHER, SERVER, Stage, VIEWER};
use antipode_relay::parcel::{Parcel, Stray};
use libfuzzer_sys::fuzz_target;

const STRANGERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 9),
];

fn stage() -> Stage {
    Stage::connected(str0m::crypto::from_feature_flags(), Instant::now())
}

thread_local! {
    static KEEPER: RefCell<Keeper> = RefCell::new(Keeper::new(stage, 2_000));
}

fuzz_target!(init: panics::install(), |data: &[u8]| {
    KEEPER.with_borrow_mut(|keeper| {
        keeper.run(data, |stage| {
            attack(stage, Feed(data));
            true
        });
    });
});

fn attack(stage: &mut Stage, mut feed: Feed<'_>) {
    let before = stage.shard.stats();
    // Far below the consent of 30 s, and the clients refresh it.
    stage.pass(Duration::from_millis(1));
    for _ in 0..16 {
        if feed.is_empty() {
            break;
        }
        let choice = feed.byte();
        let bytes = disguise(stage, choice >> 3, feed.chunk());
        let source = match choice & 3 {
            0 => PUBLISHER,
            1 => VIEWER,
            2 => STRANGERS[0],
            _ => STRANGERS[1],
        };
        one(stage, source, choice & 4 != 0, &bytes);
    }
    assert!(stage.hears(), "sound stopped");
    let after = stage.shard.stats();
    assert_eq!(stage.ended, [], "a session ended");
    assert_eq!(after.session_faults, 0, "a session panicked");
    assert_eq!(after.packets_in, before.packets_in + 1, "a packet without keys was taken in");
    assert_eq!(stage.astray, [], "a stranger was answered");
}

/// What bytes alone would seldom hit: names and numbers that an attacker can see on the wire.
fn disguise(stage: &Stage, choice: u8, bytes: &[u8]) -> Vec<u8> {
    match choice & 3 {
        // A binding request under the publisher's name, with attributes of the fuzzer's.
        1 => {
            let name = stage.username.as_bytes();
            let mut attributes = vec![0, 6, 0, name.len() as u8];
            attributes.extend_from_slice(name);
            attributes.resize(attributes.len().next_multiple_of(4), 0);
            attributes.extend_from_slice(bytes);
            let length = (attributes.len() as u16).to_be_bytes();
            let head = [0, 1, length[0], length[1], 0x21, 0x12, 0xa4, 0x42];
            [&head[..], &[7; 12], &attributes].concat()
        }
        // The head of the publisher's last DTLS record, or of a packet of its microphone.
        2 => [&stage.records[0][..], bytes].concat(),
        3 => {
            let ssrc = stage.ssrc.to_be_bytes();
            let head = [0x90, 111, bytes.first().copied().unwrap_or(0), 0, 0, 0, 0, 1];
            [&head[..], &ssrc, bytes].concat()
        }
        _ => bytes.to_vec(),
    }
}

fn one(stage: &mut Stage, source: SocketAddr, stray: bool, bytes: &[u8]) {
    let drops =
        |stage: &Stage| -> u64 { stage.shard.stats().drops.iter().map(|(_, count)| count).sum() };
    let (dropped, strays) = (drops(stage), stage.shard.stats().strays_out);
    if stray {
        let stray = Stray { source, local: SERVER, bytes: bytes.into() };
        let parcel = Parcel::Stray(stray);
        stage.shard.handle(Input::Parcel { from: ShardId(1), parcel }, stage.now);
    } else {
        stage.inject(source, bytes);
    }
    let counted = drops(stage) - dropped + stage.shard.stats().strays_out - strays;
    let known = [PUBLISHER, VIEWER].contains(&source);
    assert!(counted == 1 || known && counted == 0, "counted {counted} times");
    stage.settle();
}
