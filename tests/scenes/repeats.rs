//! The same seed, the same trace, byte by byte; another seed, another trace.

use crate::{attacks, bandwidth, calls, fabric, messages, paths, speakers};

#[test]
fn a_seed_has_one_trace() {
    calls::TWO_MEMBERS.run_twice(3);
    calls::SLOT_REUSE.run_twice(2);
    calls::LAYERS.run_twice(2);
    messages::MESSAGES.run_twice(3);
    speakers::SPEAKERS.run_twice(1);
    attacks::ATTACKS.run_twice(2);
}

#[test]
fn a_seed_has_one_trace_with_faults() {
    paths::FAULTS.run_twice(4);
    paths::BOUNDED.run_twice(2);
    bandwidth::CAP.run_twice(2);
    speakers::BABBLE.run_twice(3);
}

#[test]
fn a_made_up_scene_has_one_trace() {
    fabric::FABRIC.run_twice(40);
}
