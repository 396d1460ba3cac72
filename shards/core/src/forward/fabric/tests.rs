//! Fan-out where something is in the way.

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

/// Who got which track, in order.
#[derive(Default)]
struct Order(Vec<(usize, TrackId)>);

impl Sink for Order {
    fn to_session(
        &mut self,
        session: usize,
        _: usize,
        _: Rewrite,
        packet: &Packet,
        _: u8,
    ) -> Result<(), DropReason> {
        self.0.push((session, packet.track));
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
        assert!(fabric.take_in(Packet { track, ..packet(ext_seq, 0) }, |_, _| {}));
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
    let viewer = |session| [(session, camera), (session, camera)];
    let want =
        [vec![(1, microphone), (2, microphone)], viewer(1).into(), viewer(2).into()].concat();
    assert_eq!(order.0, want);
    assert!(!fabric.take_in(Packet { track: gone, ..packet(2, 0) }, |_, _| {}));
}
