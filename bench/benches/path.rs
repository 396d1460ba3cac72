//! The stops of one packet that are ours alone: no socket, no sealing, no thread.
//!
//! Figures are for one packet unless the name says otherwise; `Throughput` counts what a fan-out hands
//! out. Sealing and the kernel cost far more, and belong to the load harness.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use antipode_base::ids::ShardId;
use antipode_base::media::Codec;
use antipode_bench::{PAYLOAD, VP8_KEYFRAME, packet, ports};
use antipode_core::bench::{Demultiplexer, Fanout};
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

criterion_group!(benches, ring_hop, fan_out, demultiplex, glance);
criterion_main!(benches);
