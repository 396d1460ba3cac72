//! Bytes of RFC 5769, a server on loopback, and the tables of choices.

use super::*;
use std::net::Ipv6Addr;
use std::thread;

/// Of the samples in RFC 5769.
const TRANSACTION: Transaction =
    [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

/// RFC 5769 §2.2.
const SAMPLE_V4: &[u8] = &[
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, // success, 60 bytes, cookie
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, //
    0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f, 0x72,
    0x20, // SOFTWARE, 11 bytes and padding
    0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6,
    0x43, // XOR-MAPPED-ADDRESS
    0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9,
    0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, // MESSAGE-INTEGRITY
    0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96, // FINGERPRINT
];

/// RFC 5769 §2.3.
const SAMPLE_V6: &[u8] = &[
    0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, //
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, //
    0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f, 0x72,
    0x20, //
    0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
    0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9, //
    0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c,
    0x82, 0x92, 0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41, //
    0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
];

#[test]
fn golden_bytes() {
    let want = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &TRANSACTION].concat();
    assert_eq!(request(TRANSACTION)[..], want);
    let v4 = "192.0.2.1:32853".parse().unwrap();
    let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(answer(SAMPLE_V4, TRANSACTION), Ok(v4));
    assert_eq!(answer(SAMPLE_V6, TRANSACTION), Ok(v6));
}

#[test]
fn whatever_comes_in_is_an_answer_or_none() {
    for sample in [SAMPLE_V4, SAMPLE_V6] {
        for cut in 0..sample.len() {
            assert!(answer(&sample[..cut], TRANSACTION).is_err(), "cut at {cut}");
        }
        let mut bytes = sample.to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // No panic; in the header it must be noticed.
            let found = answer(&bytes, TRANSACTION);
            assert!(bit >= HEADER * 8 || found.is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    let other = [0; 12];
    assert_eq!(answer(SAMPLE_V4, other), Err(AnswerError::Stray), "another transaction");
    let message = |kind: u16, body: &[u8]| {
        let mut bytes = request(TRANSACTION).to_vec();
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes[2..4].copy_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    };
    for (kind, body, want) in [
        (BINDING_REQUEST, &[][..], AnswerError::Stray),
        (BINDING_ERROR, &[], AnswerError::Refused),
        (BINDING_SUCCESS, &[], AnswerError::Malformed),
        // No such family; too short; longer than the message; padding that is not there.
        (BINDING_SUCCESS, &[0, 0x20, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0], AnswerError::Malformed),
        (BINDING_SUCCESS, &[0, 0x20, 0, 4, 0, 1, 0, 0], AnswerError::Malformed),
        (BINDING_SUCCESS, &[0, 0x20, 0xff, 0xff, 0, 1, 0, 0], AnswerError::Malformed),
        (BINDING_SUCCESS, &[0x80, 0x22, 0, 1, 65], AnswerError::Malformed),
    ] {
        assert_eq!(answer(&message(kind, body), TRANSACTION), Err(want), "{kind:#x} {body:?}");
    }
}

#[test]
fn asks_again_with_growing_pauses_and_gives_up() {
    let start = Instant::now();
    let mut schedule = Schedule::new(start);
    let mut now = start;
    let mut sent = vec![];
    loop {
        match schedule.step(now) {
            Step::Send => sent.push(now - start),
            Step::Wait(until) => {
                assert!(until > now);
                now = until;
            }
            Step::GiveUp => break,
        }
    }
    let want = [0, 1, 3, 7].map(|pauses| STUN_RETRY * pauses);
    assert_eq!(sent, want);
    assert_eq!(now - start, STUN_TIMEOUT);
}

#[test]
fn ipv4_is_asked_first_and_from_the_media_port() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (v4, v6) = ("192.0.2.1:3478", "[2001:db8::1]:3478");
    for (all, media, want) in [
        (&[v6, v4][..], "[::]:7882", Some((v4, "0.0.0.0:7882"))),
        (&[v6], "[::]:7882", Some((v6, "[::]:7882"))),
        (&[v6, v4], "0.0.0.0:7882", Some((v4, "0.0.0.0:7882"))),
        (&[v6, v4], "10.0.0.5:7882", Some((v4, "10.0.0.5:7882"))),
        (&[v6, v4], "[fd00::5]:7882", Some((v6, "[fd00::5]:7882"))),
        (&[v6], "10.0.0.5:7882", None),
        (&[v4], "[fd00::5]:7882", None),
        (&[], "[::]:7882", None),
    ] {
        let all: Vec<SocketAddr> = all.iter().map(|text| at(text)).collect();
        let want = want.map(|(place, from)| (at(place), at(from)));
        assert_eq!(route(&all, at(media)), want, "{all:?} {media}");
    }
}

#[test]
fn the_public_address_stands_for_the_private_ones() {
    let ips = |text: &str| -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    };
    let host = "127.0.0.1 10.0.0.5 172.17.0.1 ::1 fe80::1 2001:db8::5";
    for (bound, advertise, want) in [
        ("::", "", "203.0.113.9 2001:db8::5"),
        ("0.0.0.0", "10.0.0.5", "203.0.113.9 10.0.0.5"),
        ("10.0.0.5", "", "203.0.113.9"),
    ] {
        let seen = ips("203.0.113.9")[0];
        let told = with_discovered(seen, ips(bound)[0], &ips(advertise), &ips(host));
        assert_eq!(told, ips(want), "{bound} {advertise}");
    }
}

/// A STUN server that answers once, with `port` (or the one that it sees) in what it saw, after
/// two datagrams that are none of its own.
fn responder(port: Option<u16>) -> (SocketAddr, thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    let answers = move || {
        let mut request = [0; 64];
        let (length, from) = socket.recv_from(&mut request).expect("a request");
        assert_eq!(length, HEADER);
        let mut answer = request[..HEADER].to_vec();
        answer[0..4].copy_from_slice(&[0x01, 0x01, 0, 12]);
        let port = port.unwrap_or(from.port()) ^ (COOKIE >> 16) as u16;
        let ip = u32::from(Ipv4Addr::new(203, 0, 113, 9)) ^ COOKIE;
        answer.extend([0, 0x20, 0, 8, 0, 1]);
        answer.extend(port.to_be_bytes());
        answer.extend(ip.to_be_bytes());
        stranger.send_to(&answer, from).expect("loopback");
        socket.send_to(b"noise", from).expect("loopback");
        socket.send_to(&answer, from).expect("loopback");
    };
    (address, thread::spawn(answers))
}

#[test]
fn a_server_on_loopback_is_asked() {
    let media = "127.0.0.1:0".parse().unwrap();
    let (server, done) = responder(None);
    let told = addresses(Some(&server.to_string()), media, &[], &[], TRANSACTION).unwrap();
    assert_eq!(told, ["203.0.113.9".parse::<IpAddr>().unwrap()]);
    done.join().expect("answered");

    let (server, done) = responder(Some(1));
    let error = addresses(Some(&server.to_string()), media, &[], &[], TRANSACTION).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("media.stun_discover") && text.contains("no one-to-one NAT"), "{text}");
    assert!(text.contains("--advertise"), "{text}");
    done.join().expect("answered");
}

#[test]
fn what_cannot_be_asked_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let media = taken.local_addr().expect("bound");
    let error = addresses(Some("127.0.0.1:9"), media, &[], &[], TRANSACTION).unwrap_err();
    assert!(matches!(error, NodeError::PortTaken { .. }), "{error}");
    let any = "127.0.0.1:0".parse().unwrap();
    let error = addresses(Some("[::1]:3478"), any, &[], &[], TRANSACTION).unwrap_err();
    assert!(error.to_string().starts_with("media.stun_discover [::1]:3478: "), "{error}");
}

#[test]
fn without_a_server_the_configuration_holds() {
    let advertise = ["192.0.2.7".parse::<IpAddr>().unwrap(), Ipv6Addr::LOCALHOST.into()];
    let media = "127.0.0.1:0".parse().unwrap();
    let told = addresses(None, media, &advertise, &[], TRANSACTION).unwrap();
    assert_eq!(told, advertise);
}
