//! Scenes: peers, paths, virtual time, a seed. A scene drives; the world's oracles judge.
//!
//! | file | what it is about |
//! | --- | --- |
//! | `calls` | people in a room: tracks, layers, pauses, slots |
//! | `paths` | what networks do: loss, order, restarts, silence |
//! | `bandwidth` | links that do not carry everything |
//! | `messages` | data packets, one and two peer connections |
//! | `attacks` | those who mean harm, and what is counted then |
//! | `crowds` | many who come and go |
//! | `speakers` | many who talk, and who of them is heard |
//! | `fabric` | made-up scenes, a new one for each seed, and the planted bug's finder |
//! | `repeats` | the same seed, the same trace |
//! | `allocations` | what forwarding takes from the heap |
//! | `entropy` | what the operating system draws at random, the same in each run |
#![deny(unsafe_code)]
// All of it is test, but clippy knows tests by their attribute alone.
#![allow(clippy::unwrap_used)]

use antipode_tests::path::Micros;

/// Makes a scene a constant and a test.
macro_rules! scene {
    ($scene:ident, $test:ident, $seeds:expr, $setup:expr, $play:expr) => {
        pub(crate) const $scene: antipode_tests::seeds::Scene = antipode_tests::seeds::Scene {
            name: concat!(module_path!(), "::", stringify!($test)),
            seeds: $seeds,
            setup: $setup,
            play: $play,
        };

        #[test]
        fn $test() {
            $scene.run();
        }
    };
}

mod allocations;
mod attacks;
mod bandwidth;
mod calls;
mod crowds;
mod entropy;
mod fabric;
mod messages;
mod paths;
mod repeats;
mod speakers;

/// A millisecond of virtual time.
const MS: Micros = 1_000;
/// A second of virtual time.
const S: Micros = 1_000 * MS;
