//! What players see and hear.

use super::*;
use crate::model::member;
use crate::model::program::LayerName;
use crate::model::track::Wish;
use antipode_base::command::Tune;

#[test]
fn a_player_follows_the_room() {
    let mut scene = Scene::new();
    let wall = scene.player(everything());
    assert_eq!(scene.on(&wall), []);
    let (one, first) = scene.publisher("one");
    assert_eq!(scene.on(&wall), both(&first));
    let (_two, second) = scene.publisher("two");
    assert_eq!(scene.on(&wall), both(&first), "it stays with what it has");
    // Sound follows who speaks, pictures stay.
    scene.speak(second[0], 0.5);
    assert_eq!(scene.on(&wall), both(&[second[0], first[1]]));
    // A shared screen goes before every camera, and gives it back.
    let guest = scene.join("lobby", "three");
    let screen = TrackSpec { source: Source::ScreenShare, ..camera() };
    let (shared, _) = scene.publish(&guest, screen);
    assert_eq!(scene.on(&wall), both(&[second[0], shared]));
    scene.ask(&guest, Request::Leave);
    assert_eq!(scene.on(&wall).len(), 2);
    scene.request(&one.address, Ask::Close).unwrap();
    assert_eq!(scene.on(&wall), both(&second));
    // Each change is made before the next turn, and what comes finds its section free.
    let mut taken = 0i32;
    for (_, command) in scene.take_commands() {
        match command {
            Command::Subscribe(s) if s.session == wall.session => taken += 1,
            Command::Unsubscribe { session, .. } if session == wall.session => taken -= 1,
            _ => {}
        }
        assert!(taken <= 2, "more tracks than sections");
    }
}

#[test]
fn a_player_of_one_waits_for_it() {
    let mut scene = Scene::new();
    let wall = scene.player(Program { of: Some("two".into()), ..everything() });
    scene.publisher("one");
    assert_eq!(scene.on(&wall), []);
    let (two, tracks) = scene.publisher("two");
    assert_eq!(scene.on(&wall), both(&tracks));
    scene.request(&two.address, Ask::Close).unwrap();
    assert_eq!(scene.on(&wall), []);
    let (_, again) = scene.publisher("two");
    assert_eq!(scene.on(&wall), both(&again));
}

#[test]
fn sound_table() {
    for (sound, audio_sections, want) in [
        (Sound::Top, 3, 1),
        (Sound::All, 3, 2),
        (Sound::All, 1, 1),
        (Sound::None, 3, 0),
        (Sound::Top, 0, 0),
    ] {
        let mut scene = Scene::new();
        let (_, one) = scene.publisher("one");
        let (_, two) = scene.publisher("two");
        let wall = scene.player(Program { sound, audio_sections, ..everything() });
        let voices = [one[0], two[0]];
        let heard = scene.on(&wall).into_iter().filter(|track| voices.contains(track)).count();
        assert_eq!(heard, want, "{sound:?} {audio_sections}");
    }
}

#[test]
fn what_a_player_cannot_decode_or_may_not_have_is_not_sent() {
    let mut scene = Scene::new();
    let deaf = scene.player(Program { codecs: vec![Codec::H264], ..everything() });
    let (_, tracks) = scene.publisher("one");
    assert_eq!(scene.on(&deaf), []);
    let wall = scene.player(everything());
    let (session, track, reason) = (wall.session, tracks[1], "full".to_owned());
    scene.notice(Notice::SubscriptionRefused { session, track, reason });
    assert_eq!(scene.on(&wall), [tracks[0]], "not tried again");
    let (_, other) = scene.publisher("two");
    assert_eq!(scene.on(&wall), both(&[tracks[0], other[1]]));
    // A publisher that named its audience goes by the identity in the player's token.
    let guest = scene.join("lobby", "three");
    let screen = TrackSpec { source: Source::ScreenShare, ..camera() };
    let (shared, _) = scene.publish(&guest, screen);
    assert!(scene.on(&wall).contains(&shared));
    let rule = |identity: &str| member::AudienceRule {
        sid: String::new(),
        identity: identity.into(),
        tracks: None,
    };
    for (identity, has) in [("nobody", false), ("wall", true)] {
        let audience = member::Audience::Listed(vec![rule(identity)]);
        scene.ask(&guest, Request::Audience(audience));
        assert_eq!(scene.on(&wall).contains(&shared), has, "{identity}");
    }
}

#[test]
fn a_chosen_layer_holds_for_what_comes_next() {
    let mut scene = Scene::new();
    let rid = |rid: &str| Choice { layer: Some(LayerName::Rid(rid.into())), temporal_max: None };
    let wall = scene.player(Program { choice: rid("q"), ..everything() });
    let (one, tracks) = scene.publisher("one");
    let tuned = |scene: &mut Scene| -> Vec<Tune> {
        let commands = scene.take_commands().into_iter();
        let tunes = commands.filter_map(|(_, command)| match command {
            Command::Tune { session, tune, .. } if session == wall.session => Some(tune),
            _ => None,
        });
        tunes.collect()
    };
    assert_eq!(tuned(&mut scene)[0].layer_max, Layer(0));
    let choose = |scene: &mut Scene, choice| scene.request(&wall.address, Ask::Choose(choice));
    assert_eq!(choose(&mut scene, rid("h")), Ok(Reply::Done));
    assert_eq!(tuned(&mut scene)[0].layer_max, Layer(1));
    assert_eq!(choose(&mut scene, rid("zz")), Err(Denied::Layer));
    assert_eq!(tuned(&mut scene), []);
    let slow = Choice { layer: Some(LayerName::Rung(0)), temporal_max: Some(0) };
    assert_eq!(choose(&mut scene, slow), Ok(Reply::Done));
    let tune = tuned(&mut scene)[0];
    assert_eq!((tune.layer_max, tune.temporal_max), (Layer(0), 0));
    let viewing = scene.model.members[&wall.member].subscriptions[&tracks[1]].viewing.unwrap();
    assert_eq!(viewing.wish, Wish::Layer(0));
    // The next one is sent in the same way, until the player lets the server choose.
    scene.request(&one.address, Ask::Close).unwrap();
    scene.publisher("two");
    assert_eq!(tuned(&mut scene)[0], tune);
    assert_eq!(choose(&mut scene, Choice::default()), Ok(Reply::Done));
    assert_eq!(tuned(&mut scene)[0], Tune::default());
}

#[test]
fn listeners_hear_what_changes_and_nothing_else() {
    let mut scene = Scene::new();
    let wall = scene.player(everything());
    assert_eq!(
        scene.model.play_events(wall.member)[0],
        PlayEvent::Layers { line: 1, rungs: vec![] }
    );
    assert_eq!(scene.played, [], "a player that waits is not told so");
    let (one, _) = scene.publisher("one");
    let heard = std::mem::take(&mut scene.played);
    let rids = |events: &[(MemberId, PlayEvent)]| -> Vec<Vec<String>> {
        let layers = events.iter().filter_map(|(_, event)| match event {
            PlayEvent::Layers { rungs, .. } => Some(rungs.iter().map(|r| r.rid.clone()).collect()),
            _ => None,
        });
        layers.collect()
    };
    assert!(heard.contains(&(wall.member, PlayEvent::Active)));
    assert!(heard.contains(&(wall.member, PlayEvent::Viewers(1))));
    assert_eq!(rids(&heard), [["q", "h", "f"]]);
    assert_eq!(scene.model.play_events(wall.member)[0], PlayEvent::Active);
    scene.player(everything());
    scene.pass(Duration::from_secs(6));
    let more: Vec<_> = scene.played.iter().filter(|(of, _)| *of == wall.member).collect();
    assert_eq!(more, [&(wall.member, PlayEvent::Viewers(2))]);
    scene.request(&one.address, Ask::Close).unwrap();
    assert!(scene.played.contains(&(wall.member, PlayEvent::Inactive)));
}
