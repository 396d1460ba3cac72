//! The control thread between a fake signaling process and fake shards.

use std::thread::JoinHandle;

use super::*;
use crate::testing::{Peer, SECRET, Signaling, challenge, is_proof, memo, open};
use antipode_base::ids::{MemberId, TrackId};

/// Shards' ends of the channels.
struct Shards {
    inboxes: Vec<Receiver<Command>>,
    reports: Vec<Sender<Report>>,
    bell: Arc<Doorbell>,
}

/// A control thread that ends with its test.
struct Running {
    stop: StopToken,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        let result = self.thread.take().expect("dropped once").join();
        if !thread::panicking() {
            result.expect("no panic").expect("no error");
        }
    }
}

fn start(signaling: &Signaling, secret: &[u8], capacity: usize) -> (Running, Shards) {
    let rung = EventBell::new().unwrap();
    let bell = Arc::new(Doorbell::new(Box::new(rung.clone())));
    let mut links = Vec::new();
    let mut shards = Shards { inboxes: Vec::new(), reports: Vec::new(), bell: Arc::clone(&bell) };
    for _ in 0..2 {
        let (commands, inbox) = crossbeam_channel::bounded(capacity);
        let (reports_tx, reports) = crossbeam_channel::bounded(capacity);
        let shard_bell = Arc::new(Doorbell::new(Box::new(EventBell::new().unwrap())));
        links.push(ShardLink { commands, reports, bell: shard_bell });
        shards.inboxes.push(inbox);
        shards.reports.push(reports_tx);
    }
    let identity = Identity { node: NodeId(77), media: Vec::new(), secret: secret.to_vec() };
    let stop = StopToken::new();
    let stopped = stop.bell().unwrap();
    let mut control = Control::new(signaling.address(), identity, links, bell, rung);
    let token = stop.clone();
    let thread = thread::spawn(move || control.run(&token, &stopped));
    (Running { stop, thread: Some(thread) }, shards)
}

impl Shards {
    fn command(&self, shard: usize) -> Command {
        self.inboxes[shard].recv_timeout(crate::testing::PATIENCE).expect("a command")
    }

    fn report(&self, shard: usize, report: Report) {
        self.reports[shard].send(report).expect("the control thread listens");
        self.bell.ring_if_sleeping();
    }

    fn end(&self, shard: usize, session: u64) {
        self.report(shard, Report::Notice(ended(session)));
    }
}

fn ended(session: u64) -> Notice {
    Notice::SessionEnded { session: SessionId(session), reason: EndReason::Closed }
}

fn notice(peer: &mut Peer) -> (ShardId, Notice) {
    peer.wait_for(|message| match message {
        ToSignal::Notice { shard, notice } => Some((*shard, notice.clone())),
        _ => None,
    })
}

fn members(memos: &[Memo]) -> Vec<u64> {
    let mut members: Vec<_> = memos.iter().map(|memo| memo.member.0).collect();
    members.sort_unstable();
    members
}

#[test]
fn carries_commands_and_notices() {
    let signaling = Signaling::listen();
    let (_running, shards) = start(&signaling, SECRET, 16);
    let (mut peer, node, memos) = signaling.greet();
    assert_eq!((node, memos.len()), (NodeId(77), 0));
    peer.command(1, open(5));
    peer.command(0, open(6));
    assert_eq!(shards.command(1), open(5));
    assert_eq!(shards.command(0), open(6));
    let watched = Notice::TrackWatched { track: TrackId(9) };
    shards.report(1, Report::Notice(watched.clone()));
    assert_eq!(notice(&mut peer), (ShardId(1), watched));
    shards.report(0, Report::Stats(Box::default()));
    peer.wait_for(|message| {
        matches!(message, ToSignal::Stats { shard: ShardId(0), .. }).then_some(())
    });
    // A shard that is not there: whoever waits for that session is told.
    peer.command(9, open(7));
    let refused = Notice::SessionEnded { session: SessionId(7), reason: EndReason::Refused };
    assert_eq!(notice(&mut peer), (ShardId(9), refused));
}

#[test]
fn a_wrong_secret_is_no_proof_and_the_node_dials_on() {
    let signaling = Signaling::listen();
    let (_running, _shards) = start(&signaling, b"another secret", 16);
    for _ in 0..3 {
        let mut peer = signaling.accept();
        peer.send(&challenge(VERSION));
        let ToSignal::Hello { proof, .. } = peer.receive() else { panic!("a hello") };
        assert!(!is_proof(SECRET, &proof));
        assert!(is_proof(b"another secret", &proof));
    }
}

#[test]
fn another_version_and_other_words_are_refused() {
    let signaling = Signaling::listen();
    let (_running, _shards) = start(&signaling, SECRET, 16);
    let mut peer = signaling.accept();
    peer.send(&challenge(VERSION + 1));
    assert_eq!(peer.try_receive(), None, "no hello to another version");
    let mut peer = signaling.accept();
    peer.send(&ToNode::Memo(memo(1, &[1])));
    assert_eq!(peer.try_receive(), None, "no hello without a challenge");
    let mut peer = signaling.accept();
    peer.send_raw(&[0xff; 64]);
    assert_eq!(peer.try_receive(), None, "no hello to noise");
    let (mut peer, ..) = signaling.greet();
    peer.send_raw(&[0xff; 64]);
    while peer.try_receive().is_some() {}
    let (mut peer, ..) = signaling.greet();
    peer.send(&challenge(VERSION));
    while peer.try_receive().is_some() {}
    signaling.greet();
}

#[test]
fn memos_survive_signaling_and_end_with_their_sessions() {
    let signaling = Signaling::listen();
    let (_running, shards) = start(&signaling, SECRET, 16);
    let (mut peer, ..) = signaling.greet();
    for (member, sessions) in [(1, vec![10, 11]), (2, vec![20]), (3, vec![30])] {
        peer.send(&ToNode::Memo(memo(member, &sessions)));
    }
    // Behind the memos in the same stream, so that they have been read.
    peer.command(0, open(20));
    shards.command(0);
    shards.end(0, 20);
    assert_eq!(notice(&mut peer), (ShardId(0), ended(20)));
    drop(peer);
    let (peer, _, memos) = signaling.greet();
    assert_eq!(members(&memos), [1, 3]);
    assert_eq!(memos.iter().find(|memo| memo.member == MemberId(3)), Some(&memo(3, &[30])));
    // One ends while nobody listens.
    drop(peer);
    shards.end(1, 30);
    shards.end(0, 10);
    let (mut peer, _, mut memos) = signaling.greet();
    // The ends may have come before or after the hello.
    while memos.len() > 1 {
        if let (_, Notice::SessionEnded { session, .. }) = notice(&mut peer) {
            memos.retain(|memo| memo.sessions != [session]);
        }
    }
    assert_eq!(members(&memos), [1]);
}

#[test]
fn a_full_shard_makes_signaling_wait_and_loses_nothing() {
    let signaling = Signaling::listen();
    let (_running, shards) = start(&signaling, SECRET, 1);
    let (mut peer, ..) = signaling.greet();
    for session in 0..100 {
        peer.command(0, open(session));
    }
    peer.command(1, open(1_000));
    for session in 0..100 {
        assert_eq!(shards.command(0), open(session));
    }
    assert_eq!(shards.command(1), open(1_000));
}

#[test]
fn snapshots_fit_their_frames() {
    assert_eq!(snapshots([].iter()), [Vec::<Memo>::new()]);
    let big = Memo { bytes: vec![0; 60_000], ..memo(1, &[1]) };
    let many = vec![big; 600];
    let frames = snapshots(many.iter());
    assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), 600);
    assert!(frames.len() > 1);
    for members in frames {
        let frame = ToSignal::Snapshot { members, last: false };
        antipode_base::control::encode(&frame, &mut Vec::new()).expect("it fits");
    }
}

#[test]
fn the_proof_is_hmac_sha256() {
    // RFC 4231 has no 32-byte message; this one is from Python's hmac.
    let mut nonce = [0; 32];
    for (place, byte) in nonce.iter_mut().enumerate() {
        *byte = place as u8;
    }
    let proof = prove(b"secret", &nonce);
    let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "47860bcbb991426bea828dbf6097dff33339b093e3b9f61d9aef8a052f93e402");
}
