//! What this process has used, as `/metrics` shows it: one reader for both services.

use std::fs;

use antipode_base::stats::ProcessStats;
use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

/// Reads the kernel's figures. What it does not tell is zero.
pub(crate) fn stats() -> ProcessStats {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut stats = ProcessStats {
        cpu_us: cpu.tv_sec.unsigned_abs() * 1_000_000 + cpu.tv_nsec.unsigned_abs() / 1_000,
        resident_bytes: resident_pages(&statm).unwrap_or(0) * page_size() as u64,
        ..ProcessStats::default()
    };
    // The kernel counts switches by the thread.
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        stats.switches_voluntary += field(&status, "voluntary_ctxt_switches:");
        stats.switches_involuntary += field(&status, "nonvoluntary_ctxt_switches:");
    }
    stats
}

/// The second field of `statm`, proc(5).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

/// A number of `status`; zero when it is not there.
fn field(status: &str, name: &str) -> u64 {
    let of = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    status.lines().find_map(of).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let before = stats();
        assert!(before.resident_bytes > 1 << 20, "{before:?}");
        let mut after = stats();
        while after.cpu_us == before.cpu_us {
            after = stats();
        }
        assert!(after.cpu_us > before.cpu_us);
    }

    #[test]
    fn the_kernels_texts() {
        assert_eq!(resident_pages("100 42 7 1 0 9 0\n"), Some(42));
        assert_eq!(resident_pages("100"), None);
        let status = "voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 5);
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), 3);
        assert_eq!(field("", "voluntary_ctxt_switches:"), 0);
    }
}
