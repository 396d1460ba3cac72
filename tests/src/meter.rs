//! How often the product allocates, on the thread that plays a scene and while a shard works.
//!
//! A binary that counts has a global allocator that calls [`note`]; in all others nothing is ever noted.

use std::cell::Cell;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// Something was allocated, or grew.
pub fn note() {
    // A thread that ends has no cells any more, and is not watched.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        NOTED.set(NOTED.get() + 1);
    }
}

/// Allocations of `work`, and what it returned.
pub(crate) fn watch<R>(work: impl FnOnce() -> R) -> (u64, R) {
    let before = NOTED.get();
    WATCHED.set(true);
    let result = work();
    WATCHED.set(false);
    (NOTED.get() - before, result)
}
