//! Those who mean harm: what they send is counted under its reason, and nobody else notices.

use std::net::SocketAddr;

use antipode_base::ids::TrackId;
use antipode_base::notice::EndReason;
use antipode_base::verdict::DropReason;
use antipode_tests::net::Datagram;
use antipode_tests::packet::{rtp, stun};
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

fn plain(_: u64) -> Setup {
    Setup::default()
}

fn stranger(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 66], 1_000 + number))
}

/// Two in a call.
struct Victims {
    al: usize,
    bo: usize,
    videos: [TrackId; 2],
}

fn victims(world: &mut World) -> Victims {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let videos = [world.publish(al, Media::video(1)), world.publish(bo, Media::video(1))];
    world.until("both flow", 4 * S, |w| w.connected(al) && w.connected(bo) && w.all_flow(0));
    world.run(500 * MS);
    Victims { al, bo, videos }
}

impl Victims {
    /// Both still see each other, every frame, and no session ended.
    fn unharmed(&self, world: &mut World) {
        let since = world.now;
        world.run(S);
        assert!(world.frames(self.bo, self.videos[0], None, since) >= 14);
        assert!(world.frames(self.al, self.videos[1], None, since) >= 14);
        assert_eq!([world.endings(self.al), world.endings(self.bo)], [vec![], vec![]]);
        assert_eq!(world.to_strangers, 0, "the node answers no stranger");
    }
}

scene!(ATTACKS, strangers_are_counted_and_not_answered, 8, plain, attacks);

fn attacks(world: &mut World) {
    let victims = victims(world);
    let place = world.peer(victims.bo, true);
    let address = world.peers[place].id.address;
    let (own, node) = world.peers[place].ufrags();
    let node = node.unwrap();
    let hello = [&[22, 254, 253][..], &[0; 40]].concat();
    let wrong = "01zzzzzzzzzzzzzz";
    let response = {
        let mut bytes = stun(&node, &own, None);
        bytes[0] = 1;
        bytes
    };
    for (name, source, bytes, reason) in [
        ("DTLS", stranger(1), hello, DropReason::UnknownAddress),
        ("RTP", stranger(2), rtp(96, 1, 7, 200), DropReason::UnknownAddress),
        ("RTCP", stranger(3), rtp(72, 1, 7, 60), DropReason::UnknownAddress),
        ("wrong ufrag", stranger(4), stun(wrong, &own, None), DropReason::StunUnknownUfrag),
        ("no such shard", stranger(5), stun("ffabc", &own, None), DropReason::StunUnknownUfrag),
        ("bad HMAC", stranger(6), stun(&node, &own, Some([9; 20])), DropReason::StunBadIntegrity),
        ("no HMAC", stranger(7), stun(&node, &own, None), DropReason::StunMalformed),
        (
            "other peer",
            stranger(8),
            stun(&node, "who", Some([9; 20])),
            DropReason::StunBadIntegrity,
        ),
        ("victim's own", address, stun(&node, &own, Some([9; 20])), DropReason::StunBadIntegrity),
        ("response", stranger(9), response, DropReason::StunMalformed),
        (
            "cut STUN",
            stranger(10),
            stun(&node, &own, None)[..30].to_vec(),
            DropReason::StunMalformed,
        ),
        ("empty", stranger(11), Vec::new(), DropReason::NotOurs),
        ("TURN channel", stranger(12), vec![80; 50], DropReason::NotOurs),
        ("long RTP", address, rtp(96, 1, 7, 1_501), DropReason::Oversized),
        ("unknown SSRC", address, rtp(96, 1, 0xdead_beef, 300), DropReason::UnknownSsrc),
    ] {
        let before = world.drops(reason);
        for _ in 0..3 {
            world.attack(source, bytes.clone(), MS);
        }
        world.run(50 * MS);
        assert_eq!(world.drops(reason) - before, 3, "{name} is {}", reason.as_str());
    }
    victims.unharmed(world);
}

scene!(REPLAY, what_was_overheard_is_worth_nothing, 6, plain, replay);

/// Someone on the path sends copies of all that a victim sends, from elsewhere and as the victim.
fn replay(world: &mut World) {
    let victims = victims(world);
    world.overheard.clear();
    world.listen(true);
    world.run(200 * MS);
    world.listen(false);
    let overheard: Vec<Datagram> = world.overheard.drain(..).collect();
    let media = |datagram: &&Datagram| {
        let payload_type = datagram.bytes[1] & 0x7f;
        datagram.bytes[0] >> 6 == 2 && payload_type == 96
    };
    let media: Vec<&Datagram> = overheard.iter().filter(media).collect();
    assert!(media.len() > 4);
    let before = [DropReason::UnknownAddress, DropReason::NotMedia].map(|r| world.drops(r));
    for datagram in &media {
        world.attack(stranger(1), datagram.bytes.clone(), MS);
        world.attack(datagram.source, datagram.bytes.clone(), MS);
    }
    world.run(50 * MS);
    let after = [DropReason::UnknownAddress, DropReason::NotMedia].map(|r| world.drops(r));
    let count = media.len() as u64;
    assert_eq!([after[0] - before[0], after[1] - before[1]], [count; 2]);
    victims.unharmed(world);
}

scene!(RACE, a_copied_handshake_does_not_win, 6, plain, race);

/// A copy of every handshake datagram comes from another address, before the true one.
fn race(world: &mut World) {
    let al = world.join("al", 1, 0);
    world.listen(true);
    let mut copied = 0;
    let mut seen = 0;
    while !world.connected(al) {
        world.run(MS);
        while seen < world.overheard.len() {
            let datagram = world.overheard[seen].clone();
            seen += 1;
            if (20..64).contains(&datagram.bytes[0]) {
                copied += 1;
                world.attack(stranger(1), datagram.bytes, MS);
            }
        }
        assert!(world.now < 3 * S, "the true handshake goes through");
    }
    world.listen(false);
    world.run(100 * MS);
    assert!(copied >= 2, "ClientHello and more");
    assert_eq!(world.drops(DropReason::UnknownAddress), copied);
    assert!(world.endings(al).is_empty());
    assert_eq!(world.to_strangers, 0);
}

scene!(SPOOF, bytes_in_the_victims_name_do_not_end_it, 6, plain, spoof);

/// Off the path, but with the victim's address: broken DTLS records of each kind.
fn spoof(world: &mut World) {
    let victims = victims(world);
    let address = world.peers[world.peer(victims.bo, true)].id.address;
    for kind in [20, 21, 22, 23, 25, 63] {
        for epoch in [0, 1, 2] {
            // RFC 6347 §4.1: type, version, epoch, sequence, length, fragment.
            let mut record = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9, 0, 20];
            record.extend_from_slice(&[1; 20]);
            world.attack(address, record.clone(), MS);
            world.attack(address, record[..14].to_vec(), MS);
        }
        world.run(20 * MS);
    }
    // A fatal alert in the clear, as if the handshake were still going on.
    world.attack(address, vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40], MS);
    world.run(50 * MS);
    victims.unharmed(world);
}

scene!(FINGERPRINT, a_wrong_certificate_ends_its_own_session, 6, plain, fingerprint);

fn fingerprint(world: &mut World) {
    let victims = victims(world);
    let eve = world.join_forged("eve", 1, 1);
    world.publish(eve, Media::video(1));
    world.run(2 * S);
    assert_eq!(world.endings(eve), [EndReason::WrongFingerprint]);
    victims.unharmed(world);
}
