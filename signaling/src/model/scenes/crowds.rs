//! Large rooms: what many members cost one another.

use antipode_base::limits::{NEWS_INTERVAL_MAX, NEWS_ROOM_MIN, QUALITY_INTERVAL};
use antipode_base::notice::Quality;

use super::*;

/// A room with so many members.
fn crowd(scene: &mut Scene, count: usize) -> Vec<Guest> {
    (0..count).map(|number| scene.join("hall", &format!("viewer-{number}"))).collect()
}

/// Messages about members, and the members in them.
fn news(told: Vec<ToClient>) -> (usize, Vec<MemberView>) {
    let of = |message| match message {
        ToClient::Members(views) => Some(views),
        _ => None,
    };
    let bundles: Vec<_> = told.into_iter().filter_map(of).collect();
    (bundles.len(), bundles.iter().flat_map(|views| views.iter().cloned()).collect())
}

#[test]
fn a_small_room_learns_of_each_at_once() {
    let mut scene = Scene::new();
    let first = scene.join("hall", "first");
    scene.take_told(&first);
    crowd(&mut scene, NEWS_ROOM_MIN - 2);
    assert_eq!(news(scene.take_told(&first)).0, NEWS_ROOM_MIN - 2);
}

#[test]
fn a_large_room_learns_of_viewers_in_bundles() {
    let mut scene = Scene::new();
    let first = scene.join("hall", "first");
    crowd(&mut scene, NEWS_ROOM_MIN);
    scene.pass(NEWS_INTERVAL_MAX);
    scene.take_told(&first);

    let mut late = crowd(&mut scene, 100);
    let (at_once, _) = news(scene.take_told(&first));
    assert!(at_once <= 1, "{at_once} messages at once");
    scene.gone(&late.pop().expect("a hundred"));
    scene.pass(NEWS_INTERVAL_MAX);
    let (bundles, views) = news(scene.take_told(&first));
    assert!(bundles <= 2, "{bundles} bundles");
    let present = |view: &&MemberView| view.gone.is_none();
    let told: std::collections::BTreeSet<_> =
        views.iter().filter(present).map(|view| view.sid.clone()).collect();
    assert!(told.len() >= 99, "all of them are told of: {}", told.len());
    scene.pass(NEWS_INTERVAL_MAX * 2);
    assert_eq!(news(scene.take_told(&first)).0, 0, "each once");
}

#[test]
fn who_publishes_is_seen_at_once() {
    let mut scene = Scene::new();
    let first = scene.join("hall", "first");
    let others = crowd(&mut scene, NEWS_ROOM_MIN * 2);
    scene.take_told(&first);
    let speaker = others.last().expect("many");
    scene.publish(speaker, camera());
    let (_, views) = news(scene.take_told(&first));
    let seen = views.iter().rfind(|view| view.sid == speaker.sid).expect("it is told of");
    assert_eq!(seen.tracks.len(), 1);
    // What waited is older, and is not told any more.
    scene.pass(NEWS_INTERVAL_MAX);
    let (_, views) = news(scene.take_told(&first));
    assert!(views.iter().all(|view| view.sid != speaker.sid));
    scene.ask(speaker, Request::Leave);
    let (_, views) = news(scene.take_told(&first));
    assert!(views.iter().any(|view| view.sid == speaker.sid && view.gone.is_some()));
}

#[test]
fn how_well_a_viewer_hears_is_its_own_concern() {
    let mut scene = Scene::new();
    let guests = crowd(&mut scene, NEWS_ROOM_MIN);
    scene.publish(&guests[0], camera());
    for guest in &guests {
        scene.notice(Notice::Connected { session: guest.subscribe });
        let session = guest.subscribe;
        let quality = Quality { session, loss_in: 0.0, loss_out: 0.0, rtt_ms: 1.0 };
        scene.notice(Notice::Quality(quality));
        scene.take_told(guest);
    }
    let grades = |told: Vec<ToClient>| -> Vec<String> {
        let of = |message| match message {
            ToClient::Quality(grades) => grades.iter().map(|(sid, _)| sid.clone()).collect(),
            _ => Vec::new(),
        };
        let mut told: Vec<String> = told.into_iter().flat_map(of).collect();
        told.sort();
        told
    };
    let own = |guest: &Guest| {
        let mut both = vec![guests[0].sid.clone(), guest.sid.clone()];
        both.sort();
        both
    };
    scene.pass(QUALITY_INTERVAL);
    for guest in &guests[1..] {
        assert_eq!(grades(scene.take_told(guest)), own(guest));
    }
    // And told when it changes, as is how well the others hear who publishes.
    let session = guests[2].subscribe;
    let worse = Quality { session, loss_in: 0.0, loss_out: 0.2, rtt_ms: 1.0 };
    scene.notice(Notice::Quality(worse));
    scene.pass(QUALITY_INTERVAL);
    assert_eq!(grades(scene.take_told(&guests[1])), [""; 0]);
    assert_eq!(grades(scene.take_told(&guests[2])), [guests[2].sid.clone()]);
}

/// What a client makes of all that it was told of an identity: whether it is there.
fn present(told: Vec<ToClient>, identity: &str) -> Option<bool> {
    let (_, views) = news(told);
    views.iter().rfind(|view| view.who.identity == identity).map(|view| view.gone.is_none())
}

#[test]
fn who_leaves_and_comes_back_at_once_is_there() {
    // Ids are drawn at random: their order must not decide.
    for back in 0..20 {
        let mut scene = Scene::new();
        let first = scene.join("hall", "first");
        crowd(&mut scene, NEWS_ROOM_MIN * 2);
        scene.pass(NEWS_INTERVAL_MAX);
        scene.join("hall", "somebody");
        scene.take_told(&first);
        // Its first self is told to go when it comes again.
        let identity = format!("viewer-{back}");
        let again = scene.join("hall", &identity);
        if back % 2 == 1 {
            scene.publish(&again, camera());
            assert_eq!(present(scene.told(&first), &identity), Some(true), "{identity} publishes");
        }
        scene.pass(NEWS_INTERVAL_MAX);
        assert_eq!(present(scene.take_told(&first), &identity), Some(true), "{identity}");
    }
}
