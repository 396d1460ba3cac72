//! The same seed, the same trace, byte by byte; another seed, another trace.
//!
//! The made-up scenes of `fabric` are not here: where several streams of one peer repeat packets in
//! the same instant, str0m serves them in the random order of a map, and in about one seed of a
//! hundred that moves a later packet by a fraction of a millisecond.

use crate::{attacks, calls, messages, paths};

#[test]
fn a_seed_has_one_trace() {
    calls::TWO_MEMBERS.run_twice(3);
    calls::SLOT_REUSE.run_twice(2);
    calls::LAYERS.run_twice(2);
    messages::MESSAGES.run_twice(3);
    attacks::ATTACKS.run_twice(2);
}

#[test]
fn a_seed_has_one_trace_with_faults() {
    paths::FAULTS.run_twice(4);
    paths::BOUNDED.run_twice(2);
}
