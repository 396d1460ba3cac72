//! Many who talk, and who of them is heard.

use std::collections::BTreeSet;

use antipode_base::ids::TrackId;
use antipode_base::verdict::DropReason;
use antipode_tests::links::LinkFaults;
use antipode_tests::path::{Faults, Micros};
use antipode_tests::seed::Dice;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

/// Microphones in the room.
const TALKERS: usize = 50;
/// Those who are to be heard, in dBov.
const LOUD: i8 = -15;
/// The next after them.
const FOURTH: i8 = -25;
/// Everyone else talks too, this loud at least.
const QUIET: i8 = -42;
const SILENT: i8 = -80;

fn three_are_heard(_: u64) -> Setup {
    Setup { audio_top: 3, ..Setup::default() }
}

scene!(SPEAKERS, three_of_fifty_are_heard, 2, three_are_heard, speakers);

/// Fifty talk on two shards. On each there is one who only listens, and one of the loud who listens
/// too: the loud hear the fourth instead of themselves.
fn speakers(world: &mut World) {
    let mut dice = Dice::new(world.seed, 0x5e);
    world.signal.auto_subscribe = false;
    let talkers: Vec<usize> =
        (0..TALKERS).map(|n| world.join(&format!("t{n}"), 1, n as u16 % 2)).collect();
    let quiet = |dice: &mut Dice| QUIET + dice.below(6) as i8;
    let mut tracks = Vec::new();
    for talker in &talkers {
        let level = quiet(&mut dice);
        tracks.push(world.publish(*talker, Media::audio(level)));
    }
    let listeners = [world.join("l0", 1, 0), world.join("l1", 1, 1), talkers[0], talkers[1]];
    world.until("fifty talk", 10 * S, |world| world.signal.tracks.values().all(|t| t.live));
    for listener in listeners {
        tracks.iter().for_each(|track| world.subscribe(listener, *track));
    }
    tracks[..3].iter().for_each(|track| world.speak_at(*track, LOUD));
    world.speak_at(tracks[3], FOURTH);
    world.run(3 * S);
    let mut third = tracks[2];
    hears(world, &listeners, &tracks, third);
    for _ in 0..5 {
        let next = tracks[4 + dice.below(TALKERS as u64 - 4) as usize];
        if next != third {
            changes(world, &listeners, third, next);
            let level = quiet(&mut dice);
            world.speak_at(third, level);
            third = next;
            world.run(600 * MS);
            hears(world, &listeners, &tracks, third);
        }
    }
    let numbers = listeners.map(|listener| unbroken(world, listener));
    assert!(numbers.iter().all(|count| *count > 1_000), "{numbers:?}");
    // Of fifty who send fifty packets a second, each of four listeners gets three.
    let drops = world.drops(DropReason::NotLoudest);
    assert!(drops > 4 * 40 * 50 * 3, "{drops}");
}

fn bad_paths(seed: u64) -> Setup {
    let mut dice = Dice::new(seed, 0xbad);
    let mut faults = || Faults {
        loss: dice.below(50) as u32,
        duplicate: dice.below(50) as u32,
        reorder: dice.below(100) as u32,
        jitter: dice.below(30) * MS,
        ..Faults::default()
    };
    let (up, down) = (faults(), faults());
    let links = LinkFaults { delay: dice.below(4) * MS, full: dice.below(20) as u32 };
    Setup { audio_top: 2, up, down, links, ..Setup::default() }
}

scene!(BABBLE, whoever_is_loud_is_heard_on_bad_paths, 12, bad_paths, babble);

/// Six who get louder and quieter, mute themselves and stop listening to one another, while packets are
/// lost and come late: the oracles judge each slot's numbers and times.
fn babble(world: &mut World) {
    let mut dice = Dice::new(world.seed, 0xba);
    let members: Vec<usize> =
        (0..6).map(|n| world.join(&format!("m{n}"), 1, n as u16 % 2)).collect();
    let tracks: Vec<_> =
        members.iter().map(|member| world.publish(*member, Media::audio(QUIET))).collect();
    world.run(2 * S);
    for _ in 0..60 {
        let (member, track) = (*dice.pick(&members), *dice.pick(&tracks));
        match dice.below(10) {
            0..=6 => world.speak_at(track, SILENT + dice.below(70) as i8),
            7 => world.mute(track, dice.chance(500)),
            8 => world.unsubscribe(member, track),
            _ => world.subscribe(member, track),
        }
        world.run(dice.below(200) * MS);
    }
    let none = Faults::default();
    for (member, track) in members.iter().zip(&tracks) {
        world.reroute(*member, none, none);
        world.mute(*track, false);
        world.speak_at(*track, SILENT);
        tracks.iter().for_each(|track| world.subscribe(*member, *track));
    }
    tracks[..2].iter().for_each(|track| world.speak_at(*track, LOUD));
    // What was wanted again is heard once its client knows of it.
    world.run(3 * S);
    for (at, member) in members.iter().enumerate() {
        let heard = world.heard(*member, world.now - 300 * MS);
        let mut want = tracks[..2].iter().filter(|track| **track != tracks[at]);
        assert!(want.all(|track| heard.contains(track)), "{member}: {heard:?}");
        assert!(heard.len() <= 2, "{member}: {heard:?}");
    }
}

/// Each listener has heard three for a while, and nobody else; himself he does not count.
fn hears(world: &World, listeners: &[usize; 4], tracks: &[TrackId], third: TrackId) {
    let (own, fourth) = ([tracks[0], tracks[1]], tracks[3]);
    let want = [
        [own[0], own[1], third],
        [own[0], own[1], third],
        [fourth, own[1], third],
        [own[0], fourth, third],
    ];
    for (listener, want) in listeners.iter().zip(want) {
        let heard = world.heard(*listener, world.now - 200 * MS);
        assert_eq!(heard, BTreeSet::from(want), "{listener} at {}", world.now);
    }
}

/// One falls silent and another begins: everyone hears that within 200 ms, from its beginning on.
fn changes(world: &mut World, listeners: &[usize; 4], from: TrackId, to: TrackId) {
    let since = world.now;
    let mut begin = 0;
    world.speak_at(from, SILENT);
    world.source(to, |source| {
        source.media.level = LOUD;
        begin = source.frames as u32;
    });
    world.until("the next is heard", 200 * MS, |world| {
        listeners.iter().all(|listener| first(world, *listener, to, since).is_some())
    });
    for listener in listeners {
        let first = first(world, *listener, to, since).unwrap();
        // A first syllable loses 60 ms at most; the look-back may reach to before it.
        assert!(first <= begin + 3, "frame {first} of {begin}");
    }
}

/// The first frame of a track that a member got since some time.
fn first(world: &World, member: usize, track: TrackId, since: Micros) -> Option<u32> {
    let peer = world.peer(member, false);
    let of_peer = world.oracle.slots.iter().filter(|((place, _), _)| *place == peer);
    let packets = of_peer.flat_map(|(_, slot)| slot.packets.values());
    let new = packets.filter(|kept| kept.at >= since && kept.tag.track == track.0);
    new.map(|kept| kept.tag.frame).min()
}

/// No number is missing in what a member got, though most was not sent. Returns how much it got.
fn unbroken(world: &World, member: usize) -> u64 {
    let peer = world.peer(member, false);
    let mut count = 0;
    for ((_, mid), slot) in world.oracle.slots.iter().filter(|((place, _), _)| *place == peer) {
        let (first, last) = (slot.packets.keys().next(), slot.packets.keys().next_back());
        let (first, last) = (first.unwrap(), last.unwrap());
        assert_eq!(last - first + 1, slot.packets.len() as u64, "a gap in section {mid}");
        count += slot.packets.len() as u64;
    }
    count
}
