//! The thread with real connections on loopback, and doubles of the shards behind its rings.

use std::io::{Read, Write};
use std::thread::{self, JoinHandle};

use super::framing::HEADER;
use super::rings::ShardEnd;
use super::*;
use crate::testing::PATIENCE;
use antipode_base::limits::{DATAGRAM_MAX, TCP_QUEUE_MAX};
use antipode_core::Transport;
use antipode_relay::doorbell::Wake;
use crossbeam_channel::Receiver;

/// Impatient, so that tests need not wait.
const PATIENCE_SHORT: Patience = Patience {
    greeting: Duration::from_millis(150),
    answer: Duration::from_millis(300),
    silence: Duration::from_millis(450),
    look: Duration::from_millis(10),
};

struct Scene {
    at: SocketAddr,
    shards: Vec<ShardEnd>,
    /// Rung for whichever shard sleeps.
    rung: EventBell,
    bells: Vec<Arc<Doorbell>>,
    reports: Receiver<TcpStats>,
    stop: StopToken,
    wake: EventBell,
    thread: Option<JoinHandle<io::Result<()>>>,
}

fn scene(patience: Patience) -> Scene {
    let (listener, at) = listener::open("127.0.0.1:0".parse().unwrap()).expect("any port");
    let ring = || EventBell::new().unwrap();
    let (rung, wake, control) = (ring(), ring(), ring());
    let make = |rung: &EventBell| Arc::new(Doorbell::new(Box::new(rung.clone())));
    let (bells, bell) = (vec![make(&rung), make(&rung)], make(&wake));
    let (rings, shards) = rings::rings(&bells, &bell);
    let (reports_tx, reports) = crossbeam_channel::bounded(1);
    let wiring = Wiring {
        listener,
        locals: Locals::new(vec![at], &[at.ip()], at),
        rings,
        bell,
        rung: wake.clone(),
        reports: reports_tx,
        control: make(&control),
    };
    let stop = StopToken::new();
    let token = stop.clone();
    let mut tcp = MediaTcp::with_patience(wiring, patience).expect("an epoll");
    let thread = Some(thread::spawn(move || tcp.run(&token)));
    Scene { at, shards, rung, bells, reports, stop, wake, thread }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.stop();
        self.wake.wake();
        let result = self.thread.take().expect("ended once").join();
        if !thread::panicking() {
            result.expect("no panic").expect("a clean end");
        }
    }
}

impl Scene {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection of which the shard has heard.
    fn greet(&mut self, shard: usize) -> TcpStream {
        let mut stream = self.connect();
        let stun = stun(shard);
        stream.write_all(&framed(&stun)).unwrap();
        let arrived = self.arrived(shard);
        assert_eq!((arrived.source, arrived.local), (stream.local_addr().unwrap(), self.at));
        assert_eq!(arrived.bytes[..], stun);
        stream
    }

    /// The next message of a shard; sleeps as a shard does.
    fn arrived(&mut self, shard: usize) -> Arrived {
        let end = Instant::now() + PATIENCE;
        let mut found = None;
        while found.is_none() {
            self.bells[shard].say_sleeping();
            if self.shards[shard].has_messages() {
                self.bells[shard].say_awake();
                // One a time: the rest stays in the ring.
                let mut first = None;
                self.shards[shard].drain(|arrived| assert!(first.replace(arrived).is_none()));
                found = first;
            } else {
                assert!(Instant::now() < end, "no message came");
                self.rung.hear();
            }
        }
        found.expect("the loop ends with one")
    }

    fn answer(&mut self, shard: usize, to: &TcpStream, bytes: &[u8]) {
        let transmit = Transmit {
            transport: Transport::Tcp,
            local: self.at,
            destination: to.local_addr().unwrap(),
            bytes: bytes.to_vec(),
        };
        assert!(self.shards[shard].send(transmit), "the ring is full");
        self.shards[shard].flush();
    }

    fn stats(&self, mut wanted: impl FnMut(&TcpStats) -> bool) -> TcpStats {
        loop {
            let stats = self.reports.recv_timeout(PATIENCE).expect("stats come each second");
            if wanted(&stats) {
                return stats;
            }
        }
    }
}

/// A binding request with a ufrag of the shard.
fn stun(shard: usize) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend_from_slice(&[7; 12]);
    bytes.extend_from_slice(&[0, 6, 0, 8]);
    bytes.extend_from_slice(format!("{shard:02x}abc:me").as_bytes());
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&framing::header(message.len()).unwrap()[..], message].concat()
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).expect("a header");
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(header))];
    stream.read_exact(&mut bytes).expect("a message");
    bytes
}

/// Waits until the other side has closed.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1_024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_connection_is_its_shards_both_ways() {
    let mut scene = scene(Patience::default());
    let mut one = scene.greet(1);
    let mut other = scene.greet(0);
    scene.answer(1, &one, b"to one");
    scene.answer(0, &other, b"to the other");
    assert_eq!(read_message(&mut one), b"to one");
    assert_eq!(read_message(&mut other), b"to the other");
    // What follows needs no name, however it is cut.
    for byte in framed(b"\x16dtls") {
        one.write_all(&[byte]).unwrap();
    }
    assert_eq!(scene.arrived(1).bytes[..], *b"\x16dtls");
    let largest = vec![0x80; DATAGRAM_MAX];
    one.write_all(&framed(&largest)).unwrap();
    assert_eq!(scene.arrived(1).bytes[..], largest);
    // Its end is seen, and what comes for it then is counted.
    scene.stats(|stats| stats.connections == 2);
    drop(other);
    scene.stats(|stats| stats.endings.get(TcpEnding::ByPeer) == 1);
    scene.answer(1, &one, b"still here");
    assert_eq!(read_message(&mut one), b"still here");
    let transmit = Transmit {
        transport: Transport::Tcp,
        local: scene.at,
        destination: scene.at,
        bytes: vec![1],
    };
    assert!(scene.shards[0].send(transmit));
    scene.shards[0].flush();
    let stats = scene.stats(|stats| stats.dropped_gone == 1);
    assert_eq!((stats.connections, stats.accepted), (1, 2));
    assert_eq!((stats.messages_in, stats.messages_out), (4, 3));
    assert_eq!(stats.bytes_out, 6 + 12 + 10 + 3 * HEADER as u64);
}

#[test]
fn who_makes_no_sense_is_closed() {
    let mut scene = scene(Patience::default());
    let rows: [(&[u8], TcpEnding); 5] = [
        (&framed(b"hello"), TcpEnding::NotOurs),
        (&framed(&stun(2)), TcpEnding::NotOurs),
        (b"GET / HTTP/1.1\r\n\r\n", TcpEnding::TooLong),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", TcpEnding::TooLong),
        (&framed(&[0x80; 40]), TcpEnding::NotOurs),
    ];
    let mut want: Vec<(TcpEnding, u64)> = Vec::new();
    for (bytes, ending) in rows {
        let mut stream = scene.connect();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:x?}");
        match want.iter_mut().find(|(known, _)| *known == ending) {
            Some((_, count)) => *count += 1,
            None => want.push((ending, 1)),
        }
    }
    // One that made sense at first.
    let mut stream = scene.greet(0);
    stream.write_all(&[0xff, 0xff, 1]).unwrap();
    assert!(is_closed(&mut stream));
    let stats = scene.stats(|stats| stats.endings.get(TcpEnding::TooLong) == 3);
    for (ending, count) in [(TcpEnding::NotOurs, 3), (TcpEnding::TooLong, 3)] {
        assert_eq!(stats.endings.get(ending), count, "{ending:?}");
    }
    assert_eq!(stats.connections, 0);
}

#[test]
fn who_is_slow_or_unknown_is_closed_in_time() {
    let mut scene = scene(PATIENCE_SHORT);
    // A byte now and then is no message.
    let mut slow = scene.connect();
    let started = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let bytes = framed(&stun(0));
    let mut sent = 0;
    let closed = loop {
        let _ = slow.write_all(&bytes[sent % bytes.len()..][..1]);
        sent += 1;
        match slow.read(&mut [0]) {
            Ok(0) => break started.elapsed(),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                break started.elapsed();
            }
            Err(_) if sent < bytes.len() - 1 => {}
            other => panic!("not closed: {other:?}"),
        }
    };
    assert!(closed >= PATIENCE_SHORT.greeting, "{closed:?}");
    scene.stats(|stats| stats.endings.get(TcpEnding::NoGreeting) == 1);
    // Nobody knows this one.
    let mut unknown = scene.greet(1);
    assert!(is_closed(&mut unknown));
    scene.stats(|stats| stats.endings.get(TcpEnding::Unanswered) == 1);
    // This one's session ends: what it says is not answered any more.
    let mut known = scene.greet(1);
    scene.answer(1, &known, b"welcome");
    assert_eq!(read_message(&mut known), b"welcome");
    assert!(is_closed(&mut known));
    let stats = scene.stats(|stats| stats.endings.get(TcpEnding::Silent) == 1);
    assert_eq!(stats.connections, 0);
}

#[test]
fn who_does_not_read_holds_up_nobody() {
    let mut scene = scene(Patience::default());
    let deaf = scene.greet(0);
    let mut well = scene.greet(0);
    // More than the kernel and the queue hold.
    let mut stats = TcpStats::default();
    let (mut round, started) = (0u32, Instant::now());
    while stats.dropped_queue_full + stats.dropped_late == 0 {
        for _ in 0..1_000 {
            scene.answer(0, &deaf, &[1; 1_200]);
        }
        round += 1;
        scene.answer(0, &well, &round.to_be_bytes());
        assert_eq!(read_message(&mut well), round.to_be_bytes());
        // Reports come once a second, however fast the rounds are.
        assert!(started.elapsed() < PATIENCE, "it takes everything: {stats:?}");
        if let Ok(newest) = scene.reports.try_recv() {
            stats = newest;
        }
    }
    // It comes back: what it finds is whole messages.
    let mut deaf = deaf;
    let stats = scene.stats(|_| true);
    for _ in 0..stats.messages_out.saturating_sub(u64::from(round)) {
        assert_eq!(read_message(&mut deaf), [1; 1_200]);
    }
    assert!(1_202 * u64::from(round) * 1_000 > TCP_QUEUE_MAX as u64);
}

#[test]
fn many_come_and_go() {
    let mut scene = scene(Patience::default());
    for round in 0..5 {
        let guests: Vec<TcpStream> = (0..20).map(|n| scene.greet(n % 2)).collect();
        scene.stats(|stats| stats.connections == 20 && stats.accepted == 20 * (round + 1));
        drop(guests);
        scene.stats(|stats| stats.connections == 0);
    }
}
