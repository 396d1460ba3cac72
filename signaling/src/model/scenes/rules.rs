//! Who may do what, and what happens to those who may not, or who break.

use super::*;
use antipode_base::limits::{ATTRIBUTES_MAX, MEMO_MAX, METADATA_MAX, NAME_MAX};
use antipode_base::limits::{SUBSCRIPTIONS_PER_SESSION_MAX, TRACKS_PER_SESSION_MAX};
use antipode_base::notice::EndReason;

use super::super::member::{Audience, AudienceRule, Subscription};
use super::super::message::{Outcome, Simulate};
use super::super::track::{Viewing, Wish};

fn outcomes(scene: &mut Scene, guest: &Guest) -> Vec<Outcome> {
    let told = scene.take_told(guest).into_iter();
    told.filter_map(|message| match message {
        ToClient::Response { outcome, .. } => Some(outcome),
        _ => None,
    })
    .collect()
}

fn subscribes(scene: &mut Scene) -> usize {
    scene.take_commands().iter().filter(|(_, c)| matches!(c, Command::Subscribe(_))).count()
}

#[test]
fn what_the_token_does_not_grant_is_refused() {
    let mut scene = Scene::new();
    let mut listener = join("lobby", "listener");
    listener.permissions.publish = false;
    let listener = scene.join_as(listener);
    scene.ask(&listener, Request::Publish(microphone()));
    assert_eq!(outcomes(&mut scene, &listener), [Outcome::NotAllowed]);

    let mut speaker = join("lobby", "speaker");
    speaker.permissions.subscribe = false;
    speaker.permissions.sources = vec![Source::Microphone];
    let speaker = scene.join_as(speaker);
    scene.ask(&speaker, Request::Publish(camera()));
    assert_eq!(outcomes(&mut scene, &speaker), [Outcome::NotAllowed]);
    scene.publish(&speaker, microphone());

    let alice = scene.join("lobby", "alice");
    scene.take_commands();
    scene.publish(&alice, microphone());
    assert_eq!(subscribes(&mut scene), 1, "the listener alone receives");
}

#[test]
fn one_client_id_is_one_track_and_the_rest_goes_on() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.publish(&alice, camera());
    scene.ask(&alice, Request::Publish(camera()));
    scene.ask(&alice, Request::Publish(TrackSpec { client_id: String::new(), ..camera() }));
    let name = "n".repeat(NAME_MAX + 1);
    scene.ask(&alice, Request::Publish(TrackSpec { name, ..microphone() }));
    assert_eq!(outcomes(&mut scene, &alice), [Outcome::Invalid; 3]);
    for number in 1..=TRACKS_PER_SESSION_MAX {
        let client_id = format!("more {number}");
        scene.ask(&alice, Request::Publish(TrackSpec { client_id, ..microphone() }));
    }
    assert_eq!(outcomes(&mut scene, &alice), [Outcome::LimitExceeded]);
}

#[test]
fn a_track_that_a_shard_refuses_is_taken_down_and_the_rest_goes_on() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.ask(&alice, Request::Publish(camera()));
    let (track, sid) = scene.announced(&alice);
    let reason = "no usable codec".to_owned();
    scene.notice(Notice::TrackRefused { session: alice.publish, track, reason });
    assert!(scene.told(&alice).contains(&ToClient::Unpublished { track: sid }));
    assert_eq!(outcomes(&mut scene, &alice), [Outcome::Unsupported]);
    scene.publish(&alice, microphone());
    assert_eq!(scene.was_left(&alice), None);
}

#[test]
fn rooms_with_the_same_names_never_touch() {
    let mut scene = Scene::new();
    let red = scene.join("red", "alice");
    let blue = scene.join("blue", "alice");
    assert_eq!(scene.hung_up, [], "the same identity in another room is another member");
    let (_, red_sid) = scene.publish(&red, camera());
    scene.publish(&blue, camera());
    assert_eq!(subscribes(&mut scene), 0);
    scene.ask(&blue, Request::Subscribe { tracks: vec![red_sid.clone()], wanted: true });
    assert_eq!(subscribes(&mut scene), 0);
    let failed = ToClient::SubscriptionFailed { track: red_sid, unsupported: false };
    assert!(scene.told(&blue).contains(&failed));
}

#[test]
fn the_same_identity_anew_replaces_the_old_one() {
    let mut scene = Scene::new();
    let bob = scene.join("lobby", "bob");
    let first = scene.join("lobby", "alice");
    let second = scene.join("lobby", "alice");
    assert_eq!(scene.was_left(&first), Some((Gone::Replaced, Then::Stop)));
    assert_eq!(scene.hung_up, [first.client]);
    assert_ne!(first.sid, second.sid);
    // Its WebSocket's end comes later and means nothing any more.
    scene.gone(&first);
    let last = scene.told(&bob).into_iter().rev().find_map(|message| match message {
        ToClient::Members(members) => Some(members[0].clone()),
        _ => None,
    });
    assert_eq!(last.map(|view| (view.sid, view.gone)), Some((second.sid, None)));
}

#[test]
fn a_publisher_chooses_its_audience() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let carol = scene.join("lobby", "carol");
    let (track, sid) = scene.publish(&alice, camera());
    scene.take_commands();
    let rule = AudienceRule { sid: String::new(), identity: "bob".into(), tracks: None };
    scene.ask(&alice, Request::Audience(Audience::Listed(vec![rule])));
    let unsubscribe = Command::Unsubscribe { session: carol.subscribe, track };
    assert_eq!(scene.take_commands(), [(ShardId(0), unsubscribe)]);
    let denied =
        ToClient::Permission { publisher: alice.sid.clone(), track: sid.clone(), allowed: false };
    assert!(scene.told(&carol).contains(&denied));
    scene.ask(&carol, Request::Subscribe { tracks: vec![sid], wanted: true });
    assert_eq!(subscribes(&mut scene), 0, "asking does not help");
    assert!(!scene.told(&bob).contains(&denied));
    scene.ask(&alice, Request::Audience(Audience::All));
    assert_eq!(subscribes(&mut scene), 1);
}

#[test]
fn one_may_describe_oneself_when_the_token_says_so() {
    let profile = |attributes: &[(&str, &str)], metadata: &str| Request::Profile {
        request_id: 3,
        name: "New".into(),
        metadata: metadata.into(),
        attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    };
    let mut scene = Scene::new();
    let bob = scene.join("lobby", "bob");
    let mut alice = join("lobby", "alice");
    alice.permissions.update_own = true;
    let alice = scene.join_as(alice);
    scene.ask(&bob, profile(&[], ""));
    assert_eq!(outcomes(&mut scene, &bob), [Outcome::NotAllowed]);
    scene.ask(&alice, profile(&[("mood", "good"), ("antipode.shard", "9")], "m"));
    let seen = scene.sees(&bob, "alice").unwrap().who;
    assert_eq!((seen.name.as_str(), seen.metadata.as_str()), ("New", "m"));
    assert_eq!(seen.attributes["mood"], "good");
    assert_eq!(seen.attributes["antipode.shard"], "0", "ours, whatever the client says");
    scene.ask(&alice, profile(&[("mood", "")], ""));
    let seen = scene.sees(&bob, "alice").unwrap().who;
    assert!(!seen.attributes.contains_key("mood") && seen.metadata == "m");
    scene.ask(&alice, profile(&[], &"x".repeat(METADATA_MAX + 1)));
    assert_eq!(outcomes(&mut scene, &alice).last(), Some(&Outcome::LimitExceeded));
}

#[test]
fn the_hidden_are_not_seen() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let mut ghost = join("lobby", "ghost");
    ghost.permissions.hidden = true;
    let ghost = scene.join_as(ghost);
    scene.publish(&ghost, camera());
    let bob = scene.join("lobby", "bob");
    assert_eq!(scene.sees(&alice, "ghost"), None);
    assert_eq!(scene.sees(&bob, "ghost"), None);
    assert!(scene.sees(&ghost, "alice").is_some());
    scene.ask(&ghost, Request::Leave);
    assert_eq!(scene.sees(&alice, "ghost"), None);
}

#[test]
fn each_end_of_a_session_has_its_consequence() {
    for (reason, want) in [
        (EndReason::Closed, None),
        (EndReason::Refused, Some((Gone::JoinFailed, Then::Stop))),
        (EndReason::WrongFingerprint, Some((Gone::JoinFailed, Then::Stop))),
        (EndReason::PeerMisbehaved, Some((Gone::JoinFailed, Then::Stop))),
        (EndReason::TimedOut, Some((Gone::MediaFailed, Then::Rejoin))),
        (EndReason::Fault, Some((Gone::MediaFailed, Then::Rejoin))),
        (EndReason::ShardRestarted, Some((Gone::MediaFailed, Then::Rejoin))),
        (EndReason::PeerClosed, Some((Gone::MediaFailed, Then::Rejoin))),
    ] {
        let mut scene = Scene::new();
        let alice = scene.join("lobby", "alice");
        let bob = scene.join("lobby", "bob");
        scene.notice(Notice::SessionEnded { session: alice.publish, reason });
        scene.pass(Duration::from_secs(2));
        assert_eq!(scene.was_left(&alice), want, "{reason:?}");
        assert_eq!(scene.was_left(&bob), None, "{reason:?} of another");
    }
}

#[test]
fn one_who_closes_its_connection_before_it_says_goodbye_just_leaves() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let reason = EndReason::PeerClosed;
    scene.notice(Notice::SessionEnded { session: alice.publish, reason });
    scene.pass(Duration::from_millis(100));
    scene.ask(&alice, Request::Leave);
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.was_left(&alice), None);
}

#[test]
fn a_first_offer_that_fails_ends_it_and_a_later_one_starts_anew() {
    for (connected, want) in
        [(false, (Gone::JoinFailed, Then::Stop)), (true, (Gone::MediaFailed, Then::Rejoin))]
    {
        let mut scene = Scene::new();
        let alice = scene.join("lobby", "alice");
        let session = alice.publish;
        if connected {
            scene.notice(Notice::Connected { session });
        }
        scene.notice(Notice::NegotiationFailed { session, id: 1, reason: "bad".into() });
        assert_eq!(scene.was_left(&alice), Some(want));
    }
}

#[test]
fn a_shard_speaks_of_its_own_members_alone() {
    let mut scene = Scene::spread();
    let alice = scene.join("lobby", "alice");
    let (track, _) = scene.publish(&alice, camera());
    scene.take_told(&alice);
    let ended = Notice::TrackEnded { session: alice.publish, track };
    scene.model.notice(NODE, ShardId(1), ended.clone(), scene.now);
    scene.model.notice(NodeId(9), ShardId(0), ended, scene.now);
    scene.settle();
    assert_eq!(scene.take_told(&alice), []);
}

#[test]
fn faults_on_order_are_for_development_alone() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.ask(&alice, Request::Simulate(Simulate::Leave));
    assert_eq!(scene.was_left(&alice), None);

    let mut scene = Scene::empty(Options { simulate: true, ..Options::default() });
    scene.node_up(NODE, &[]);
    let alice = scene.join("lobby", "alice");
    scene.ask(&alice, Request::Simulate(Simulate::Resume));
    assert_eq!(scene.was_left(&alice), Some((Gone::StateMismatch, Then::Resume)));
    let again = scene.resume(&alice);
    assert!(matches!(scene.told(&again)[0], ToClient::Resumed { .. }));
    scene.ask(&again, Request::Simulate(Simulate::FullReconnect));
    assert_eq!(scene.was_left(&again), Some((Gone::StateMismatch, Then::Rejoin)));
}

#[test]
fn the_fullest_member_fits_its_memo() {
    let mut scene = Scene::new();
    let mut full = join(&"r".repeat(NAME_MAX), &"i".repeat(NAME_MAX));
    full.who.name = "n".repeat(NAME_MAX);
    full.who.metadata = "m".repeat(METADATA_MAX);
    let (key, value) = ("k".repeat(NAME_MAX), "v".repeat(ATTRIBUTES_MAX - NAME_MAX));
    full.who.attributes.insert(key, value);
    let guest = scene.join_as(full);
    for number in 0..TRACKS_PER_SESSION_MAX {
        let client_id = format!("{number:0>width$}", width = NAME_MAX);
        let name = "t".repeat(NAME_MAX);
        let spec = TrackSpec { client_id, stream: name.clone(), name, ..camera() };
        scene.ask(&guest, Request::Publish(spec));
    }
    let id = scene.model.members_by_sid[&guest.sid];
    let member = scene.model.members.get_mut(&id).unwrap();
    let viewing = Some(Viewing { wish: Wish::Size(1, 1), ..Viewing::default() });
    for number in 0..SUBSCRIPTIONS_PER_SESSION_MAX {
        let subscription =
            Subscription { wanted: Some(true), active: false, viewing, starved: false };
        member.subscriptions.insert(TrackId(number as u64), subscription);
    }
    let room = &scene.model.rooms[&member.room].record;
    let memo = crate::memo::write(member, room);
    assert!(memo.bytes.len() <= MEMO_MAX);
    let read = crate::memo::read(&memo).unwrap();
    assert_eq!(read.member.who.metadata.len(), METADATA_MAX, "nothing had to be left out");
    assert_eq!(read.member.subscriptions.len(), SUBSCRIPTIONS_PER_SESSION_MAX);
}
