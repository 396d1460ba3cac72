//! When what may wait is taken in.

use std::time::{Duration, Instant};

use super::tests::{double, scene};
use super::{ShardThread, Taken};

#[test]
fn reports_wait_once_there_are_several() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    let report = |number| scene.peer.send(&[0x81, 201, 0, number]).unwrap();
    report(1);
    assert_eq!((shard.turn().taken.patient, shard.is_patience_over()), (1, true));
    report(2);
    report(3);
    assert_eq!((shard.turn().taken.patient, shard.is_patience_over()), (2, false));
    report(4);
    let turn = shard.turn();
    assert_eq!(turn.taken, Taken::default(), "it waits");
    let due = shard.wake_at(turn.now);
    assert!(due > turn.now && due <= turn.now + Duration::from_millis(100), "{:?}", due - turn.now);
    while Instant::now() < due {
        std::hint::spin_loop();
    }
    assert_eq!((shard.turn().taken.patient, shard.is_patience_over()), (1, true));
}

#[test]
fn reports_that_wait_are_taken_in_behind_media() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    let report = |number| scene.peer.send(&[0x81, 201, 0, number]).unwrap();
    let media_goes_first = (0..50).any(|_| {
        report(1);
        report(2);
        while shard.turn().taken.patient < 2 {}
        let is_due = |shard: &ShardThread<_>| {
            shard.patience.as_ref().is_some_and(|patience| patience.is_due(false, Instant::now()))
        };
        while !is_due(&shard) {
            std::hint::spin_loop();
        }
        report(3);
        scene.peer.send(&[0x80, 96, 0, 1]).unwrap();
        let turn = shard.turn();
        assert_eq!(turn.taken.pictures, 1);
        // On a busy host it may have waited too long already.
        turn.taken.patient == 0 && {
            assert!(shard.wake_at(turn.now) <= turn.now, "they go at once");
            shard.turn().taken.patient == 1
        }
    });
    assert!(media_goes_first);
}
