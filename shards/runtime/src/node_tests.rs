//! Whole nodes with real shards, on loopback, under both drivers.

#[cfg(test)]
#[path = "node_tcp_tests.rs"]
mod without_udp;

use std::net::UdpSocket;
use std::thread;

use super::*;
use crate::tcp::listener;
use crate::testing::{PATIENCE, Peer, SECRET, Signaling, memo, open};
use antipode_base::command::CloseReason;
use antipode_base::control::{ToNode, ToSignal};
use antipode_base::ids::SessionId;
use antipode_base::notice::{EndReason, Notice};
use antipode_base::stats::{ProcessStats, ReadProcess, ShardStats};
use antipode_base::verdict::DropReason;

fn config(signaling: &Signaling, driver: DriverChoice) -> NodeConfig {
    NodeConfig {
        shards: Some(2),
        pin: false,
        media: "[::]:0".parse().unwrap(),
        tcp: Some("[::]:0".parse().unwrap()),
        include_loopback: true,
        driver,
        ..NodeConfig::new(signaling.address(), SECRET.to_vec())
    }
}

/// A node that ends with its test.
struct Running {
    stop: StopToken,
    thread: Option<JoinHandle<Result<(), NodeError>>>,
}

impl Running {
    fn start(config: NodeConfig) -> Self {
        let stop = StopToken::new();
        let token = stop.clone();
        Running { stop, thread: Some(thread::spawn(move || run(config, token))) }
    }

    fn end(mut self) {
        self.stop.stop();
        let result = self.thread.take().expect("ended once").join();
        result.expect("no panic").expect("a clean end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended(peer: &mut Peer, session: u64) -> EndReason {
    peer.wait_for(|message| match message {
        ToSignal::Notice { notice: Notice::SessionEnded { session: one, reason }, .. } => {
            (*one == SessionId(session)).then_some(*reason)
        }
        _ => None,
    })
}

/// Waits until the newest counters of both shards together satisfy `wanted`.
fn wait_for_stats(peer: &mut Peer, wanted: impl Fn(&[ShardStats; 2]) -> bool) {
    let mut newest = [ShardStats::default(), ShardStats::default()];
    peer.wait_for(|message| {
        if let ToSignal::Stats { shard, stats } = message {
            newest[shard.index()] = (**stats).clone();
        }
        wanted(&newest).then_some(())
    });
}

fn a_node_works(driver: DriverChoice) {
    let signaling = Signaling::listen();
    let read: ReadProcess = || ProcessStats { cpu_us: 7, ..ProcessStats::default() };
    let config = NodeConfig { process: Some(read), ..config(&signaling, driver) };
    let node = Running::start(config);
    let mut peer = signaling.accept();
    peer.send(&crate::testing::challenge(antipode_base::control::VERSION));
    let ToSignal::Hello { shards, media, .. } = peer.receive() else { panic!("a hello") };
    assert_eq!(shards, 2);
    let target = *media
        .iter()
        .find(|candidate| candidate.ip().is_loopback() && candidate.is_ipv4())
        .expect("loopback is a candidate");
    // Garbage from many ports falls on both shards, and is counted.
    let garbage = 64;
    for _ in 0..garbage {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client.send_to(&[0xff, 1, 2, 3], target).unwrap();
    }
    wait_for_stats(&mut peer, |stats| {
        let dropped = |stats: &ShardStats| stats.drops.get(DropReason::NotOurs);
        stats.iter().map(dropped).sum::<u64>() == garbage && stats.iter().all(|s| dropped(s) > 0)
    });
    let process = peer.wait_for(|message| match message {
        ToSignal::ProcessStats(stats) => Some(*stats),
        _ => None,
    });
    assert_eq!(process, read());
    // A command to each shard has its notice.
    for shard in 0..2 {
        let session = u64::from(shard) + 100;
        peer.command(shard, open(session));
        peer.send(&ToNode::Memo(memo(session, &[session])));
        let reason = CloseReason::Left;
        peer.command(shard, Command::CloseSession { session: SessionId(session), reason });
        assert_eq!(ended(&mut peer, session), EndReason::Closed);
    }
    // Signaling comes back to a node that holds one session.
    peer.command(1, open(200));
    peer.send(&ToNode::Memo(memo(200, &[200])));
    wait_for_stats(&mut peer, |stats| stats[1].sessions == 1);
    drop(peer);
    let (mut peer, _, memos) = signaling.greet();
    assert_eq!(memos, [memo(200, &[200])]);
    let (session, reason) = (SessionId(200), CloseReason::Left);
    peer.command(1, Command::CloseSession { session, reason });
    assert_eq!(ended(&mut peer, 200), EndReason::Closed);
    node.end();
}

#[test]
fn a_node_works_with_epoll() {
    a_node_works(DriverChoice::Epoll);
}

#[test]
fn a_node_works_with_glommio() {
    if let Some((why, mend)) = host::glommio_obstacle() {
        eprintln!("skipped: {why}; {mend}");
        return;
    }
    a_node_works(DriverChoice::Glommio);
}

#[test]
fn refuses_to_start_with_the_field_and_the_mend() {
    let signaling = Signaling::listen();
    let taken = socket::open_group("[::]:0".parse().unwrap(), 1).expect("a socket");
    let port = taken.address.port();
    let base = || config(&signaling, DriverChoice::Epoll);
    let (_listener, tcp_taken) = listener::open("[::]:0".parse().unwrap()).expect("a socket");
    let rows = [
        (NodeConfig { secret: Vec::new(), ..base() }, "control.secret".to_owned()),
        (NodeConfig { media: taken.address, ..base() }, format!("media.port {port} is taken")),
        (
            NodeConfig { tcp: Some(tcp_taken), ..base() },
            format!("media.tcp: port {} is taken", tcp_taken.port()),
        ),
        (NodeConfig { cores: Some(vec![1_000]), ..base() }, "core 1000".to_owned()),
        (NodeConfig { shards: Some(300), ..base() }, "--shards".to_owned()),
        (NodeConfig { shards: Some(200), pin: true, ..base() }, "node.pin".to_owned()),
        (
            NodeConfig {
                media: "0.0.0.0:0".parse().unwrap(),
                include_loopback: false,
                advertise: vec!["fd00::77".parse().unwrap()],
                ..base()
            },
            "--advertise".to_owned(),
        ),
    ];
    for (config, want) in rows {
        let error = run(config, StopToken::new()).expect_err(&want).to_string();
        assert!(error.contains(&want), "{want}: {error}");
    }
}

#[test]
fn a_stop_before_the_start_is_a_stop() {
    let signaling = Signaling::listen();
    let stop = StopToken::new();
    stop.stop();
    run(config(&signaling, DriverChoice::Auto), stop).expect("a clean end");
}

#[test]
fn the_secret_is_not_shown() {
    let signaling = Signaling::listen();
    let shown = format!("{:?}", config(&signaling, DriverChoice::Auto));
    assert!(!shown.contains("secret") && !shown.contains(&format!("{SECRET:?}")), "{shown}");
}
