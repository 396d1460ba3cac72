//! OpenSSL with itself and with str0m's own DTLS, in memory.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use openssl::x509::X509NameBuilder;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A signed certificate of this key.
fn certificate(key: &PKey<Private>) -> DtlsCert {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "peer").unwrap();
    let name = name.build();
    let mut x509 = X509::builder().unwrap();
    x509.set_version(2).unwrap();
    x509.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    x509.set_subject_name(&name).unwrap();
    x509.set_issuer_name(&name).unwrap();
    x509.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    x509.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    x509.set_pubkey(key).unwrap();
    x509.sign(key, MessageDigest::sha256()).unwrap();
    DtlsCert {
        certificate: x509.build().to_der().unwrap(),
        private_key: key.private_key_to_pkcs8().unwrap(),
    }
}

/// As GStreamer makes it.
pub(crate) fn rsa() -> DtlsCert {
    certificate(&PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap())
}

fn elliptic() -> DtlsCert {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    certificate(&PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
}

/// One end of an association and what it said.
struct End {
    dtls: Box<dyn DtlsInstance>,
    certificate: Option<Vec<u8>>,
    connected: bool,
    keys: Option<(Vec<u8>, SrtpProfile)>,
    data: Vec<Vec<u8>>,
    close_notify: bool,
    next: Option<Instant>,
}

impl End {
    fn new(provider: &dyn DtlsProvider, cert: &DtlsCert, active: bool) -> Self {
        let now = Instant::now();
        let mut dtls = provider.new_dtls(cert, now, DtlsVersion::Dtls12, Some(1_200)).unwrap();
        dtls.set_active(active);
        // As str0m begins.
        dtls.handle_timeout(now).unwrap();
        if active {
            let _ = dtls.handle_packet(&[]);
        }
        End {
            dtls,
            certificate: None,
            connected: false,
            keys: None,
            data: Vec::new(),
            close_notify: false,
            next: None,
        }
    }

    fn ours(active: bool) -> Self {
        // The certificate that a shard has is made by the other provider.
        let cert = str0m_own().generate_certificate().unwrap();
        Self::new(&OpenSsl, &cert, active)
    }

    /// All that it has to say until its timeout.
    fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        loop {
            match self.dtls.poll_output(&mut [0; 2_000]) {
                DtlsOutput::Packet(packet) => sent.push(packet.to_vec()),
                DtlsOutput::PeerCert(der) => self.certificate = Some(der.to_vec()),
                DtlsOutput::Connected => self.connected = true,
                DtlsOutput::KeyingMaterial(material, profile) => {
                    assert!(self.certificate.is_some(), "whose keys are these?");
                    self.keys = Some((material.as_ref().to_vec(), profile));
                }
                DtlsOutput::ApplicationData(data) => self.data.push(data.to_vec()),
                DtlsOutput::CloseNotify => self.close_notify = true,
                DtlsOutput::Timeout(at) => {
                    self.next = Some(at);
                    return sent;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lets it look at the clock if it wants to.
    fn tick(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        if self.next.is_some_and(|at| at <= now) { self.dtls.handle_timeout(now) } else { Ok(()) }
    }
}

fn str0m_own() -> &'static dyn DtlsProvider {
    str0m::crypto::from_feature_flags().dtls_provider
}

/// Both talk until nobody has anything to say. `path` says what becomes of a datagram.
fn talk(ends: &mut [End; 2], mut path: impl FnMut(&[u8]) -> bool) {
    loop {
        let mut quiet = true;
        for from in 0..2 {
            for packet in ends[from].poll() {
                quiet = false;
                assert!(packet.len() <= 1_200, "{} bytes are above the MTU", packet.len());
                if path(&packet) {
                    let _ = ends[1 - from].dtls.handle_packet(&packet);
                }
            }
        }
        if quiet {
            return;
        }
    }
}

#[test]
fn every_kind_of_peer_connects_in_either_role() {
    let (rsa, elliptic) = (rsa(), elliptic());
    let peers: [(&str, &dyn DtlsProvider, &DtlsCert); 3] = [
        ("OpenSSL, RSA", &OpenSsl, &rsa),
        ("OpenSSL, elliptic", &OpenSsl, &elliptic),
        ("str0m's own, elliptic", str0m_own(), &elliptic),
    ];
    for (name, provider, cert) in peers {
        for active in [false, true] {
            let what = format!("{name}, we are the client: {active}");
            let mut ends = [End::ours(active), End::new(provider, cert, !active)];
            talk(&mut ends, |_| true);
            let [ours, peer] = &mut ends;
            assert!(ours.connected && peer.connected, "{what}");
            assert_eq!(ours.certificate.as_ref(), Some(&cert.certificate), "{what}");
            assert!(ours.keys.is_some() && ours.keys == peer.keys, "{what}");
            assert_eq!(ours.dtls.protocol_version(), Some(ProtocolVersion::DTLS1_2), "{what}");
            assert!(ours.next.unwrap() > Instant::now() + CONNECT, "an open one is left alone");

            assert_eq!(ours.dtls.send_application_data(b"from us").unwrap(), 7);
            assert_eq!(peer.dtls.send_application_data(b"from it").unwrap(), 7);
            talk(&mut ends, |_| true);
            assert_eq!(ends[0].data, [b"from it"], "{what}");
            assert_eq!(ends[1].data, [b"from us"], "{what}");
        }
    }
}

#[test]
fn either_side_may_close() {
    let rsa = rsa();
    for closer in [0, 1] {
        let mut ends = [End::ours(false), End::new(&OpenSsl, &rsa, true)];
        talk(&mut ends, |_| true);
        assert!(!ends[0].dtls.is_closing());
        ends[closer].dtls.close().unwrap();
        assert!(closer == 1 || !ends[0].dtls.is_closed(), "the alert is still here");
        talk(&mut ends, |_| true);
        let other = 1 - closer;
        assert!(ends[other].close_notify && !ends[closer].close_notify, "closer {closer}");
        assert!(ends[closer].dtls.is_closed() && !ends[other].dtls.is_closed());
        assert!(ends[other].dtls.is_closing());
        // As str0m answers it.
        ends[other].dtls.close().unwrap();
        talk(&mut ends, |_| true);
        assert!(ends[0].dtls.is_closed() && !ends[0].dtls.is_closing());
        assert!(ends[0].dtls.send_application_data(b"late").is_err());
        assert!(ends[0].dtls.handle_packet(b"late").is_ok(), "nobody listens any more");
    }
}

/// Far enough for "never".
const CONNECT: Duration = Duration::from_secs(3_600);

#[test]
fn of_the_srtp_profiles_the_fastest_is_chosen() {
    for active in [false, true] {
        let mut ends = [End::ours(active), End::new(&OpenSsl, &rsa(), !active)];
        talk(&mut ends, |_| true);
        let (material, profile) = ends[0].keys.clone().unwrap();
        assert_eq!(profile, SrtpProfile::AEAD_AES_128_GCM);
        // Two keys and two salts (RFC 7714 §12).
        assert_eq!(material.len(), 2 * (16 + 12));
    }
}

#[test]
fn what_openssl_is_not_set_up_for_is_left_to_str0ms_own() {
    let cert = elliptic();
    let new = |version| OpenSsl.new_dtls(&cert, Instant::now(), version, None).unwrap();
    assert!(format!("{:?}", new(DtlsVersion::Dtls12)).starts_with("Instance"));
    assert!(!format!("{:?}", new(DtlsVersion::Dtls13)).starts_with("Instance"));
}

/// This is why OpenSSL is here.
#[test]
fn str0ms_own_refuses_rsa() {
    let cert = elliptic();
    let mut ends = [End::new(str0m_own(), &cert, false), End::new(&OpenSsl, &rsa(), true)];
    talk(&mut ends, |_| true);
    assert!(!ends[0].connected && !ends[1].connected);
}

#[test]
fn a_lost_flight_is_sent_again() {
    let rsa = rsa();
    // Both roles, each without one of the datagrams that the two must exchange.
    let cases = [false, true].into_iter().flat_map(|active| (1..7).map(move |lost| (active, lost)));
    let mut waiting: Vec<_> = cases
        .map(|case| (case, 0, [End::ours(case.0), End::new(&OpenSsl, &rsa, !case.0)]))
        .collect();
    // A second passes before OpenSSL sends again, and a busy machine takes its time.
    let patience = Instant::now() + Duration::from_secs(120);
    let mut repeated = 0;
    while !waiting.is_empty() {
        let now = Instant::now();
        let left: Vec<_> = waiting.iter().map(|(case, ..)| case).collect();
        assert!(now < patience, "not connected (we are the client, lost datagram): {left:?}");
        for ((_, lost), sent, ends) in &mut waiting {
            talk(ends, |_| {
                *sent += 1;
                *sent != *lost
            });
            for end in ends.iter_mut() {
                end.tick(now).unwrap();
            }
        }
        waiting.retain(|(case, sent, ends)| {
            let done = ends.iter().all(|end| end.connected);
            assert!(!done || ends[0].keys == ends[1].keys, "{case:?}");
            repeated += usize::from(done && *sent >= case.1);
            !done
        });
        std::thread::yield_now();
    }
    assert!(repeated >= 8, "{repeated} of them lost anything");
}

#[test]
fn what_is_broken_or_strange_does_not_stop_a_handshake() {
    let rsa = rsa();
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut ends = [End::ours(seed % 2 == 0), End::new(&OpenSsl, &rsa, seed % 2 == 1)];
        let mut strangers = 0;
        loop {
            let mut quiet = true;
            for from in 0..2 {
                for packet in ends[from].poll() {
                    quiet = false;
                    if from == 1 && strangers < DTLS_HANDSHAKE_DATAGRAMS_MAX / 2 {
                        for noise in noises(&packet, &mut rng) {
                            strangers += 1;
                            let _ = ends[0].dtls.handle_packet(&noise);
                        }
                    }
                    let _ = ends[1 - from].dtls.handle_packet(&packet);
                }
            }
            if quiet {
                break;
            }
        }
        assert!(ends[0].connected && ends[1].connected, "seed {seed}");
        // Once open, it is even harder to disturb.
        for _ in 0..200 {
            let mut noise = vec![0; rng.random_range(1..1_400)];
            rng.fill(&mut noise[..]);
            noise[0] = rng.random_range(20..64);
            let _ = ends[0].dtls.handle_packet(&noise);
        }
        ends[1].dtls.send_application_data(b"still here").unwrap();
        talk(&mut ends, |_| true);
        assert_eq!(ends[0].data, [b"still here"], "seed {seed}");
    }
}

/// What a broken path or somebody beside it makes of a datagram, but for what could be true.
fn noises(packet: &[u8], rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let cut = packet[..rng.random_range(1..packet.len().min(13))].to_vec();
    let mut other_version = packet.to_vec();
    other_version[1] = 3;
    let mut data = packet.to_vec();
    data[0] = 23;
    let mut long = packet.to_vec();
    long[11] |= 0x80;
    let mut vast = packet.to_vec();
    vast[14] = 0x7f;
    vec![cut, other_version, data, long, vast]
}

#[test]
fn a_peer_that_fails_is_told_so_before_it_is_given_up() {
    let mut ours = End::ours(false);
    // A whole message of the first flight that is none.
    let hello = record(HANDSHAKE, 0, &message(1, 8, &[0xff; 8]));
    assert!(ours.dtls.handle_packet(&hello).is_err());
    assert!(!ours.dtls.is_closed(), "the alert is still here");
    assert!(ours.dtls.handle_packet(&hello).is_ok(), "nobody listens any more");
    assert!(ours.dtls.handle_timeout(Instant::now()).is_ok());
    let sent = ours.poll();
    assert!(sent.len() == 1 && sent[0][0] == ALERT, "{sent:?}");
    assert!(ours.next.unwrap() <= Instant::now(), "the end is told at once");
    assert!(ours.dtls.is_closed() && ours.dtls.protocol_version().is_none());
    assert!(ours.dtls.handle_timeout(Instant::now()).is_err());
    assert!(ours.dtls.send_application_data(b"x").is_err());
}

#[test]
fn a_peer_without_a_certificate_is_refused() {
    let mut context = SslContextBuilder::new(SslMethod::dtls()).unwrap();
    context.set_tlsext_use_srtp(SRTP_PROFILES).unwrap();
    context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    let ssl = Ssl::new(&context.build()).unwrap();
    let mut stream = SslStream::new(ssl, Wire::default()).unwrap();
    let mut ours = End::ours(false);
    for _ in 0..6 {
        let _ = stream.connect();
        while let Some(packet) = stream.get_mut().outgoing.pop_front() {
            let _ = ours.dtls.handle_packet(&packet);
        }
        for packet in ours.poll() {
            stream.get_mut().incoming = packet;
            let _ = stream.connect();
        }
    }
    assert!(!ours.connected && ours.keys.is_none());
    assert!(ours.dtls.handle_timeout(Instant::now()).is_err());
}

fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 254, 253];
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// One piece of a message of `size` bytes.
fn message(kind: u8, size: u32, piece: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&size.to_be_bytes()[1..]);
    out.extend_from_slice(&[0; 5]);
    out.extend_from_slice(&(piece.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(piece);
    out
}

#[test]
fn only_a_handshake_of_a_sane_size_is_let_in() {
    let hello = record(HANDSHAKE, 0, &message(1, 5, b"hello"));
    let max = DTLS_MESSAGE_MAX as u32;
    let two = [message(1, 9, b"he"), message(1, 9, b"llo")].concat();
    let late = record(23, 1, b"data");
    let rows: [(&str, Vec<u8>, usize); 11] = [
        ("a message", hello.clone(), hello.len()),
        ("two pieces in a record", record(HANDSHAKE, 0, &two), 13 + two.len()),
        ("two records", [hello.clone(), hello.clone()].concat(), 2 * hello.len()),
        ("data behind it", [hello.clone(), late.clone()].concat(), hello.len()),
        ("data", late, 0),
        ("a cut record", hello[..hello.len() - 1].to_vec(), 0),
        ("a cut header", [hello.clone(), hello[..12].to_vec()].concat(), hello.len()),
        ("a piece beyond its record", record(HANDSHAKE, 0, &hello[13..25]), 0),
        ("the longest message", record(HANDSHAKE, 0, &message(11, max, b"a")), 26),
        ("a longer one", record(HANDSHAKE, 0, &message(11, max + 1, b"a")), 0),
        ("sealed", record(HANDSHAKE, 1, b"whatever it is"), 13 + 14),
    ];
    for (name, datagram, admitted) in rows {
        assert_eq!(Gate::new().admit(&datagram), &datagram[..admitted], "{name}");
    }
}

#[test]
fn a_handshake_has_only_so_many_datagrams_and_sealed_records() {
    let hello = record(HANDSHAKE, 0, &message(1, 5, b"hello"));
    let mut gate = Gate::new();
    let admitted = (0..1_000).filter(|_| !gate.admit(&hello).is_empty()).count();
    assert_eq!(admitted, DTLS_HANDSHAKE_DATAGRAMS_MAX);

    let sealed = record(HANDSHAKE, 1, b"early").repeat(10);
    let mut gate = Gate::new();
    let admitted: usize = (0..100).map(|_| gate.admit(&sealed).len()).sum();
    assert_eq!(admitted, DTLS_HANDSHAKE_SEALED_MAX * (13 + 5));
}
