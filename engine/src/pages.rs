//! Pages of the usual size, unless an operator wants huge ones for the packets of a node.
//!
//! The allocator asks the kernel for pages of 2 MiB, and each place that is touched counts as 2 MiB then: a
//! viewer takes a sixth more memory. What packets cost less with them is up to 6 % (sound), and not to be
//! seen in a broadcast (`bench/RESULTS.md`).

use rustix::thread::disable_transparent_huge_pages;

/// The allocator's own switch.
const WANTED: &str = "MIMALLOC_ALLOW_THP";

/// From here on this process gets small pages.
pub(crate) fn small() {
    set(true);
}

/// A node gets what its operator wants, whoever started it: children inherit what their parent does without.
pub(crate) fn as_wanted(env: &[(String, String)]) {
    let wanted = env.iter().any(|(name, value)| name == WANTED && value == "1");
    set(!wanted);
}

fn set(without: bool) {
    // Where the kernel does not let us choose, it goes on with more memory or a little more CPU. The log has
    // not begun: this is the first thing that a process does.
    let _ = disable_transparent_huge_pages(without);
}
