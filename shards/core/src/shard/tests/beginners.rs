//! Viewers that begin at the same time, as a room does whose host arrives last.

use super::*;

const VIEWERS: usize = 5;
const PICTURES: usize = 10;

#[test]
fn who_begins_waits_until_the_one_before_has_what_it_gets() {
    let mut scene = Scene::new();
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    scene.pass(Duration::from_millis(500));
    let viewers = 1..=VIEWERS;
    for n in viewers.clone() {
        scene.open(n);
        scene.subscribe(n, 1, Kind::Video);
        scene.offer(n, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    }
    let mid = scene.mid(0);
    for seq in 1..=PICTURES {
        scene.send(0, mid, seq as u64, if seq == 1 { KEY } else { DELTA });
    }
    assert!(viewers.clone().all(|n| scene.clients[n].packets.is_empty()), "they do not know of it");
    scene.outbox_max = 0;
    scene.pass(Duration::from_millis(100));
    for n in viewers {
        assert_eq!(scene.clients[n].packets.len(), PICTURES);
    }
    // Beside the pictures of one, a report or a request.
    let sealed = PICTURES..PICTURES + VIEWERS;
    assert!(sealed.contains(&scene.outbox_max), "{} at once", scene.outbox_max);
}
