//! Runs a scene under many seeds, and says how to replay the one that failed.
//!
//! `ANTIPODE_SEEDS=1000` runs so many, `ANTIPODE_SEED=17` runs that one alone and prints its trace.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::trace::difference;
use crate::world::{Setup, World};

/// A scene: how its world is built, and what is done in it.
#[derive(Clone, Copy)]
pub struct Scene {
    /// The test's name, for the line that replays it.
    pub name: &'static str,
    /// Seeds that a plain test run tries.
    pub seeds: u64,
    /// The world, by the seed.
    pub setup: fn(u64) -> Setup,
    /// The deeds.
    pub play: fn(&mut World),
}

impl Scene {
    /// Plays it on a thread of its own, whose maps and generators begin as every thread's do: what a
    /// library takes at random is then the same in each run too.
    fn play(&self, seed: u64) -> (String, Option<Box<dyn Any + Send>>) {
        std::thread::scope(|scope| {
            let played = scope.spawn(|| self.play_here(seed)).join();
            played.unwrap_or_else(|panic| (String::new(), Some(panic)))
        })
    }

    /// Plays it under one seed; its trace, and the panic that ended it, if one did.
    fn play_here(&self, seed: u64) -> (String, Option<Box<dyn Any + Send>>) {
        fastrand::seed(seed);
        let mut world = World::new(seed, (self.setup)(seed));
        let played = catch_unwind(AssertUnwindSafe(|| {
            (self.play)(&mut world);
            world.finish();
        }));
        world.trace_stats();
        (world.trace.text().to_owned(), played.err())
    }

    /// Plays it under all seeds that are asked for.
    ///
    /// # Panics
    /// When something is broken, after the line that replays it.
    #[allow(clippy::print_stderr)]
    pub fn run(&self) {
        let one = number("ANTIPODE_SEED");
        let seeds = match one {
            Some(seed) => seed..seed + 1,
            None => 0..number("ANTIPODE_SEEDS").unwrap_or(self.seeds),
        };
        for seed in seeds {
            let (trace, panic) = self.play(seed);
            if one.is_some() {
                eprintln!("{trace}");
            }
            if let Some(panic) = panic {
                eprintln!("replay: {}", self.replay(seed));
                resume_unwind(panic);
            }
        }
    }

    /// Plays it twice under each of some seeds.
    ///
    /// # Panics
    /// When a seed has two traces, or two seeds have one.
    pub fn run_twice(&self, seeds: u64) {
        let mut before = String::new();
        for seed in 0..seeds {
            let (one, panic) = self.play(seed);
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
            let (two, _) = self.play(seed);
            if let Some(difference) = difference(&one, &two) {
                panic!("seed {seed} of {} has two traces, {difference}", self.name);
            }
            assert_ne!(before, one, "seeds {seed} and the one before have one trace");
            before = one;
        }
    }

    fn replay(&self, seed: u64) -> String {
        // The first word is the crate's name.
        let name = self.name.split_once("::").map_or(self.name, |(_, name)| name);
        format!("ANTIPODE_SEED={seed} cargo test -p antipode-tests --test scenes -- {name} --exact")
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
