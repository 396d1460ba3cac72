//! What a viewer gets when its link does not carry everything.

use antipode_base::ids::TrackId;
use antipode_tests::path::{Faults, Micros};
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

/// A 720p camera as browsers send it.
const CAMERA: [u32; 3] = [120, 350, 800];

/// A wait for a frame that a browser counts as a freeze: 150 ms more than usual.
const FREEZE: Micros = 183 * MS;

fn plain(_: u64) -> Setup {
    Setup { delay: 20 * MS, ..Setup::default() }
}

/// A link with a queue of 200 ms.
fn capped(kbps: u64) -> Faults {
    Faults { bitrate: kbps * 1_000, queue: kbps * 25, ..Faults::default() }
}

/// Frames of one layer that a member got in a span of time that ends now.
fn frames(world: &World, member: usize, track: TrackId, layer: Option<u8>, span: Micros) -> usize {
    world.frames(member, track, layer, world.now.saturating_sub(span))
}

/// A viewer on another shard than the camera, once it has had the top layer for a second.
fn at_its_best(world: &mut World) -> (usize, TrackId) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let track = world.publish(al, Media::camera(CAMERA));
    world.until("the top layer comes", 8 * S, |w| frames(w, bo, track, Some(2), S) >= 28);
    (bo, track)
}

scene!(CAP, a_link_that_shrinks_and_grows, 6, plain, cap);

fn cap(world: &mut World) {
    let (bo, track) = at_its_best(world);
    let since = world.now;
    world.reroute(bo, Faults::default(), capped(500));
    world.run(2 * S);
    let frozen = world.frozen(bo, track, since, FREEZE);
    assert!(frozen < 500 * MS, "frozen for {frozen} us");
    for second in 0..8 {
        world.run(S);
        let whole = frames(world, bo, track, None, S);
        assert!(whole >= 26, "second {second}: {whole} frames");
        assert_eq!(world.layer(bo, track), Some(1), "second {second}: what fits, and no less");
    }
    world.reroute(bo, Faults::default(), Faults::default());
    world.until("the top layer is back", 6 * S, |w| frames(w, bo, track, Some(2), S) >= 28);
    world.run(3 * S);
    assert!(frames(world, bo, track, Some(2), 3 * S) >= 85, "it stays");
}

scene!(AGAIN, a_link_that_shrinks_twice, 6, plain, again);

/// The second time comes before the publisher may be asked for another keyframe.
fn again(world: &mut World) {
    let (bo, track) = at_its_best(world);
    let since = world.now;
    world.reroute(bo, Faults::default(), capped(500));
    world.run(600 * MS);
    world.reroute(bo, Faults::default(), capped(250));
    world.run(3 * S);
    let frozen = world.frozen(bo, track, since, FREEZE);
    assert!(frozen < 800 * MS, "frozen for {frozen} us");
    assert_eq!(world.layer(bo, track), Some(0));
}

scene!(UNEQUAL, viewers_do_not_affect_one_another, 3, plain, unequal);

fn unequal(world: &mut World) {
    let al = world.join("al", 1, 0);
    let (bo, cy) = (world.join("bo", 1, 1), world.join("cy", 1, 1));
    let track = world.publish(al, Media::camera(CAMERA));
    let top = |w: &World, member| frames(w, member, track, Some(2), S) >= 28;
    world.until("both have the top layer", 8 * S, |w| top(w, bo) && top(w, cy));
    world.reroute(bo, Faults::default(), capped(200));
    let since = world.now;
    world.run(10 * S);
    assert_eq!(world.layer(bo, track), Some(0));
    assert!(frames(world, bo, track, None, 4 * S) >= 112, "small, and smooth");
    // Every frame of ten seconds, and no keyframe that another viewer asked for in a hurry.
    assert!(world.frames(cy, track, Some(2), since) >= 298);
}

/// Random loss is no sign of a link that is too small.
fn lossy(_: u64) -> Setup {
    let faults = Faults { loss: 50, jitter: 10 * MS, ..Faults::default() };
    Setup { delay: 30 * MS, up: faults, down: faults, ..Setup::default() }
}

scene!(LOSSY, loss_is_repaired_and_costs_no_layer, 6, lossy, loss);

fn loss(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let track = world.publish(al, Media::camera(CAMERA));
    world.until("the top layer comes", 10 * S, |w| frames(w, bo, track, Some(2), S) >= 28);
    let since = world.now;
    world.run(10 * S);
    let whole = world.frames(bo, track, Some(2), since);
    assert!(whole >= 290, "{whole} of 300 frames came whole");
}

scene!(CROWD, the_least_is_given_to_everybody_first, 3, plain, crowd);

/// Eight cameras for a viewer with room for two of them.
fn crowd(world: &mut World) {
    let viewer = world.join("viewer", 1, 1);
    let tracks: Vec<_> = (0..8)
        .map(|n| {
            let member = world.join(&format!("m{n}"), 1, n % 2);
            world.publish(member, Media::camera(CAMERA))
        })
        .collect();
    let all = |w: &mut World| tracks.iter().all(|track| frames(w, viewer, *track, None, S) >= 20);
    world.until("all come", 15 * S, all);
    world.reroute(viewer, Faults::default(), capped(1_800));
    world.run(8 * S);
    for track in &tracks {
        let whole = frames(world, viewer, *track, None, 3 * S);
        assert!(whole >= 80, "{track:?}: {whole} frames");
    }
    let layers: Vec<_> = tracks.iter().filter_map(|track| world.layer(viewer, *track)).collect();
    assert!(layers.iter().all(|layer| *layer < 2) && layers.contains(&1), "{layers:?}");
}
