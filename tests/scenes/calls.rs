//! People in a room: tracks, layers, pauses, slots.

use antipode_base::ids::TrackId;
use antipode_tests::path::Faults;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

fn plain(_: u64) -> Setup {
    Setup::default()
}

fn three_shards(_: u64) -> Setup {
    Setup { shards: 3, sections: (2, 2), ..Setup::default() }
}

/// A publisher and a viewer on two shards, with one video of so many layers on its way.
fn pair(world: &mut World, layers: u8) -> (usize, usize, TrackId) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let video = world.publish(al, Media::video(layers));
    world.until("the video flows", 4 * S, |w| w.frames(bo, video, None, 0) > 5);
    (al, bo, video)
}

scene!(TWO_MEMBERS, two_members_on_two_shards, 10, plain, two_members);

fn two_members(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let tracks = [al, bo].map(|member| {
        [world.publish(member, Media::video(1)), world.publish(member, Media::audio(-20))]
    });
    world.until("both connect", 2 * S, |w| w.connected(al) && w.connected(bo));
    world.run(3 * S);
    let since = world.now - S;
    for (viewer, [video, audio]) in [(bo, tracks[0]), (al, tracks[1])] {
        assert!(world.frames(viewer, video, None, since) >= 14);
        assert!(world.frames(viewer, audio, None, since) >= 48);
        assert!(world.frames(viewer, video, None, 0) >= 40, "from the first frame on");
    }
    let loud: Vec<TrackId> =
        world.signal.levels.values().flatten().map(|level| level.track).collect();
    assert_eq!(loud.len(), 2, "both are speakers: {:?}", world.signal.levels);
    assert!(world.signal.tracks.values().all(|track| track.watched));
}

scene!(SLOT_REUSE, a_slot_outlives_who_is_in_it, 8, three_shards, slot_reuse);

/// Three members; one leaves and another takes its slot: section and SSRC stay.
fn slot_reuse(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let cy = world.join("cy", 1, 1);
    let first = world.publish(al, Media::video(1));
    world.publish(bo, Media::video(1));
    world.publish(cy, Media::video(1));
    world.until("all see all", 4 * S, |w| w.all_flow(0) && w.signal.tracks.len() == 3);
    let before = world.slot(bo, first);
    assert!(before.as_ref().is_some_and(|(_, ssrc)| ssrc.is_some()), "{before:?}");
    world.leave(al);
    world.run(300 * MS);
    assert_eq!(world.slot(bo, first), None, "bo is told that al is gone");
    let di = world.join("di", 1, 2);
    let second = world.publish(di, Media::video(1));
    world.until("bo sees di", 4 * S, |w| w.frames(bo, second, None, 0) > 5);
    assert_eq!(world.slot(bo, second), before, "same section, same SSRC");
    let now = world.now;
    world.until("all see all again", 3 * S, |w| w.all_flow(now));
}

scene!(LAYERS, layers_follow_the_viewers_wish, 8, plain, layers);

fn layers(world: &mut World) {
    let (_, bo, video) = pair(world, 3);
    world.until("the top layer", 4 * S, |w| w.layer(bo, video) == Some(2));
    for wish in [0, 1, 2, 1, 0, 2] {
        world.tune(bo, video, false, wish);
        world.until("the wished layer", 3 * S, |w| w.layer(bo, video) == Some(wish));
        let since = world.now;
        world.run(S);
        assert!(world.frames(bo, video, Some(wish), since) >= 12, "layer {wish} stays");
    }
    // The client stops its top layer; what is left goes on.
    world.source(video, |source| source.activate(2, false));
    world.until("the next lower layer", 4 * S, |w| w.layer(bo, video) == Some(1));
    world.source(video, |source| source.activate(2, true));
    world.until("the top layer again", 4 * S, |w| w.layer(bo, video) == Some(2));
}

scene!(PAUSE, a_pause_is_silent_and_ends_with_a_keyframe, 8, plain, pause);

fn pause(world: &mut World) {
    let (_, bo, video) = pair(world, 1);
    let before = world.slot(bo, video);
    world.tune(bo, video, true, 2);
    world.run(100 * MS);
    let since = world.now;
    world.run(2 * S);
    assert_eq!(world.frames(bo, video, None, since), 0, "nothing is sent while paused");
    world.tune(bo, video, false, 2);
    world.until("it goes on", 1_500 * MS, |w| w.frames(bo, video, None, since) > 5);
    assert_eq!(world.slot(bo, video), before);
}

scene!(SUBSCRIBE, a_viewer_may_come_back_to_a_track, 8, plain, subscribe);

fn subscribe(world: &mut World) {
    let (_, bo, video) = pair(world, 1);
    let before = world.slot(bo, video);
    for _ in 0..3 {
        world.unsubscribe(bo, video);
        world.run(200 * MS);
        let since = world.now;
        world.run(S);
        assert_eq!(world.frames(bo, video, None, since), 0);
        assert_eq!(world.slot(bo, video), None);
        world.subscribe(bo, video);
        world.until("it is back", 2 * S, |w| w.frames(bo, video, None, since) > 5);
        assert_eq!(world.slot(bo, video), before);
    }
}

scene!(ROOMS, rooms_with_the_same_names_never_meet, 6, plain, rooms);

/// The oracle looks at every packet; here is something for it to look at.
fn rooms(world: &mut World) {
    let mut members = Vec::new();
    for room in [1, 2] {
        for (name, shard) in [("al", 0), ("bo", 1)] {
            let member = world.join(name, room, shard);
            world.publish(member, Media::video(1));
            world.publish(member, Media::audio(-30));
            members.push(member);
        }
    }
    world.until("all flow", 4 * S, |w| w.all_flow(0) && members.iter().all(|m| w.connected(*m)));
    // Asking for a track of the other room, by its right id, changes nothing.
    let foreign = *world.signal.tracks.iter().find(|(_, t)| t.owner == members[2]).unwrap().0;
    world.signal.subscribe(members[1], foreign);
    world.signal.tracks.get_mut(&foreign).unwrap().viewers.remove(&members[1]);
    world.run(3 * S);
    assert_eq!(world.frames(members[1], foreign, None, 0), 0);
}

scene!(UNPUBLISH, a_track_ends_and_another_takes_its_place, 8, plain, unpublish);

fn unpublish(world: &mut World) {
    let (al, bo, video) = pair(world, 1);
    world.unpublish(video);
    world.run(300 * MS);
    let since = world.now;
    world.run(500 * MS);
    assert_eq!(world.frames(bo, video, None, since), 0);
    let next = world.publish(al, Media::video(3));
    world.until("the next one flows", 3 * S, |w| w.frames(bo, next, None, 0) > 5);
    // The client may also stop by renegotiating alone.
    world.stop_section(next);
    world.until("signaling hears", S, |w| w.signal.tracks[&next].ended);
    let last = world.publish(al, Media::video(1));
    world.until("the last one flows", 3 * S, |w| w.frames(bo, last, None, 0) > 5);
}

scene!(MUTE, a_mute_stops_and_starts, 6, plain, mute);

fn mute(world: &mut World) {
    let (al, bo, video) = pair(world, 1);
    let audio = world.publish(al, Media::audio(-10));
    world.until("audio flows", 2 * S, |w| w.frames(bo, audio, None, 0) > 30);
    world.mute(audio, true);
    world.mute(video, true);
    world.run(S);
    let loud = world.signal.levels.values().flatten().count();
    assert_eq!(loud, 0, "a muted microphone is no speaker");
    let since = world.now;
    world.run(3 * S);
    assert_eq!(world.frames(bo, audio, None, since) + world.frames(bo, video, None, since), 0);
    world.mute(audio, false);
    world.mute(video, false);
    world.until("both flow", 2 * S, |w| {
        w.frames(bo, audio, None, since) > 30 && w.frames(bo, video, None, since) > 10
    });
}

scene!(KEYFRAMES, keyframe_requests_are_merged, 6, three_shards, keyframes);

/// Viewers on three shards who lose the picture all the time: the publisher is asked once a second.
fn keyframes(world: &mut World) {
    let al = world.join("al", 1, 0);
    let viewers: Vec<usize> =
        (0..6).map(|n| world.join(&format!("v{n}"), 1, (n % 3) as u16)).collect();
    let video = world.publish(al, Media::video(1));
    world.until("all see", 4 * S, |w| viewers.iter().all(|v| w.frames(*v, video, None, 0) > 2));
    let before = world.peers[world.peer(al, true)].asked.len();
    for _ in 0..100 {
        viewers.iter().for_each(|viewer| {
            world.lose_picture(*viewer, video);
        });
        world.run(50 * MS);
    }
    let asked = world.peers[world.peer(al, true)].asked.len() - before;
    assert!((4..=6).contains(&asked), "asked {asked} times in 5 s");
}

scene!(FIRST_KEYFRAME, a_lost_beginning_is_asked_for_at_once, 6, plain, first_keyframe);

/// The viewer was there first and has asked when there was nobody to be asked; then the first
/// keyframe is lost on its way to the node.
fn first_keyframe(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let video = world.publish(al, Media::video(1));
    world.until("both connect", 2 * S, |w| w.connected(al) && w.connected(bo));
    let lost = Faults { loss: 1_000, ..Faults::default() };
    world.reroute(al, lost, Faults::default());
    let peer = world.peer(al, true);
    world.until("the first frames are lost", S, |w| w.peers[peer].sources[0].frames >= 3);
    world.reroute(al, Faults::default(), Faults::default());
    world.until("the second keyframe comes", 250 * MS, |w| w.frames(bo, video, None, 0) > 0);
}

scene!(ONE_COPY, a_track_crosses_a_border_once, 4, plain, one_copy);

/// Ten viewers on the other shard: the oracle of links sees each packet cross once.
fn one_copy(world: &mut World) {
    let al = world.join("al", 1, 0);
    let viewers: Vec<usize> = (0..10).map(|n| world.join(&format!("v{n}"), 1, 1)).collect();
    let video = world.publish(al, Media::video(3));
    world.until("all see", 4 * S, |w| viewers.iter().all(|v| w.frames(*v, video, None, 0) > 20));
    let stats = world.stats();
    assert!(stats[1].packets_out > 8 * stats[0].packets_in / 3, "{stats:?}");
}
