//! A door for the benchmarks to what this crate keeps to itself. No part of its interface.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use antipode_base::delays::Delays;
use antipode_base::ids::{ShardId, TrackId};
use antipode_base::limits::CONTROL_CHANNEL_MAX;
use antipode_base::stats::ShardStats;
use antipode_core::bench::{Gallery, picture};
use antipode_core::{Input, Output};
use antipode_relay::mesh::{Port, mesh};
use antipode_relay::packet::Packet;
use antipode_relay::parcel::{Addressed, Note, Parcel};
use crossbeam_channel::bounded;

use crate::net::locals::Locals;
use crate::net::socket::open_group;
use crate::net::steer;
use crate::node::{make_bell, make_bells, pin};
use crate::report::Reporter;
use crate::shard_thread::{Core, ShardThread, Wiring};

/// Packets of a picture.
const PACKETS: usize = 5;
/// From one parcel to the next.
const PERIOD: Duration = Duration::from_micros(700);

/// How long parcels take from one of two shards to the other, each on a core of its own and without a
/// pause: each sends pictures like `sample`, a keyframe, to so many viewers, who swallow them, one after the other.
///
/// # Errors
/// What the host forbids; that it has a single core.
pub fn hops(sample: &Packet, viewers: usize, time: Duration) -> io::Result<Delays> {
    let sink = UdpSocket::bind("0.0.0.0:0")?;
    let port = sink.local_addr()?.port();
    let (_, doorbells) = make_bells(2).map_err(io::Error::other)?;
    let start = Arc::new(Barrier::new(2));
    let threads = mesh(&doorbells).into_iter().zip(0..).map(|(own, core)| {
        let (sample, start, bell) = (sample.clone(), Arc::clone(&start), doorbells[core].clone());
        thread::spawn(move || -> io::Result<Delays> {
            let other = ShardId(1 - core as u16);
            let pinned = pin(&[core]).map_err(io::Error::other);
            let wired = wire(own, bell);
            let birth = move |now| Box::new(Crowd::new(&sample, viewers, other, port, now));
            let mut birth = Some(birth);
            start.wait();
            pinned?;
            let until = Instant::now() + time;
            let birth = Box::new(move |now| birth.take().expect("it does not panic")(now));
            let mut shard = ShardThread::new(wired?, birth);
            while Instant::now() < until {
                shard.turn();
            }
            Ok(shard.stats().hops)
        })
    });
    let mut all = Delays::default();
    for thread in threads.collect::<Vec<_>>() {
        all.add_all(&thread.join().map_err(|_| io::Error::other("a shard panicked"))??);
    }
    Ok(all)
}

fn wire(port: Port, bell: Arc<antipode_relay::doorbell::Doorbell>) -> io::Result<Wiring> {
    let mut group = open_group((Ipv4Addr::LOCALHOST, 0).into(), 1).map_err(io::Error::other)?;
    let (_, claims) = steer::install(&mut group);
    let address = group.address;
    let (_, inbox) = bounded(CONTROL_CHANNEL_MAX);
    let (reports, _) = bounded(CONTROL_CHANNEL_MAX);
    let (_, control) = make_bell().map_err(io::Error::other)?;
    Ok(Wiring {
        socket: group.sockets.remove(0),
        patient: group.patient.pop(),
        pictures: group.pictures.pop(),
        v6: false,
        locals: Locals::new(vec![address], &[address.ip()], address.port()),
        claims: claims.map(Arc::new),
        port,
        inbox,
        reporter: Reporter::new(reports, control),
        bell,
        tcp: None,
    })
}

/// A shard whose publisher sends the next picture when all have the last.
struct Crowd {
    gallery: Gallery,
    next: Packet,
    fed: Option<Instant>,
    other: ShardId,
    parcel_at: Instant,
    sink: u16,
    born: Instant,
}

impl Crowd {
    fn new(sample: &Packet, viewers: usize, other: ShardId, sink: u16, now: Instant) -> Self {
        let next = Packet { arrival: now, ..sample.clone() };
        let gallery = Gallery::new(viewers, &next);
        Crowd { gallery, next, fed: None, other, parcel_at: now, sink, born: now }
    }
}

impl Core for Box<Crowd> {
    fn handle(&mut self, input: Input<'_>, now: Instant) {
        self.gallery.shard().handle(input, now);
    }
    fn flush(&mut self, now: Instant) {
        // What came in the midst of a turn asks for another flush, and for no other picture.
        if self.fed.replace(now) != Some(now) {
            self.next.ext_seq += PACKETS as u64;
            self.next.timestamp = self.next.timestamp.wrapping_add(3_000);
            (self.next.keyframe, self.next.arrival) = (false, now);
            self.gallery.feed(picture(&self.next, PACKETS));
        }
        self.gallery.shard().flush(now);
    }
    fn poll(&mut self) -> Option<Output> {
        if Instant::now() >= self.parcel_at {
            self.parcel_at += PERIOD;
            let parcel = Parcel::Note(Note::Unwatch { track: TrackId(u64::MAX) });
            return Some(Output::Parcel(Addressed { to: self.other, parcel }));
        }
        let mut output = self.gallery.shard().poll()?;
        if let Output::Transmit(transmit) = &mut output
            && let SocketAddr::V4(to) = transmit.destination
        {
            let [_, rest @ ..] = to.ip().octets();
            transmit.destination = ([127, rest[0], rest[1], rest[2]], self.sink).into();
        }
        Some(output)
    }
    fn reuse(&mut self, buffer: Vec<u8>) {
        self.gallery.shard().reuse(buffer);
    }
    fn deadline(&self) -> Option<Instant> {
        Some(self.born)
    }
    fn stats(&self) -> ShardStats {
        ShardStats::default()
    }
}
