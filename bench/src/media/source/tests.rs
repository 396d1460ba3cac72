//! What sources send, in virtual time.

use super::*;

fn camera(codec: Codec, bitrates: &[u32]) -> Source {
    let layer = |bitrate: &u32| Layer { bitrate: *bitrate, size: (640, 360) };
    let layers = bitrates.iter().map(layer).collect();
    Source::new(3, 1, Shape::Camera { codec, fps: 25, layers })
}

/// Runs for so many milliseconds, calling each millisecond; what came, and when.
fn run(source: &mut Source, from_ms: u64, ms: u64) -> Vec<(u64, Written)> {
    let mut all = Vec::new();
    for at in from_ms..from_ms + ms {
        let mut out = Vec::new();
        source.begin(at * 1_000_000);
        source.write(at * 1_000_000, &mut out);
        all.extend(out.into_iter().map(|written| (at, written)));
    }
    all
}

fn bits(written: &[(u64, Written)], layer: u8) -> usize {
    let of = written.iter().filter(|(_, written)| written.layer == layer);
    of.map(|(_, written)| written.payload.len() * 8).sum()
}

#[test]
fn a_camera_meets_its_bitrates() {
    for codec in [Codec::Vp8, Codec::H264] {
        let mut source = camera(codec, &[150_000, 500_000, 1_500_000]);
        let written = run(&mut source, 1, 10_000);
        for (layer, want) in [(0, 150_000), (1, 500_000), (2, 1_500_000)] {
            let rate = bits(&written, layer) / 10;
            assert!((want * 9 / 10..want * 12 / 10).contains(&rate), "{codec:?} {layer}: {rate}");
        }
        assert!(written.iter().all(|(_, written)| written.payload.len() <= PAYLOAD_MAX + 16));
    }
}

#[test]
fn marks_and_numbers_count_every_packet_of_a_layer() {
    let mut source = camera(Codec::Vp8, &[150_000, 1_500_000]);
    let written = run(&mut source, 1, 2_000);
    for layer in [0, 1] {
        let of: Vec<_> = written.iter().filter(|(_, w)| w.layer == layer).collect();
        for (count, (at, packet)) in of.iter().enumerate() {
            let body = codec::body(Codec::Vp8, &packet.payload).expect("a body");
            let mark = Mark::read(body).expect("it is ours");
            assert_eq!((mark.source, mark.layer, mark.sequence), (3, layer, count as u64));
            assert_eq!(mark.clock_ns, at * 1_000_000, "stamped when it leaves");
            assert_eq!(packet.ext_seq, of[0].1.ext_seq + count as u64);
        }
    }
    assert_eq!(source.sent(), written.len() as u64);
}

#[test]
fn a_keyframe_comes_first_and_on_request_and_is_paced() {
    let mut source = camera(Codec::Vp8, &[1_500_000]);
    run(&mut source, 1, 3_000);
    source.want_keyframe(Some(0));
    let written = run(&mut source, 3_001, 1_000);
    let is_key = |w: &Written| w.payload[0] & 0x10 != 0 && w.payload[6] & 1 == 0;
    let (at, first) = written.iter().find(|(_, w)| is_key(w)).expect("it was asked for");
    let frame: Vec<_> = written.iter().filter(|(_, w)| w.timestamp == first.timestamp).collect();
    // 75 kB, at 3.75 Mbit/s: 160 ms, in four bursts.
    assert!((60..70).contains(&frame.len()), "{}", frame.len());
    let took = frame[frame.len() - 1].0 - at;
    assert!((118..165).contains(&took), "{took} ms");
    let bursts: std::collections::BTreeSet<_> = frame.iter().map(|(at, _)| at).collect();
    assert!((4..=5).contains(&bursts.len()), "{bursts:?}");
    assert!(frame[frame.len() - 1].1.marker);
    assert_eq!(written.iter().filter(|(_, w)| is_key(w)).count(), 1);
}

#[test]
fn requests_that_come_together_make_one_keyframe() {
    let mut source = camera(Codec::H264, &[300_000]);
    let mut keyframes = 0;
    for at in 1..2_000 {
        source.want_keyframe(None);
        let written = run(&mut source, at, 1);
        keyframes += written.iter().filter(|(_, w)| w.payload[0] & 0x1f == NAL_STAP).count();
    }
    assert!((7..=8).contains(&keyframes), "{keyframes}");
}

const NAL_STAP: u8 = 24;

#[test]
fn a_microphone_sends_fifty_packets_a_second_and_pauses() {
    let mut source = Source::new(9, 1, Shape::Microphone);
    let written = run(&mut source, 1, 30_000);
    assert!((1_499..=1_500).contains(&written.len()), "{}", written.len());
    let silent = written.iter().filter(|(_, w)| w.level == Some(SILENCE)).count();
    assert!((100..900).contains(&silent), "{silent}");
    let body = |w: &Written| Mark::read(codec::body(Codec::Opus, &w.payload)?).ok();
    assert!(written.iter().all(|(_, w)| body(w).is_some()));
}

#[test]
fn a_late_source_does_not_catch_up_a_long_gap() {
    let mut source = Source::new(9, 1, Shape::Microphone);
    run(&mut source, 1, 100);
    let written = run(&mut source, 60_000, 100);
    assert!(written.len() < 40, "{}", written.len());
}
