//! A shard and real clients (str0m on their side too) in memory, without time passing by itself.

mod beginners;
mod descriptors;
mod ingress;
mod paths;
mod player;
mod reports;
#[cfg(feature = "rsa")]
mod rsa;
mod sound;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::command::{CloseReason, Command, Grants, OpenSession, Role, Subscribe};
use antipode_base::ids::{MemberId, RoomId, SessionId, ShardId, TrackId};
use antipode_base::limits::CONNECT_TIMEOUT;
use antipode_base::media::{Kind, Source};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::verdict::DropReason;
use antipode_relay::parcel::Addressed;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::Receive;
use str0m::rtp::rtcp::Rtcp;
use str0m::rtp::{RawPacket, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input as RtcInput, Output as RtcOutput, Rtc};

use super::{Shard, ShardConfig};
use crate::io::{Datagram, Input, Output, PeerAddress, Standing, Transport};

mod repairs;

const SERVER: &str = "10.0.0.1:7882";
const SERVER_TCP: &str = "10.0.0.1:7881";
const GRANTS: Grants = Grants { publish: true, subscribe: true, publish_data: true };

struct Client {
    rtc: Rtc,
    transport: Transport,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    connected: bool,
    packets: Vec<RtpPacket>,
    /// Sealed RTCP that came.
    reports: Vec<Vec<u8>>,
    /// The same, opened.
    heard: Vec<Rtcp>,
    /// Media is lost on its way to it.
    losing: bool,
    /// Datagrams of its media that are lost on their way to us, from the next one on.
    drops: usize,
    /// So many of them get through before that.
    spared: usize,
    /// Those that it sent.
    sent: Vec<Vec<u8>>,
    /// How long its datagrams have waited when the shard takes them in.
    ago: Duration,
    /// What it does with an offer.
    taking: Taking,
    /// Only its STUN reaches the shard: the rest lands on another one, which knows nothing of it.
    astray: bool,
    /// It checks no more whether the way to us is still there.
    unchecked: bool,
}

/// What becomes of an offer of the shard's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taking {
    Answered,
    /// It is lost on its way.
    Lost,
    /// It arrives, and its answer is lost.
    AnswerLost,
}

/// One shard, some clients, one clock.
struct Scene {
    shard: Shard,
    clients: Vec<Client>,
    now: Instant,
    notices: Vec<Notice>,
    parcels: Vec<Addressed>,
    addresses: Vec<(SocketAddr, Standing)>,
    /// Whether sessions are opened for peers with RSA keys.
    rsa: bool,
    /// The most datagrams that the shard had sealed at once.
    outbox_max: usize,
}

fn session(n: usize) -> SessionId {
    SessionId(n as u64 + 1)
}

impl Scene {
    fn new() -> Self {
        Self::of(1)
    }

    /// One shard of so many; what it sends the others is kept.
    fn of(shards: u16) -> Self {
        let now = Instant::now();
        let config = ShardConfig {
            shard: ShardId(0),
            shards,
            candidates: vec![SERVER.parse().unwrap()],
            candidates_tcp: vec![SERVER_TCP.parse().unwrap()],
            seed: 7,
        };
        let shard = Shard::new(config, now);
        Scene {
            shard,
            clients: vec![],
            now,
            notices: vec![],
            parcels: vec![],
            addresses: vec![],
            rsa: false,
            outbox_max: 0,
        }
    }

    fn command(&mut self, command: Command) {
        self.shard.handle(Input::Command(command), self.now);
        self.settle();
    }

    /// A client and its session; it has not offered yet.
    fn open(&mut self, n: usize) {
        let address = SocketAddr::from(([10, 0, 1, n as u8 + 1], 5_000));
        self.open_at(n, Transport::Udp, address);
    }

    fn open_at(&mut self, n: usize, transport: Transport, address: SocketAddr) {
        self.open_as(n, Role::Both, transport, address);
    }

    fn open_as(&mut self, n: usize, role: Role, transport: Transport, address: SocketAddr) {
        let map = descriptors::client_extensions();
        let rtc = Rtc::builder().set_rtp_mode(true).enable_raw_packets(true).set_extension_map(map);
        self.open_with(n, role, rtc.build(self.now), (transport, address));
    }

    fn open_with(&mut self, n: usize, role: Role, mut rtc: Rtc, place: PeerAddress) {
        let (transport, address) = place;
        rtc.add_local_candidate(Candidate::host(address, transport.protocol()).unwrap());
        let client = Client {
            rtc,
            transport,
            address,
            pending: None,
            connected: false,
            packets: Vec::new(),
            reports: Vec::new(),
            heard: Vec::new(),
            ago: Duration::ZERO,
            losing: false,
            drops: 0,
            spared: 0,
            sent: Vec::new(),
            taking: Taking::Answered,
            astray: false,
            unchecked: false,
        };
        assert_eq!(self.clients.len(), n);
        self.clients.push(client);
        self.command(Command::OpenSession(OpenSession {
            session: session(n),
            member: MemberId(n as u64),
            room: RoomId(1),
            role,
            grants: GRANTS,
            identity: format!("m{n}"),
            sid: format!("PA_{n}"),
            audio_top: 0,
            rsa: self.rsa,
        }));
    }

    fn offer(&mut self, n: usize, sections: &[(MediaKind, Direction, &str)]) {
        let mut api = self.clients[n].rtc.sdp_api();
        for (kind, direction, label) in sections {
            api.add_media(*kind, *direction, Some("s".into()), Some((*label).into()), None);
        }
        let (offer, pending) = api.apply().expect("sections were added");
        self.clients[n].pending = Some(pending);
        let sdp = offer.to_sdp_string();
        self.command(Command::Offer { session: session(n), id: 1, sdp });
    }

    fn publish(&mut self, n: usize, track: u64, kind: Kind, client_id: &str) {
        self.command(Command::Publish {
            session: session(n),
            track: TrackId(track),
            kind,
            client_id: client_id.to_owned(),
            codec: None,
            source: Source::Other,
            red: true,
            stereo: false,
        });
    }

    fn subscribe(&mut self, n: usize, track: u64, kind: Kind) {
        self.command(Command::Subscribe(Subscribe {
            session: session(n),
            track: TrackId(track),
            home: ShardId(0),
            kind,
            stream_label: format!("PA|{track}"),
            track_label: format!("TR_{track}"),
        }));
    }

    /// Lets the shard and all clients talk until nobody has anything to say at this instant.
    fn settle(&mut self) {
        loop {
            self.shard.flush(self.now);
            let mut quiet = true;
            while let Some(output) = self.shard.poll() {
                quiet = false;
                self.outbox_max = self.outbox_max.max(self.shard.fx.outbox.len() + 1);
                match output {
                    Output::Transmit(transmit) => {
                        let peer = (transmit.transport, transmit.destination);
                        let to = |client: &Client| (client.transport, client.address) == peer;
                        let Some(n) = self.clients.iter().position(to) else { continue };
                        let receive = Receive::new(
                            transmit.transport.protocol(),
                            transmit.local,
                            transmit.destination,
                            &transmit.bytes,
                        );
                        match transmit.bytes[..] {
                            [128..=191, 192..=223, ..] => {
                                self.clients[n].reports.push(transmit.bytes.clone());
                            }
                            [128..=191, ..] if self.clients[n].losing => continue,
                            _ => {}
                        }
                        let input = RtcInput::Receive(self.now, receive.unwrap());
                        self.clients[n].rtc.handle_input(input).unwrap();
                        // It keeps one packet until it is asked for it.
                        self.drain_client(n);
                    }
                    Output::Notice(notice) => {
                        self.hear(&notice);
                        self.notices.push(notice);
                    }
                    Output::Parcel(parcel) => self.parcels.push(parcel),
                    Output::Address(address, standing) => self.addresses.push((address, standing)),
                }
            }
            for n in 0..self.clients.len() {
                quiet &= self.drain_client(n);
            }
            if quiet {
                break;
            }
        }
    }

    fn hear(&mut self, notice: &Notice) {
        if let Notice::Answer { session, sdp, .. } = notice {
            let client = &mut self.clients[session.0 as usize - 1];
            let answer = SdpAnswer::from_sdp_string(sdp).expect("our answers are SDP");
            let pending = client.pending.take().expect("an offer was made");
            client.rtc.sdp_api().accept_answer(pending, answer).expect("it fits the offer");
        }
        if let Notice::Offer { session, id, sdp, .. } = notice {
            let client = &mut self.clients[session.0 as usize - 1];
            let taking = client.taking;
            if taking == Taking::Lost {
                return;
            }
            let offer = SdpOffer::from_sdp_string(sdp).expect("our offers are SDP");
            let answer = client.rtc.sdp_api().accept_offer(offer).expect("it can be answered");
            if taking == Taking::AnswerLost {
                return;
            }
            let (session, id, sdp) = (*session, *id, answer.to_sdp_string());
            self.shard.handle(Input::Command(Command::Answer { session, id, sdp }), self.now);
        }
    }

    fn drain_client(&mut self, n: usize) -> bool {
        let mut quiet = true;
        let (now, client) = (self.now, &mut self.clients[n]);
        client.rtc.handle_input(RtcInput::Timeout(now)).unwrap();
        loop {
            match client.rtc.poll_output().unwrap() {
                RtcOutput::Timeout(_) => return quiet,
                RtcOutput::Event(Event::Connected) => client.connected = true,
                RtcOutput::Event(Event::RtpPacket(packet)) => client.packets.push(packet),
                RtcOutput::Event(Event::RawPacket(packet)) => {
                    if let RawPacket::RtcpRx(report) = *packet {
                        client.heard.push(report);
                    }
                }
                RtcOutput::Event(_) => {}
                RtcOutput::Transmit(transmit) => {
                    quiet = false;
                    let stun = matches!(transmit.contents.first(), Some(0..=3));
                    if if stun { client.unchecked } else { client.astray } {
                        continue;
                    }
                    if matches!(transmit.contents[..], [128..=191, 0..192 | 224.., ..]) {
                        client.sent.push(transmit.contents.to_vec());
                        if client.spared > 0 {
                            client.spared -= 1;
                        } else if client.drops > 0 {
                            client.drops -= 1;
                            continue;
                        }
                    }
                    let datagram = Datagram {
                        transport: client.transport,
                        source: client.address,
                        local: transmit.destination,
                        bytes: &transmit.contents,
                        at: now - client.ago,
                    };
                    self.shard.handle(Input::Datagram(datagram), now);
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            self.settle();
        }
    }

    fn send(&mut self, n: usize, mid: Mid, seq: u64, payload: &[u8]) {
        let client = &mut self.clients[n];
        let media = client.rtc.media(mid).expect("negotiated");
        let pt = media.remote_pts()[0];
        let mut api = client.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).expect("negotiated");
        let time = seq as u32 * 3_000;
        let write = RtpWrite::new(pt, seq.into(), time, self.now, payload);
        stream.write_rtp(write.marker(true).nackable(true));
        self.settle();
    }

    fn mid(&self, n: usize) -> Mid {
        // The first section that a client added.
        let sections = |notice: &Notice| match notice {
            Notice::TrackLive { session: of, mid, .. } if *of == session(n) => Some(mid.clone()),
            _ => None,
        };
        let mid = self.notices.iter().find_map(sections).expect("the track went live");
        Mid::from(mid.as_str())
    }

    fn ended(&self, n: usize) -> Option<EndReason> {
        self.notices.iter().find_map(|notice| match notice {
            Notice::SessionEnded { session: of, reason } if *of == session(n) => Some(*reason),
            _ => None,
        })
    }
}

const KEY: &[u8] = &[0x90, 0x80, 0x81, 0x23, 0x10, 1, 2, 3, 4, 5];
const DELTA: &[u8] = &[0x90, 0x80, 0x81, 0x24, 0x11, 1, 2, 3, 4, 5];

/// A publisher (0) of one video track and one viewer (1) of it, connected.
fn call() -> Scene {
    let at = |n: u8| SocketAddr::from(([10, 0, 1, n], 5_000));
    call_of([(Transport::Udp, at(1)), (Transport::Udp, at(2))])
}

/// The same, from these places.
fn call_of(places: [PeerAddress; 2]) -> Scene {
    let mut scene = Scene::new();
    scene.open_at(0, places[0].0, places[0].1);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    scene.open_at(1, places[1].0, places[1].1);
    scene.subscribe(1, 1, Kind::Video);
    scene.offer(1, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.pass(Duration::from_millis(500));
    assert!(scene.clients.iter().all(|client| client.connected));
    scene
}

#[test]
fn a_viewer_starts_with_a_keyframe_and_gets_the_rest() {
    let mut scene = call();
    let mid = scene.mid(0);
    scene.send(0, mid, 1, DELTA);
    scene.send(0, mid, 2, KEY);
    scene.send(0, mid, 3, DELTA);
    let seen: Vec<&[u8]> = scene.clients[1].packets.iter().map(|p| &p.payload[4..]).collect();
    assert_eq!(seen, [&KEY[4..], &DELTA[4..]]);
    let stats = scene.shard.stats();
    assert_eq!(stats.packets_in, 3);
    assert_eq!(stats.packets_out, 2);
    assert_eq!(stats.drops.get(DropReason::AwaitingKeyframe), 1);
    assert!(scene.notices.contains(&Notice::TrackWatched { track: TrackId(1) }));
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let mut scene = call();
    let now = scene.now;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    scene.shard.guarded(1, now, |_, _, _| panic!("planted"));
    std::panic::set_hook(hook);
    scene.settle();
    assert_eq!(scene.ended(1), Some(EndReason::Fault));
    assert_eq!(scene.ended(0), None);
    let stats = scene.shard.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.session_faults), (1, 0, 1));
    // The publisher goes on, and a new viewer can come.
    scene.open(2);
    scene.subscribe(2, 1, Kind::Video);
    scene.offer(2, &[(MediaKind::Video, Direction::RecvOnly, "x")]);
    scene.pass(Duration::from_millis(500));
    let mid = scene.mid(0);
    scene.send(0, mid, 1, KEY);
    assert_eq!(scene.clients[2].packets.len(), 1);
}

#[test]
fn an_offer_without_a_usable_codec_is_refused_for_that_track_alone() {
    let mut scene = Scene::new();
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.publish(0, 2, Kind::Audio, "mic");
    let mut api = scene.clients[0].rtc.sdp_api();
    let stream = || Some("s".to_owned());
    api.add_media(MediaKind::Audio, Direction::SendOnly, stream(), Some("mic".into()), None);
    api.add_media(MediaKind::Video, Direction::SendOnly, stream(), Some("cam".into()), None);
    let (offer, _) = api.apply().unwrap();
    let codecs = ["VP8", "VP9", "H264", "H265", "AV1"];
    let sdp = codecs
        .iter()
        .fold(offer.to_sdp_string(), |sdp, codec| sdp.replace(&format!(" {codec}/"), " X-none/"));
    scene
        .shard
        .handle(Input::Command(Command::Offer { session: session(0), id: 5, sdp }), scene.now);
    scene.shard.flush(scene.now);
    let mut outputs = std::iter::from_fn(|| scene.shard.poll());
    let notices: Vec<Notice> = outputs
        .by_ref()
        .filter_map(|output| match output {
            Output::Notice(notice) => Some(notice),
            _ => None,
        })
        .collect();
    let refused = |n: &Notice| matches!(n, Notice::TrackRefused { track: TrackId(1), .. });
    let live = |n: &Notice| matches!(n, Notice::TrackLive { track: TrackId(2), .. });
    assert!(notices.iter().any(refused), "{notices:?}");
    assert!(notices.iter().any(live), "{notices:?}");
    let answer = notices.iter().find_map(|notice| match notice {
        Notice::Answer { id: 5, sdp, .. } => Some(sdp),
        _ => None,
    });
    let answer = answer.expect("the rest is answered");
    assert!(answer.contains("m=video 0 "), "{answer}");
    assert!(answer.contains("m=audio 9 "), "{answer}");
}

#[test]
fn leaving_leaves_nothing_behind() {
    let mut scene = call();
    for n in [0, 1] {
        scene.command(Command::CloseSession { session: session(n), reason: CloseReason::Left });
        assert_eq!(scene.ended(n), Some(EndReason::Closed));
    }
    let stats = scene.shard.stats();
    assert_eq!((stats.sessions, stats.rooms, stats.tracks, stats.subscriptions), (0, 0, 0, 0));
}
