//! The harness against a known truth: a path between one of its sources and one of its sinks that
//! drops, doubles and delays, and keeps a record. What the harness reports must be that record.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antipode_bench::client::crew::{Crew, PeerHandle, Sums};
use antipode_bench::client::peer::{Publish, Wanted};
use antipode_bench::clock::{Clock, host_tag};
use antipode_bench::media::codec::Codec;
use antipode_bench::media::source::{Layer, Shape, Source};

const DELAY: Duration = Duration::from_millis(7);
const DROP_EVERY: u64 = 1_000;
const DOUBLE_EVERY: u64 = 1_300;
/// Nothing here takes so long on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a look at a socket or at a channel may last before the end of the test is seen.
const LOOK: Duration = Duration::from_millis(50);
/// What two threads on a busy machine may add to a delay.
const SCHEDULING: Duration = Duration::from_millis(6);

/// What the path did to media on the way there; sound and pictures.
#[derive(Default)]
struct Record {
    passed: [AtomicU64; 2],
    dropped: [AtomicU64; 2],
    doubled: [AtomicU64; 2],
    /// How long each datagram really took, in nanoseconds.
    delays: Mutex<Vec<u64>>,
    /// Nothing is dropped or doubled any more.
    kind: AtomicBool,
    over: AtomicBool,
}

impl Record {
    fn read(of: &[AtomicU64; 2]) -> [u64; 2] {
        [of[0].load(Ordering::Relaxed), of[1].load(Ordering::Relaxed)]
    }
}

/// Which media a datagram is, by its payload type: 0 sound, 1 pictures; no repeats, no reports.
fn media(datagram: &[u8], pictures: u8, sound: u8) -> Option<usize> {
    let (first, second) = (*datagram.first()?, *datagram.get(1)?);
    let rtp = first >> 6 == 2 && !(192..=223).contains(&second);
    match second & 0x7f {
        kind if rtp && kind == sound => Some(0),
        kind if rtp && kind == pictures => Some(1),
        _ => None,
    }
}

struct Path {
    record: Arc<Record>,
    threads: Vec<JoinHandle<()>>,
    /// Where the source sends to, and where the sink sees it come from.
    towards_source: SocketAddr,
    towards_sink: SocketAddr,
}

impl Path {
    /// `types`: payload types of pictures and of sound.
    fn open(source: SocketAddr, sink: SocketAddr, types: [u8; 2]) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_read_timeout(Some(LOOK)).expect("a timeout");
            socket
        };
        let (near, far) = (socket(), socket());
        let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        let (towards_source, towards_sink) = (address(&near), address(&far));
        let record = Arc::new(Record::default());
        let (line_tx, line) = channel();
        let copy = |socket: &UdpSocket| socket.try_clone().expect("a descriptor");
        let (near_out, far_in) = (copy(&near), copy(&far));
        let [one, two, three] = [(); 3].map(|()| Arc::clone(&record));
        let threads = vec![
            std::thread::spawn(move || take(&near, &one, &line_tx, types)),
            std::thread::spawn(move || give(&far, sink, &two, &line)),
            std::thread::spawn(move || back(&far_in, &near_out, source, &three)),
        ];
        Path { record, threads, towards_source, towards_sink }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.record.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no thread of the path fails");
        }
    }
}

type Held = (Instant, Vec<u8>);

fn take(near: &UdpSocket, record: &Record, line: &Sender<Held>, [pictures, sound]: [u8; 2]) {
    let mut buffer = [0; 2_048];
    while !record.over.load(Ordering::Relaxed) {
        let Ok((length, _)) = near.recv_from(&mut buffer) else { continue };
        let held = (Instant::now(), buffer[..length].to_vec());
        if let Some(kind) = media(&buffer[..length], pictures, sound) {
            let count = record.passed[kind].fetch_add(1, Ordering::Relaxed) + 1;
            let kind_now = record.kind.load(Ordering::Relaxed);
            if count.is_multiple_of(DROP_EVERY) && !kind_now {
                record.dropped[kind].fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if count.is_multiple_of(DOUBLE_EVERY) && !kind_now {
                record.doubled[kind].fetch_add(1, Ordering::Relaxed);
                line.send(held.clone()).expect("the other thread takes all");
            }
        }
        line.send(held).expect("the other thread takes all");
    }
}

fn give(far: &UdpSocket, sink: SocketAddr, record: &Record, line: &Receiver<Held>) {
    loop {
        match line.recv_timeout(LOOK) {
            Ok((came, datagram)) => {
                // The path itself: this is what it is to be slow.
                while let Some(rest) = (came + DELAY).checked_duration_since(Instant::now()) {
                    std::thread::park_timeout(rest);
                }
                far.send_to(&datagram, sink).expect("loopback takes it");
                let took = came.elapsed().as_nanos() as u64;
                record.delays.lock().expect("nobody panicked").push(took);
            }
            Err(_) if record.over.load(Ordering::Relaxed) => return,
            Err(_) => {}
        }
    }
}

fn back(far: &UdpSocket, near: &UdpSocket, source: SocketAddr, record: &Record) {
    let mut buffer = [0; 2_048];
    while !record.over.load(Ordering::Relaxed) {
        let Ok((length, _)) = far.recv_from(&mut buffer) else { continue };
        near.send_to(&buffer[..length], source).expect("loopback takes it");
    }
}

/// The payload type of a codec in a description.
fn payload_type(sdp: &str, codec: &str) -> u8 {
    let maps = sdp.lines().filter_map(|line| line.strip_prefix("a=rtpmap:"));
    let mut found =
        maps.filter_map(|map| map.split_once(' ').filter(|(_, name)| name.starts_with(codec)));
    found.next().expect("it was offered").0.parse().expect("a number")
}

/// A camera of 16 Mbit/s and 20 microphones: enough packets for a rare loss.
fn sources() -> Vec<Publish> {
    let layers = vec![Layer { bitrate: 16_000_000, size: (1_280, 720) }];
    let camera = Shape::Camera { codec: Codec::Vp8, fps: 30, layers };
    let shapes = std::iter::once(camera).chain(std::iter::repeat_n(Shape::Microphone, 20));
    let publish = |(index, shape)| Publish {
        track: format!("track{index}"),
        source: Source::new(index as u32, host_tag(), shape),
    };
    shapes.enumerate().map(publish).collect()
}

/// Joins two peers over the path: each sees the path's end in place of the other.
async fn join(source: &PeerHandle, sink: &PeerHandle) -> Path {
    let offer =
        source.offer(Wanted { publish: sources(), ..Wanted::default() }).await.expect("an offer");
    let types = [payload_type(&offer, "VP8"), payload_type(&offer, "opus")];
    let path = Path::open(source.local, sink.local, types);
    let place = |address: SocketAddr| format!(" {} {} ", address.ip(), address.port());
    let offer = offer.replace(&place(source.local), &place(path.towards_sink));
    let answer = sink.answer(offer).await.expect("an answer");
    let answer = answer.replace(&place(sink.local), &place(path.towards_source));
    source.accept(answer).await.expect("it fits");
    path
}

async fn until(what: &str, crew: &Crew, mut done: impl FnMut(&Sums) -> bool) -> Sums {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sums = crew.sums().await.expect("the workers are there");
        if done(&sums) {
            return sums;
        }
        let [audio, video] = [&sums.tallies.audio, &sums.tallies.video].map(|tally| tally.counts);
        assert!(Instant::now() < deadline, "{what}: {audio:?} {video:?}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn a_lossy_slow_path_is_reported_as_it_is() {
    let crew = Crew::start(2, Clock::new()).expect("threads");
    let any = "127.0.0.1:0".parse().expect("an address");
    let (source, sink) = (
        crew.open("source", any).await.expect("a peer"),
        crew.open("sink", any).await.expect("a peer"),
    );
    let path = join(&source, &sink).await;
    let record = &path.record;
    until("losses of both kinds", &crew, |_| {
        Record::read(&record.dropped).iter().all(|count| *count >= 3)
    })
    .await;
    record.kind.store(true, Ordering::Relaxed);
    let dropped = Record::read(&record.dropped);
    // A loss is seen with the next packet of its stream, and repaired a little later.
    let sums = until("what was dropped is missed", &crew, |sums| {
        let [audio, video] = [&sums.tallies.audio, &sums.tallies.video].map(|tally| tally.counts);
        [audio.missed, video.missed] == dropped && video.lost == 0
    })
    .await;
    let [audio, video] = [&sums.tallies.audio, &sums.tallies.video].map(|tally| tally.counts);
    assert_eq!(audio.lost, dropped[0], "nobody repeats sound: what was dropped is lost");
    assert_eq!(video.filled, dropped[1], "each picture packet came as a repeat");
    assert_eq!([audio.duplicates, video.duplicates], Record::read(&record.doubled));
    for counts in [audio, video] {
        assert_eq!((counts.reordered, counts.corrupt, counts.foreign), (0, 0, 0), "{counts:?}");
        assert_eq!(counts.withheld, 0, "{counts:?}");
        // 1 in 1,000; the end of the test may fall anywhere between two losses.
        assert!((0.000_7..=0.001_01).contains(&counts.loss_on_the_way()), "{counts:?}");
    }
    assert!((0.000_7..=0.001_01).contains(&audio.loss()) && video.loss() == 0.0);
    let sources: HashSet<_> = sums.streams.iter().filter_map(|stream| stream.source).collect();
    assert_eq!(sources.len(), 21, "each source is told apart");
    check_latency(&sums, record);
}

fn check_latency(sums: &Sums, record: &Record) {
    let mut delays = record.delays.lock().expect("nobody panicked").clone();
    delays.sort_unstable();
    let truth_ms = delays[delays.len() / 2] as f64 / 1e6;
    assert!(truth_ms >= DELAY.as_secs_f64() * 1e3);
    let latency = &sums.tallies.all().latency;
    let (low, middle) = (latency.quantile_ms(0.001), latency.quantile_ms(0.5));
    let most = truth_ms + SCHEDULING.as_secs_f64() * 1e3;
    assert!(low >= 6.99, "nothing is faster than the path: {low} ms");
    assert!((truth_ms - 0.01..most).contains(&middle), "{middle} ms, the path took {truth_ms} ms");
}
