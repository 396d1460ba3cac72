//! The ways by which peers are reached, and the checks of them.

use antipode_base::verdict::DropReason;
use str0m::ice::{StunMessage, StunMessageBuilder, TransId};

use super::*;

#[test]
fn two_clients_of_one_address_are_told_apart_by_their_transport() {
    let at = SocketAddr::from(([10, 0, 1, 1], 5_000));
    for places in [[Transport::Tcp, Transport::Udp], [Transport::Udp, Transport::Tcp]] {
        let mut scene = call_of(places.map(|transport| (transport, at)));
        let mid = scene.mid(0);
        scene.send(0, mid, 1, KEY);
        assert_eq!((scene.clients[0].packets.len(), scene.clients[1].packets.len()), (0, 1));
        // The end of one leaves the other where it is.
        let reason = CloseReason::Left;
        scene.command(Command::CloseSession { session: session(1), reason });
        scene.send(0, mid, 2, DELTA);
        assert_eq!(scene.shard.stats().packets_in, 2);
    }
}

/// A genuine check by the first client, as a client makes it that chooses, or (`mistaken`) one that does not.
fn check(scene: &mut Scene, password: &str, mistaken: bool) -> Vec<u8> {
    let theirs = scene.clients[0].rtc.direct_api().local_ice_credentials().ufrag;
    let username = format!("{}:{theirs}", scene.shard.sessions[0].credentials.ufrag);
    let request = StunMessageBuilder::new().binding().request().username(&username).prio(1);
    let request = if mistaken { request.ice_controlled(1) } else { request.ice_controlling(1) };
    let hmac = scene.shard.setup.provider().sha1_hmac_provider;
    let sign = |key: &[u8], text: &[&[u8]]| hmac.sha1_hmac(key, text);
    let mut bytes = vec![0; 200];
    let message = request.build(TransId::new());
    let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, sign).unwrap();
    bytes.truncate(length);
    bytes
}

/// What the shard says to it at once.
fn answers(scene: &mut Scene, check: &[u8]) -> Vec<Vec<u8>> {
    let client = &scene.clients[0];
    let datagram = Datagram {
        transport: client.transport,
        source: client.address,
        local: SERVER.parse().unwrap(),
        bytes: check,
        at: scene.now,
    };
    scene.shard.handle(Input::Datagram(datagram), scene.now);
    scene.shard.flush(scene.now);
    let sent = std::iter::from_fn(|| scene.shard.poll()).filter_map(|output| match output {
        Output::Transmit(transmit) => Some(transmit.bytes),
        _ => None,
    });
    sent.collect()
}

#[test]
fn checks_that_change_nothing_are_answered_and_settle_their_address() {
    let mut scene = call();
    let [first, second] = [0, 1].map(|n: usize| scene.clients[n].address);
    let of = |scene: &Scene, at| {
        let known = scene.addresses.iter().filter(|(address, _)| *address == at);
        known.map(|(_, standing)| *standing).collect::<Vec<_>>()
    };
    scene.pass(Duration::from_secs(120));
    assert!(scene.clients.iter().all(|client| client.rtc.is_connected()));
    for at in [first, second] {
        assert_eq!(of(&scene, at), [Standing::Validated, Standing::Settled], "once");
    }
    // str0m has not forgotten the way meanwhile: what it says still arrives.
    scene.publish(0, 2, Kind::Audio, "mic");
    scene.offer(0, &[(MediaKind::Audio, Direction::SendOnly, "mic")]);
    scene.pass(Duration::from_secs(1));
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    assert_eq!(scene.clients[1].packets.len(), 1);
    scene.command(Command::CloseSession { session: session(0), reason: CloseReason::Left });
    assert_eq!(of(&scene, first)[2..], [Standing::Gone]);
}

#[test]
fn routine_is_what_is_genuine_and_comes_by_the_path_in_use() {
    let mut scene = call();
    scene.pass(Duration::from_secs(10));
    assert!(scene.shard.sessions[0].checks.is_routine(scene.now));
    scene.clients[0].unchecked = true;
    let password = scene.shard.sessions[0].credentials.pass.clone();
    let drops = |scene: &Scene| scene.shard.stats().drops.get(DropReason::StunBadIntegrity);

    let request = check(&mut scene, &password, false);
    let sent = answers(&mut scene, &request);
    let answer = StunMessage::parse(&sent[0]).unwrap();
    assert!(answer.is_successful_binding_response() && sent.len() == 1);
    assert_eq!(answer.trans_id(), StunMessage::parse(&request).unwrap().trans_id());
    assert_eq!(answer.mapped_address(), Some(scene.clients[0].address));

    let forged = check(&mut scene, "no password of ours", false);
    assert_eq!((answers(&mut scene, &forged).len(), drops(&scene)), (0, 1));

    // Two that both leave the choice to the other would never agree: str0m says so (487).
    let mistaken = check(&mut scene, &password, true);
    let sent = answers(&mut scene, &mistaken);
    assert!(
        sent.iter()
            .all(|bytes| !StunMessage::parse(bytes).unwrap().is_successful_binding_response())
    );

    // From elsewhere it proves that address too, and moves nothing.
    let path = scene.shard.sessions[0].egress.peer();
    let home = scene.clients[0].address;
    scene.clients[0].address = SocketAddr::from(([10, 0, 9, 9], 9));
    let request = check(&mut scene, &password, false);
    answers(&mut scene, &request);
    let away = (Transport::Udp, scene.clients[0].address);
    assert!(scene.shard.demux.owns(away, 0), "str0m and the tables know of it");
    assert_eq!(scene.shard.sessions[0].egress.peer(), path);
    assert_eq!(path, Some((Transport::Udp, home)));
}
