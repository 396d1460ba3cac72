//! What a client, a signaling process or another shard missed reaches it in the end.

use antipode_base::command::Tune;
use antipode_base::limits::CLAIM_INTERVAL;
use antipode_base::media::Layer;
use antipode_relay::parcel::{Note, Parcel};

use super::*;
use crate::sdp;

/// A publisher (0) of one video track and a viewer (1) of it that has a connection to receive alone.
fn call_with_a_receiver() -> Scene {
    let mut scene = Scene::new();
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    let address = SocketAddr::from(([10, 0, 1, 2], 5_000));
    scene.open_as(1, Role::Subscribe, Transport::Udp, address);
    scene.subscribe(1, 1, Kind::Video);
    scene.pass(Duration::from_millis(500));
    assert!(scene.clients.iter().all(|client| client.connected));
    scene
}

/// Of the only picture in the latest of so many offers: direction, label, SSRCs.
fn offered(scene: &Scene, offers: usize) -> (bool, Option<String>, Vec<String>) {
    let all = scene.notices.iter().filter_map(|notice| match notice {
        Notice::Offer { sdp, .. } => Some(sdp),
        _ => None,
    });
    let all: Vec<&String> = all.collect();
    assert_eq!(all.len(), offers, "{all:#?}");
    let text = all[offers - 1];
    let pictures: Vec<_> =
        sdp::scan(text).into_iter().filter(|section| section.kind == Some(Kind::Video)).collect();
    assert_eq!(pictures.len(), 1, "{text}");
    let [picture] = &pictures[..] else { unreachable!("there is one") };
    let streams = text.lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next());
    let label = picture.track_label.map(str::to_owned);
    (picture.sends && !picture.receives, label, streams.map(str::to_owned).collect())
}

#[test]
fn a_section_that_is_used_again_was_never_inactive() {
    let mut scene = call_with_a_receiver();
    let (sends, label, streams) = offered(&scene, 2);
    assert!(sends && label.as_deref() == Some("TR_1") && !streams.is_empty());

    // A browser that saw it inactive would decode the same SSRC later on, and show nothing of it.
    scene.command(Command::Unpublish { session: session(0), track: TrackId(1) });
    assert_eq!(offered(&scene, 3), (true, None, vec![]), "its stream is gone, and that is all");

    scene.publish(0, 2, Kind::Video, "cam");
    scene.subscribe(1, 2, Kind::Video);
    assert_eq!(offered(&scene, 4), (true, Some("TR_2".to_owned()), streams));
}

/// All offers that were told, in their order.
fn offers(scene: &Scene) -> Vec<(u32, &str)> {
    scene
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Offer { id, sdp, .. } => Some((*id, sdp.as_str())),
            _ => None,
        })
        .collect()
}

/// Labels of the pictures of an offer, by section.
fn pictures(sdp: &str) -> Vec<Option<&str>> {
    let sections = sdp::scan(sdp).into_iter();
    let pictures = sections.filter(|section| section.kind == Some(Kind::Video));
    pictures.map(|section| section.track_label).collect()
}

#[test]
fn a_section_is_seen_empty_before_another_track_comes_into_it() {
    let mut scene = call_with_a_receiver();
    scene.publish(0, 2, Kind::Video, "screen");
    let (session, track) = (session(1), TrackId(1));
    let unsubscribe = Command::Unsubscribe { session, track };
    scene.shard.handle(Input::Command(unsubscribe), scene.now);
    scene.subscribe(1, 2, Kind::Video);
    let told = offers(&scene);
    assert_eq!(told.len(), 3);
    assert_eq!(pictures(told[2].1), [None, Some("TR_2")]);
    scene.subscribe(1, 1, Kind::Video);
    assert_eq!(pictures(offers(&scene)[3].1), [Some("TR_1"), Some("TR_2")]);
}

#[test]
fn an_offer_that_was_lost_is_said_again_before_ice_is_restarted() {
    for taking in [Taking::Lost, Taking::AnswerLost] {
        let mut scene = call_with_a_receiver();
        scene.clients[1].taking = taking;
        scene.publish(0, 2, Kind::Video, "screen");
        let sections = [(MediaKind::Video, Direction::SendOnly, "screen")];
        scene.offer(0, &sections);
        scene.subscribe(1, 2, Kind::Video);
        assert_eq!(pictures(offers(&scene)[2].1), [Some("TR_1"), Some("TR_2")]);
        // A WebSocket later.
        scene.clients[1].taking = Taking::Answered;
        scene.command(Command::RestartIce { session: session(1) });
        let told = offers(&scene);
        let ids: Vec<u32> = told.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 2, 3, 3, 4]);
        assert_eq!(told[2].1, told[3].1);
        let ufrag = |sdp: &str| {
            let line = sdp.lines().find(|line| line.starts_with("a=ice-ufrag:"));
            line.expect("credentials").to_owned()
        };
        assert_ne!(ufrag(told[3].1), ufrag(told[4].1));
        assert_eq!(pictures(told[4].1), [Some("TR_1"), Some("TR_2")]);
        scene.pass(Duration::from_millis(500));
        let mid = scene.notices.iter().rev().find_map(|notice| match notice {
            Notice::TrackLive { track: TrackId(2), mid, .. } => Some(Mid::from(mid.as_str())),
            _ => None,
        });
        scene.send(0, mid.expect("the track went live"), 1, KEY);
        assert_eq!(scene.clients[1].packets.len(), 1, "it comes");
    }
}

#[test]
fn what_is_said_again_is_answered_with_the_state_of_things() {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    let told = |scene: &Scene| {
        let notices = scene.notices.iter();
        let of_state = notices
            .filter(|notice| matches!(notice, Notice::Demand { .. } | Notice::Delivery { .. }));
        of_state.cloned().collect::<Vec<_>>()
    };
    let tune = Tune { layer_max: Layer(1), ..Tune::default() };
    scene.command(Command::Tune { session: session(1), track: TrackId(1), tune });
    scene.pass(Duration::from_secs(4));
    let before = told(&scene);
    let layer_max = Some(Layer(1));
    let demand = Notice::Demand { session: session(0), track: TrackId(1), layer_max };
    assert_eq!(before.last(), Some(&demand), "{before:?}");

    scene.publish(0, 1, Kind::Video, "cam");
    assert_eq!(told(&scene)[before.len()..], [demand]);
    scene.subscribe(1, 1, Kind::Video);
    let delivery = Notice::Delivery { session: session(1), track: TrackId(1), paused: false };
    assert_eq!(told(&scene)[before.len() + 1..], [delivery]);

    // Nothing of it is on its way to this one yet.
    scene.open(2);
    scene.subscribe(2, 1, Kind::Video);
    scene.subscribe(2, 1, Kind::Video);
    assert_eq!(told(&scene).len(), before.len() + 2);
}

#[test]
fn an_address_is_claimed_again_while_nothing_but_stun_comes_from_it() {
    let mut scene = Scene::of(3);
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    // The claim was lost: what is no STUN lands on another shard, which drops it.
    scene.clients[0].astray = true;
    let mut at = Vec::new();
    for _ in 0..1_000 {
        scene.pass(Duration::from_millis(10));
        for Addressed { to, parcel } in std::mem::take(&mut scene.parcels) {
            let Parcel::Note(Note::Claim { address }) = parcel else { panic!("{parcel:?}") };
            assert_eq!(address, scene.clients[0].address);
            at.push((to, scene.now));
        }
    }
    for shard in [ShardId(1), ShardId(2)] {
        let times: Vec<Instant> =
            at.iter().filter(|(to, _)| *to == shard).map(|(_, at)| *at).collect();
        assert!(times.len() > 2, "again and again: {times:?}");
        assert!(times[1..].windows(2).all(|two| two[1] - two[0] >= CLAIM_INTERVAL), "{times:?}");
    }

    scene.clients[0].astray = false;
    let patience = CLAIM_INTERVAL * 5;
    scene.pass(patience);
    assert!(scene.clients[0].connected);
    scene.parcels.clear();
    let mid = scene.mid(0);
    for seq in 0..100 {
        scene.send(0, mid, seq, DELTA);
        scene.pass(Duration::from_millis(100));
    }
    assert!(scene.parcels.is_empty(), "it arrives, so somebody knows the address");
}

#[test]
fn a_track_that_is_announced_again_is_told_again() {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    let tracks = |scene: &Scene| {
        let notices = scene.notices.iter();
        let of_tracks = notices.filter(|notice| {
            matches!(notice, Notice::TrackLive { .. } | Notice::TrackRefused { .. })
        });
        of_tracks.cloned().collect::<Vec<_>>()
    };
    let before = tracks(&scene);
    scene.publish(0, 1, Kind::Video, "cam");
    let after = tracks(&scene);
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    assert_eq!(after.last(), before.last(), "the same, its SSRC too");
    scene.send(0, mid, 2, DELTA);
    assert_eq!(scene.clients[1].packets.len(), 2, "and its viewer goes on");

    // Not live yet: there is nothing to tell. Another track under its id is none of ours.
    scene.publish(0, 2, Kind::Video, "screen");
    scene.publish(0, 2, Kind::Video, "screen");
    assert_eq!(tracks(&scene).len(), after.len());
    scene.publish(0, 2, Kind::Audio, "screen");
    assert!(matches!(tracks(&scene).last(), Some(Notice::TrackRefused { .. })));
}
