//! What viewers report, and what is made of it.

use super::*;
use crate::rtcp::Arrival;

#[test]
fn numbers_are_found_across_their_end_and_nonsense_is_passed_over() {
    let now = Instant::now();
    let mut estimator = Estimator::default();
    for seq in 65_530..65_550 {
        estimator.sent(seq, 1_000, None, now);
    }
    assert_eq!(estimator.take_sent(65_535).map(|sent| sent.seq), Some(65_535));
    assert_eq!(estimator.take_sent(65_534).map(|sent| sent.seq), None, "passed over");
    assert_eq!(estimator.take_sent(3).map(|sent| sent.seq), Some(65_539));
    assert_eq!(estimator.take_sent(500).map(|sent| sent.seq), None, "never sent");
    let arrivals = (0..4_096).map(|n: u16| Arrival { seq: n.wrapping_mul(40_503), at: Some(0) });
    let nonsense = TransportFeedback { reference: 0, arrivals: arrivals.collect() };
    estimator.feedback(&nonsense, now);
    assert!((FLOOR..=CEILING).contains(&estimator.target));
}

#[test]
fn what_is_watched_is_missed_when_it_is_reported_lost() {
    let now = Instant::now();
    let at = |n: u64| now + Duration::from_millis(n);
    let mut estimator = Estimator::default();
    let watched = |n: u64| Some(Watched { slot: 1, seq: n as u16 }).filter(|_| n < 4);
    (0..6).for_each(|n| estimator.sent(n, 1_000, watched(n), at(n)));
    let lost = |seq| Arrival { seq, at: None };
    let arrived = |seq| Arrival { seq, at: Some(i64::from(seq) * 4) };
    let arrivals = vec![arrived(0), lost(1), arrived(2), lost(3), lost(4)];
    estimator.feedback(&TransportFeedback { reference: 0, arrivals }, at(50));
    let missed = |n| (watched(n).unwrap(), at(n));
    assert_eq!(estimator.missed(), [missed(1), missed(3)], "the fourth is not watched");
    let arrivals = vec![lost(1), arrived(5)];
    estimator.feedback(&TransportFeedback { reference: 0, arrivals }, at(100));
    assert!(estimator.missed().is_empty(), "told once");
}

#[test]
fn clocks_go_on_past_what_32_bits_of_microseconds_hold() {
    let now = Instant::now();
    let mut estimator = Estimator::default();
    estimator.sent(0, 1_000, None, now);
    let before_ms = (u64::from(u32::MAX) / 1_000 - 500) / 64 * 64;
    for n in 1..100u16 {
        let at = now + Duration::from_millis(before_ms + 10 * u64::from(n));
        estimator.sent(u64::from(n), 1_000, None, at);
        let arrivals = vec![Arrival { seq: n, at: Some(40 * i64::from(n)) }];
        let reference = (before_ms / 64) as i32;
        estimator.feedback(&TransportFeedback { reference, arrivals }, at);
        assert!(estimator.trend.queue_ms() < 0.1 && estimator.busy.idle(), "packet {n}");
    }
    let rate = estimator.arrival_rate().unwrap();
    assert!((799_000.0..801_000.0).contains(&rate), "{rate}");
    assert!(estimator.carried() > 700_000.0);
    assert_eq!(estimator.arrived.len(), 51, "of half a second");
}

#[test]
fn of_a_packet_little_is_kept() {
    assert_eq!((size_of::<Sent>(), size_of::<Arrived>()), (16, 12));
}

#[test]
fn what_a_probe_needed_of_memory_goes_back() {
    let now = Instant::now();
    let mut estimator = Estimator::default();
    let mut report = |seqs: std::ops::Range<u16>, gap_us: u64| {
        for seq in seqs.clone() {
            let at = now + Duration::from_micros(u64::from(seq) * gap_us);
            estimator.sent(u64::from(seq), 255, None, at);
        }
        let arrived = |seq| Arrival { seq, at: Some(i64::from(seq) * gap_us as i64 / 250) };
        let arrivals = seqs.map(arrived).collect();
        estimator.feedback(&TransportFeedback { reference: 0, arrivals }, now);
        (estimator.sent.capacity(), estimator.arrived.capacity())
    };
    let (sent, arrived) = report(0..1_000, 250);
    assert!(sent <= 2 * ROOM_KEPT && arrived >= 1_000, "{sent} {arrived}");
    let (_, arrived) = report(1_000..1_010, 50_000);
    assert!(arrived <= 2 * ROOM_KEPT, "{arrived}");
}

#[test]
fn what_came_at_one_time_is_not_kept_for_ever() {
    let now = Instant::now();
    let mut estimator = Estimator::default();
    for seq in 0..3 * SENT_MAX as u64 {
        estimator.sent(seq, 1_000, None, now);
        let arrival = Arrival { seq: seq as u16, at: Some(0) };
        estimator.feedback(&TransportFeedback { reference: 0, arrivals: vec![arrival] }, now);
    }
    assert_eq!(estimator.arrived.len(), SENT_MAX);
    assert!((FLOOR..=CEILING).contains(&estimator.target));
}
