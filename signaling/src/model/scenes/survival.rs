//! WebSockets break, signaling dies, nodes die.

use super::*;
use antipode_base::command::CloseReason;
use antipode_base::limits::{NODE_GRACE, NODE_WAIT, RESUME_WINDOW};

const OTHER: NodeId = NodeId(2);
const MOMENT: Duration = Duration::from_millis(300);

/// What the successor of a killed signaling process starts from.
fn successor(scene: &Scene) -> Scene {
    let mut next = Scene::empty(Options::default());
    next.model = Model::new(Options::default(), StdRng::seed_from_u64(8));
    next.now = scene.now;
    next.clients = 1_000;
    next
}

fn memos(scene: &Scene) -> Vec<Memo> {
    scene.memos.values().cloned().collect()
}

#[test]
fn a_client_takes_up_its_member_within_the_window() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let (_, sid) = scene.publish(&alice, camera());
    scene.take_commands();
    scene.gone(&alice);
    scene.pass(RESUME_WINDOW - MOMENT);
    assert_eq!(scene.sees(&bob, "alice").unwrap().gone, None, "others notice nothing");
    let again = scene.resume(&alice);
    let told = scene.take_told(&again);
    assert!(matches!(told[0], ToClient::Resumed { node: NODE, .. }));
    let ToClient::Members(members) = &told[1] else { panic!("{told:?}") };
    assert_eq!(members.len(), 2);
    assert_eq!((members[0].sid.as_str(), members[0].tracks[0].sid.as_str()), (&*again.sid, &*sid));
    assert!(matches!(told[2], ToClient::Room(_)));
    assert!(matches!(told[3], ToClient::Token { .. }));
    assert_eq!(scene.take_commands(), [], "media never noticed");
    scene.pass(RESUME_WINDOW * 2);
    assert_eq!(scene.sees(&bob, "alice").unwrap().gone, None, "the old timer is void");
}

#[test]
fn one_who_does_not_come_back_is_gone() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    scene.gone(&alice);
    scene.take_commands();
    scene.pass(RESUME_WINDOW + MOMENT);
    assert_eq!(scene.sees(&bob, "alice").unwrap().gone, Some(Gone::Abandoned));
    let close = Command::CloseSession { session: alice.publish, reason: CloseReason::Abandoned };
    assert_eq!(scene.take_commands(), [(ShardId(0), close)]);
    let late = scene.resume(&alice);
    assert_eq!(scene.was_left(&late), Some((Gone::StateMismatch, Then::Rejoin)));
    assert_eq!(scene.hung_up.last(), Some(&late.client));
}

#[test]
fn a_sid_is_good_with_its_own_token_alone() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.gone(&alice);
    for (room, identity) in [("lobby", "mallory"), ("vault", "alice")] {
        let thief = Guest { room: room.into(), identity: identity.into(), ..alice.clone() };
        let thief = scene.resume(&thief);
        assert_eq!(scene.was_left(&thief), Some((Gone::StateMismatch, Then::Rejoin)));
    }
    let again = scene.resume(&alice);
    assert_eq!(scene.was_left(&again), None);
}

#[test]
fn a_half_open_websocket_gives_way() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let again = scene.resume(&alice);
    assert_eq!(scene.hung_up, [alice.client]);
    scene.gone(&alice);
    scene.pass(RESUME_WINDOW + MOMENT);
    assert_eq!(scene.was_left(&again), None);
    assert_eq!(scene.model.members.len(), 1);
}

#[test]
fn who_resumes_hears_of_those_who_left_meanwhile() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let carol = scene.join("lobby", "carol");
    scene.gone(&alice);
    scene.pass(MOMENT);
    scene.ask(&bob, Request::Leave);
    scene.ask(&carol, Request::Leave);
    scene.join("lobby", "carol");
    let again = scene.resume(&alice);
    assert_eq!(scene.sees(&again, "bob").unwrap().gone, Some(Gone::Left));
    assert_eq!(scene.sees(&again, "carol").unwrap().gone, None);
}

#[test]
fn the_successor_finds_every_member_and_its_tracks() {
    let mut scene = Scene::spread();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join_as(Join { wire: Wire::Two, ..join("lobby", "bob") });
    let (camera, camera_sid) = scene.publish(&alice, camera());
    let (_, mic_sid) = scene.publish(&alice, microphone());
    scene.ask(&bob, Request::Subscribe { tracks: vec![mic_sid.clone()], wanted: false });
    let before = scene.sees(&bob, "alice").unwrap();

    let mut next = successor(&scene);
    // Clients are faster than the node: they wait at the door.
    let alice_again = next.resume(&alice);
    assert_eq!((next.admitted.len(), next.refused.len()), (0, 0));
    next.node_up(NODE, &memos(&scene));
    assert_eq!(next.admitted, [alice_again.client]);
    let bob_again = next.resume(&bob);

    let seen = next.sees(&bob_again, "alice").unwrap();
    assert_eq!((seen.sid, seen.joined_ms), (before.sid, before.joined_ms));
    assert!(seen.version > before.version, "or clients would drop it as old");
    let sids: Vec<&str> = seen.tracks.iter().map(|track| track.sid.as_str()).collect();
    assert_eq!(sids, [camera_sid.as_str(), mic_sid.as_str()]);
    let commands = next.take_commands();
    assert!(commands.iter().any(|(shard, command)| {
        matches!(command, Command::Subscribe(subscribe)
            if *shard == ShardId(1) && subscribe.session == bob.subscribe
                && subscribe.track == camera && subscribe.home == ShardId(0))
    }));
    let subscribes = commands.iter().filter(|(_, c)| matches!(c, Command::Subscribe(_))).count();
    assert!(
        subscribes >= 1 && commands.iter().all(|(_, c)| !matches!(c, Command::CloseSession { .. }))
    );
    let publishes = commands.iter().filter(|(_, c)| matches!(c, Command::Publish { .. })).count();
    assert_eq!(publishes, 2, "said again, for what the shard may have told nobody");
    let id = next.model.members_by_sid[&bob.sid];
    let mic = next.model.tracks_by_sid[&mic_sid];
    assert!(!next.model.members[&id].subscriptions[&mic].active, "what bob did not want stays so");
    let restart = Command::RestartIce { session: bob.subscribe };
    assert!(commands.contains(&(ShardId(1), restart)), "its lost offers are replaced");

    next.pass(RESUME_WINDOW * 2);
    assert_eq!((next.was_left(&alice_again), next.was_left(&bob_again)), (None, None));
}

#[test]
fn members_whose_clients_died_with_signaling_are_removed() {
    let mut scene = Scene::new();
    scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let mut next = successor(&scene);
    next.node_up(NODE, &memos(&scene));
    let bob_again = next.resume(&bob);
    assert!(next.sees(&bob_again, "alice").is_some_and(|view| view.gone.is_none()));
    next.pass(RESUME_WINDOW + MOMENT);
    assert_eq!(next.sees(&bob_again, "alice").unwrap().gone, Some(Gone::Abandoned));
}

#[test]
fn a_memo_that_is_not_understood_ends_its_sessions() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let mut memos = memos(&scene);
    memos[0].bytes[0] ^= 0x80;
    let mut next = successor(&scene);
    next.node_up(NODE, &memos);
    let close = Command::CloseSession { session: alice.publish, reason: CloseReason::Replaced };
    assert_eq!(next.take_commands(), [(ShardId(0), close)]);
    let again = next.resume(&alice);
    assert_eq!(next.was_left(&again), Some((Gone::StateMismatch, Then::Rejoin)));
}

#[test]
fn the_client_knows_best_what_it_still_publishes() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (camera, camera_sid) = scene.publish(&alice, camera());
    let (_, mic_sid) = scene.publish(&alice, microphone());
    let sync = |published: &[&String]| Request::Sync {
        tracks: vec![],
        wanted: false,
        paused: vec![],
        published: published.iter().map(|sid| (*sid).clone()).collect(),
    };
    let mut next = successor(&scene);
    next.node_up(NODE, &memos(&scene));
    let again = next.resume(&alice);
    next.take_commands();
    next.ask(&again, sync(&[&mic_sid]));
    let unpublish = Command::Unpublish { session: alice.publish, track: camera };
    assert_eq!(next.take_commands(), [(ShardId(0), unpublish)]);
    next.live(&alice, camera, Kind::Video);
    assert_eq!(next.sees(&again, "alice").unwrap().tracks.len(), 1, "a late notice is void");
    next.ask(&again, sync(&[&mic_sid, &camera_sid]));
    assert_eq!(next.was_left(&again), Some((Gone::StateMismatch, Then::Rejoin)));
}

#[test]
fn a_notice_that_was_lost_with_signaling_is_asked_for_again() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    scene.ask(&alice, Request::Publish(camera()));
    let (track, sid) = scene.announced(&alice);
    let publish = scene.take_commands().pop().expect("the announcement");
    let before = memos(&scene);
    scene.live(&alice, track, Kind::Video);

    for client_knows in [true, false] {
        let mut next = successor(&scene);
        next.node_up(NODE, &before);
        assert!(next.take_commands().contains(&publish), "said again, word for word");
        let again = next.resume(&alice);
        let bob_again = next.resume(&bob);
        let published = if client_knows { vec![sid.clone()] } else { vec![] };
        let sync = Request::Sync { tracks: vec![], wanted: false, paused: vec![], published };
        // The shard's answer comes before or after the client's own view.
        if client_knows {
            next.ask(&again, sync);
            next.live(&alice, track, Kind::Video);
        } else {
            next.live(&alice, track, Kind::Video);
            next.ask(&again, sync);
        }
        assert_eq!(next.was_left(&again), None, "nobody has to come anew");
        assert_eq!(next.sees(&bob_again, "alice").unwrap().tracks[0].sid, sid);
        let commands = next.take_commands();
        let subscribed =
            |(_, c): &(ShardId, Command)| matches!(c, Command::Subscribe(s) if s.track == track);
        assert_eq!(commands.iter().filter(|c| subscribed(c)).count(), 1, "{commands:?}");
    }
}

#[test]
fn a_short_break_of_the_link_is_nobodys_business() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let (track, sid) = scene.publish(&alice, camera());
    scene.model.node_lost(NODE, scene.now);
    scene.pass(NODE_GRACE / 2);
    scene.take_commands();
    scene.ask(&alice, Request::Mute { track: sid, muted: true });
    let carol = scene.knock(join("lobby", "carol"));
    assert_eq!((scene.commands.len(), scene.admitted.contains(&carol.client)), (0, false));
    scene.node_up(NODE, &memos(&scene));
    assert!(scene.admitted.contains(&carol.client));
    let commands = scene.take_commands();
    let mute = Command::Mute { session: alice.publish, track, muted: true };
    assert!(commands.contains(&(ShardId(0), mute)), "what was asked meanwhile is done");
    scene.pass(NODE_GRACE * 3);
    assert_eq!((scene.was_left(&alice), scene.was_left(&bob)), (None, None));
}

#[test]
fn what_ended_on_one_side_meanwhile_ends_on_the_other() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let carol = scene.join("lobby", "carol");
    let held: Vec<Memo> = memos(&scene)
        .into_iter()
        .filter(|memo| memo.member != scene.model.members_by_sid[&bob.sid])
        .collect();
    scene.ask(&carol, Request::Leave);
    scene.model.node_lost(NODE, scene.now);
    scene.take_commands();
    scene.node_up(NODE, &held);
    assert_eq!(scene.was_left(&alice), None);
    assert_eq!(scene.was_left(&bob), Some((Gone::MediaFailed, Then::Rejoin)));
    let close = Command::CloseSession { session: carol.publish, reason: CloseReason::Abandoned };
    assert!(scene.take_commands().contains(&(ShardId(0), close)));
}

#[test]
fn a_dead_nodes_members_come_anew_when_the_next_one_is_there() {
    let mut scene = Scene::empty(Options { one_node: true, ..Options::default() });
    scene.node_up(NODE, &[]);
    let alice = scene.join("lobby", "alice");
    scene.join("lobby", "bob");
    scene.model.node_lost(NODE, scene.now);
    scene.pass(MOMENT);
    assert_eq!(scene.was_left(&alice), None, "within the grace");
    scene.node_up(OTHER, &[]);
    assert_eq!(scene.was_left(&alice), Some((Gone::NodeLost, Then::Rejoin)));
    assert!(scene.model.members.is_empty() && scene.model.rooms.is_empty());
    let again = scene.join("lobby", "alice");
    assert_ne!(again.sid, alice.sid);
}

#[test]
fn a_node_that_stays_away_is_dead_after_its_grace() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    scene.model.node_lost(NODE, scene.now);
    scene.pass(NODE_GRACE + MOMENT);
    assert_eq!(scene.was_left(&alice), Some((Gone::NodeLost, Then::Rejoin)));
    let waiting = scene.knock(join("lobby", "alice"));
    scene.pass(NODE_WAIT - MOMENT);
    assert_eq!(scene.refused, []);
    scene.pass(MOMENT * 2);
    assert_eq!(scene.refused, [(waiting.client, Refusal::NoNode)]);
    scene.node_up(OTHER, &[]);
    assert!(!scene.admitted.contains(&waiting.client), "it was sent away already");
}

#[test]
fn one_who_gives_up_waiting_is_not_let_in_later() {
    let mut scene = Scene::empty(Options::default());
    let alice = scene.knock(join("lobby", "alice"));
    scene.gone(&alice);
    scene.node_up(NODE, &[]);
    assert!(scene.admitted.is_empty() && scene.model.members.is_empty());
}

#[test]
fn a_connected_clients_token_never_runs_out() {
    let mut scene = Scene::new();
    let alice = scene.join_as(Join { token_until_s: 1_800_000_001, ..join("lobby", "alice") });
    scene.pass(Duration::from_secs(3_600));
    let tokens: Vec<u64> = scene
        .told(&alice)
        .into_iter()
        .filter_map(|message| match message {
            ToClient::Token { grant, .. } => Some(grant.expires_s),
            _ => None,
        })
        .collect();
    let mut valid_until = tokens[0];
    for next in &tokens[1..] {
        assert!(next - valid_until < 600, "a gap between {valid_until} and {next}");
        valid_until = *next;
    }
    assert!(valid_until > 1_800_003_600, "{tokens:?}");
}
