//! A call as it should be: exact commands, exact messages.

use super::*;
use antipode_base::command::{CloseReason, Grants, OpenSession, Priority, Role, Subscribe, Tune};
use antipode_base::limits::{LEVEL_INTERVAL, QUALITY_INTERVAL};
use antipode_base::media;
use antipode_base::notice::{Level, Quality, Slot};

use super::super::message::Retouch;
use super::super::quality::Level as Grade;
use super::super::track::{Viewing, Wish};

const ALL: Grants = Grants { publish: true, subscribe: true, publish_data: true };

#[test]
fn two_members_join_publish_subscribe_and_leave() {
    let mut scene = Scene::new();
    let alice = scene.join_as(Join { offer: Some(offer(1)), ..join("lobby", "alice") });
    let room = scene.model.rooms_by_name["lobby"];
    let alice_id = scene.model.members_by_sid[&alice.sid];
    let open = OpenSession {
        session: alice.publish,
        member: alice_id,
        room,
        role: Role::Both,
        grants: ALL,
        identity: "alice".into(),
        sid: alice.sid.clone(),
        audio_top: 0,
        rsa: false,
    };
    let commands = [
        Command::OpenSession(open),
        Command::SpanRoom { room, shards: vec![ShardId(0)] },
        Command::Offer { session: alice.publish, id: 1, sdp: offer(1).sdp },
    ];
    assert_eq!(scene.take_commands(), commands.map(|command| (ShardId(0), command)));

    let (track, track_sid) = scene.publish(&alice, camera());
    assert!(track_sid.starts_with("TR_VC"), "{track_sid}");
    assert_eq!(
        scene.take_commands(),
        [(
            ShardId(0),
            Command::Publish {
                session: alice.publish,
                track,
                kind: Kind::Video,
                client_id: "cam".into(),
                codec: Some(Codec::Vp8),
                source: media::Source::Camera,
                red: true,
                stereo: false,
            }
        )]
    );

    let bob = scene.join_as(Join { offer: Some(offer(1)), ..join("lobby", "bob") });
    let commands = scene.take_commands();
    let subscribe = Command::Subscribe(Subscribe {
        session: bob.subscribe,
        track,
        home: ShardId(0),
        kind: Kind::Video,
        stream_label: format!("{}|{track_sid}", alice.sid),
        track_label: track_sid.clone(),
    });
    assert_eq!(commands.len(), 3, "{commands:?}");
    assert!(matches!(commands[0].1, Command::OpenSession(_)));
    assert_eq!(commands[1], (ShardId(0), subscribe), "before the offer, so that it is answered");
    assert!(matches!(commands[2].1, Command::Offer { id: 1, .. }));

    scene.ask(&bob, Request::Leave);
    let reason = CloseReason::Left;
    let close = Command::CloseSession { session: bob.publish, reason };
    assert_eq!(scene.take_commands(), [(ShardId(0), close)]);
    assert_eq!(scene.sees(&alice, "bob").unwrap().gone, Some(Gone::Left));
    assert_eq!(scene.hung_up, [bob.client]);

    scene.ask(&alice, Request::Leave);
    assert!(scene.model.rooms.is_empty() && scene.model.sessions.is_empty());
}

#[test]
fn first_messages_come_in_the_order_of_the_wire() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.publish(&alice, microphone());
    scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    let told = scene.take_told(&bob);
    let ToClient::Joined(joined) = &told[0] else { panic!("{told:?}") };
    assert_eq!(joined.others.len(), 1);
    assert_eq!(joined.others[0].tracks.len(), 2);
    assert_eq!(joined.others[0].who.attributes["antipode.shard"], "0");
    assert!(matches!(told[1], ToClient::Token { .. }));
    assert!(matches!(told[2], ToClient::Permission { allowed: true, .. }));
    assert!(matches!(told[3], ToClient::Permission { allowed: true, .. }));
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_track_is_shown_when_it_is_live_and_gone_when_it_ends() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    scene.take_commands();
    scene.ask(&alice, Request::Publish(camera()));
    assert!(scene.sees(&bob, "alice").unwrap().tracks.is_empty(), "announced is not live");
    let (track, sid) = scene.announced(&alice);
    scene.live(&alice, track, Kind::Video);
    assert_eq!(scene.sees(&bob, "alice").unwrap().tracks[0].sid, sid);
    assert_eq!(
        scene.sees(&alice, "alice").unwrap().tracks[0].sid,
        sid,
        "its publisher sees it too"
    );
    let subscribes = |commands: &[(ShardId, Command)]| {
        commands.iter().filter(|(_, c)| matches!(c, Command::Subscribe(_))).count()
    };
    assert_eq!(subscribes(&scene.take_commands()), 1);
    scene.live(&alice, track, Kind::Video);
    assert_eq!(subscribes(&scene.take_commands()), 0, "said once");

    scene.notice(Notice::TrackEnded { session: alice.publish, track });
    assert!(scene.sees(&bob, "alice").unwrap().tracks.is_empty());
    let unsubscribe = Command::Unsubscribe { session: bob.subscribe, track };
    assert_eq!(scene.take_commands(), [(ShardId(0), unsubscribe)]);
    // The client's id is free again.
    scene.publish(&alice, camera());
}

#[test]
fn negotiation_is_passed_on_with_public_names() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    scene.take_told(&bob);
    let session = bob.publish;
    let slots =
        vec![Slot { mid: "3".into(), track }, Slot { mid: "4".into(), track: TrackId(404) }];
    scene.notice(Notice::Answer { session, id: 1, sdp: "answer".into(), slots });
    scene.notice(Notice::NeedSections { session, audio: 1, video: 2 });
    scene.notice(Notice::TrackWatched { track });
    assert_eq!(
        scene.take_told(&bob),
        [
            ToClient::Answer {
                description: Description { id: 1, sdp: "answer".into() },
                tracks: vec![("3".into(), sid.clone())],
            },
            ToClient::NeedSections { audio: 1, video: 2 },
        ]
    );
    let told = scene.take_told(&alice);
    assert!(told.contains(&ToClient::Watched { track: sid.clone() }));
    assert!(told.contains(&ToClient::LayersWanted {
        track: sid,
        codec: "vp8",
        qualities: [true; 3]
    }));
    scene.notice(Notice::TrackWatched { track });
    let told = scene.take_told(&alice);
    assert!(!told.iter().any(|message| matches!(message, ToClient::Watched { .. })), "{told:?}");
}

#[test]
fn two_peer_connections_are_two_sessions_of_one_member() {
    let mut scene = Scene::new();
    let alice = scene.join_as(Join { wire: Wire::Two, ..join("lobby", "alice") });
    let roles: Vec<(Role, bool)> = scene
        .take_commands()
        .into_iter()
        .filter_map(|(_, command)| match command {
            Command::OpenSession(open) => Some((open.role, open.rsa)),
            _ => None,
        })
        .collect();
    assert_eq!(roles, [(Role::Publish, false), (Role::Subscribe, false)]);
    scene.take_told(&alice);
    let (session, sdp) = (alice.subscribe, "ours".to_owned());
    scene.notice(Notice::Offer { session, id: 5, sdp, slots: vec![] });
    assert!(matches!(&scene.take_told(&alice)[..], [ToClient::Offer { .. }]));
    scene.ask(&alice, Request::Answer(Description { id: 5, sdp: "theirs".into() }));
    scene.ask(&alice, Request::Offer(offer(1)));
    assert_eq!(
        scene.take_commands(),
        [
            (ShardId(0), Command::Answer { session, id: 5, sdp: "theirs".into() }),
            (ShardId(0), Command::Offer { session: alice.publish, id: 1, sdp: offer(1).sdp }),
        ]
    );
    // Active is who receives.
    scene.notice(Notice::Connected { session: alice.publish });
    let phase = |scene: &Scene| scene.sees(&alice, "alice").and_then(|view| view.phase);
    assert_eq!(phase(&scene), None, "nothing was shown yet");
    scene.notice(Notice::Connected { session });
    assert_eq!(phase(&scene), Some(super::super::member::Phase::Active));
}

#[test]
fn every_join_goes_to_the_next_shard_when_told_so() {
    let mut scene = Scene::spread();
    let alice = scene.join("lobby", "alice");
    scene.publish(&alice, camera());
    scene.take_commands();
    let bob = scene.join("lobby", "bob");
    let commands = scene.take_commands();
    let room = scene.model.rooms_by_name["lobby"];
    let span = Command::SpanRoom { room, shards: vec![ShardId(0), ShardId(1)] };
    assert!(commands.contains(&(ShardId(0), span.clone())));
    assert!(commands.contains(&(ShardId(1), span)));
    let subscribe = commands.iter().find_map(|(shard, command)| match command {
        Command::Subscribe(subscribe) => Some((*shard, subscribe.home)),
        _ => None,
    });
    assert_eq!(subscribe, Some((ShardId(1), ShardId(0))));
    assert_eq!(scene.sees(&alice, "bob").unwrap().who.attributes["antipode.shard"], "1");

    scene.ask(&bob, Request::Leave);
    let span = Command::SpanRoom { room, shards: vec![ShardId(0)] };
    assert!(scene.take_commands().contains(&(ShardId(0), span)));
}

#[test]
fn mute_tune_and_unsubscribe_reach_the_shard() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    scene.take_commands();
    let session = bob.subscribe;
    let tracks = vec![sid.clone()];

    scene.ask(&alice, Request::Mute { track: sid.clone(), muted: true });
    scene.ask(&alice, Request::Mute { track: sid.clone(), muted: true });
    assert!(scene.sees(&bob, "alice").unwrap().tracks[0].spec.muted);
    let viewing = Viewing { paused: true, wish: Wish::Quality(0), ..Viewing::default() };
    scene.ask(&bob, Request::Tune { tracks: tracks.clone(), viewing });
    let viewing = Viewing { wish: Wish::Size(640, 360), ..Viewing::default() };
    scene.ask(&bob, Request::Tune { tracks: tracks.clone(), viewing });
    scene.ask(&bob, Request::Subscribe { tracks: tracks.clone(), wanted: false });
    scene.ask(&bob, Request::Subscribe { tracks, wanted: true });
    let commands: Vec<Command> = scene.take_commands().into_iter().map(|(_, c)| c).collect();
    assert_eq!(commands[0], Command::Mute { session: alice.publish, track, muted: true });
    let tune = |paused, layer| Tune { paused, layer_max: Layer(layer), ..Tune::default() };
    let thumbnail = Tune { priority: Priority::Thumbnail, ..tune(true, 0) };
    assert_eq!(commands[1], Command::Tune { session, track, tune: thumbnail });
    assert_eq!(commands[2], Command::Tune { session, track, tune: tune(false, 1) });
    assert_eq!(commands[3], Command::Unsubscribe { session, track });
    assert!(matches!(&commands[4], Command::Subscribe(subscribe) if subscribe.track == track));
    assert_eq!(commands[5], Command::Tune { session, track, tune: tune(false, 1) }, "remembered");
    assert_eq!(commands.len(), 6, "{commands:?}");
}

#[test]
fn one_who_wants_no_track_unasked_asks_for_each() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    let bob = scene.join_as(Join { auto_subscribe: false, ..join("lobby", "bob") });
    let wants = |scene: &mut Scene| {
        let commands = scene.take_commands();
        commands.iter().any(|(_, c)| matches!(c, Command::Subscribe(s) if s.track == track))
    };
    assert!(!wants(&mut scene));
    scene.ask(&bob, Request::Subscribe { tracks: vec![sid], wanted: true });
    assert!(wants(&mut scene));
    let missing = "TR_VCmissing".to_owned();
    scene.ask(&bob, Request::Subscribe { tracks: vec![missing.clone()], wanted: true });
    let failed = ToClient::SubscriptionFailed { track: missing, unsupported: false };
    assert!(scene.told(&bob).contains(&failed));
}

#[test]
fn speakers_are_told_while_they_speak() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, microphone());
    let room = scene.model.rooms_by_name["lobby"];
    let speak = |scene: &mut Scene| {
        scene.notice(Notice::Levels { room, levels: vec![Level { track, level: 0.3 }] });
    };
    let levels = |scene: &mut Scene| -> Vec<f32> {
        let told = scene.take_told(&alice).into_iter();
        told.filter_map(|message| match message {
            ToClient::Speakers(speakers) => Some(speakers[0].level),
            _ => None,
        })
        .collect()
    };
    scene.take_told(&alice);
    speak(&mut scene);
    scene.pass(Duration::ZERO);
    assert_eq!(levels(&mut scene).len(), 1, "at once");
    scene.pass(LEVEL_INTERVAL * 4);
    let told = levels(&mut scene);
    let ends = told.iter().filter(|level| **level == 0.0).count();
    assert_eq!((ends, told.last()), (1, Some(&0.0)), "the end is told once: {told:?}");

    scene.ask(&alice, Request::Mute { track: sid, muted: true });
    speak(&mut scene);
    scene.pass(LEVEL_INTERVAL);
    assert_eq!(levels(&mut scene), [0.0; 0], "who is muted does not speak");
}

#[test]
fn quality_is_told_when_it_changes_and_silence_is_lost() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let session = alice.publish;
    scene.notice(Notice::Connected { session });
    let quality = Quality { session, loss_in: 0.0, loss_out: 0.0, rtt_ms: 1.0 };
    let grades = |scene: &mut Scene| -> Vec<Grade> {
        let told = scene.take_told(&alice).into_iter();
        told.filter_map(|message| match message {
            ToClient::Quality(grades) => Some(grades[0].1.level),
            _ => None,
        })
        .collect()
    };
    for _ in 0..3 {
        scene.notice(Notice::Quality(quality));
        scene.pass(QUALITY_INTERVAL);
    }
    assert_eq!(grades(&mut scene), [Grade::Excellent]);
    let bob = scene.join("lobby", "bob");
    scene.notice(Notice::Quality(quality));
    scene.pass(QUALITY_INTERVAL);
    let told = scene.take_told(&bob);
    assert!(told.iter().any(|message| matches!(message, ToClient::Quality(_))), "{told:?}");
    assert_eq!(grades(&mut scene), [], "bob's alone would be news, once he is connected");
    scene.pass(QUALITY_INTERVAL * 4);
    assert_eq!(grades(&mut scene).last(), Some(&Grade::Lost));
    scene.notice(Notice::Quality(Quality { loss_in: 0.5, ..quality }));
    scene.pass(QUALITY_INTERVAL);
    assert_eq!(grades(&mut scene), [Grade::Poor]);
}

#[test]
fn a_track_may_be_retouched() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (_, sid) = scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    scene.ask(&alice, Request::Retouch { track: sid.clone(), change: Retouch::Size(64, 48) });
    assert_eq!(scene.sees(&bob, "alice").unwrap().tracks[0].spec.width, 64);
    let before = scene.told(&bob).len();
    scene.ask(&alice, Request::Retouch { track: sid.clone(), change: Retouch::Size(64, 48) });
    // Others' tracks cannot be touched.
    scene.ask(&bob, Request::Retouch { track: sid, change: Retouch::Size(1, 1) });
    assert_eq!(scene.told(&bob).len(), before);
}
