//! `antipode bench floor`: what sealing and sending a packet cost on this host, with nothing around
//! them. No forwarder on this kernel and with this cipher can be cheaper.
//!
//! Each round seals one packet for each peer and segment with that peer's own key, then sends all with
//! as few `sendmmsg` as it takes, in trains (`UDP_SEGMENT`) of the row's length, over loopback to
//! sockets that nobody reads: the kernel delivers until they are full and then drops, which costs the
//! sender about the same.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use antipode_base::limits::BENCH_SOCKET_BUFFER;
use antipode_runtime::udp::{Trains, open};
use serde::Serialize;
use socket2::Socket;
use str0m::crypto::{AeadAes128Gcm, AeadAes128GcmCipher, CryptoProvider, from_feature_flags};

use crate::cli::FloorArgs;
use crate::error::BenchError;

/// Lengths of trains; 1 is one datagram a send.
const TRAINS: [usize; 5] = [1, 2, 4, 8, 16];
/// Of an RTP header with one extension.
const HEADER: usize = 20;
const PEERS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1_400;
/// How long each of the two rows of a load's floor is measured.
const LOAD_ROW: Duration = Duration::from_millis(500);
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
    let provider = from_feature_flags();
    let rows: Vec<Row> =
        TRAINS.iter().map(|train| row(args, &provider, *train)).collect::<Result<_, _>>()?;
    let mut text = format!(
        "{} bytes sealed with AES-128-GCM for {} peers and sent over loopback, µs a packet\n\n\
         {:>8}{:>10}{:>10}{:>10}{:>16}\n",
        args.bytes, args.peers, "train", "seal", "send", "both", "fastest tenth",
    );
    for row in &rows {
        let Row { train, seal_us, send_us, both_us, both_us_p10 } = row;
        let _ = writeln!(
            text,
            "{train:>8}{seal_us:>10.3}{send_us:>10.3}{both_us:>10.3}{both_us_p10:>16.3}"
        );
    }
    let _ = write!(std::io::stdout(), "{text}");
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(BenchError::file(path))?;
        std::fs::write(path, json + "\n").map_err(BenchError::file(path))?;
    }
    Ok(())
}

/// What a packet of a load would cost on this thread's core, in microseconds: sealed and sent in trains
/// of a mean length. A train costs so much, and each of its packets so much: the cost of a packet is
/// linear in the inverse of the length, which is what lies between two whole lengths.
///
/// # Errors
/// No sockets.
pub fn cost(peers: usize, payload: f64, train: f64) -> Result<f64, BenchError> {
    let bytes = (HEADER + payload.max(0.0) as usize).min(BYTES_MAX);
    let args =
        FloorArgs { peers: peers.clamp(1, PEERS_MAX), bytes, duration: LOAD_ROW, json: None };
    let provider = from_feature_flags();
    let train = train.clamp(1.0, TRAIN_MAX as f64);
    let shorter = row(&args, &provider, train as usize)?.both_us;
    if train.fract() < TRAIN_NEAR || train as usize == TRAIN_MAX {
        return Ok(shorter);
    }
    let longer = row(&args, &provider, train as usize + 1)?.both_us;
    let [low, high] = [train.floor(), train.floor() + 1.0].map(f64::recip);
    let share = (low - train.recip()) / (low - high);
    Ok(shorter + (longer - shorter) * share)
}

fn row(args: &FloorArgs, provider: &CryptoProvider, train: usize) -> Result<Row, BenchError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = |what| move || open(any, BENCH_SOCKET_BUFFER).map_err(BenchError::host(what));
    let sender = socket("a UDP socket")()?;
    let peers: Vec<Socket> = std::iter::repeat_with(socket("a UDP socket for each peer"))
        .take(args.peers)
        .collect::<Result<_, _>>()?;
    let address = |socket: &Socket| {
        socket.local_addr()?.as_socket().ok_or(std::io::ErrorKind::Unsupported.into())
    };
    let addresses: Vec<SocketAddr> = peers
        .iter()
        .map(address)
        .collect::<Result<_, _>>()
        .map_err(BenchError::host("addresses"))?;
    let mut sealers: Vec<_> = (0..args.peers)
        .map(|peer| {
            let mut key = [7; 16];
            key[..8].copy_from_slice(&(peer as u64).to_be_bytes());
            provider.srtp_provider.aead_aes_128_gcm().create_cipher(key, true)
        })
        .collect();
    let sealed = vec![0x80; args.bytes + AeadAes128Gcm::TAG_LEN];
    let mut trains = Trains::new(any, &addresses, train, &sealed);
    let plain = vec![0x55; args.bytes - HEADER];
    let (mut seals, mut sends) = (Vec::new(), Vec::new());
    let packets = (args.peers * train) as f64;
    let (until, mut sequence) = (Instant::now() + args.duration, 0_u16);
    while Instant::now() < until || seals.len() < 10 {
        let began = Instant::now();
        seal(&mut sealers, &plain, train, sequence, &mut trains);
        let between = Instant::now();
        trains.send(&sender).map_err(BenchError::host("segmented sends"))?;
        seals.push(micros(between - began) / packets);
        sends.push(micros(between.elapsed()) / packets);
        sequence = sequence.wrapping_add(1);
    }
    let both: Vec<f64> = seals.iter().zip(&sends).map(|(seal, send)| seal + send).collect();
    Ok(Row {
        train,
        seal_us: quantile(seals, 0.5),
        send_us: quantile(sends, 0.5),
        both_us: quantile(both.clone(), 0.5),
        both_us_p10: quantile(both, 0.1),
    })
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
    fn a_loads_floor_is_measured_between_whole_lengths() {
        for train in [0.0, 1.0, 2.5, 1e9] {
            let cost = cost(2, 100.0, train).expect("loopback is there");
            assert!(cost > 0.0 && cost < 1e4, "{train}: {cost}");
        }
    }

    #[test]
    fn a_row_is_measured() {
        let args =
            FloorArgs { peers: 3, bytes: 200, duration: Duration::from_millis(5), json: None };
        let row = row(&args, &from_feature_flags(), 4).expect("loopback is there");
        assert!(row.seal_us > 0.0 && row.send_us > 0.0 && row.both_us >= row.both_us_p10);
    }
}
