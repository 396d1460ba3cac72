//! How long a parcel takes from one shard to another while both are busy without a pause, so that neither has
//! to be woken: `cargo bench -p antipode-bench --bench hop`, on a host that does nothing else.
//!
//! The load harness cannot tell: it needs a core itself, and what a shard waits for that core is no hop.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use antipode_base::delays::{BOUNDS_US, Delays};
use antipode_bench::packet;
use antipode_runtime::bench::hops;

/// Viewers of each shard.
const VIEWERS: [usize; 3] = [300, 1_000, 2_500];

fn main() -> io::Result<()> {
    // `cargo test` runs it too, to see that it runs.
    let measures = std::env::args().any(|arg| arg == "--bench");
    let (time, rows) = if measures { (5_000, VIEWERS.len()) } else { (100, 1) };
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        let why = io::Error::other("two busy shards want two cores, and there is one");
        return if measures { Err(why) } else { Ok(()) };
    }
    for viewers in &VIEWERS[..rows] {
        let hops = hops(&packet(1, Instant::now()), *viewers, Duration::from_millis(time))?;
        let (load, text) = (hops.load, describe(&hops.delays));
        writeln!(io::stdout(), "{viewers:>5} viewers on each, {load:.2} of its core, {text}")?;
    }
    Ok(())
}

/// How many there were, and which part within each bound.
fn describe(delays: &Delays) -> String {
    let all: u64 = delays.counts().iter().sum();
    let mut text = format!("{all} parcels:");
    let mut within = 0;
    for (count, bound) in delays.counts().iter().zip(BOUNDS_US) {
        within += count;
        let part = 100.0 * within as f64 / all.max(1) as f64;
        text += &format!("  {bound} µs {part:.2} %");
        if within == all {
            break;
        }
    }
    text
}
