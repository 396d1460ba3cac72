//! How long a parcel takes from one shard to another while both are busy without a pause, so that neither has
//! to be woken: `cargo bench -p antipode-bench --bench hop`, on a host that does nothing else.
//!
//! The load harness cannot tell: it needs a core itself, and what a shard waits for that core is no hop.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use antipode_base::delays::BOUNDS_US;
use antipode_bench::packet;
use antipode_runtime::bench::hops;

const VIEWERS: [usize; 3] = [10, 100, 1_000];

fn main() -> ExitCode {
    // `cargo test` runs it too, to see that it runs.
    let measures = std::env::args().any(|arg| arg == "--bench");
    let time = Duration::from_millis(if measures { 5_000 } else { 100 });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        eprintln!("two busy shards want two cores, and there is one");
        return if measures { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    for viewers in VIEWERS {
        let delays = match hops(&packet(1, Instant::now()), viewers, time) {
            Ok(delays) => delays,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let all: u64 = delays.counts().iter().sum();
        print!("{viewers:>5} viewers on each, {all} parcels:");
        let mut within = 0;
        for (count, bound) in delays.counts().iter().zip(BOUNDS_US) {
            within += count;
            print!("  {bound} µs {:.2} %", 100.0 * within as f64 / all.max(1) as f64);
            if within == all {
                break;
            }
        }
        println!();
    }
    ExitCode::SUCCESS
}
