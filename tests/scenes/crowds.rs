//! Many who come and go: tables and gauges end where they began.

use antipode_tests::acts::Way;
use antipode_tests::seed::Dice;
use antipode_tests::signal::ALL_GRANTS;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

fn two_shards(_: u64) -> Setup {
    Setup::default()
}

scene!(CHURN, five_hundred_come_and_go, 1, two_shards, churn);

/// Never more than four at a time, in two rooms on two shards; some leave before they connect.
fn churn(world: &mut World) {
    let mut dice = Dice::new(world.seed, 0xc4);
    let mut there: Vec<usize> = Vec::new();
    for number in 0..500u64 {
        let way = if dice.chance(200) { Way::Two } else { Way::One };
        let (room, shard) = (1 + dice.below(2), dice.below(2) as u16);
        let member = world.join_as(&format!("m{number}"), room, shard, way, ALL_GRANTS);
        if dice.chance(500) {
            world.publish(member, Media::audio(-30));
        }
        there.push(member);
        world.run(5 * MS + dice.below(150) * MS);
        if there.len() > 3 {
            let leaver = there.remove(dice.below(there.len() as u64) as usize);
            world.leave(leaver);
        }
    }
    there.into_iter().for_each(|member| world.leave(member));
    world.run(2 * S);
    let stats = world.stats();
    let opened: u64 = stats.iter().map(|stats| stats.sessions_opened).sum();
    assert!(opened >= 500, "{opened}");
    assert_eq!(world.signal.ended.len() as u64, opened, "every session was reported as ended");
}
