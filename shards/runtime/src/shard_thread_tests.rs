//! A shard's turn with a double of the core, and both drivers under it.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::driver::epoll::{Epoll, block_on};
use crate::driver::glommio::{self, Glommio};
use crate::driver::nap::{Apart, Nap};
use crate::driver::{self, Driver};
use crate::net::socket::open_group;
use crate::net::steer;
use crate::report::Report;
use crate::testing::{PATIENCE, open, receive};
use crate::wake::{EventBell, StopToken};
use antipode_base::ids::TrackId;
use antipode_base::limits::{
    CONTROL_CHANNEL_MAX, DATAGRAM_MAX, TURN_COMMANDS_MAX, TURN_COMMANDS_TIME,
};
use antipode_core::{Standing, Transmit};
use antipode_relay::doorbell::Wake;
use antipode_relay::mesh::mesh;
use antipode_relay::parcel::{Note, Parcel};
use crossbeam_channel::Sender;

/// Echoes datagrams, passes parcels on as notices, and panics when it is told to.
#[derive(Default)]
pub(super) struct Double {
    outputs: VecDeque<Output>,
    stats: ShardStats,
    deadline: Option<Instant>,
}

impl Core for Double {
    fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram(datagram) => {
                self.stats.datagrams_in += 1;
                assert!(datagram.bytes != b"panic" && datagram.bytes != PANIC_REPORT, "told to");
                if datagram.bytes == b"later" {
                    self.deadline = Some(now + Duration::from_millis(3));
                }
                self.outputs.push_back(Output::Transmit(Transmit {
                    transport: datagram.transport,
                    local: datagram.local,
                    destination: datagram.source,
                    bytes: datagram.bytes.to_vec(),
                }));
            }
            Input::Parcel { parcel: Parcel::Note(Note::TrackEnded { track }), .. } => {
                self.outputs.push_back(Output::Notice(Notice::TrackWatched { track }));
            }
            Input::Parcel { .. } => {}
            Input::Command(Command::CloseSession { session, .. }) => {
                let reason = EndReason::Closed;
                self.outputs.push_back(Output::Notice(Notice::SessionEnded { session, reason }));
            }
            Input::Command(Command::Offer { .. }) => thread::sleep(TURN_COMMANDS_TIME),
            Input::Command(_) => {
                let parcel = note(1);
                self.outputs.push_back(Output::Parcel(Addressed { to: ShardId(1), parcel }));
            }
        }
    }
    fn flush(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.outputs.push_back(Output::Notice(Notice::TrackWatched { track: TrackId(3) }));
        }
    }
    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    fn reuse(&mut self, _: Vec<u8>) {}
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn stats(&self) -> ShardStats {
        self.stats.clone()
    }
}

/// A small parcel with a number.
pub(super) fn note(number: u64) -> Parcel {
    Parcel::Note(Note::TrackEnded { track: TrackId(number) })
}

/// Everything around one shard of two.
pub(super) struct Scene {
    commands: Sender<Command>,
    reports: Receiver<Report>,
    bell: Arc<Doorbell>,
    rung: EventBell,
    pub(super) neighbour: Port,
    pub(super) peer: UdpSocket,
}

pub(super) fn scene() -> (Wiring, Scene) {
    let mut group = open_group("127.0.0.1:0".parse().unwrap(), 1).expect("a socket");
    let (_, claims) = steer::install(&mut group);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(group.address).unwrap();
    if let Some(claims) = &claims {
        claims.follow(ShardId(0), peer.local_addr().unwrap(), Standing::Validated);
    }
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let rung = EventBell::new().unwrap();
    let make = |rung| Arc::new(Doorbell::new(Box::new(rung)));
    let bells = [make(rung.clone()), make(EventBell::new().unwrap())];
    let mut ports = mesh(&bells).into_iter();
    let (port, neighbour) = (ports.next().unwrap(), ports.next().unwrap());
    let (commands, inbox) = crossbeam_channel::bounded(CONTROL_CHANNEL_MAX);
    let (reports_tx, reports) = crossbeam_channel::bounded(CONTROL_CHANNEL_MAX);
    let own = [group.address.ip()];
    let wiring = Wiring {
        socket: group.sockets.into_iter().next().unwrap(),
        patient: group.patient.into_iter().next(),
        pictures: group.pictures.into_iter().next(),
        v6: false,
        locals: Locals::new(vec![group.address], &own, group.address),
        claims: claims.map(Arc::new),
        port,
        inbox,
        reporter: Reporter::new(reports_tx, make(EventBell::new().unwrap())),
        bell: Arc::clone(&bells[0]),
        tcp: None,
    };
    let bell = Arc::clone(&bells[0]);
    (wiring, Scene { commands, reports, bell, rung, neighbour, peer })
}

impl Scene {
    fn notice(&self) -> Notice {
        loop {
            match self.reports.recv_timeout(PATIENCE).expect("a notice") {
                Report::Notice(notice) => return notice,
                Report::Stats(_) => {}
            }
        }
    }

    fn stats(&self, mut wanted: impl FnMut(&ShardStats) -> bool) -> ShardStats {
        loop {
            match self.reports.recv_timeout(PATIENCE).expect("stats") {
                Report::Stats(stats) if wanted(&stats) => return *stats,
                _ => {}
            }
        }
    }

    fn echo(&self, bytes: &[u8]) {
        self.peer.send(bytes).unwrap();
        let mut buffer = [0; 4_096];
        let count = receive(&self.peer, &mut buffer).0;
        assert_eq!(&buffer[..count], bytes);
    }
}

pub(super) fn double(wiring: Wiring) -> ShardThread<Double> {
    ShardThread::new(wiring, Box::new(|_| Double::default()))
}

#[test]
fn a_turn_takes_in_and_gives_out() {
    let (wiring, mut scene) = scene();
    let mut shard = double(wiring);
    // Loopback delivers within the send call: no waiting is needed.
    scene.peer.send(b"hello").unwrap();
    scene.commands.send(open(1)).unwrap();
    let watch = note(7);
    scene.neighbour.send(ShardId(0), watch).unwrap();
    assert_eq!(shard.turn().taken.urgent, 2, "a datagram and a parcel");
    let mut buffer = [0; 64];
    assert_eq!(receive(&scene.peer, &mut buffer).0, 5);
    assert_eq!(scene.notice(), Notice::TrackWatched { track: TrackId(7) });
    assert_eq!(scene.neighbour.drain(|from, _| assert_eq!(from, ShardId(0))), 1);
    assert_eq!(shard.turn().taken.urgent, 0);
    let stats = shard.stats();
    assert_eq!((stats.turns, stats.datagrams_in, stats.datagrams_out), (1, 1, 1));
    assert_eq!((stats.bytes_out, stats.trains_out), (5, 1));
}

/// Gives a parcel and ten notices, and counts the latter.
struct Counting {
    left: u32,
    given: Arc<AtomicUsize>,
}

impl Core for Counting {
    fn handle(&mut self, _: Input<'_>, _: Instant) {}
    fn flush(&mut self, _: Instant) {}
    fn poll(&mut self) -> Option<Output> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 10 {
            return Some(Output::Parcel(Addressed { to: ShardId(1), parcel: note(1) }));
        }
        self.given.fetch_add(1, Ordering::SeqCst);
        Some(Output::Notice(Notice::TrackWatched { track: TrackId(1) }))
    }
    fn reuse(&mut self, _: Vec<u8>) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn stats(&self) -> ShardStats {
        ShardStats::default()
    }
}

/// Notes how much was given when it was called.
struct Noting(Arc<AtomicUsize>, Sender<usize>);

impl Wake for Noting {
    fn wake(&self) {
        self.1.send(self.0.load(Ordering::SeqCst)).unwrap();
    }
}

#[test]
fn a_sleeping_neighbour_is_rung_before_the_rest_is_given() {
    let (mut wiring, scene) = scene();
    let given = Arc::new(AtomicUsize::new(0));
    let (noted, notes) = crossbeam_channel::unbounded();
    let neighbour = Arc::new(Doorbell::new(Box::new(Noting(Arc::clone(&given), noted))));
    neighbour.say_sleeping();
    wiring.port = mesh(&[Arc::clone(&scene.bell), neighbour]).swap_remove(0);
    let count = Arc::clone(&given);
    let birth = move |_| Counting { left: 11, given: Arc::clone(&count) };
    scene.peer.send(b"begin").unwrap();
    ShardThread::new(wiring, Box::new(birth)).turn();
    assert_eq!(given.load(Ordering::SeqCst), 10);
    assert_eq!(notes.try_iter().collect::<Vec<_>>(), [1], "the output behind the parcel");
}

#[test]
fn media_is_held_from_the_kernel_until_it_has_left() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    const WAIT: Duration = Duration::from_millis(15);
    // RTP, and what is none: RTCP, STUN and DTLS (RFC 7983 §7, RFC 5761 §4).
    for first in [[0x80, 96], [0x80, 200], [0, 1], [22, 254]] {
        scene.peer.send(&first).unwrap();
    }
    thread::sleep(WAIT);
    shard.turn();
    let held = shard.stats().held;
    assert_eq!(held.counts().iter().sum::<u64>(), 1);
    assert!(held.sum_us() >= WAIT.as_micros() as u64, "{held:?}");
    shard.turn();
    assert_eq!(shard.stats().held, held, "nothing came");
}

#[test]
fn what_is_too_long_is_counted_before_the_core() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    scene.peer.send(&[0; DATAGRAM_MAX + 1]).unwrap();
    scene.peer.send(&[0; DATAGRAM_MAX]).unwrap();
    shard.turn();
    let stats = shard.stats();
    assert_eq!((stats.datagrams_in, stats.datagrams_out), (2, 1));
    assert_eq!(stats.drops.get(DropReason::Oversized), 1);
}

#[test]
fn joined_datagrams_are_parted_again() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    crate::net::sys::set_int(scene.peer.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 100).unwrap();
    let sent: Vec<u8> = (0..250).map(|n| n as u8).collect();
    scene.peer.send(&sent).unwrap();
    shard.turn();
    assert_eq!(shard.stats().datagrams_in, 3);
    let mut back = Vec::new();
    for want in [100, 100, 50] {
        let mut buffer = [0; 512];
        let count = receive(&scene.peer, &mut buffer).0;
        assert_eq!(count, want);
        back.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(back, sent);
    assert_eq!(shard.stats().trains_out, 1, "and they leave as one train");
}

#[test]
fn a_full_ring_is_a_counted_drop() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    let over = 5;
    for session in 0..(antipode_base::limits::RING_PARCELS + over) as u64 {
        scene.commands.send(open(session)).unwrap_or_else(|_| unreachable!("it has room"));
        if session % TURN_COMMANDS_MAX as u64 == 0 {
            shard.turn();
        }
    }
    while !shard.wiring.inbox.is_empty() {
        shard.turn();
    }
    assert_eq!(shard.stats().drops.get(DropReason::RingFull), over as u64);
}

#[test]
fn a_panic_ends_the_shards_sessions_and_nothing_else() {
    let (wiring, mut scene) = scene();
    let births = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&births);
    let birth = move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Double::default()
    };
    let mut shard = ShardThread::new(wiring, Box::new(birth));
    for session in 1..=3 {
        scene.commands.send(open(session)).unwrap();
    }
    let reason = antipode_base::command::CloseReason::Left;
    scene.commands.send(Command::CloseSession { session: SessionId(2), reason }).unwrap();
    shard.turn();
    let ended = |session, reason| Notice::SessionEnded { session: SessionId(session), reason };
    assert_eq!(scene.notice(), ended(2, EndReason::Closed));
    scene.peer.send(b"panic").unwrap();
    shard.turn();
    let mut lost = [scene.notice(), scene.notice()];
    lost.sort_by_key(|notice| notice.session());
    let restarted = EndReason::ShardRestarted;
    assert_eq!(lost, [ended(1, restarted), ended(3, restarted)]);
    assert_eq!(births.load(Ordering::SeqCst), 2);
    // Socket, rings and channels go on.
    scene.peer.send(b"again").unwrap();
    scene.neighbour.send(ShardId(0), note(9)).unwrap();
    scene.commands.send(open(4)).unwrap();
    shard.turn();
    let mut buffer = [0; 64];
    assert_eq!(receive(&scene.peer, &mut buffer).0, 5);
    assert_eq!(scene.notice(), Notice::TrackWatched { track: TrackId(9) });
    let stats = shard.stats();
    assert_eq!((stats.restarts, stats.datagrams_in), (1, 2), "counters never go back");
}

/// A receiver report that is the end of a core.
const PANIC_REPORT: [u8; 4] = [0x81, 201, 0xff, 0xff];

#[test]
fn a_panic_over_a_report_leaves_its_socket_where_it_was() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    scene.peer.send(&PANIC_REPORT).unwrap();
    shard.turn();
    assert_eq!(shard.stats().restarts, 1);
    let report = [0x81, 201, 0, 1];
    scene.peer.send(&report).unwrap();
    assert_eq!(shard.turn().taken.patient, 1, "it is read as before");
    let mut buffer = [0; 64];
    assert_eq!(receive(&scene.peer, &mut buffer).0, report.len());
}

#[test]
fn commands_that_take_long_let_media_through_between() {
    let (wiring, scene) = scene();
    let mut shard = double(wiring);
    let session = SessionId(1);
    let reason = antipode_base::command::CloseReason::Left;
    for id in 0..3 {
        scene.commands.send(Command::CloseSession { session, reason }).unwrap();
        scene.commands.send(Command::Offer { session, id, sdp: String::new() }).unwrap();
    }
    for left in [4, 2, 0] {
        assert!(!shard.fall_asleep(), "there is more");
        shard.wake_up();
        shard.turn();
        assert_eq!(scene.commands.len(), left);
    }
    assert!(shard.fall_asleep());
}

#[test]
fn it_sleeps_only_without_work() {
    let (wiring, mut scene) = scene();
    let shard = double(wiring);
    assert!(shard.fall_asleep());
    shard.wake_up();
    scene.neighbour.send(ShardId(0), note(9)).unwrap();
    assert!(!shard.fall_asleep());
    shard.wake_up();
}

/// Datagrams, parcels, commands, deadlines and the stop all wake a parked shard.
fn drives(run: impl FnOnce(Wiring, EventBell, StopToken) + Send + 'static) {
    let (wiring, mut scene) = scene();
    let stop = StopToken::new();
    let (token, rung) = (stop.clone(), scene.rung.clone());
    // A port is Send; the thread makes everything else for itself.
    let thread = thread::spawn(move || run(wiring, rung, token));
    for round in 0..20u8 {
        scene.echo(&[round, 1, 2]);
        // A receiver report, on the socket for what may wait.
        scene.echo(&[0x81, 201, 0, round]);
        let track = u64::from(round) + 10;
        scene.neighbour.send(ShardId(0), note(track)).unwrap();
        scene.neighbour.flush();
        assert_eq!(scene.notice(), Notice::TrackWatched { track: TrackId(track) });
        let session = SessionId(u64::from(round));
        let reason = antipode_base::command::CloseReason::Left;
        scene.commands.send(Command::CloseSession { session, reason }).unwrap();
        scene.bell.ring_if_sleeping();
        assert_eq!(scene.notice().session(), Some(session));
        scene.echo(b"later");
        assert_eq!(scene.notice(), Notice::TrackWatched { track: TrackId(3) });
    }
    let stats = scene.stats(|stats| stats.datagrams_out == 60);
    assert_eq!(stats.datagrams_in, 60);
    stop.stop();
    antipode_relay::doorbell::Wake::wake(&scene.rung);
    thread.join().expect("it ends by itself");
}

async fn until_stop(wiring: Wiring, mut driver: impl Driver, rung: EventBell, stop: &StopToken) {
    let mut own = duplicates(&wiring).into_iter();
    let socket = own.next().unwrap();
    let apart = own.next().zip(own.next());
    let nap = Nap::new(socket, apart.map(|(patient, pictures)| Apart { patient, pictures }), rung);
    driver::drive(&mut double(wiring), &mut driver, &nap, stop).await.expect("it waits well");
}

fn duplicates(wiring: &Wiring) -> Vec<std::os::fd::OwnedFd> {
    let all = std::iter::once(&wiring.socket).chain(&wiring.patient).chain(&wiring.pictures);
    all.map(|socket| socket.as_fd().try_clone_to_owned().unwrap()).collect()
}

#[test]
fn epoll_drives_a_shard() {
    drives(|wiring, rung, stop| {
        let driver = Epoll::new(duplicates(&wiring), rung.clone()).expect("epoll");
        block_on(until_stop(wiring, driver, rung, &stop));
    });
}

#[test]
fn glommio_drives_a_shard() {
    if let Some((why, mend)) = crate::host::glommio_obstacle() {
        eprintln!("skipped: {why}; {mend}");
        return;
    }
    drives(|wiring, rung, stop| {
        glommio::executor("test").expect("an executor").run(async {
            let driver = Glommio::new(duplicates(&wiring), &rung).expect("inside an executor");
            until_stop(wiring, driver, rung, &stop).await;
        });
    });
}

#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    let group = open_group("[::]:0".parse().unwrap(), 1).expect("a socket");
    let port = group.address.port();
    let candidates: Vec<SocketAddr> = ["127.0.0.1", "127.0.0.2", "::1"]
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
        .into();
    let own: Vec<_> = candidates.iter().map(SocketAddr::ip).collect();
    let (mut wiring, _scene) = scene();
    wiring.v6 = group.address.is_ipv6();
    wiring.socket = group.sockets.into_iter().next().unwrap();
    wiring.locals = Locals::new(candidates.clone(), &own, group.address);
    let mut shard = double(wiring);
    for target in candidates {
        let Ok(peer) = UdpSocket::bind((target.ip(), 0)) else { continue };
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"who?", target).unwrap();
        shard.turn();
        let mut buffer = [0; 16];
        assert_eq!(receive(&peer, &mut buffer), (4, target));
    }
}
