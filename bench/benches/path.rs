//! The stops of one packet that are ours alone: no socket, no sealing, no thread.
//!
//! Figures are for one packet unless the name says otherwise; `Throughput` counts what a fan-out hands
//! out. Sealing and the kernel cost far more, and belong to the load harness.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::ids::ShardId;
use antipode_base::media::Codec;
use antipode_bench::{PAYLOAD, VP8_KEYFRAME, packet, ports};
use antipode_core::bench::{Demultiplexer, Fanout, Gallery, picture};
use antipode_relay::parcel::Parcel;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Into the ring and out of it, one by one and in a turn's worth. One thread does both, so that the
/// cost is that of the work and not of two cores' caches.
fn ring_hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring hop");
    for parcels in [1u64, 32] {
        let [mut from, mut to] = ports();
        let sample = packet(1, Instant::now());
        group.throughput(Throughput::Elements(parcels));
        group.bench_function(BenchmarkId::from_parameter(parcels), |bencher| {
            bencher.iter(|| {
                for _ in 0..parcels {
                    let sent = from.send(ShardId(1), Parcel::Media(sample.clone()));
                    assert!(sent.is_ok(), "the ring is drained each time");
                }
                from.flush();
                to.drain(|_, parcel| drop(black_box(parcel)))
            });
        });
    }
    group.finish();
}

/// A verdict and new numbers for every viewer of one packet.
fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for viewers in [1usize, 100, 1_000] {
        let start = Instant::now();
        let mut next = packet(1, start);
        let mut fanout = Fanout::new(viewers, &next);
        assert_eq!(fanout.forward(&next), viewers, "every viewer gets it");
        group.throughput(Throughput::Elements(viewers as u64));
        group.bench_function(BenchmarkId::from_parameter(viewers), |bencher| {
            bencher.iter(|| {
                next.ext_seq += 1;
                fanout.forward(black_box(&next))
            });
        });
    }
    group.finish();
}

/// The owner of a datagram among a thousand sessions.
fn demultiplex(criterion: &mut Criterion) {
    let address = |n: u16| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 5_000));
    let addresses: Vec<SocketAddr> = (0..1_000).map(address).collect();
    let demux = Demultiplexer::new(&addresses);
    let mut rtp = vec![0; PAYLOAD];
    rtp[0] = 0x80;
    let stun = binding(b"00777:peer");
    let mut group = criterion.benchmark_group("demultiplex");
    for (name, source, bytes, found) in [
        ("RTP", addresses[500], rtp.as_slice(), true),
        ("STUN", addresses[500], stun.as_slice(), true),
        ("RTP of a stranger", address(2_000), rtp.as_slice(), false),
    ] {
        assert_eq!(demux.finds(source, bytes), found, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| demux.finds(black_box(source), black_box(bytes)));
        });
    }
    group.finish();
}

/// A STUN binding request with a user name and nothing else (RFC 8489 §5).
fn binding(name: &[u8]) -> Vec<u8> {
    let mut attributes = vec![0, 6, 0, name.len() as u8];
    attributes.extend_from_slice(name);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    let head = [0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    [&head[..], &[7; 12], &attributes].concat()
}

/// What is read of a payload's own header.
fn glance(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload glance");
    let aggregate = [0x78, 0, 2, 0x41, 0x9a, 0, 2, 0x41, 0x9b, 0, 2, 0x67, 0x42];
    for (name, codec, payload) in
        [("VP8", Codec::Vp8, &VP8_KEYFRAME[..]), ("H264, aggregated", Codec::H264, &aggregate[..])]
    {
        let read = antipode_core::fuzz::glance(codec, payload);
        assert!(read.is_some_and(|(keyframe, _)| keyframe), "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| antipode_core::fuzz::glance(codec, black_box(payload)));
        });
    }
    group.finish();
}

/// Packets of one picture at 1.5 Mbit/s.
const PICTURE: usize = 5;
/// Between two pictures.
const GAP: Duration = Duration::from_millis(33);
/// What lies between two turns of a host that does other things meanwhile: more than a core's own cache.
const ELSEWHERE: usize = 64 << 20;

/// A camera and its viewers, picture after picture, with reports as often as browsers send them.
struct Show {
    gallery: Gallery,
    next: antipode_relay::packet::Packet,
    viewers: usize,
    elsewhere: Vec<u8>,
}

impl Show {
    fn new(viewers: usize) -> Self {
        let next = packet(1, Instant::now());
        Show { gallery: Gallery::new(viewers, &next), next, viewers, elsewhere: vec![1; ELSEWHERE] }
    }

    /// Time that a picture took, and that its reports took.
    fn turn(&mut self) -> [Duration; 2] {
        self.gallery.pass(GAP);
        self.next.keyframe = false;
        self.next.ext_seq += PICTURE as u64;
        self.next.timestamp += 3_000;
        let packets = picture(&self.next, PICTURE);
        self.leave();
        let began = Instant::now();
        let sent = black_box(self.gallery.picture(&packets));
        let pictured = began.elapsed();
        assert!(sent >= packets.len() * self.viewers, "{sent}");
        self.leave();
        let began = Instant::now();
        self.gallery.reports();
        [pictured, began.elapsed()]
    }

    fn leave(&mut self) {
        let lines = self.elsewhere.chunks_mut(64);
        lines.for_each(|line| line[0] = line[0].wrapping_add(1));
        black_box(&self.elsewhere);
    }
}

/// From a parsed packet to sealed datagrams, for each datagram; and what a report costs, sealing it at the
/// viewer's included.
fn show(criterion: &mut Criterion) {
    for (name, part, each) in [("picture", 0, PICTURE), ("report", 1, 1)] {
        let mut group = criterion.benchmark_group(name);
        for viewers in [100usize, 1_000] {
            let mut show = Show::new(viewers);
            group.throughput(Throughput::Elements((viewers * each) as u64));
            group.bench_function(BenchmarkId::from_parameter(viewers), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| show.turn()[part]).sum());
            });
            assert_eq!(show.gallery.unreported(), 0, "reports are read");
        }
        group.finish();
    }
}

criterion_group!(benches, ring_hop, fan_out, demultiplex, glance, show);
criterion_main!(benches);
