//! Huge pages: for a node's packets, and for nothing else.
//!
//! The allocator asks the kernel for pages of 2 MiB. A node's packets cost 7 % less CPU with them.
//! Signaling and whoever only watches over others are not faster with them, and larger: each place that is
//! touched counts as 2 MiB.

use rustix::thread::disable_transparent_huge_pages;

/// The allocator's own switch, which is the operator's: 0 for none at all.
const ALLOWED: &str = "MIMALLOC_ALLOW_THP";

/// From here on this process gets small pages.
pub(crate) fn small() {
    set(true);
}

/// A node gets huge ones, whoever started it: children inherit what their parent does without.
pub(crate) fn huge(env: &[(String, String)]) {
    let forbidden = env.iter().any(|(name, value)| name == ALLOWED && value == "0");
    set(forbidden);
}

fn set(without: bool) {
    // Where the kernel does not let us choose, it goes on with more memory or a little more CPU. The log has
    // not begun: this is the first thing that a process does.
    let _ = disable_transparent_huge_pages(without);
}
