//! A client that offers once: what it sees changes in its sections, and it is told nothing.

use super::*;

/// Two publishers (0, 1) of a video track each and a player (2) that was answered before it had any.
fn room_with_a_player() -> Scene {
    let mut scene = Scene::new();
    for n in 0..2 {
        scene.open(n);
        scene.publish(n, n as u64 + 1, Kind::Video, "cam");
        scene.offer(n, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    }
    let address = SocketAddr::from(([10, 0, 1, 3], 5_000));
    scene.open_as(2, Role::Play, Transport::Udp, address);
    scene.offer(2, &[(MediaKind::Video, Direction::SendRecv, "x")]);
    scene.pass(Duration::from_millis(500));
    assert!(scene.clients.iter().all(|client| client.connected));
    scene
}

fn told(scene: &Scene) -> Vec<&Notice> {
    scene.notices.iter().filter(|notice| notice.session() == Some(session(2))).collect()
}

#[test]
fn an_empty_section_is_answered_as_one_that_will_be_used() {
    let scene = room_with_a_player();
    let answer = told(&scene).into_iter().find_map(|notice| match notice {
        Notice::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.expect("it offered");
    assert!(answer.contains("a=sendonly\r\n") && !answer.contains("a=sendrecv"), "{answer}");
    assert!(answer.contains("a=msid:antipode antipode-"), "{answer}");
    assert!(answer.contains("a=ssrc:"), "{answer}");
}

#[test]
fn tracks_take_turns_in_one_stream_without_a_word() {
    let mut scene = room_with_a_player();
    let descriptions = |scene: &Scene| {
        let described = |notice: &&&Notice| {
            matches!(notice, Notice::Answer { .. } | Notice::Offer { .. })
                || matches!(notice, Notice::NeedSections { .. })
        };
        told(scene).iter().filter(described).count()
    };
    let mids = [scene.mid(0), scene.mid(1)];
    for (n, mid) in mids.into_iter().enumerate() {
        scene.subscribe(2, n as u64 + 1, Kind::Video);
        scene.pass(Duration::from_millis(200));
        scene.send(n, mid, 1, KEY);
        scene.send(n, mid, 2, DELTA);
        let track = TrackId(n as u64 + 1);
        scene.command(Command::Unsubscribe { session: session(2), track });
        scene.send(n, mid, 3, DELTA);
    }
    let packets = &scene.clients[2].packets;
    assert_eq!(packets.len(), 4, "two of each, and none after its end");
    let streams: Vec<_> = packets.iter().map(|packet| packet.header.ssrc).collect();
    assert!(streams.iter().all(|ssrc| *ssrc == streams[0]), "{streams:?}");
    let seqs: Vec<u64> = packets.iter().map(|packet| *packet.seq_no).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert_eq!(descriptions(&scene), 1, "its one answer");
}

#[test]
fn clocks_of_several_members_are_not_told_of() {
    for (members, told) in [(["PA_a", "PA_a"], true), (["PA_a", "PA_b"], false)] {
        let mut scene = Scene::new();
        for n in 0..2 {
            scene.open(n);
            scene.publish(n, n as u64 + 1, Kind::Video, "cam");
            scene.offer(n, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
        }
        let address = SocketAddr::from(([10, 0, 1, 3], 5_000));
        scene.open_as(2, Role::Play, Transport::Udp, address);
        let section = (MediaKind::Video, Direction::RecvOnly, "x");
        scene.offer(2, &[section, section]);
        for (track, member) in (1..).zip(members) {
            scene.command(Command::Subscribe(Subscribe {
                session: session(2),
                track: TrackId(track),
                home: ShardId(0),
                kind: Kind::Video,
                stream_label: format!("{member}|camera"),
                track_label: format!("TR_{track}"),
            }));
        }
        scene.pass(Duration::from_millis(500));
        let mids = [scene.mid(0), scene.mid(1)];
        for seq in 1..100 {
            for (n, mid) in mids.iter().enumerate() {
                scene.send(n, *mid, seq, if seq == 1 { KEY } else { DELTA });
            }
            scene.pass(Duration::from_millis(50));
        }
        let player = &scene.clients[2];
        assert!(player.packets.len() > 190, "{}", player.packets.len());
        let streams: Vec<u32> = player.packets.iter().map(|packet| *packet.header.ssrc).collect();
        let of_stream = |sealed: &&Vec<u8>| {
            let from = u32::from_be_bytes(sealed[4..8].try_into().unwrap());
            streams.contains(&from)
        };
        let reports = player.reports.iter().filter(of_stream).count();
        assert_eq!(reports > 4, told, "{reports} reports of {members:?}");
        assert!(told || reports <= 1, "{reports} reports of {members:?}");
    }
}
