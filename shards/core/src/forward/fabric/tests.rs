//! Fan-out where something is in the way.

use std::time::Duration;

use super::*;
use antipode_base::ids::RoomId;
use antipode_base::media::Kind;

use crate::forward::Origin;
use crate::forward::Rewriter;
use crate::forward::testing::{self, packet};
use antipode_base::command::Tune;

/// Takes so many packets.
struct Narrow(usize);

impl Sink for Narrow {
    fn to_session(
        &mut self,
        _: usize,
        _: usize,
        _: Rewrite,
        _: &Packet,
        _: u8,
    ) -> Result<(), DropReason> {
        self.0 = self.0.checked_sub(1).ok_or(DropReason::PacerFull)?;
        Ok(())
    }
}

#[test]
fn a_viewer_without_room_goes_on_with_a_keyframe() {
    let (mut fabric, mut drops) = (Fabric::default(), Drops::default());
    let make = || Track::new(Kind::Video, Origin::Session(0), RoomId(1));
    let track = fabric.get_or_make(TrackId(1), make);
    let mut viewer = Subscription::new(1, 0, Tune::default(), Rewriter::new(0));
    viewer.ready = true;
    track.add_viewer(viewer);
    let mut forward = |ext_seq: u64, keyframe, sink: &mut Narrow| {
        let packet = Packet { keyframe, ..packet(ext_seq, ext_seq as u32 * 3_000) };
        let fanned = testing::forward(&mut fabric, &packet, &mut drops, sink).unwrap();
        (fanned.sent, fanned.need.iter().count())
    };
    let mut narrow = Narrow(2);
    let wide = &mut Narrow(9);
    assert_eq!(forward(1, true, &mut narrow), (1, 0));
    assert_eq!(forward(2, false, &mut narrow), (1, 0));
    assert_eq!(forward(3, false, &mut narrow), (0, 0), "no room");
    assert_eq!(forward(4, false, wide), (0, 1), "asks for a keyframe");
    assert_eq!(forward(5, true, wide), (1, 0));
    assert_eq!(forward(6, false, wide), (1, 0));
    assert_eq!(drops.get(DropReason::PacerFull), 1);
    assert_eq!(drops.get(DropReason::AwaitingKeyframe), 1);
}

/// Who got which packet of which track, in order.
#[derive(Default)]
struct Order(Vec<(usize, TrackId, u64)>);

impl Sink for Order {
    fn to_session(
        &mut self,
        session: usize,
        _: usize,
        _: Rewrite,
        packet: &Packet,
        _: u8,
    ) -> Result<(), DropReason> {
        self.0.push((session, packet.track, packet.ext_seq));
        Ok(())
    }
}

#[test]
fn each_viewer_gets_all_at_once_and_sound_goes_first() {
    let (mut fabric, mut drops) = (Fabric::default(), Drops::default());
    let [camera, microphone, gone] = [1, 2, 3].map(TrackId);
    for (id, kind) in [(camera, Kind::Video), (microphone, Kind::Audio), (gone, Kind::Video)] {
        let track = fabric.get_or_make(id, || Track::new(kind, Origin::Session(0), RoomId(1)));
        for session in [1, 2] {
            let mut viewer = Subscription::new(session, 0, Tune::default(), Rewriter::new(0));
            viewer.ready = true;
            track.add_viewer(viewer);
        }
    }
    for (ext_seq, track) in [(1, gone), (1, camera), (2, camera), (1, microphone)] {
        assert!(fabric.take_in(Packet { track, marker: true, ..packet(ext_seq, 0) }, |_, _| {}));
    }
    fabric.remove(gone);
    let mut order = Order::default();
    let mut done = Vec::new();
    while let Some(step) = fabric.fan_out(&mut drops, &mut order) {
        if let Step::Done(track, fanned) = step {
            done.push((track, fanned.sent));
        }
    }
    assert_eq!(done, [(microphone, 2), (camera, 4)]);
    let heard = |session| (session, microphone, 1);
    let seen = |session| [1, 2].map(|ext_seq| (session, camera, ext_seq)).to_vec();
    assert_eq!(order.0, [vec![heard(1), heard(2)], seen(1), seen(2)].concat());
    assert!(!fabric.take_in(Packet { track: gone, ..packet(2, 0) }, |_, _| {}));
}

/// A camera and a microphone with so many viewers, numbered from 1.
fn stage(viewers: usize) -> (Fabric, [TrackId; 2]) {
    let mut fabric = Fabric::default();
    let tracks = [TrackId(1), TrackId(2)];
    for (id, kind) in tracks.into_iter().zip([Kind::Video, Kind::Audio]) {
        let track = fabric.get_or_make(id, || Track::new(kind, Origin::Session(0), RoomId(1)));
        (1..=viewers).for_each(|session| assert!(track.add_viewer(viewer(session))));
    }
    (fabric, tracks)
}

fn viewer(session: usize) -> Subscription {
    let mut viewer = Subscription::new(session, 0, Tune::default(), Rewriter::new(0));
    viewer.ready = true;
    viewer
}

#[test]
fn sound_that_comes_in_the_midst_of_pictures_goes_first() {
    let (mut fabric, [camera, microphone]) = stage(3);
    let (mut drops, mut order) = (Drops::default(), Order::default());
    let come = |fabric: &mut Fabric, track, ext_seq| {
        assert!(fabric.take_in(Packet { track, marker: true, ..packet(ext_seq, 0) }, |_, _| {}));
    };
    come(&mut fabric, camera, 1);
    assert_eq!(fabric.fan_out(&mut drops, &mut order), Some(Step::Served));
    assert!(!fabric.has_sound());
    come(&mut fabric, microphone, 1);
    come(&mut fabric, camera, 2);
    assert!(fabric.has_sound());
    while fabric.fan_out(&mut drops, &mut order).is_some() {}
    assert!(!fabric.has_sound());
    let all = |track, ext_seq| [1, 2, 3].map(|session| (session, track, ext_seq)).to_vec();
    let first = all(camera, 1);
    let want = [&first[..1], &all(microphone, 1), &first[1..], &all(camera, 2)].concat();
    assert_eq!(order.0, want);
}

/// Packets come, parts of pictures among them, and viewers come and go at any step: each gets, once and in
/// order, all that came while it was there.
#[test]
fn whatever_happens_in_the_midst_nobody_misses_anything_or_gets_it_twice() {
    for seed in 0..300_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % limit
        };
        let (mut fabric, tracks) = stage(6);
        let (mut drops, mut order) = (Drops::default(), Order::default());
        // By viewer: the first packet of each track that it is certain to get, and whether it is still there.
        let mut viewers: Vec<(usize, [u64; 2], bool)> =
            (1..=6).map(|it| (it, [1, 1], true)).collect();
        let mut came = [0, 0];
        for _ in 0..200 {
            match below(6) {
                which @ (0 | 1) => {
                    let which = which as usize;
                    came[which] += 1;
                    let (track, marker) = (tracks[which], below(3) == 0);
                    let it = Packet { track, marker, ..packet(came[which], 0) };
                    assert!(fabric.take_in(it, |_, _| {}));
                }
                2 if below(4) == 0 => {
                    let at = below(viewers.len() as u64) as usize;
                    let (session, _, present) = &mut viewers[at];
                    for track in tracks.iter().filter(|_| *present) {
                        assert!(fabric.remove_viewer(*track, *session).is_some());
                    }
                    *present = false;
                }
                3 if below(4) == 0 => {
                    let session = viewers.len() + 1;
                    for track in tracks {
                        let track = fabric.get_mut(track).expect("it is here");
                        assert!(track.add_viewer(viewer(session)));
                    }
                    viewers.push((session, came.map(|last| last + 1), true));
                }
                4 if below(8) == 0 => drop(fabric.release(None)),
                _ => drop(fabric.fan_out(&mut drops, &mut order)),
            }
        }
        while fabric.release(None) || fabric.fan_out(&mut drops, &mut order).is_some() {}
        for (session, from, present) in viewers {
            for (index, track) in tracks.into_iter().enumerate() {
                let of = order.0.iter().filter(|(who, what, _)| (*who, *what) == (session, track));
                let got: Vec<u64> = of.map(|(_, _, ext_seq)| *ext_seq).collect();
                let start = got.first().copied().unwrap_or(from[index]);
                let in_order: Vec<u64> = (start..start + got.len() as u64).collect();
                assert_eq!(got, in_order, "{seed}: {session} of {track:?}");
                let last = got.last().copied().unwrap_or(start - 1);
                assert!(start <= from[index], "{seed}: {session} of {track:?} from {from:?}");
                assert!(!present || last == came[index], "{seed}: {session} of {track:?}");
            }
        }
    }
}

#[test]
fn a_picture_waits_for_its_rest() {
    let (mut fabric, [camera, microphone]) = stage(2);
    let start = Instant::now();
    let at = |micros| start + Duration::from_micros(micros);
    let come = |fabric: &mut Fabric, track, micros, marker| {
        let it = Packet { track, marker, arrival: at(micros), ..packet(micros, 0) };
        assert!(fabric.take_in(it, |_, _| {}));
    };
    // So many packets leave: of two viewers each.
    let leave = |fabric: &mut Fabric| {
        let mut order = Order::default();
        while fabric.fan_out(&mut Drops::default(), &mut order).is_some() {}
        order.0.len() / 2
    };
    come(&mut fabric, camera, 1, false);
    come(&mut fabric, microphone, 1, false);
    assert_eq!(leave(&mut fabric), 1, "sound waits for nothing");
    come(&mut fabric, camera, 100, true);
    assert_eq!((leave(&mut fabric), fabric.release_at()), (2, None), "its last packet came");

    come(&mut fabric, camera, 200, false);
    come(&mut fabric, camera, 400, false);
    assert_eq!((fabric.waits_since(), fabric.release_at()), (Some(at(200)), Some(at(450))));
    assert!(!fabric.release(Some(at(449))));
    assert_eq!(leave(&mut fabric), 0);
    assert!(fabric.release(Some(at(450))));
    assert_eq!((leave(&mut fabric), fabric.release_at()), (2, None), "it has waited long enough");

    (501..=532).for_each(|micros| come(&mut fabric, camera, micros, false));
    assert_eq!((leave(&mut fabric), fabric.release_at()), (32, None), "that is a train of its own");

    // One that spreads them, until two come together again.
    for (micros, parts) in [(700, 1), (710, 1), (961, 0)] {
        come(&mut fabric, camera, micros, false);
        assert_eq!(fabric.release_at().iter().count(), parts, "{micros}");
    }
    assert_eq!(leave(&mut fabric), 3);
    for (micros, leaving) in [(1_400, 1), (1_410, 0)] {
        come(&mut fabric, camera, micros, false);
        assert_eq!(leave(&mut fabric), leaving, "{micros}");
    }
    fabric.release(None);
    assert_eq!(leave(&mut fabric), 1);

    come(&mut fabric, camera, 1_420, false);
    fabric.remove(camera);
    fabric.release(None);
    assert_eq!((leave(&mut fabric), fabric.release_at()), (0, None));
}

#[test]
fn what_comes_in_the_midst_of_a_picture_may_be_a_part_of_the_next() {
    let (mut fabric, [camera, _]) = stage(2);
    let (mut drops, mut order) = (Drops::default(), Order::default());
    let come = |fabric: &mut Fabric, ext_seq, marker| {
        let it = Packet { track: camera, marker, ..packet(ext_seq, 0) };
        assert!(fabric.take_in(it, |_, _| {}));
    };
    come(&mut fabric, 1, true);
    assert_eq!(fabric.fan_out(&mut drops, &mut order), Some(Step::Served));
    come(&mut fabric, 2, false);
    while fabric.fan_out(&mut drops, &mut order).is_some() {}
    assert_eq!((order.0.len(), fabric.release_at().is_some()), (2, true));
    come(&mut fabric, 3, true);
    while fabric.fan_out(&mut drops, &mut order).is_some() {}
    let seen = |session| [2, 3].map(|ext_seq| (session, camera, ext_seq)).to_vec();
    assert_eq!(order.0[2..], [seen(1), seen(2)].concat());
}
