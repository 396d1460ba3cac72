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
use antipode_relay::doorbell::Doorbell;
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

/// Packets of a picture, and from one to the next: less than what a viewer is thought to carry at first.
const PACKETS: usize = 3;
const PICTURE: Duration = Duration::from_millis(33);
/// Viewers that report in one turn.
const REPORTS: usize = 8;
/// A turn that finds nothing takes no longer.
const LOOK: Duration = Duration::from_micros(20);
/// From one parcel to the next.
const PERIOD: Duration = Duration::from_micros(700);

/// What two busy shards came to.
#[derive(Debug, Default)]
pub struct Hops {
    /// How long parcels waited to be taken in.
    pub delays: Delays,
    /// The part of its time that a shard worked; the rest it looked for work.
    pub load: f64,
}

/// How long parcels take from one of two shards to the other, each on a core of its own, neither ever
/// asleep: each sends pictures like `sample`, a keyframe, to so many viewers, who swallow and report them.
///
/// # Errors
/// What the host forbids.
pub fn hops(sample: &Packet, viewers: usize, time: Duration) -> io::Result<Hops> {
    let (_, doorbells) = make_bells(2).map_err(io::Error::other)?;
    let start = Arc::new(Barrier::new(2));
    let threads = mesh(&doorbells).into_iter().zip(0..).map(|(own, core)| {
        let (sample, start, bell) = (sample.clone(), Arc::clone(&start), doorbells[core].clone());
        thread::spawn(move || -> io::Result<Hops> {
            let shard = open(own, bell, core, sample, viewers);
            // Whoever is ready first would send to one who is not.
            start.wait();
            let (mut shard, _sink) = shard?;
            Ok(drive(&mut shard, time))
        })
    });
    let mut all = Hops::default();
    for thread in threads.collect::<Vec<_>>() {
        let one = thread.join().map_err(|_| io::Error::other("a shard panicked"))??;
        all.delays.add_all(&one.delays);
        all.load += one.load / 2.0;
    }
    Ok(all)
}

/// A shard after its first turn, and where its viewers' packets end.
fn open(
    port: Port,
    bell: Arc<Doorbell>,
    core: usize,
    sample: Packet,
    viewers: usize,
) -> io::Result<(ShardThread<Box<Crowd>>, UdpSocket)> {
    pin(&[core]).map_err(io::Error::other)?;
    let sink = UdpSocket::bind("0.0.0.0:0")?;
    let (other, to) = (ShardId(1 - core as u16), sink.local_addr()?.port());
    let birth = move |now| Box::new(Crowd::new(&sample, viewers, other, to, now));
    let mut shard = ShardThread::new(wire(port, bell)?, Box::new(birth));
    shard.turn();
    Ok((shard, sink))
}

fn drive(shard: &mut ShardThread<Box<Crowd>>, time: Duration) -> Hops {
    let until = Instant::now() + time;
    let mut worked = Duration::ZERO;
    loop {
        let turn = shard.turn().now;
        let took = turn.elapsed();
        if took > LOOK {
            worked += took;
        }
        if turn >= until {
            let load = worked.div_duration_f64(time);
            return Hops { delays: shard.stats().hops, load };
        }
    }
}

fn wire(port: Port, bell: Arc<Doorbell>) -> io::Result<Wiring> {
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
        locals: Locals::new(vec![address], &[address.ip()], address),
        claims: claims.map(Arc::new),
        port,
        inbox,
        reporter: Reporter::new(reports, control),
        bell,
        tcp: None,
    })
}

/// A shard with a publisher, whose viewers report what they got by turns.
struct Crowd {
    gallery: Gallery,
    viewers: usize,
    next: Packet,
    picture_at: Instant,
    /// The next viewer that reports.
    reporter: usize,
    other: ShardId,
    born: Instant,
    turned: Option<Instant>,
    parcel_at: Option<Instant>,
    sink: u16,
}

impl Crowd {
    fn new(sample: &Packet, viewers: usize, other: ShardId, sink: u16, now: Instant) -> Self {
        let next = Packet { arrival: now, ..sample.clone() };
        let gallery = Gallery::new(viewers, &next);
        Crowd {
            gallery,
            viewers,
            next,
            // The gallery's own time went on meanwhile.
            picture_at: now + Duration::from_secs(1),
            reporter: viewers,
            other,
            born: now,
            turned: None,
            parcel_at: None,
            sink,
        }
    }

    /// What came in with this turn.
    fn feed(&mut self, now: Instant) {
        if now >= self.picture_at {
            self.picture_at += PICTURE;
            self.next.ext_seq += PACKETS as u64;
            self.next.timestamp = self.next.timestamp.wrapping_add(3_000);
            self.next.keyframe = false;
            self.gallery.feed(&picture(&self.next, PACKETS), now);
            self.reporter = 0;
        } else if self.reporter < self.viewers {
            let end = (self.reporter + REPORTS).min(self.viewers);
            self.gallery.report(self.reporter..end);
            self.reporter = end;
        }
    }
}

impl Core for Box<Crowd> {
    fn handle(&mut self, input: Input<'_>, now: Instant) {
        self.gallery.shard().handle(input, now);
    }
    fn flush(&mut self, now: Instant) {
        // The other is there after the first turn. What comes in the midst of one asks for another flush.
        if self.turned.replace(now).is_some_and(|last| last != now) {
            self.parcel_at = self.parcel_at.or(Some(now));
            self.feed(now);
        }
        self.gallery.shard().flush(now);
    }
    fn poll(&mut self) -> Option<Output> {
        if self.parcel_at.is_some_and(|at| Instant::now() >= at) {
            self.parcel_at = Some(Instant::now() + PERIOD);
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
        Some(self.turned.unwrap_or(self.born))
    }
    fn stats(&self) -> ShardStats {
        ShardStats::default()
    }
}
