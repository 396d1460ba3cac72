//! What forwarding takes from the heap: the same for two viewers of a track as for twenty.
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};

use antipode_tests::meter;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::S;

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        meter::note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        meter::note();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn one_shard(_: u64) -> Setup {
    Setup { shards: 1, ..Setup::default() }
}

scene!(ALLOCATIONS, a_viewer_more_costs_no_allocation, 1, one_shard, viewers);

/// What a publisher sends is kept, and that is counted. A list that grows now and then is no allocation
/// for each packet, hence the hundredth.
fn viewers(world: &mut World) {
    let al = world.join("al", 1, 0);
    let tracks = [Media::video(1), Media::audio(-20)].map(|media| world.publish(al, media));
    let mut costs = Vec::new();
    for many in [2, 20] {
        while world.peers.len() <= many {
            let name = format!("viewer{}", world.peers.len());
            let viewer = world.join(&name, 1, 0);
            world.until("it sees", 4 * S, |w| w.frames(viewer, tracks[0], None, 0) > 5);
        }
        world.run(3 * S);
        world.allocated = (0, 0);
        world.run(3 * S);
        costs.push(world.allocated);
    }
    let [(few, few_sent), (many, many_sent)] = costs[..] else { unreachable!("two rooms") };
    assert!(few > 0 && few_sent > 300, "{few} allocations for {few_sent} datagrams");
    let (more, more_sent) = (many.saturating_sub(few), many_sent - few_sent);
    assert!(more_sent > 2_000, "{more_sent} datagrams to more viewers");
    assert!(more * 100 < more_sent, "{more} allocations for {more_sent} datagrams to more viewers");
}
