//! People in a room.

use antipode_tests::seeds::Scene;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;

#[test]
fn two_members_on_two_shards() {
    Scene {
        name: "calls::two_members_on_two_shards",
        seeds: 4,
        setup: |_| Setup::default(),
        play: |world: &mut World| {
            let al = world.join("al", 1, 0);
            let bo = world.join("bo", 1, 1);
            let tracks = [al, bo].map(|member| {
                [
                    world.publish(member, Media::video(1)),
                    world.publish(member, Media::audio(-20)),
                ]
            });
            world.until("both connect", 2 * S, |w| w.connected(al) && w.connected(bo));
            world.run(3 * S);
            for (viewer, [video, audio]) in [(bo, tracks[0]), (al, tracks[1])] {
                let since = world.now - S;
                assert!(world.frames(viewer, video, None, since) >= 14);
                assert!(world.frames(viewer, audio, None, since) >= 48);
            }
        },
    }
    .run();
}
