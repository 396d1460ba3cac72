//! A call over a whole node in which nobody has UDP: real connections on loopback, str0m as client.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use antipode_base::command::Subscribe;
use antipode_base::ids::TrackId;
use antipode_base::limits::DATAGRAM_MAX;
use antipode_base::media::{Kind, Source};
use antipode_base::stats::{TcpEnding, TcpStats};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

/// VP8 payload descriptor with a picture id, and the begin of a keyframe.
const KEY: [u8; 10] = [0x90, 0x80, 0x81, 0x23, 0x10, 1, 2, 3, 4, 5];
const TRACK: TrackId = TrackId(1);

/// A client behind a network that lets no UDP through.
struct Client {
    rtc: Rtc,
    stream: TcpStream,
    input: Vec<u8>,
    mid: Mid,
    connected: bool,
    packets: usize,
}

impl Client {
    /// Opens a session on a shard, offers one video section and connects as the answer says.
    fn join(peer: &mut Peer, shard: u16, session: u64, direction: Direction) -> Self {
        let now = Instant::now();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        let (offer, pending, mid) = offer(&mut rtc, direction);
        let id = SessionId(session);
        peer.command(shard, open(session));
        let command = match direction {
            Direction::SendOnly => Command::Publish {
                session: id,
                track: TRACK,
                kind: Kind::Video,
                client_id: "cam".into(),
                codec: None,
                source: Source::Other,
                red: false,
                stereo: false,
            },
            _ => Command::Subscribe(Subscribe {
                session: id,
                track: TRACK,
                home: ShardId(0),
                kind: Kind::Video,
                stream_label: "PA|1".into(),
                track_label: "TR_1".into(),
            }),
        };
        peer.command(shard, command);
        peer.command(shard, Command::Offer { session: id, id: 1, sdp: offer });
        let sdp = peer.wait_for(|message| match message {
            ToSignal::Notice { notice: Notice::Answer { session, sdp, .. }, .. } => {
                (*session == id).then(|| sdp.clone())
            }
            _ => None,
        });
        let stream = TcpStream::connect(passive(&sdp)).expect("ICE-TCP listens");
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(local, "tcp").unwrap());
        let answer = SdpAnswer::from_sdp_string(&sdp).expect("our answers are SDP");
        rtc.sdp_api().accept_answer(pending, answer).expect("it fits the offer");
        Client { rtc, stream, input: Vec::new(), mid, connected: false, packets: 0 }
    }

    /// One lap: what came in the next moment, then what the transport has to say.
    fn lap(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let mut bytes = [0; 4_096];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the node hung up"),
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if is_timeout(error.kind()) => {}
            Err(error) => panic!("{error}"),
        }
        let (source, destination) =
            (self.stream.peer_addr().unwrap(), self.stream.local_addr().unwrap());
        while let Some((header, rest)) = self.input.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*header));
            assert!(length <= DATAGRAM_MAX);
            let Some(message) = rest.get(..length) else { break };
            let receive = Receive::new(Protocol::Tcp, source, destination, message).unwrap();
            self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
            self.input.drain(..2 + length);
            self.drain();
        }
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::RtpPacket(_)) => self.packets += 1,
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    // Other addresses of the node would want a connection of their own.
                    if transmit.destination == self.stream.peer_addr().unwrap() {
                        let length = (transmit.contents.len() as u16).to_be_bytes();
                        let framed = [&length[..], &transmit.contents].concat();
                        self.stream.write_all(&framed).expect("the node reads");
                    }
                }
            }
        }
    }

    fn send(&mut self, seq: u64) {
        let media = self.rtc.media(self.mid).expect("negotiated");
        let pt = media.remote_pts()[0];
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, None).expect("negotiated");
        let (time, now) = (seq as u32 * 3_000, Instant::now());
        stream.write_rtp(RtpWrite::new(pt, seq.into(), time, now, KEY).marker(true));
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn offer(rtc: &mut Rtc, direction: Direction) -> (String, SdpPendingOffer, Mid) {
    let mut api = rtc.sdp_api();
    let label = || Some("cam".to_owned());
    let mid = api.add_media(MediaKind::Video, direction, label(), label(), None);
    let (offer, pending) = api.apply().expect("a section was added");
    (offer.to_sdp_string(), pending, mid)
}

/// The passive candidate on loopback.
fn passive(sdp: &str) -> SocketAddr {
    let line = sdp.lines().find(|line| {
        let line = line.trim_end();
        line.starts_with("a=candidate:")
            && line.contains(" tcp ")
            && line.contains(" 127.0.0.1 ")
            && line.ends_with(" typ host tcptype passive")
    });
    let words: Vec<&str> = line.unwrap_or_else(|| panic!("{sdp}")).split(' ').collect();
    SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())
}

fn wait_for_tcp(peer: &mut Peer, wanted: impl Fn(&TcpStats) -> bool) -> TcpStats {
    peer.wait_for(|message| match message {
        ToSignal::TcpStats(stats) if wanted(stats) => Some((**stats).clone()),
        _ => None,
    })
}

fn a_call_without_udp(driver: DriverChoice) {
    let signaling = Signaling::listen();
    let node = Running::start(config(&signaling, driver));
    let (mut peer, _, _) = signaling.greet();
    let mut clients = [
        Client::join(&mut peer, 0, 1, Direction::SendOnly),
        Client::join(&mut peer, 1, 2, Direction::RecvOnly),
    ];
    let end = Instant::now() + PATIENCE;
    let mut seq = 0;
    while clients[1].packets < 20 {
        assert!(Instant::now() < end, "no media: {:?}", clients.map(|c| (c.connected, c.packets)));
        clients.iter_mut().for_each(Client::lap);
        if clients.iter().all(|client| client.connected) {
            seq += 1;
            clients[0].send(seq);
        }
    }
    let stats = wait_for_tcp(&mut peer, |stats| stats.messages_in > 20 && stats.messages_out > 20);
    assert_eq!((stats.connections, stats.accepted), (2, 2));
    let lost = [stats.dropped_ring_full, stats.dropped_queue_full, stats.dropped_late];
    assert_eq!(lost, [0; 3]);
    drop(clients);
    let stats = wait_for_tcp(&mut peer, |stats| stats.connections == 0);
    assert_eq!(stats.endings.get(TcpEnding::ByPeer), 2);
    node.end();
}

#[test]
fn a_call_without_udp_with_epoll() {
    a_call_without_udp(DriverChoice::Epoll);
}

#[test]
fn a_call_without_udp_with_glommio() {
    if let Some((why, mend)) = host::glommio_obstacle() {
        eprintln!("skipped: {why}; {mend}");
        return;
    }
    a_call_without_udp(DriverChoice::Glommio);
}

#[test]
fn without_ice_tcp_there_is_no_candidate() {
    let signaling = Signaling::listen();
    let node = Running::start(NodeConfig { tcp: None, ..config(&signaling, DriverChoice::Epoll) });
    let (mut peer, _, _) = signaling.greet();
    peer.command(0, open(1));
    let (sdp, ..) = offer(&mut Rtc::builder().build(Instant::now()), Direction::RecvOnly);
    peer.command(0, Command::Offer { session: SessionId(1), id: 1, sdp });
    let answer = peer.wait_for(|message| match message {
        ToSignal::Notice { notice: Notice::Answer { sdp, .. }, .. } => Some(sdp.clone()),
        _ => None,
    });
    assert!(answer.contains(" udp ") && !answer.contains("tcptype"), "{answer}");
    node.end();
}
