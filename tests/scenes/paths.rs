//! What networks do to a call: loss, order, bounds, restarts, silence.

use antipode_base::notice::EndReason;
use antipode_tests::acts::Way;
use antipode_tests::links::LinkFaults;
use antipode_tests::path::Faults;
use antipode_tests::seed::mix;
use antipode_tests::signal::ALL_GRANTS;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

fn plain(_: u64) -> Setup {
    Setup::default()
}

/// Loss, order, doubles and jitter on both ways, other ones for each seed; handshakes are spared.
fn faulty(seed: u64) -> Setup {
    let of = |what: u64, end: u64| (mix(&[seed, 0xfa, what]) % end) as u32;
    let faults = |way: u64| Faults {
        loss: of(way, 60),
        duplicate: of(way + 1, 50),
        reorder: of(way + 2, 100),
        jitter: u64::from(of(way + 3, 15)) * MS,
        ..Faults::default()
    };
    Setup { up: faults(10), down: faults(20), ..Setup::default() }
}

scene!(FAULTS, loss_order_and_doubles, 12, faulty, call);

/// A call of two with simulcast, long enough for repairs and wishes.
fn call(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let tracks = [world.publish(al, Media::video(3)), world.publish(bo, Media::video(1))];
    world.publish(al, Media::audio(-20));
    world.until("all flow", 8 * S, |w| w.all_flow(0) && w.connected(al) && w.connected(bo));
    for wish in [0, 2] {
        world.tune(bo, tracks[0], false, wish);
        world.run(3 * S);
    }
    let since = world.now;
    world.until("all still flow", 4 * S, |w| w.all_flow(since));
}

scene!(HANDSHAKE, a_handshake_survives_loss, 12, lossy_handshake, handshake);

fn lossy_handshake(_: u64) -> Setup {
    let faults = Faults { loss: 120, all: true, ..Faults::default() };
    Setup { up: faults, down: faults, ..Setup::default() }
}

/// DTLS gives a flight up after four repeats, so about one handshake in a hundred would fail at 15 %.
fn handshake(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let video = world.publish(al, Media::video(1));
    world.until("both connect", 20 * S, |w| w.connected(al) && w.connected(bo));
    world.until("frames come", 10 * S, |w| w.frames(bo, video, None, 0) > 3);
}

scene!(BOUNDED, a_bounded_link_drops_but_never_lies, 6, plain, bounded);

/// The viewer's link takes half of the least that there is to send: pictures pause, and come back.
fn bounded(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    world.publish(al, Media::video(3));
    world.until("it flows", 4 * S, |w| w.connected(bo) && w.all_flow(0));
    let narrow = Faults { bitrate: 100_000, ..Faults::default() };
    world.reroute(bo, Faults::default(), narrow);
    world.run(3 * S);
    world.reroute(bo, Faults::default(), Faults::default());
    let since = world.now;
    world.until("it flows again", 4 * S, |w| w.all_flow(since));
}

scene!(RESTART, ice_restarts_and_the_call_goes_on, 8, plain, restart);

fn restart(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let tracks = [world.publish(al, Media::video(1)), world.publish(bo, Media::video(1))];
    world.until("it flows", 4 * S, |w| w.connected(bo) && w.all_flow(0));
    for round in 0..2 {
        let peer = world.peer(bo, true);
        let (own, node) = world.peers[peer].ufrags();
        world.restart_ice(bo);
        world.run(500 * MS);
        let (own_now, node_now) = world.peers[peer].ufrags();
        assert_ne!(own, own_now, "round {round}: the client has other credentials");
        assert_ne!(node, node_now, "round {round}: the node too");
        assert!(node_now.is_some_and(|ufrag| ufrag.starts_with("01")), "it carries the shard");
        let since = world.now;
        world.run(S);
        assert!(world.frames(bo, tracks[0], None, since) >= 13, "round {round}");
        assert!(world.frames(al, tracks[1], None, since) >= 13, "round {round}");
    }
}

scene!(RESTART_BY_SERVER, ice_restarts_where_we_offer, 6, plain, restart_by_server);

fn restart_by_server(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join_as("bo", 1, 1, Way::Two, ALL_GRANTS);
    let video = world.publish(al, Media::video(1));
    world.until("it flows", 4 * S, |w| w.connected(bo) && w.all_flow(0));
    let peer = world.peer(bo, false);
    let (_, before) = world.peers[peer].ufrags();
    world.signal.restart_ice(bo);
    world.run(500 * MS);
    let (_, after) = world.peers[peer].ufrags();
    assert_ne!(before, after, "the node has other credentials");
    assert!(after.is_some_and(|ufrag| ufrag.starts_with("01")), "they carry the shard");
    let since = world.now;
    world.run(S);
    assert!(world.frames(bo, video, None, since) >= 13);
}

scene!(VANISH, who_vanishes_is_ended_after_thirty_seconds, 2, plain, vanish);

/// RFC 7675 §5.1: consent expires after 30 s.
fn vanish(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    world.publish(al, Media::video(1));
    let audio = world.publish(bo, Media::audio(-20));
    world.until("all flow", 4 * S, |w| w.connected(al) && w.connected(bo) && w.all_flow(0));
    world.vanish(al);
    world.run(27 * S);
    assert!(world.endings(al).is_empty(), "not before 30 s");
    world.run(5 * S);
    assert_eq!(world.endings(al), [EndReason::TimedOut]);
    assert!(world.endings(bo).is_empty());
    let stats = world.stats();
    assert_eq!([stats[0].sessions, stats[0].rooms, stats[0].tracks], [0; 3], "nothing is left");
    assert_eq!([stats[1].sessions, stats[1].tracks, stats[1].subscriptions], [1, 1, 0]);
    assert!(world.signal.tracks[&audio].live);
}

scene!(GHOST, who_never_connects_is_ended_too, 2, plain, ghost);

fn ghost(world: &mut World) {
    let al = world.join("al", 1, 0);
    world.vanish(al);
    world.run(31 * S);
    assert_eq!(world.endings(al), [EndReason::TimedOut]);
}

scene!(HANG_UP, a_client_that_closes_is_gone_at_once, 4, plain, hang_up);

fn hang_up(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    world.publish(al, Media::video(1));
    let channels = |w: &World| w.peers[w.peer(al, true)].has_channels();
    world.until("it flows", 4 * S, |w| w.connected(bo) && w.all_flow(0) && channels(w));
    world.hang_up(al);
    world.run(200 * MS);
    assert_eq!(world.endings(al), [EndReason::PeerClosed]);
    assert!(world.endings(bo).is_empty());
}

scene!(RINGS, full_rings_and_late_shards, 8, rough_rings, rings);

/// Between shards parcels lie up to 5 ms, and three of a hundred find the ring full.
fn rough_rings(_: u64) -> Setup {
    Setup { links: LinkFaults { delay: 5 * MS, full: 30 }, ..Setup::default() }
}

fn rings(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let cy = world.join("cy", 1, 1);
    let video = world.publish(al, Media::video(2));
    world.publish(bo, Media::video(1));
    world.until("all flow", 12 * S, |w| w.all_flow(0) && w.connected(cy));
    world.tune(cy, video, false, 0);
    world.run(2 * S);
    world.leave(al);
    // A lost note of the end is healed when the silent track is asked for again.
    world.until("nothing of al is left", 12 * S, |w| w.stats()[1].tracks == 1);
    assert!(world.links.dropped() > 0);
}
