//! Instructions of the stops of one packet, counted by callgrind: the same on every run and every host,
//! where times are not.
//!
//! `cargo bench -p antipode-bench --bench instructions` wants `valgrind`. Each stop runs in a process of
//! its own, once with a few rounds and once with more; the difference has neither start nor set-up:
//!
//! ```text
//!   (instructions of 300 rounds - instructions of 100 rounds) / 200 / packets of a round
//! ```
//!
//! What the kernel does is not counted, and valgrind hides vector instructions that it does not know
//! (VAES, AVX-512), so sealing is counted on the way that older processors take.

use std::hint::black_box;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::Instant;

use antipode_base::ids::ShardId;
use antipode_base::limits::BENCH_SOCKET_BUFFER;
use antipode_base::media::Codec;
use antipode_bench::{PAYLOAD, VP8_KEYFRAME, packet, ports};
use antipode_core::bench::{Demultiplexer, Fanout};
use antipode_relay::parcel::Parcel;
use antipode_runtime::udp::{Trains, open};
use str0m::crypto::{AeadAes128Gcm, from_feature_flags};

/// Rounds of the two runs.
const ROUNDS: [u64; 2] = [100, 300];
/// Datagrams of a train and peers that one send serves.
const TRAIN: usize = 8;
const PEERS: usize = 4;
const VIEWERS: usize = 100;
const PARCELS: u64 = 32;
/// An RTP header with one extension.
const HEADER: usize = 20;

/// Name, packets of a round, and what a process runs so many rounds of.
type Stop = (&'static str, u64, fn(u64));

const STOPS: [Stop; 7] = [
    ("ring: one parcel there", 1, |rounds| ring(rounds, 1)),
    ("ring: each of 32 in a turn", PARCELS, |rounds| ring(rounds, PARCELS)),
    ("demux: one RTP datagram among 1,000 sessions", 1, demux),
    ("glance: one VP8 payload", 1, glance),
    ("fan-out: select and rewrite for one of 100 viewers", VIEWERS as u64, fan_out),
    ("seal: 1,100 bytes with AES-128-GCM", 1, seal),
    ("trains: one of 8 datagrams of a segmented send", (TRAIN * PEERS) as u64, trains),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["--stop", index, rounds] => {
            let (index, rounds) = (index.parse::<usize>(), rounds.parse::<u64>());
            let (_, _, run) = STOPS[index.expect("main made it")];
            run(rounds.expect("main made it"));
            ExitCode::SUCCESS
        }
        _ if args.contains(&"--bench") => count(),
        // As a test: each once.
        _ => {
            STOPS.iter().for_each(|(_, _, run)| run(1));
            ExitCode::SUCCESS
        }
    }
}

fn count() -> ExitCode {
    for (index, (name, packets, _)) in STOPS.iter().enumerate() {
        let counted: Result<Vec<u64>, String> =
            ROUNDS.iter().map(|rounds| instructions(index, *rounds)).collect();
        match counted {
            Ok(runs) => {
                let rounds = (ROUNDS[1] - ROUNDS[0]) * packets;
                let each = runs[1].saturating_sub(runs[0]) as f64 / rounds as f64;
                let _ = writeln!(std::io::stdout(), "{name:56}{each:10.1} instructions");
            }
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "{name}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Of one process.
fn instructions(index: usize, rounds: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own);
    valgrind.args(["--stop", &index.to_string(), &rounds.to_string()]);
    let output = valgrind.output().map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let counted = collected.and_then(|(_, count)| count.trim().parse().ok());
    counted.filter(|_| output.status.success()).ok_or_else(|| {
        let last = said.lines().last().unwrap_or("nothing");
        format!("valgrind ended with {} and said: {last}", output.status)
    })
}

fn ring(rounds: u64, parcels: u64) {
    let [mut from, mut to] = ports();
    let sample = packet(1, Instant::now());
    for _ in 0..rounds {
        for _ in 0..parcels {
            let sent = from.send(ShardId(1), Parcel::Media(sample.clone()));
            assert!(sent.is_ok(), "the ring is drained each time");
        }
        from.flush();
        to.drain(|_, parcel| drop(black_box(parcel)));
    }
}

fn demux(rounds: u64) {
    let address = |n: u16| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 5_000));
    let addresses: Vec<SocketAddr> = (0..1_000).map(address).collect();
    let demux = Demultiplexer::new(&addresses);
    let mut rtp = vec![0; PAYLOAD];
    rtp[0] = 0x80;
    for round in 0..rounds {
        let source = addresses[round as usize % addresses.len()];
        assert!(demux.finds(black_box(source), black_box(&rtp)), "it is one of them");
    }
}

fn glance(rounds: u64) {
    for _ in 0..rounds {
        let read = antipode_core::fuzz::glance(Codec::Vp8, black_box(&VP8_KEYFRAME));
        assert!(black_box(read).is_some(), "it is VP8");
    }
}

fn fan_out(rounds: u64) {
    let mut next = packet(1, Instant::now());
    let mut fanout = Fanout::new(VIEWERS, &next);
    for _ in 0..rounds {
        next.ext_seq += 1;
        assert_eq!(fanout.forward(black_box(&next)), VIEWERS, "every viewer gets it");
    }
}

fn seal(rounds: u64) {
    let gcm = from_feature_flags().srtp_provider.aead_aes_128_gcm();
    let mut cipher = gcm.create_cipher([7; 16], true);
    let plain = vec![0x55; PAYLOAD];
    let mut datagram = vec![0x80; HEADER + PAYLOAD + AeadAes128Gcm::TAG_LEN];
    for round in 0..rounds {
        let iv = AeadAes128Gcm::rtp_iv([9; 12], 1, 0, round as u16);
        let (header, body) = datagram.split_at_mut(HEADER);
        let sealed = cipher.encrypt(&iv, header, black_box(&plain), body);
        black_box(sealed).expect("the room is that of the text and its tag");
    }
}

fn trains(rounds: u64) {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let socket = || open(any, BENCH_SOCKET_BUFFER).expect("a UDP socket");
    let (sender, peers) = (socket(), [(); PEERS].map(|()| socket()));
    let address = |peer: &socket2::Socket| {
        peer.local_addr().expect("it is bound").as_socket().expect("an address of IP")
    };
    let addresses: Vec<SocketAddr> = peers.iter().map(address).collect();
    let datagram = vec![0x80; HEADER + PAYLOAD + AeadAes128Gcm::TAG_LEN];
    let mut trains = Trains::new(any, &addresses, TRAIN, &datagram);
    for _ in 0..rounds {
        trains.send(&sender).expect("the kernel takes segmented sends");
    }
}
