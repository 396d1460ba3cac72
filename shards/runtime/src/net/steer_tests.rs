//! Steering, shown by the kernel itself: a group of sockets on loopback, and who gets what.

use super::*;
use std::net::UdpSocket;
use std::time::Duration;

use socket2::Socket;

use crate::net::socket::{Group, open_group};

const SHARDS: usize = 4;

/// A STUN binding request with these attributes.
fn stun(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = vec![0, 1];
    message.extend_from_slice(&(body.len() as u16).to_be_bytes());
    message.extend_from_slice(&STUN_MAGIC_COOKIE.to_be_bytes());
    message.extend_from_slice(b"transaction!");
    message.extend(body);
    message
}

fn named(username: &str) -> Vec<u8> {
    stun(&[(STUN_USERNAME, username.as_bytes())])
}

/// Which socket has the datagram; waits until one has.
fn receiver(group: &Group) -> usize {
    let sockets: Vec<&Socket> =
        group.sockets.iter().chain(&group.patient).chain(&group.pictures).collect();
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| rustix::event::PollFd::new(*socket, rustix::event::PollFlags::IN))
        .collect();
    let patience = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&patience)))
        .expect("poll");
    assert_eq!(ready, 1, "exactly one socket of the group gets a datagram");
    let place = polled.iter().position(|fd| !fd.revents().is_empty()).expect("one is ready");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 256];
    sockets[place].recv(&mut buffer).expect("the datagram");
    place
}

/// A peer on loopback of the family of `target`.
fn peer(target: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((target.ip(), 0)).expect("a socket on loopback");
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(target).expect("connect");
    socket
}

/// The group, and loopback addresses that reach it.
fn group() -> (Group, Vec<SocketAddr>) {
    let group = open_group("[::]:0".parse().unwrap(), SHARDS).expect("a group");
    let port = group.address.port();
    let mut targets = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    if group.address.is_ipv6() && UdpSocket::bind("[::1]:0").is_ok() {
        targets.push(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)));
    }
    (group, targets)
}

/// STUN of every shape that names a shard, from many ports, reaches that shard.
fn assert_steers_stun(group: &Group, targets: &[SocketAddr]) {
    for target in targets {
        for round in 0..4 {
            for shard in 0..SHARDS {
                let name = format!("{shard:02x}Wq{round}:peer");
                let software = (0x8022, &b"abcde"[..]);
                let priority = (0x0024, &[1, 2, 3, 4][..]);
                let shapes = [
                    named(&name),
                    stun(&[software, (STUN_USERNAME, name.as_bytes())]),
                    stun(&[priority, software, software, (STUN_USERNAME, name.as_bytes())]),
                ];
                for shape in shapes {
                    peer(*target).send(&shape).expect("send");
                    assert_eq!(receiver(group), shard, "{name} to {target}");
                }
            }
        }
    }
}

/// What names no shard is not lost and does not all fall on one.
fn assert_rest_is_spread(group: &Group, targets: &[SocketAddr]) {
    let bare = vec![0x80, 0x60, 1, 2];
    let mut response = named("01ab:peer");
    response[0..2].copy_from_slice(&[1, 1]);
    let others = [
        Vec::new(),
        bare,
        response,
        named("ffab:peer"),
        named("zzab:peer"),
        named("0Aab:peer"),
        named(""),
        named("01ab:peer")[..22].to_vec(),
        stun(&[(0x8022, &b"a"[..]); ATTRIBUTES_SEEN_MAX]),
    ];
    for other in others {
        let mut seen = [false; SHARDS];
        for target in targets {
            // Chance misses a given socket with 48 ports once in a million runs.
            for _ in 0..48 {
                peer(*target).send(&other).expect("send");
                seen[receiver(group)] = true;
            }
        }
        let count = seen.iter().filter(|seen| **seen).count();
        assert!(count > 1, "{other:x?} all fell on one socket");
    }
}

#[test]
fn classic_bpf_steers_stun_and_leaves_the_rest_to_the_hash() {
    let (group, targets) = group();
    install_classic(group.borrowed()[0]).expect("any process may attach a classic program");
    assert_steers_stun(&group, &targets);
    assert_rest_is_spread(&group, &targets);
}

#[test]
fn ebpf_steers_stun_by_ufrag_and_the_rest_by_claim() {
    for patient in [false, true] {
        let (mut group, targets) = group();
        if patient {
            group.open_apart().expect("twice as many again");
        }
        steers_by_claim(&group, &targets);
    }
}

fn steers_by_claim(group: &Group, targets: &[SocketAddr]) {
    let patient = group.patient.len();
    let claims = match Claims::install(&group.borrowed(), SHARDS) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: this process may not load eBPF ({error})");
            return;
        }
        other => other.expect("the program passes the verifier"),
    };
    assert_steers_stun(group, targets);
    assert_rest_is_spread(group, targets);
    for target in targets {
        for shard in (0..SHARDS).cycle().take(4 * SHARDS) {
            let peer = peer(*target);
            let address = peer.local_addr().expect("bound");
            let owner = ShardId(shard as u16);
            let own = named(&format!("{shard:02x}cd:peer"));
            claims.follow(owner, address, Standing::Validated);
            for payload in URGENT.into_iter().chain([&own[..]]) {
                peer.send(payload).expect("send");
                assert_eq!(receiver(group), shard, "{address} belongs to {owner}");
            }
            claims.follow(owner, address, Standing::Settled);
            peer.send(&own).expect("send");
            assert_eq!(receiver(group), patient + shard, "its checks are routine");
            for payload in URGENT {
                peer.send(payload).expect("send");
                assert_eq!(receiver(group), shard, "{payload:x?} is none");
            }
            for (payloads, place) in [(&WAITING[..], patient), (&PICTURES[..], 2 * patient)] {
                for payload in payloads {
                    peer.send(payload).expect("send");
                    assert_eq!(receiver(group), place + shard, "{payload:x?}");
                }
            }
            // A ufrag knows better than an address: the peer may have a session on another shard.
            let other = (shard + 1) % SHARDS;
            peer.send(&named(&format!("{other:02x}cd:peer"))).expect("send");
            assert_eq!(receiver(group), other);
            claims.follow(ShardId(other as u16), address, Standing::Gone);
            peer.send(&[0x80]).expect("send");
            assert_eq!(receiver(group), shard, "who had it before has no say any more");
            claims.follow(owner, address, Standing::Gone);
            claims.disclaim(owner, address).expect("that it is gone is what was asked for");
            peer.send(&own).expect("send");
            assert_eq!(receiver(group), shard, "whoever is there now is a newcomer");
            peer.send(&[0x80]).expect("send");
            receiver(group);
        }
    }
}

/// A sender report, a receiver report, transport-wide feedback.
const WAITING: [&[u8]; 3] = [&[0x80, 200, 0, 6], &[0x81, 201, 0, 7], &[0x8f, 205, 0, 5]];
/// What browsers number 96, with and without a marker, AV1's 45, a repeat.
const PICTURES: [&[u8]; 4] = [&[0x80, 0x60, 1, 2], &[0x90, 0xe0, 1], &[0x90, 45, 1], &[0xb0, 97]];
/// Sound, redundant or plain, with and without a marker; DTLS, a request for repeats, one for a keyframe, too
/// little to tell, and what begins like nothing of ours.
const URGENT: [&[u8]; 14] = [
    &[0x90, 111, 1, 2],
    &[0x90, 0x80 | 111, 1],
    &[0x90, 63],
    &[0x80, 109],
    &[0x80, 0],
    &[0x80, 9],
    &[22, 254],
    &[0x81, 205],
    &[0x81, 206],
    &[0x8f, 206],
    &[0x81],
    b"",
    &[0x7f, 96],
    &[0xc0, 96],
];

#[test]
fn one_shard_tells_classes_apart() {
    let mut alone = open_group("127.0.0.1:0".parse().unwrap(), 1).expect("a socket");
    alone.open_apart().expect("two more");
    install_classes(alone.borrowed()[0]).expect("any process may attach a classic program");
    tells_classes_apart(&alone, &peer(alone.address));
}

#[test]
fn one_shard_takes_the_best_that_the_host_permits() {
    let mut alone = open_group("127.0.0.1:0".parse().unwrap(), 1).expect("a socket");
    let peer = peer(alone.address);
    match install(&mut alone) {
        (Steering::Ebpf, Some(claims)) => {
            let address = peer.local_addr().expect("bound");
            claims.follow(ShardId(0), address, Standing::Validated);
            tells_classes_apart(&alone, &peer);
            claims.follow(ShardId(0), address, Standing::Settled);
            peer.send(&named("00ab:peer")).expect("send");
            assert_eq!(receiver(&alone), 1);
        }
        (steering, _) => {
            assert_eq!(steering, Steering::Single);
            tells_classes_apart(&alone, &peer);
        }
    }
}

fn tells_classes_apart(alone: &Group, peer: &UdpSocket) {
    assert_eq!(alone.patient.len(), 1);
    let stun = named("00ab:peer");
    for payload in URGENT.into_iter().chain([&stun[..]]) {
        peer.send(payload).expect("send");
        assert_eq!(receiver(alone), 0, "{payload:x?}");
    }
    for (payloads, place) in [(&WAITING[..], 1), (&PICTURES[..], 2)] {
        for payload in payloads {
            peer.send(payload).expect("send");
            assert_eq!(receiver(alone), place, "{payload:x?}");
        }
    }
}

#[test]
fn programs_stay_small_and_jump_within_themselves() {
    let programs = [classic_program(), class_program()];
    for (program, last) in programs.into_iter().zip([NO_SOCKET, 1]) {
        stays_small(&program, last);
    }
}

fn stays_small(program: &[libc::sock_filter], last: u32) {
    assert!(program.len() < 128, "{} instructions", program.len());
    for (at, step) in program.iter().enumerate() {
        let class = u32::from(step.code) & 0x07;
        if class == libc::BPF_JMP {
            let furthest = if u32::from(step.code) == libc::BPF_JMP | libc::BPF_JA {
                step.k as usize
            } else {
                usize::from(step.jt.max(step.jf))
            };
            assert!(at + 1 + furthest < program.len(), "instruction {at}");
        }
    }
    let end = program.last().expect("a program");
    assert_eq!((u32::from(end.code), end.k), (libc::BPF_RET | libc::BPF_K, last));
}

#[test]
fn keys_are_the_same_for_both_spellings_of_ipv4() {
    let plain = address_key("192.0.2.7:5000".parse().unwrap());
    let mapped = address_key("[::ffff:192.0.2.7]:5000".parse().unwrap());
    assert_eq!(plain, mapped);
    assert_eq!(plain[10..], [0xff, 0xff, 192, 0, 2, 7, 0x13, 0x88, 0, 0]);
}
