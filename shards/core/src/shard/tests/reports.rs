//! What peers are told of their streams, and what proves that they are there.

use std::collections::HashSet;

use antipode_base::limits::TURN_TIMERS_MAX;

use super::*;
use crate::timers::{Alarm, FAR, Reason};

/// The SSRC and the index (RFC 3711 §3.4) of RTCP that was sealed with AES-GCM: with the key of the
/// session they are the nonce (RFC 7714 §9.1).
fn nonce(sealed: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes(sealed[at..at + 4].try_into().unwrap());
    (word(4), word(sealed.len() - 4) & !(1 << 31))
}

#[test]
fn no_two_reports_of_a_connection_are_sealed_with_one_nonce() {
    let mut scene = Scene::new();
    for n in [0, 1] {
        scene.open(n);
        let track = n as u64 + 1;
        scene.publish(n, track, Kind::Video, "cam");
    }
    scene.subscribe(0, 2, Kind::Video);
    scene.subscribe(1, 1, Kind::Video);
    for n in [0, 1] {
        let sections = [
            (MediaKind::Video, Direction::SendOnly, "cam"),
            (MediaKind::Video, Direction::RecvOnly, "x"),
        ];
        scene.offer(n, &sections);
    }
    scene.pass(Duration::from_millis(500));
    let mids = [0, 1].map(|n| scene.mid(n));
    for seq in 1..200 {
        for (n, mid) in mids.iter().enumerate() {
            scene.send(n, *mid, seq, if seq == 1 { KEY } else { DELTA });
        }
        scene.pass(Duration::from_millis(50));
    }
    for client in &scene.clients {
        assert!(client.packets.len() > 190, "{}", client.packets.len());
        let heard = client.packets[0].header.ssrc;
        let nonces: Vec<_> = client.reports.iter().map(|sealed| nonce(sealed)).collect();
        let of_stream = nonces.iter().filter(|(ssrc, _)| *ssrc == *heard).count();
        assert!(of_stream >= 5, "reports on what it gets: {nonces:?}");
        assert!(nonces.len() > of_stream, "and on what it sends: {nonces:?}");
        let distinct: HashSet<_> = nonces.iter().collect();
        assert_eq!(distinct.len(), nonces.len(), "{nonces:?}");
    }
}

#[test]
fn who_sends_or_reports_is_there_without_a_check() {
    let mut scene = Scene::new();
    for n in [0, 1, 2] {
        scene.open(n);
    }
    scene.publish(0, 1, Kind::Video, "cam");
    scene.subscribe(1, 1, Kind::Video);
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    scene.offer(1, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.offer(2, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.pass(Duration::from_millis(500));
    let mid = scene.mid(0);
    scene.clients.iter_mut().for_each(|client| client.unchecked = true);
    scene.clients[2].astray = true;
    for seq in 1..320 {
        scene.send(0, mid, seq, if seq == 1 { KEY } else { DELTA });
        scene.pass(Duration::from_millis(100));
    }
    let ended: Vec<_> = scene
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::SessionEnded { session, .. } => Some(session.0),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [3], "it alone said nothing for 30 s");
}

#[test]
fn who_only_watches_never_offers_and_stays() {
    let mut scene = Scene::new();
    for (n, role) in [Role::Publish, Role::Both].into_iter().enumerate() {
        let address = SocketAddr::from(([10, 0, 1, n as u8 + 1], 5_000));
        scene.open_as(n, role, Transport::Udp, address);
    }
    scene.pass(CONNECT_TIMEOUT + Duration::from_secs(1));
    let ended = |n| {
        let is = |notice: &&Notice| matches!(notice, Notice::SessionEnded { session: id, .. } if *id == n);
        scene.notices.iter().filter(is).count()
    };
    assert_eq!((ended(session(0)), ended(session(1))), (0, 1));
}

#[test]
fn a_publisher_learns_when_its_packets_came_and_not_when_they_were_read() {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.clients[0].heard.clear();
    for (seq, ago) in [(1, 40), (2, 25), (3, 0)] {
        scene.clients[0].ago = Duration::from_millis(ago);
        scene.send(0, mid, seq, if seq == 1 { KEY } else { DELTA });
    }
    scene.pass(Duration::from_millis(100));
    let of = |report: &Rtcp| match report {
        Rtcp::Twcc(feedback) => Some(feedback.clone().into_iter(scene.now, 0.into())),
        _ => None,
    };
    let arrivals = scene.clients[0].heard.iter().filter_map(of).flatten();
    let arrivals = arrivals.filter_map(|(_, _, at)| at);
    let arrivals: Vec<_> = arrivals.collect();
    let gaps: Vec<_> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(gaps, [15, 25], "of packets that one turn took in");
}

#[test]
fn what_a_viewer_cannot_decode_is_dropped_once_and_not_counted_as_sent() {
    let mut scene = Scene::new();
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    let rtc = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_h264(true).build(scene.now);
    let place = (Transport::Udp, SocketAddr::from(([10, 0, 1, 2], 5_000)));
    scene.open_with(1, Role::Both, rtc, place);
    scene.subscribe(1, 1, Kind::Video);
    scene.offer(1, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.pass(Duration::from_millis(500));
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    let stats = scene.shard.stats();
    assert_eq!((stats.packets_in, stats.packets_out), (1, 0));
    assert_eq!(stats.drops.get(DropReason::CodecNotNegotiated), 1);
    assert!(scene.clients[1].packets.is_empty());
}

#[test]
fn what_becomes_due_before_a_beat_does_not_wait_for_it() {
    let mut scene = call();
    let deadlines = |scene: &Scene| {
        let Alarm { at, due, .. } = scene.shard.sessions[1].armed.next().expect("it is armed");
        (at, due)
    };
    let found = (0..500).any(|_| {
        scene.pass(Duration::from_millis(10));
        let now = scene.now;
        scene.shard.guarded(1, now, |session, _, _| session.want_allocation(now + FAR));
        let (beat, due) = deadlines(&scene);
        due == scene.shard.sessions[1].deadline && beat > due + Duration::from_millis(20)
    });
    assert!(found, "a deadline that was far waits for a beat behind it");
    // The deadline is past, its beat is not.
    let (beat, due) = deadlines(&scene);
    scene.now = due + Duration::from_millis(1);
    let soon = scene.now + Duration::from_millis(5);
    assert!(soon < beat);
    let now = scene.now;
    scene.shard.guarded(1, now, |session, _, _| session.want_allocation(soon));
    // It is in line for the end of the turn.
    assert!(scene.shard.sessions[1].queued);
    scene.settle();
    let next = scene.shard.sessions[1].armed.next().map(|next| next.at);
    assert!(next.is_some_and(|at| at > scene.now));
}

/// To be woken costs more than what there is to do: it is done with the next picture.
#[test]
fn between_two_pictures_nothing_wakes_a_shard() {
    let (mut scene, gap) = (call(), Duration::from_millis(40));
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    let mut woken = 0;
    for seq in 2..=400 {
        scene.pass(gap);
        scene.send(0, mid, seq, DELTA);
        let next = scene.now + gap;
        // Connections that are new have more to do.
        woken += usize::from(seq > 150 && scene.shard.deadline().is_some_and(|at| at < next));
    }
    assert!(woken <= 5, "{woken} times in ten seconds");
    assert!(scene.clients[0].heard.iter().any(|report| matches!(report, Rtcp::Twcc(_))));
}

#[test]
fn sessions_leave_no_timers_behind() {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    let mut most = 0;
    for seq in 2..150 {
        scene.pass(Duration::from_millis(30));
        scene.send(0, mid, seq, DELTA);
        // Those of the beginning fire for seconds.
        most = most.max(if seq < 110 { 0 } else { scene.shard.timers.len() });
    }
    let sessions = scene.shard.sessions.len();
    assert!(most <= 2 * sessions + 1, "{most} for {sessions} sessions, and one for the levels");
}

#[test]
fn a_turn_fires_some_of_many_timers_and_says_that_there_are_more() {
    let mut scene = Scene::new();
    let now = scene.now;
    for track in 0..=TURN_TIMERS_MAX as u64 {
        scene.shard.timers.set(now, Reason::Demand(TrackId(track)));
    }
    scene.shard.flush(now);
    assert_eq!(scene.shard.deadline(), Some(now), "one is left, and due");
    scene.shard.flush(now);
    assert_eq!(scene.shard.deadline(), None);
}

/// How often the quality of each session is told within so many seconds, without a word of its client.
fn told(scene: &mut Scene, n: usize, seconds: u64) -> usize {
    scene.clients.iter_mut().for_each(|client| client.unchecked = true);
    scene.notices.clear();
    scene.pass(Duration::from_secs(seconds));
    let of = |notice: &&Notice| matches!(notice, Notice::Quality(quality) if quality.session == session(n));
    scene.notices.iter().filter(of).count()
}

#[test]
fn a_session_in_which_nothing_happens_is_looked_after_half_as_often() {
    const SECONDS: u64 = 24;
    let looks = SECONDS / antipode_base::limits::QUALITY_INTERVAL.as_secs();
    // Who publishes, and who would see it if there were a picture.
    for (n, often) in [(0, looks..=looks + 1), (1, looks / 2..=looks / 2 + 1)] {
        let told = told(&mut call(), n, SECONDS) as u64;
        assert!(often.contains(&told), "session {n}: {told}");
    }
}
