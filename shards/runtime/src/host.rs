//! What the host grants: asked by `antipode doctor`, and by a node before it starts.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use antipode_base::limits::SHARDS_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::net::{socket, steer, stun, sys};
use crate::tcp::listener;

/// glommio refuses to start an executor below this, in bytes.
const MEMLOCK_MIN: u64 = 512 * 1024;
/// A node needs few descriptors; signaling needs one per client.
const NOFILE_WANTED: u64 = 65_536;
/// UDP_GRO and an io_uring that waits well.
const KERNEL_WANTED: (u32, u32) = (5, 11);

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// A node does not start like this.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How good it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub mend: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, level: Level::Ok, found: found.into(), mend: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { name, level: Level::Warn, found: found.into(), mend: mend.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { name, level: Level::Fail, found: found.into(), mend: mend.into() }
    }
}

/// Everything that a node with this configuration would meet, in the order of a start.
pub fn checks(config: &NodeConfig) -> Vec<Check> {
    vec![
        kernel(),
        cores(config),
        numa(),
        memlock(),
        nofile(),
        io_uring(),
        udp_buffers(config.media),
        nic_queues(),
        ebpf(),
        media_port(config.media),
        tcp_media(config.tcp),
        candidates(config),
    ]
}

/// Whether a TCP port, as those of HTTP and ICE-TCP, can be listened on; `field` names it.
pub fn tcp_port(name: &'static str, field: &str, address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) => Check::fail(
            name,
            format!("{address}: {error}"),
            format!("stop what has it (`ss -ltnp 'sport = :{}'`), or set {field}", address.port()),
        ),
    }
}

/// Raises the soft limits of this process to what it may have.
pub(crate) fn raise_limits() {
    for (resource, name) in [(Resource::Memlock, "memlock"), (Resource::Nofile, "nofile")] {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            if let Err(error) = setrlimit(resource, raised) {
                tracing::debug!(name, %error, "a limit was not raised");
            }
        }
    }
}

/// The cores of this process's affinity mask.
pub fn affinity() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// On which cores each shard runs: one each when pinned; without pinning those of the
/// configuration, or where the scheduler likes when there are none.
pub(crate) fn plan_cores(config: &NodeConfig) -> Result<Vec<Vec<usize>>, NodeError> {
    let mask = affinity().map_err(NodeError::system("reading the affinity mask"))?;
    plan(config, &mask)
}

fn plan(config: &NodeConfig, mask: &[usize]) -> Result<Vec<Vec<usize>>, NodeError> {
    let named = config.cores.as_deref();
    for (index, core) in named.unwrap_or_default().iter().enumerate() {
        if !mask.contains(core) {
            return Err(NodeError::NoSuchCore { core: *core, allowed: ranges(mask) });
        }
        if named.unwrap_or_default()[..index].contains(core) {
            return Err(NodeError::CoreTwice { core: *core });
        }
    }
    let usable = named.unwrap_or(mask);
    let shards = config.shards.map_or(usable.len().min(SHARDS_MAX), usize::from);
    let refuse = |why: String| Err(NodeError::Shards { shards, why });
    if !(1..=SHARDS_MAX).contains(&shards) {
        return refuse(format!("1 to {SHARDS_MAX} are possible"));
    }
    if !config.pin {
        return Ok(vec![named.map(<[usize]>::to_vec).unwrap_or_default(); shards]);
    }
    if shards > usable.len() {
        let have = usable.len();
        return refuse(format!("but {have} cores to pin them to (or set node.pin = false)"));
    }
    Ok(usable[..shards].iter().map(|core| vec![*core]).collect())
}

/// Numbers as the kernel writes them: `0-3,8`.
fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let texts =
        runs.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    texts.collect::<Vec<_>>().join(",")
}

/// Why glommio cannot run here, and the mend.
pub(crate) fn glommio_obstacle() -> Option<(String, String)> {
    let memlock = getrlimit(Resource::Memlock).current;
    if memlock.is_some_and(|limit| limit < MEMLOCK_MIN) {
        return Some((memlock_found(memlock), MEMLOCK_MEND.to_owned()));
    }
    let error = sys::probe_io_uring().err()?;
    Some((format!("io_uring: {error}"), io_uring_mend(&error).to_owned()))
}

const MEMLOCK_MEND: &str = "raise RLIMIT_MEMLOCK to 512 KiB or more (systemd: LimitMEMLOCK=infinity; \
                            docker: --ulimit memlock=-1; shell: ulimit -l unlimited)";

fn memlock_found(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |bytes| format!("RLIMIT_MEMLOCK is {} KiB", bytes / 1024))
}

fn io_uring_mend(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "allow io_uring (sysctl kernel.io_uring_disabled=0; docker: --security-opt \
             seccomp=unconfined or a profile with io_uring_setup, _enter and _register)"
        }
        Some(libc::ENOSYS) => "run a kernel with CONFIG_IO_URING",
        _ => "free memory or locked memory for io_uring",
    }
}

fn kernel() -> Check {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    match version(&release) {
        Some(version) if version < KERNEL_WANTED => Check::warn(
            "kernel",
            release.clone(),
            "run Linux 5.11 or newer: older ones lock io_uring's memory and join no datagrams",
        ),
        _ => Check::ok("kernel", release.clone()),
    }
}

/// Major and minor of `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cores(config: &NodeConfig) -> Check {
    let mask = match affinity() {
        Ok(mask) => mask,
        Err(error) => return Check::fail("cores", error.to_string(), "allow sched_getaffinity"),
    };
    match plan(config, &mask) {
        Err(error) => Check::fail("cores", ranges(&mask), error.to_string()),
        Ok(shards) if shards.len() > mask.len() => Check::warn(
            "cores",
            format!("{} shards on cores {}", shards.len(), ranges(&mask)),
            "one shard per core is fastest; more are for tests",
        ),
        Ok(shards) => Check::ok("cores", format!("{} shards on {}", shards.len(), ranges(&mask))),
    }
}

fn numa() -> Check {
    let nodes = names("/sys/devices/system/node")
        .into_iter()
        .filter(|name| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok()))
        .count();
    if nodes <= 1 {
        return Check::ok("numa", "one memory node");
    }
    Check::warn(
        "numa",
        format!("{nodes} memory nodes"),
        "run one `antipode node` per memory node, each with the cores (--cores) of the one that its \
         network card hangs on",
    )
}

fn memlock() -> Check {
    let limit = getrlimit(Resource::Memlock);
    let best = if limit.maximum.is_none() { None } else { limit.current.max(limit.maximum) };
    if best.is_some_and(|bytes| bytes < MEMLOCK_MIN) {
        return Check::warn(
            "memlock",
            memlock_found(best),
            format!("{MEMLOCK_MEND}; or epoll it is"),
        );
    }
    Check::ok("memlock", memlock_found(best))
}

fn nofile() -> Check {
    let limit = getrlimit(Resource::Nofile).maximum;
    let found = limit.map_or("unlimited".to_owned(), |count| count.to_string());
    if limit.is_some_and(|count| count < NOFILE_WANTED) {
        let mend = format!("raise RLIMIT_NOFILE to {NOFILE_WANTED} (systemd: LimitNOFILE=)");
        return Check::warn("nofile", found, mend);
    }
    Check::ok("nofile", found)
}

fn io_uring() -> Check {
    match sys::probe_io_uring() {
        Ok(()) => Check::ok("io_uring", "permitted"),
        Err(error) => {
            let mend = format!("{}; until then the node waits with epoll", io_uring_mend(&error));
            Check::warn("io_uring", error.to_string(), mend)
        }
    }
}

/// Opens a socket and asks for the buffers of a media socket: only the kernel knows what it grants.
fn udp_buffers(media: SocketAddr) -> Check {
    let granted = || -> io::Result<(usize, usize)> {
        let socket = Socket::new(Domain::for_address(media), Type::DGRAM, Some(Protocol::UDP))?;
        socket::grow_buffers(&socket, socket::BUFFER_WANTED)?;
        // The kernel doubles what it grants, for its own book-keeping (socket(7)).
        Ok((socket.recv_buffer_size()? / 2, socket.send_buffer_size()? / 2))
    };
    let sysctl = |name: &str| {
        fs::read_to_string(format!("/proc/sys/net/core/{name}"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let maxima = format!("rmem_max {}, wmem_max {}", sysctl("rmem_max"), sysctl("wmem_max"));
    match granted() {
        Err(error) => Check::fail("udp_buffers", error.to_string(), "allow UDP sockets"),
        Ok((recv, send)) => {
            let found = format!("{recv} bytes to receive, {send} to send ({maxima})");
            if recv.min(send) >= socket::BUFFER_WANTED {
                return Check::ok("udp_buffers", found);
            }
            let wanted = socket::BUFFER_WANTED;
            let mend = format!("sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}");
            Check::warn("udp_buffers", found, mend)
        }
    }
}

fn nic_queues() -> Check {
    let count = |interface: &str| {
        let queues = names(&format!("/sys/class/net/{interface}/queues"));
        queues.iter().filter(|name| name.starts_with("rx-")).count()
    };
    // Those with a device behind them: not lo, veth or bridges.
    let cards: Vec<String> = names("/sys/class/net")
        .into_iter()
        .filter(|name| fs::exists(format!("/sys/class/net/{name}/device")).unwrap_or(false))
        .map(|name| format!("{name}: {} receive queues", count(&name)))
        .collect();
    let cores = affinity().map_or(1, |mask| mask.len());
    let single = cards.iter().any(|card| card.ends_with(": 1 receive queues"));
    if single && cores > 1 {
        let mend = "ethtool -L <card> combined <cores>; else one core takes all interrupts";
        return Check::warn("nic_queues", cards.join(", "), mend);
    }
    Check::ok(
        "nic_queues",
        if cards.is_empty() { "no network card".into() } else { cards.join(", ") },
    )
}

fn ebpf() -> Check {
    match steer::probe_ebpf() {
        Ok(()) => Check::ok("ebpf", "permitted"),
        Err(error) => Check::warn(
            "ebpf",
            error.to_string(),
            "give the node CAP_BPF and CAP_NET_ADMIN; until then some datagrams hop between cores",
        ),
    }
}

fn media_port(media: SocketAddr) -> Check {
    if media.port() == 0 {
        return Check::ok("media_port", "any free one");
    }
    match socket::open_group(media, 1) {
        Ok(group) => Check::ok("media_port", format!("{} is free", group.address)),
        Err(error) => Check::fail("media_port", format!("{media}"), error.to_string()),
    }
}

fn tcp_media(tcp: Option<SocketAddr>) -> Check {
    match tcp {
        None => Check::ok("tcp_media", "off"),
        Some(at) if at.port() == 0 => Check::ok("tcp_media", "any free one"),
        Some(at) => match listener::open(at) {
            Ok((_, at)) => Check::ok("tcp_media", format!("{at} is free")),
            Err(error) => Check::fail("tcp_media", format!("{at}"), error.to_string()),
        },
    }
}

fn candidates(config: &NodeConfig) -> Check {
    let found = socket::host_addresses().and_then(|host| {
        let advertise = advertised(config, &host)?;
        socket::candidates(config.media, &advertise, config.include_loopback, &host)
    });
    match found {
        Ok(found) => {
            let texts: Vec<_> = found.iter().map(|candidate| candidate.ip().to_string()).collect();
            Check::ok("advertise", texts.join(" "))
        }
        Err(error) => Check::fail("advertise", "nothing", error.to_string()),
    }
}

/// The addresses to tell clients; empty: those of the host. Asks the STUN server, if there is one.
pub(crate) fn advertised(config: &NodeConfig, host: &[IpAddr]) -> Result<Vec<IpAddr>, NodeError> {
    let mut transaction = [0; 12];
    aws_lc_rs::rand::fill(&mut transaction)
        .map_err(|_| NodeError::system("random numbers")(io::ErrorKind::Other.into()))?;
    let server = config.stun_discover.as_deref();
    stun::addresses(server, config.media, &config.advertise, host, transaction)
}

/// Names in a folder; none when there is no such folder.
fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ControlAddress;

    fn config(shards: Option<u16>, cores: Option<Vec<usize>>, pin: bool) -> NodeConfig {
        let control = ControlAddress::Tcp("127.0.0.1:1".into());
        NodeConfig { shards, cores, pin, ..NodeConfig::new(control, b"secret".to_vec()) }
    }

    #[test]
    fn plans_cores() {
        let mask = [0, 1, 4, 5];
        type Row = (Option<u16>, Option<Vec<usize>>, bool, Result<Vec<Vec<usize>>, &'static str>);
        let each = |cores: &[usize]| Ok(cores.iter().map(|core| vec![*core]).collect());
        let rows: Vec<Row> = vec![
            (None, None, true, each(&[0, 1, 4, 5])),
            (Some(2), None, true, each(&[0, 1])),
            (Some(5), None, true, Err("4 cores to pin them to")),
            (Some(6), None, false, Ok(vec![vec![]; 6])),
            (Some(0), None, false, Err("1 to 256 are possible")),
            (Some(257), None, false, Err("1 to 256 are possible")),
            (None, Some(vec![4, 1]), true, each(&[4, 1])),
            (Some(3), Some(vec![4, 1]), false, Ok(vec![vec![4, 1]; 3])),
            (Some(3), Some(vec![4, 1]), true, Err("change --shards")),
            (None, Some(vec![4, 4]), true, Err("core 4 is named twice")),
            (
                None,
                Some(vec![0, 2]),
                true,
                Err("core 2 is not among those of this process (0-1,4-5)"),
            ),
        ];
        for (shards, cores, pin, want) in rows {
            let name = format!("{shards:?} {cores:?} {pin}");
            match (plan(&config(shards, cores, pin), &mask), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{name}"),
                (Err(got), Err(want)) => {
                    assert!(got.to_string().contains(want), "{name}: {got}");
                }
                (got, want) => panic!("{name}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn versions() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("strange"), None);
    }

    #[test]
    fn every_finding_that_is_not_well_has_a_mend() {
        let taken = socket::open_group("127.0.0.1:0".parse().unwrap(), 1).expect("a socket");
        let mut config = config(Some(9_999), None, true);
        config.media = taken.address;
        let found = checks(&config);
        for check in &found {
            assert_eq!(check.level == Level::Ok, check.mend.is_empty(), "{check:?}");
            assert!(!check.found.is_empty(), "{check:?}");
        }
        let level = |name| found.iter().find(|check| check.name == name).map(|check| check.level);
        assert_eq!(level("media_port"), Some(Level::Fail));
        assert_eq!(level("cores"), Some(Level::Fail));
        assert_eq!(level("advertise"), Some(Level::Ok));
    }
}
