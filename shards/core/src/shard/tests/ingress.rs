//! What a client publishes, and what it is told of it.

use antipode_base::notice::Quality;

use super::*;

fn drops(scene: &Scene) -> [u64; 2] {
    [DropReason::NotMedia, DropReason::UnknownSsrc]
        .map(|reason| scene.shard.stats().drops.get(reason))
}

/// Lets a datagram come from a client.
fn comes(scene: &mut Scene, n: usize, bytes: &[u8]) {
    let client = &scene.clients[n];
    let datagram = Datagram {
        transport: client.transport,
        source: client.address,
        local: SERVER.parse().unwrap(),
        bytes,
        at: scene.now,
    };
    scene.shard.handle(Input::Datagram(datagram), scene.now);
    scene.settle();
}

/// A call whose publisher has sent a keyframe.
fn begun() -> (Scene, Mid) {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    (scene, mid)
}

/// Requests for repeats that came to the publisher.
fn asked(scene: &Scene) -> usize {
    let heard = scene.clients[0].heard.iter();
    heard.filter(|report| matches!(report, Rtcp::Nack(_))).count()
}

#[test]
fn what_is_missing_is_asked_for_and_its_repeat_goes_on() {
    let (mut scene, mid) = begun();
    scene.clients[0].drops = 2;
    for seq in 2..=6 {
        scene.send(0, mid, seq, DELTA);
    }
    assert_eq!(scene.clients[0].drops, 0);
    scene.pass(Duration::from_millis(60));
    assert_eq!(asked(&scene), 1, "both in one");
    let mut numbers: Vec<u64> = scene.clients[1].packets.iter().map(|p| *p.seq_no).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    assert_eq!((numbers.len(), drops(&scene)), (6, [0, 0]));
    scene.pass(Duration::from_secs(2));
    assert_eq!(asked(&scene), 1, "they came");
    // A repeat of what was not missing is of no use to anybody.
    let repeat = scene.clients[0].sent.iter().rev().find(|sent| sent[1] & 0x7f != 96);
    let repeat = repeat.expect("repeats have another type").clone();
    comes(&mut scene, 0, &repeat);
    assert_eq!((scene.clients[1].packets.len(), drops(&scene)), (6, [1, 0]));
}

#[test]
fn what_nobody_repeats_is_given_up() {
    let (mut scene, mid) = begun();
    scene.clients[0].drops = 50;
    scene.send(0, mid, 2, DELTA);
    scene.clients[0].spared = 1;
    scene.send(0, mid, 3, DELTA);
    scene.pass(Duration::from_secs(3));
    assert_eq!(asked(&scene), 10);
    assert!(scene.clients[0].drops < 50, "it was answered, in vain");
    scene.pass(Duration::from_secs(3));
    assert_eq!((asked(&scene), scene.clients[1].packets.len()), (10, 2));
}

#[test]
fn what_was_overheard_or_changed_is_no_media() {
    let (mut scene, _) = begun();
    let sent = scene.clients[0].sent.last().expect("the keyframe").clone();
    let before = scene.shard.stats().packets_in;
    comes(&mut scene, 0, &sent);
    assert_eq!(drops(&scene), [1, 0], "it came before");
    let mut changed = sent.clone();
    // The number is another one, so it is no repeat; what it holds was sealed under the old one.
    changed[3] += 1;
    comes(&mut scene, 0, &changed);
    assert_eq!(drops(&scene), [2, 0]);
    let mut foreign = sent.clone();
    foreign[8] ^= 1;
    comes(&mut scene, 0, &foreign);
    assert_eq!(drops(&scene), [2, 1], "nothing authentic came of that stream");
    comes(&mut scene, 0, &sent[..11]);
    comes(&mut scene, 0, &sent[..20]);
    assert_eq!(drops(&scene), [4, 1]);
    // Who publishes nothing sends nothing.
    comes(&mut scene, 1, &sent);
    assert_eq!(drops(&scene), [4, 2]);
    assert_eq!((scene.shard.stats().packets_in, scene.clients[1].packets.len()), (before, 1));
}

#[test]
fn a_publisher_is_told_what_was_lost_and_tells_how_far_away_it_is() {
    let (mut scene, mid) = begun();
    for seq in 2..500 {
        scene.clients[0].drops = usize::from(seq % 4 == 0);
        scene.send(0, mid, seq, DELTA);
        scene.pass(Duration::from_millis(20));
    }
    let heard = scene.clients[0].heard.iter();
    let blocks: Vec<_> = heard
        .filter_map(|report| match report {
            Rtcp::ReceiverReport(report) => report.reports.iter().next(),
            _ => None,
        })
        .collect();
    assert!(blocks.len() >= 8, "one a second: {}", blocks.len());
    let late = blocks.last().expect("there are");
    assert!((40..90).contains(&late.fraction_lost), "{late:?}");
    assert!(late.last_sr_time > 0, "it reported itself: {late:?}");
    let of_publisher = scene.notices.iter().rev().find_map(|notice| match notice {
        Notice::Quality(quality) if quality.session == session(0) => Some(quality),
        _ => None,
    });
    let Quality { loss_in, rtt_ms, .. } = of_publisher.expect("every five seconds");
    assert!((0.2..0.3).contains(loss_in), "{loss_in}");
    assert!((0.0..=20.0).contains(rtt_ms), "{rtt_ms}");
}

#[test]
fn a_keyframe_is_asked_for_at_the_publisher() {
    let (mut scene, _) = begun();
    scene.clients[0].heard.clear();
    let ssrc = scene.clients[1].packets[0].header.ssrc;
    let mut api = scene.clients[1].rtc.direct_api();
    let stream = api.stream_rx(&ssrc).expect("it gets it");
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    scene.pass(Duration::from_secs(1));
    let asked: Vec<_> = scene.clients[0]
        .heard
        .iter()
        .filter_map(|report| match report {
            Rtcp::Pli(pli) => Some(*pli.ssrc),
            _ => None,
        })
        .collect();
    let sent = &scene.clients[0].sent[0];
    assert_eq!(asked, [u32::from_be_bytes(*sent[8..].first_chunk().unwrap())]);
}

#[test]
fn who_may_not_publish_is_not_heard() {
    let mut scene = call();
    let grants = Grants { publish: false, ..GRANTS };
    scene.command(Command::Permit { session: session(0), grants });
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    assert_eq!(scene.clients[1].packets.len(), 0);
    assert_eq!(scene.shard.stats().drops.get(DropReason::NotPermitted), 1);
}
