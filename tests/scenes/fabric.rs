//! Made-up scenes: the seed says who comes, what they do, and what the network does to them.
//!
//! `ANTIPODE_SEEDS=1000 cargo test -p antipode-tests --test scenes -- fabric` is the long run.

use antipode_base::ids::TrackId;
use antipode_tests::acts::Way;
use antipode_tests::links::LinkFaults;
use antipode_tests::packet::DataPacket;
use antipode_tests::path::Faults;
use antipode_tests::seed::Dice;
use antipode_tests::signal::ALL_GRANTS;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

/// Members at one time.
const MEMBERS_MAX: usize = 4;
/// Deeds of one scene.
const DEEDS: u64 = 14;

scene!(FABRIC, anything_may_happen, 150, setup, play);

fn faults(dice: &mut Dice) -> Faults {
    // Half of the paths are clean, so that the stricter oracles have something to judge.
    if dice.chance(500) {
        return Faults::default();
    }
    Faults {
        loss: dice.below(80) as u32,
        duplicate: dice.below(50) as u32,
        reorder: dice.below(80) as u32,
        jitter: dice.below(15) * MS,
        ..Faults::default()
    }
}

fn setup(seed: u64) -> Setup {
    let mut dice = Dice::new(seed, 0xfab);
    let links = LinkFaults {
        delay: if dice.chance(300) { dice.below(4) * MS } else { 0 },
        full: if dice.chance(200) { dice.below(20) as u32 } else { 0 },
    };
    Setup {
        shards: 1 + dice.below(3) as u16,
        // An answer takes up to 2 ms by mail. Media that is faster finds a client which does not
        // know the section yet, and drops the keyframe: no fault of the node that this could show.
        delay: (3 + dice.below(40)) * MS,
        up: faults(&mut dice),
        down: faults(&mut dice),
        links,
        sections: (dice.below(3) as u16, dice.below(3) as u16),
        // As many as there can be: the selection is at work, and nothing may be cut.
        audio_top: if seed.is_multiple_of(2) { 16 } else { 0 },
    }
}

/// Who is there and what they publish.
struct Cast {
    dice: Dice,
    there: Vec<usize>,
    tracks: Vec<TrackId>,
    joined: u32,
}

fn play(world: &mut World) {
    let dice = Dice::new(world.seed, 0xdeed);
    let mut cast = Cast { dice, there: Vec::new(), tracks: Vec::new(), joined: 0 };
    cast.join(world);
    cast.join(world);
    for _ in 0..DEEDS {
        cast.deed(world);
        let pause = 20 * MS + cast.dice.below(700) * MS;
        world.run(pause);
    }
    // The networks heal, and whoever wants a track gets it.
    let there = cast.there.clone();
    there.iter().for_each(|m| world.reroute(*m, Faults::default(), Faults::default()));
    world.run(100 * MS);
    world.until("all are connected", 20 * S, |w| there.iter().all(|m| w.connected(*m)));
    let since = world.now;
    let end = since + 12 * S;
    while !world.all_flow(since) {
        if world.now > end {
            let silences = world.silences(since);
            world.breach(&format!("silence: {silences:?}"));
        }
        world.run(100 * MS);
    }
}

impl Cast {
    fn join(&mut self, world: &mut World) {
        if self.there.len() >= MEMBERS_MAX {
            return;
        }
        self.joined += 1;
        let way = if self.dice.chance(250) { Way::Two } else { Way::One };
        let shard = self.dice.below(u64::from(world.setup.shards)) as u16;
        // Mostly one room, so that something happens in it.
        let room = 1 + u64::from(self.dice.chance(150));
        let name = format!("m{}", self.joined);
        let member = world.join_as(&name, room, shard, way, ALL_GRANTS);
        self.there.push(member);
        self.publish(world, member);
    }

    fn publish(&mut self, world: &mut World, member: usize) {
        let media = match self.dice.below(4) {
            0 => Media::audio(-25),
            1 => Media::video(1),
            2 => Media::video(2),
            _ => Media::video(3),
        };
        if world.peers[world.peer(member, true)].sources.len() < 4 {
            let track = world.publish(member, media);
            self.tracks.push(track);
        }
    }

    fn deed(&mut self, world: &mut World) {
        let member = *self.dice.pick(&self.there);
        let track = *self.dice.pick(&self.tracks);
        let room = world.signal.members[member].room;
        let receives = world.signal.tracks[&track].room == room;
        let muted_for_good = world.signal.tracks[&track].ended;
        match self.dice.below(16) {
            0 | 1 => self.join(world),
            2 if self.there.len() > 2 => {
                self.there.retain(|other| *other != member);
                world.leave(member);
            }
            3 => self.publish(world, member),
            4 if self.tracks.len() > 2 && !muted_for_good => world.unpublish(track),
            5 if self.tracks.len() > 2 && !muted_for_good => world.stop_section(track),
            6..=8 if receives => {
                let (paused, layer) = (self.dice.chance(250), self.dice.below(3) as u8);
                world.tune(member, track, paused, layer);
            }
            9 if receives => world.unsubscribe(member, track),
            10 if receives && !muted_for_good => world.subscribe(member, track),
            11 => world.mute(track, self.dice.chance(500)),
            12 => {
                let (layer, active) = (self.dice.below(3) as u8, self.dice.chance(600));
                world.source(track, |source| source.activate(layer, active));
            }
            13 => world.restart_ice(member),
            14 => {
                let payload = vec![7; self.dice.below(3_000) as usize];
                let packet = DataPacket { payload, ..DataPacket::default() };
                world.send(member, self.dice.chance(500), &packet.write());
            }
            15 if receives => {
                world.lose_picture(member, track);
            }
            _ => {
                let (up, down) = (faults(&mut self.dice), faults(&mut self.dice));
                world.reroute(member, up, down);
            }
        }
    }
}
