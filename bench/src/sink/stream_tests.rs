//! One receiver's stream, packet by packet.

use super::*;

const HOST: u32 = 5;

struct Scene {
    streams: Streams,
    tallies: Tallies,
}

impl Scene {
    fn new() -> Self {
        Scene { streams: Streams::default(), tallies: Tallies::new() }
    }

    /// One Opus packet: its number in the stream, its layer and its number in the layer.
    fn take(&mut self, ext_seq: u64, layer: u8, sequence: u64, spoil: impl Fn(&mut Vec<u8>)) {
        let mut datagram = vec![0x80, 111];
        datagram.extend_from_slice(&(ext_seq as u16).to_be_bytes());
        datagram.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        self.streams.see(&datagram);
        let mark = Mark { source: 1, layer, sequence, clock_ns: 1_000, host: HOST };
        let mut payload = vec![0xf8];
        mark.write(&[1; 30], &mut payload);
        spoil(&mut payload);
        let (codec, now_ns) = (Codec::Opus, 7_001_000);
        let arrival = Arrival { ssrc: 1, ext_seq, codec, payload: &payload, now_ns, host: HOST };
        self.streams.take(&arrival, &mut self.tallies);
    }

    fn counts(&self) -> Counts {
        self.streams.report("viewer")[0].counts
    }
}

#[test]
fn loss_disorder_and_duplicates_are_told_apart() {
    let mut scene = Scene::new();
    for (seq, sequence) in [(10, 0), (11, 1), (14, 4), (13, 3), (14, 4), (15, 5)] {
        scene.take(seq, 0, sequence, |_| {});
    }
    let counts = scene.counts();
    assert_eq!((counts.packets, counts.lost, counts.filled), (5, 1, 1));
    assert_eq!((counts.missed, counts.reordered), (2, 1));
    // The same datagram, seen on the wire and again behind it.
    assert_eq!(counts.duplicates, 2);
    assert_eq!(counts.withheld, 0, "what was lost was not held back");
}

#[test]
fn a_change_of_layer_is_no_loss() {
    let mut scene = Scene::new();
    for (seq, layer, sequence) in [(1, 2, 500), (2, 2, 501), (3, 0, 90), (4, 0, 91), (5, 2, 900)] {
        scene.take(seq, layer, sequence, |_| {});
    }
    let counts = scene.counts();
    assert_eq!((counts.lost, counts.switches, counts.withheld), (0, 2, 0));
}

#[test]
fn what_the_server_skips_and_renumbers_is_seen() {
    let mut scene = Scene::new();
    for (seq, sequence) in [(1, 10), (2, 11), (3, 15), (4, 16)] {
        scene.take(seq, 0, sequence, |_| {});
    }
    assert_eq!((scene.counts().lost, scene.counts().withheld), (0, 3));
}

#[test]
fn spoiled_payloads_are_counted_and_are_no_packets() {
    let mut scene = Scene::new();
    scene.take(1, 0, 0, |payload| *payload.last_mut().expect("not empty") ^= 1);
    scene.take(2, 0, 1, |payload| payload[1] = 0);
    scene.take(3, 0, 2, Vec::clear);
    scene.take(4, 0, 3, |_| {});
    let counts = scene.counts();
    assert_eq!((counts.corrupt, counts.foreign, counts.padding, counts.packets), (1, 1, 1, 1));
    let latency = scene.tallies.audio.latency.quantile_ms(0.5);
    assert!((latency - 7.0).abs() < 0.01, "{latency}");
}

#[test]
fn a_reset_forgets_counts_and_keeps_the_place() {
    let mut scene = Scene::new();
    scene.take(1, 0, 0, |_| {});
    scene.take(3, 0, 2, |_| {});
    scene.streams.reset(0);
    scene.take(4, 0, 3, |_| {});
    let counts = scene.counts();
    assert_eq!((counts.packets, counts.lost, counts.missed), (1, 0, 0));
}
