//! A peer whose certificate has an RSA key.

use std::sync::Arc;

use str0m::config::{CryptoProvider, DtlsCert};

use super::*;
use crate::dtls::rsa::OpenSsl;
use crate::dtls::rsa::tests::rsa;

/// A publisher of a video track with this certificate, which it describes as `described`.
fn scene(cert: DtlsCert, described: &DtlsCert) -> Scene {
    let mut scene = Scene { rsa: true, ..Scene::new() };
    let crypto = str0m::crypto::from_feature_flags();
    let crypto = CryptoProvider { dtls_provider: &OpenSsl, ..crypto };
    let rtc = Rtc::builder()
        .set_crypto_provider(Arc::new(crypto.clone()))
        .set_dtls_cert(cert)
        .set_rtp_mode(true)
        .build(scene.now);
    let place = (Transport::Udp, SocketAddr::from(([10, 0, 1, 1], 5_000)));
    scene.open_with(0, Role::Publish, rtc, place);
    scene.publish(0, 1, Kind::Video, "cam");
    let mut api = scene.clients[0].rtc.sdp_api();
    api.add_media(
        MediaKind::Video,
        Direction::SendOnly,
        Some("s".into()),
        Some("cam".into()),
        None,
    );
    let (offer, pending) = api.apply().unwrap();
    scene.clients[0].pending = Some(pending);
    let fingerprint = crypto.sha256_provider.sha256(&described.certificate);
    let fingerprint: Vec<_> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let fingerprint = format!("a=fingerprint:sha-256 {}", fingerprint.join(":"));
    let offer = offer.to_sdp_string();
    let sdp: Vec<_> = offer
        .lines()
        .map(|line| if line.starts_with("a=fingerprint:") { fingerprint.as_str() } else { line })
        .collect();
    scene.command(Command::Offer { session: session(0), id: 1, sdp: sdp.join("\r\n") + "\r\n" });
    scene.pass(Duration::from_millis(500));
    scene
}

#[test]
fn it_connects_and_its_media_is_opened() {
    let cert = rsa();
    let mut scene = scene(cert.clone(), &cert);
    assert!(scene.clients[0].connected);
    assert!(scene.notices.iter().any(|notice| matches!(notice, Notice::Connected { .. })));

    // A viewer of the usual kind sees it.
    scene.rsa = false;
    scene.open(1);
    scene.subscribe(1, 1, Kind::Video);
    scene.offer(1, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.pass(Duration::from_millis(500));
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    scene.send(0, mid, 2, DELTA);
    assert_eq!(scene.clients[1].packets.len(), 2);

    // It leaves by closing DTLS.
    scene.clients[0].rtc.close().unwrap();
    scene.settle();
    assert_eq!(scene.ended(0), Some(EndReason::PeerClosed));
}

#[test]
fn another_certificate_than_the_described_one_ends_the_session() {
    let scene = scene(rsa(), &rsa());
    assert_eq!(scene.ended(0), Some(EndReason::WrongFingerprint));
}

#[test]
fn a_handshake_that_fails_ends_the_session_at_once() {
    let mut scene = Scene { rsa: true, ..Scene::new() };
    scene.open(0);
    scene.clients[0].astray = true;
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    scene.pass(Duration::from_millis(500));
    let address = scene.clients[0].address;
    // An alert: no handshake is to be had (RFC 5246 §7.2).
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
    let datagram = Datagram {
        transport: Transport::Udp,
        source: address,
        local: SERVER.parse().unwrap(),
        bytes: &alert,
        at: scene.now,
    };
    scene.shard.handle(Input::Datagram(datagram), scene.now);
    scene.pass(Duration::from_millis(20));
    assert_eq!(scene.ended(0), Some(EndReason::PeerMisbehaved));
}
