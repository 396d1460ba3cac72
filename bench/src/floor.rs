//! `antipode bench floor`: what sealing and sending a packet cost on this host, with nothing around
//! them. No forwarder on this kernel and with this cipher can be cheaper.
//!
//! Each round seals one packet for each peer and segment with that peer's own key, then sends all with
//! as few `sendmmsg` as it takes, in trains (`UDP_SEGMENT`) of the row's length, over loopback.
//!
//! Without a pause all that is touched stays in the caches, and nobody reads. A load leaves pauses, after
//! which keys, buffers and what the kernel has of a peer are in main memory again: `--every` sleeps between
//! two rounds as a server does. And somebody reads what a load sends: `--read` (`peers`).

mod peers;

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use antipode_base::limits::BENCH_SOCKET_BUFFER;
use antipode_runtime::udp::{Trains, keep_whole, open};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use str0m::crypto::{AeadAes128Gcm, AeadAes128GcmCipher, from_feature_flags};

use crate::cli::FloorArgs;
use crate::error::BenchError;
use crate::floor::peers::Peers;
use crate::hosted::Cores;

/// Lengths of trains; 1 is one datagram a send.
const TRAINS: [usize; 5] = [1, 2, 4, 8, 16];
/// Of an RTP header with one extension.
const HEADER: usize = 20;
const PEERS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1_400;
/// How long each row of a load's floor is measured.
const LOAD_ROW: Duration = Duration::from_millis(500);
/// From one round to the next at least and at most: a load that sends so rarely has nothing in its caches
/// anyway.
const EVERY_MIN: Duration = Duration::from_micros(500);
const EVERY_MAX: Duration = Duration::from_millis(100);
/// The longest train of [`BYTES_MAX`] that is one datagram to the kernel (65,507 bytes).
const TRAIN_MAX: usize = 32;
/// Nearer to a whole length than this is that length.
const TRAIN_NEAR: f64 = 0.02;

/// One row: microseconds a packet, the median of its rounds and the fastest tenth.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    train: usize,
    seal_us: f64,
    send_us: f64,
    both_us: f64,
    both_us_p10: f64,
    /// Of what was sent, where somebody reads.
    read: Option<f64>,
}

/// Measures and prints.
///
/// # Errors
/// No sockets, or a file that cannot be written.
pub fn run(args: &FloorArgs) -> Result<(), BenchError> {
    let flaw = |flag, fault| Err(BenchError::Flag { flag, fault });
    if !(1..=PEERS_MAX).contains(&args.peers) {
        return flaw("--peers", format!("{}; give 1 to {PEERS_MAX}", args.peers));
    }
    if !(HEADER..=BYTES_MAX).contains(&args.bytes) {
        return flaw("--bytes", format!("{}; give {HEADER} to {BYTES_MAX}", args.bytes));
    }
    let split = || Cores::split(&args.server_cores, &crate::proc::cores());
    let cores = args.read.then(split).transpose()?;
    let FloorArgs { peers, bytes, duration, every, .. } = *args;
    let sending = Sending { peers, bytes, duration, every, readers: cores.as_ref() };
    let table = || TRAINS.iter().map(|train| sending.row(*train)).collect::<Result<Vec<Row>, _>>();
    let rows = match &cores {
        None => table()?,
        Some(cores) => cores.as_server(table)??,
    };
    let _ = write!(std::io::stdout(), "{}", text(args, &rows));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(BenchError::file(path))?;
        std::fs::write(path, json + "\n").map_err(BenchError::file(path))?;
    }
    Ok(())
}

fn text(args: &FloorArgs, rows: &[Row]) -> String {
    let pace = args.every.map_or(String::new(), |every| format!(" every {every:?}"));
    let (to, column) = if args.read { (" to peers that read", "read, %") } else { ("", "") };
    let mut text = format!(
        "{} bytes sealed with AES-128-GCM for {} peers and sent over loopback{pace}{to}, µs a packet\n\n\
         {:>8}{:>10}{:>10}{:>10}{:>16}{column:>10}",
        args.bytes, args.peers, "train", "seal", "send", "both", "fastest tenth",
    );
    text.truncate(text.trim_end().len());
    for row in rows {
        let Row { train, seal_us, send_us, both_us, both_us_p10, read } = row;
        let _ = write!(
            text,
            "\n{train:>8}{seal_us:>10.3}{send_us:>10.3}{both_us:>10.3}{both_us_p10:>16.3}"
        );
        if let Some(read) = read {
            let _ = write!(text, "{:>10.1}", read * 100.0);
        }
    }
    text + "\n"
}

/// A load, as far as it says what its packets cost at least.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Peers that are sent to.
    pub peers: usize,
    /// Mean bytes of a payload.
    pub payload: f64,
    /// Mean datagrams of a train.
    pub train: f64,
    /// Packets a second to all peers.
    pub rate: f64,
}

/// What a packet of a load costs at least, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// One train to each peer after the other without a pause.
    pub hot_us: f64,
    /// One train to each peer as often as the load has them, and sleep between.
    pub paced_us: f64,
    /// The same to peers that read. Reports from before this was measured say nothing of it.
    #[serde(default)]
    pub read_us: Option<f64>,
}

impl Load {
    /// Measures it on the servers' cores, with readers on the harness's. A train costs so much, and each of
    /// its packets so much: the cost of a packet is linear in the inverse of the length, which is what lies
    /// between two whole lengths.
    ///
    /// # Errors
    /// No sockets, no thread, or no such core.
    pub fn floor(&self, cores: &Cores) -> Result<Floor, BenchError> {
        let peers = self.peers.clamp(1, PEERS_MAX);
        let bytes = (HEADER + self.payload.max(0.0) as usize).min(BYTES_MAX);
        let train = self.train.clamp(1.0, TRAIN_MAX as f64);
        let every = Duration::try_from_secs_f64(peers as f64 * train / self.rate);
        let every = every.map_or(EVERY_MAX, |every| every.clamp(EVERY_MIN, EVERY_MAX));
        let hot = Sending { peers, bytes, duration: LOAD_ROW, every: None, readers: None };
        let paced = Sending { every: Some(every), ..hot };
        let read = Sending { readers: Some(cores), ..paced };
        cores.as_server(|| {
            Ok(Floor {
                hot_us: hot.between(train)?,
                paced_us: paced.between(train)?,
                read_us: Some(read.between(train)?),
            })
        })?
    }
}

/// One way to seal and send.
#[derive(Clone, Copy)]
struct Sending<'a> {
    peers: usize,
    bytes: usize,
    duration: Duration,
    every: Option<Duration>,
    /// Who reads, and where.
    readers: Option<&'a Cores>,
}

impl Sending<'_> {
    /// Of a packet, in trains of a length that need not be whole.
    fn between(&self, train: f64) -> Result<f64, BenchError> {
        let shorter = self.row(train as usize)?.both_us;
        if train.fract() < TRAIN_NEAR || train as usize == TRAIN_MAX {
            return Ok(shorter);
        }
        let longer = self.row(train as usize + 1)?.both_us;
        let [low, high] = [train.floor(), train.floor() + 1.0].map(f64::recip);
        let share = (low - train.recip()) / (low - high);
        Ok(shorter + (longer - shorter) * share)
    }

    fn row(&self, train: usize) -> Result<Row, BenchError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = open(any, BENCH_SOCKET_BUFFER)
            .and_then(|socket| keep_whole(&socket).map(|()| socket))
            .map_err(BenchError::host("a UDP socket"))?;
        let peers = Peers::open(self.peers, self.readers)?;
        let mut sealers = sealers(self.peers);
        let sealed = vec![0x80; self.bytes + AeadAes128Gcm::TAG_LEN];
        let mut trains = Trains::new(any, peers.addresses(), train, &sealed);
        let plain = vec![0x55; self.bytes - HEADER];
        let (mut seals, mut sends) = (Vec::new(), Vec::new());
        let packets = (self.peers * train) as f64;
        let mut next = Instant::now();
        let (until, mut sequence) = (Instant::now() + self.duration, 0_u16);
        while Instant::now() < until || seals.len() < 10 {
            if let Some(every) = self.every {
                next += every;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let began = used();
            seal(&mut sealers, &plain, train, sequence, &mut trains);
            let between = used();
            trains.send(&socket).map_err(BenchError::host("segmented sends"))?;
            seals.push(micros(between - began) / packets);
            sends.push(micros(used() - between) / packets);
            sequence = sequence.wrapping_add(1);
        }
        let sent = packets * seals.len() as f64;
        let both: Vec<f64> = seals.iter().zip(&sends).map(|(seal, send)| seal + send).collect();
        Ok(Row {
            train,
            seal_us: quantile(seals, 0.5),
            send_us: quantile(sends, 0.5),
            both_us: quantile(both.clone(), 0.5),
            both_us_p10: quantile(both, 0.1),
            read: peers.read().map(|read| read as f64 / sent),
        })
    }
}

fn sealers(peers: usize) -> Vec<Box<dyn AeadAes128GcmCipher>> {
    let provider = from_feature_flags();
    let sealer = |peer: usize| {
        let mut key = [7; 16];
        key[..8].copy_from_slice(&(peer as u64).to_be_bytes());
        provider.srtp_provider.aead_aes_128_gcm().create_cipher(key, true)
    };
    (0..peers).map(sealer).collect()
}

/// One packet for each peer and segment, each under its own nonce (RFC 7714 §8.1).
fn seal(
    sealers: &mut [Box<dyn AeadAes128GcmCipher>],
    plain: &[u8],
    train: usize,
    sequence: u16,
    trains: &mut Trains,
) {
    for (index, datagram) in trains.datagrams().enumerate() {
        let iv = AeadAes128Gcm::rtp_iv([9; 12], index as u32, 0, sequence);
        let (header, body) = datagram.split_at_mut(HEADER);
        let sealed = sealers[index / train].encrypt(&iv, header, plain, body);
        black_box(sealed).expect("the room is that of the text and its tag");
    }
}

/// CPU time of this thread: what another one does meanwhile does not count, and the way to sleep and back is
/// not the packets'.
fn used() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}

/// Of at least one value.
fn quantile(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * quantile) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(vec![3.0], 0.1), 3.0);
    }

    #[test]
    fn a_loads_floor_is_measured_between_whole_lengths_and_at_its_pace() {
        for (train, rate) in [(0.0, 0.0), (2.5, 50.0), (1e9, f64::NAN)] {
            let load = Load { peers: 2, payload: 100.0, train, rate };
            let floor = load.floor(&cores()).expect("loopback is there");
            let all = [Some(floor.hot_us), Some(floor.paced_us), floor.read_us];
            assert!(all.iter().all(|us| us.is_some_and(|us| us > 0.0 && us < 1e4)), "{floor:?}");
        }
    }

    #[test]
    fn a_row_is_measured() {
        let duration = Duration::from_millis(5);
        let sending = Sending { peers: 3, bytes: 200, duration, every: None, readers: None };
        let row = sending.row(4).expect("loopback is there");
        assert!(row.seal_us > 0.0 && row.send_us > 0.0 && row.both_us >= row.both_us_p10);
        assert!(row.read.is_none());
        let (every, cores) = (Some(Duration::from_millis(1)), cores());
        let row = Sending { every, readers: Some(&cores), ..sending }.row(4).expect("and there");
        assert!(row.read.is_some_and(|read| read > 0.0 && read <= 1.0), "{row:?}");
    }

    /// Whoever tests has one core at least.
    fn cores() -> Cores {
        let all = crate::proc::cores();
        Cores { server: all.clone(), harness: all }
    }
}
