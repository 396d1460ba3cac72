//! What processes used, from `/proc`: the server's, where it runs here, and our own, to tell whether the
//! harness was the bottleneck.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::client::crew::THREAD;

/// What a process and its descendants have used since their start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in microseconds; to the kernel's tick where it keeps no exact one.
    pub cpu_us: u64,
    /// Memory in bytes.
    pub rss: u64,
    /// Times that a thread waited.
    pub voluntary_switches: u64,
    /// Times that a thread was put aside.
    pub involuntary_switches: u64,
    /// Processes.
    pub processes: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads processes with all their descendants (`antipode dev` has two children). `None`: one of them is
/// gone, or none was named.
pub fn usage(pids: &[u32]) -> Option<Usage> {
    if pids.is_empty() {
        return None;
    }
    let parents = parents();
    let mut family = Vec::new();
    family.extend(pids);
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        let children = parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child);
        let new: Vec<u32> = children.filter(|child| !family.contains(child)).collect();
        family.extend(new);
        at += 1;
    }
    let mut sum = Usage::default();
    for member in family {
        let Some(one) = one(member) else {
            // A child may have ended since; the processes themselves must be there.
            if pids.contains(&member) {
                return None;
            }
            continue;
        };
        sum.cpu_us += one.cpu_us;
        sum.rss += one.rss;
        sum.voluntary_switches += one.voluntary_switches;
        sum.involuntary_switches += one.involuntary_switches;
        sum.processes += 1;
        sum.threads += one.threads;
    }
    Some(sum)
}

fn one(pid: u32) -> Option<Usage> {
    let cpu_us = cpu_us(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut usage = Usage { cpu_us, ..Usage::default() };
    usage.rss = field(&status, "VmRSS:").unwrap_or(0) * 1_024;
    let mut exact_us = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        usage.threads += 1;
        exact_us += fs::read_to_string(task.path().join("schedstat"))
            .map_or(0, |text| ran_us(&text).unwrap_or(0));
        usage.voluntary_switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        usage.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    // The sum of the threads is exact, but lacks those that have ended; the other is rounded down to
    // ticks. The greater one is nearer.
    usage.cpu_us = usage.cpu_us.max(exact_us);
    Some(usage)
}

/// The first field of a thread's `schedstat`: nanoseconds on a core.
fn ran_us(schedstat: &str) -> Option<u64> {
    Some(schedstat.split_whitespace().next()?.parse::<u64>().ok()? / 1_000)
}

/// Each process's parent.
fn parents() -> HashMap<u32, u32> {
    let Ok(all) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, after_name(&stat)?.nth(1)?.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}

/// The fields of `stat` from the third on: the name before them may hold anything.
fn after_name(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    Some(stat.rsplit_once(") ")?.1.split_whitespace())
}

/// User and system time: fields 14 and 15 of `stat`, proc(5).
fn cpu_us(stat: &str) -> Option<u64> {
    let mut fields = after_name(stat)?.skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// A number of `status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One reading of our own threads and of the cores that we may use.
#[derive(Clone, Debug)]
pub struct Own {
    at: Instant,
    cpu_us: u64,
    /// Of each media thread, by its id.
    workers: HashMap<String, u64>,
    /// Idle and all ticks of the cores that we may use.
    idle: u64,
    ticks: u64,
}

/// How busy the harness was between two readings; shares of 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Of the harness's cores, used by the harness.
    pub own: f64,
    /// Of one core, used by the busiest media thread.
    pub worker_max: f64,
    /// Of the harness's cores, used by nobody.
    pub idle: f64,
    /// Cores that the harness may use.
    pub cores: usize,
    /// The longest time, in seconds, by which it came late to its own clock.
    #[serde(default)]
    pub stall_s: f64,
}

impl Load {
    /// Below this share of idle time the harness may itself be what is slow.
    pub const IDLE_MIN: f64 = 0.2;
    /// Later than this it did not run at all for a while: its host had stopped, or was too full.
    pub const STALL_S_MAX: f64 = 0.5;

    /// Whether the harness may have been the bottleneck, and which sign says so.
    pub fn bottleneck(&self) -> Option<String> {
        if self.stall_s > Self::STALL_S_MAX {
            return Some(format!("it stood still for {:.1} s", self.stall_s));
        }
        if self.worker_max > 1.0 - Self::IDLE_MIN {
            let percent = self.worker_max * 100.0;
            return Some(format!("one of its threads used {percent:.0} % of a core"));
        }
        if self.idle < Self::IDLE_MIN {
            let (percent, own) = (self.idle * 100.0, self.own * 100.0);
            return Some(format!(
                "its cores were idle for {percent:.0} % only (the harness itself used {own:.0} %)"
            ));
        }
        None
    }
}

impl Own {
    /// Reads our own threads, and the idle time of our cores.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let mut workers = HashMap::new();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            if stat.contains(&format!("({THREAD}")) {
                let id = task.file_name().to_string_lossy().into_owned();
                workers.insert(id, cpu_us(&stat).unwrap_or(0));
            }
        }
        let spent = Spent::of(&cores());
        let (idle, ticks) = (spent.idle, spent.all);
        Own { at: Instant::now(), cpu_us: cpu_us(&stat).unwrap_or(0), workers, idle, ticks }
    }

    /// What was used since an `earlier` reading.
    pub fn since(&self, earlier: &Own) -> Load {
        let wall_us = self.at.saturating_duration_since(earlier.at).as_micros().max(1) as f64;
        let cores = cores().len().max(1);
        let worker = |(id, cpu): (&String, &u64)| {
            cpu.saturating_sub(earlier.workers.get(id).copied().unwrap_or(0)) as f64 / wall_us
        };
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        let idle = self.idle.saturating_sub(earlier.idle) as f64;
        Load {
            own: self.cpu_us.saturating_sub(earlier.cpu_us) as f64 / wall_us / cores as f64,
            worker_max: self.workers.iter().map(worker).fold(0.0, f64::max),
            // Too short a time shows no tick.
            idle: if ticks == 0 { 1.0 } else { idle / ticks as f64 },
            cores,
            stall_s: 0.0,
        }
    }
}

/// The cores that this process may use.
pub fn cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => vec![0],
    }
}

/// Ticks of some cores since the host's start, `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In processes and in the kernel for them.
    pub work: u64,
    /// In interrupts, as far as the kernel keeps them apart.
    pub interrupts: u64,
    /// Taken by the host.
    pub stolen: u64,
    /// Nothing to do. Time stolen by the host is not idle.
    pub idle: u64,
    /// All of them.
    pub all: u64,
}

impl Spent {
    /// Reads them.
    pub fn of(cores: &[usize]) -> Self {
        Spent::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), cores)
    }

    fn parse(stat: &str, cores: &[usize]) -> Self {
        let mut spent = Spent::default();
        for core in cores {
            let name = format!("cpu{core} ");
            let Some(line) = stat.lines().find_map(|line| line.strip_prefix(&name)) else {
                continue;
            };
            let fields: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            // user nice system idle iowait irq softirq steal; guests are counted in user already.
            let sum = |range: std::ops::Range<usize>| {
                fields.iter().skip(range.start).take(range.len()).sum::<u64>()
            };
            spent.work += sum(0..3);
            spent.idle += sum(3..5);
            spent.interrupts += sum(5..7);
            spent.stolen += sum(7..8);
            spent.all += sum(0..8);
        }
        spent
    }
}

/// How busy the servers' own cores were, where the harness gave them some; shares of 0 to 1 of all of
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerCores {
    /// How many.
    pub count: usize,
    /// With the server.
    pub server: f64,
    /// With other processes: they take the server's turn and its caches.
    pub others: f64,
    /// With interrupts.
    pub interrupts: f64,
    /// Taken by the host.
    pub stolen: f64,
}

impl ServerCores {
    /// More work of others than this on the servers' cores is said to spoil a run.
    pub const OTHERS_MAX: f64 = 0.1;

    /// What happened between two readings, in which the server used `server_us`.
    pub fn between(count: usize, first: &Spent, last: &Spent, server_us: f64) -> Self {
        let all = last.all.saturating_sub(first.all);
        if all == 0 {
            // Too short a time shows no tick.
            return ServerCores { count, ..ServerCores::default() };
        }
        let share = |last: u64, first: u64| last.saturating_sub(first) as f64 / all as f64;
        let all_us = all as f64 * 1e6 / rustix::param::clock_ticks_per_second().max(1) as f64;
        let server = server_us / all_us;
        ServerCores {
            count,
            server,
            others: (share(last.work, first.work) - server).max(0.0),
            interrupts: share(last.interrupts, first.interrupts),
            stolen: share(last.stolen, first.stolen),
        }
    }

    /// What spoilt the run, if anything did.
    pub fn spoilt(&self) -> Option<String> {
        let percent = |share: f64| share * 100.0;
        if self.others > Self::OTHERS_MAX {
            return Some(format!(
                "other processes used {:.0} % of the server's cores",
                percent(self.others)
            ));
        }
        (self.stolen > Self::OTHERS_MAX).then(|| {
            format!("the host took {:.0} % of the server's cores away", percent(self.stolen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_with_an_odd_name() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 0 1 2 3 4 150 50 0 0 20 0 1 0 9";
        assert_eq!(after_name(stat).and_then(|mut fields| fields.nth(1)), Some("3"));
        let tick = 1_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_us(stat), Some(200 * tick));
        assert_eq!(cpu_us("7 (x"), None);
    }

    #[test]
    fn this_process_is_found_with_its_child() {
        let own = usage(&[std::process::id()]).expect("we are here");
        assert!(own.rss > 100_000 && own.threads >= 1, "{own:?}");
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat is everywhere");
        let family = usage(&[std::process::id()]).expect("we are here");
        assert!(family.processes > own.processes.min(1), "{family:?}");
        let twice = usage(&[std::process::id(), child.id()]).expect("both are here");
        assert_eq!(twice.processes, family.processes, "a child is counted once");
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        // Above every system's highest pid.
        assert_eq!(usage(&[u32::MAX]), None);
    }

    #[test]
    fn others_on_the_servers_cores_are_seen() {
        let stat = "cpu  1 1 1 1 1 1 1 1\ncpu0 100 0 100 700 0 0 50 50 0 0\ncpu1 9 9 9 9 9 9 9 9\n";
        let last = Spent::parse(stat, &[0]);
        let want = Spent { work: 200, interrupts: 50, stolen: 50, idle: 700, all: 1_000 };
        assert_eq!(last, want);
        assert_eq!(Spent::parse(stat, &[7]), Spent::default());
        let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        for (server_ticks, spoilt) in [(190.0, false), (50.0, true), (400.0, false)] {
            let cores = ServerCores::between(1, &Spent::default(), &last, server_ticks * tick_us);
            assert_eq!(cores.spoilt().is_some(), spoilt, "{cores:?}");
            assert!((cores.server - server_ticks / 1_000.0).abs() < 1e-6, "{cores:?}");
        }
    }

    #[test]
    fn the_exact_time_on_a_core() {
        assert_eq!(ran_us("123456789 5 6\n"), Some(123_456));
        assert_eq!(ran_us(""), None);
    }

    #[test]
    fn a_busy_harness_is_seen() {
        let rows = [
            (0.5, 0.4, 0.6, 0.1, false),
            (0.5, 0.9, 0.6, 0.0, true),
            (0.5, 0.4, 0.1, 0.0, true),
            (0.5, 0.4, 0.6, 3.0, true),
            (0.0, 0.0, 1.0, 0.0, false),
        ];
        for (own, worker_max, idle, stall_s, want) in rows {
            let load = Load { own, worker_max, idle, cores: 1, stall_s };
            assert_eq!(load.bottleneck().is_some(), want, "{load:?}");
        }
    }
}
