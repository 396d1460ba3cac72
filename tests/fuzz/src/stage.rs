//! A shard with a publisher and a viewer that are connected, in virtual time.
//!
//! Making one takes thousands of times as long as one datagram, so a [`Keeper`] uses it for many inputs
//! and remembers them for the replay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use antipode_base::command::{Command, Grants, OpenSession, Role, Subscribe};
use antipode_base::ids::{MemberId, RoomId, SessionId, ShardId, TrackId};
use antipode_base::limits::RTP_MAX;
use antipode_base::media::{Kind, Source};
use antipode_base::notice::{EndReason, Notice};
use antipode_core::{Datagram, Input, Output, Shard, ShardConfig, Transport};
use antipode_relay::parcel::Addressed;
use str0m::config::CryptoProvider;

use crate::client::{Client, Part};
use crate::panics;

/// Where the shard is.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7_882);
/// Where the publisher is.
pub const PUBLISHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1)), 5_000);
/// Where the viewer is.
pub const VIEWER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2)), 5_000);
/// The room of both.
pub const ROOM: RoomId = RoomId(1);
/// The publisher's session; the viewer's is the next.
pub const PUBLISHING: SessionId = SessionId(1);
/// See [`PUBLISHING`].
pub const VIEWING: SessionId = SessionId(2);
/// The publisher's microphone and camera.
pub const TRACKS: [(TrackId, Kind, &str); 2] =
    [(TrackId(11), Kind::Audio, "mic"), (TrackId(12), Kind::Video, "cam")];
/// All that a member may be allowed.
pub const GRANTS: Grants = Grants { publish: true, subscribe: true, publish_data: true };

/// See the module's documentation.
pub struct Stage {
    /// One of two; the other has nobody to answer.
    pub shard: Shard,
    /// Virtual time.
    pub now: Instant,
    /// Publishes.
    pub publisher: Client,
    /// Receives.
    pub viewer: Client,
    /// Sessions that ended.
    pub ended: Vec<(SessionId, EndReason)>,
    /// Parcels to the other shard since the last [`Stage::settle`].
    pub parcels: Vec<Addressed>,
    /// Datagrams to somebody who is neither of the clients.
    pub astray: Vec<SocketAddr>,
    /// The ufrag of the publisher's session and the client's own, as a STUN user name has them.
    pub username: String,
    /// The first bytes of the last DTLS record of publisher and viewer: behind [`crate::plain`], the
    /// type and the common header of SCTP (RFC 9260 §3.1).
    pub records: [Vec<u8>; 2],
    /// Of the publisher's microphone.
    pub ssrc: u32,
    words: u64,
}

/// The shard of a stage, without sessions.
pub fn shard(crypto: CryptoProvider) -> Shard {
    let config = ShardConfig {
        shard: ShardId(0),
        shards: 2,
        candidates: vec![SERVER],
        candidates_tcp: vec![],
        seed: 7,
    };
    antipode_core::fuzz::shard(config, crypto)
}

/// The command that opens a session.
pub fn open(session: SessionId, role: Role) -> Command {
    Command::OpenSession(OpenSession {
        session,
        member: MemberId(session.0),
        room: ROOM,
        role,
        grants: GRANTS,
        identity: format!("m{}", session.0),
        sid: format!("PA_{}", session.0),
        audio_top: 1,
        rsa: false,
    })
}

/// The command that announces one of [`TRACKS`].
pub fn publish(session: SessionId, (track, kind, client_id): (TrackId, Kind, &str)) -> Command {
    Command::Publish {
        session,
        track,
        kind,
        client_id: client_id.to_owned(),
        codec: None,
        source: Source::Other,
        red: true,
        stereo: false,
    }
}

/// The command that sends one of [`TRACKS`] to a session.
pub fn subscribe(session: SessionId, (track, kind, label): (TrackId, Kind, &str)) -> Command {
    Command::Subscribe(Subscribe {
        session,
        track,
        home: ShardId(0),
        kind,
        stream_label: "PA_1".to_owned(),
        track_label: format!("TR_{label}"),
    })
}

impl Stage {
    /// Both are connected, their data channels are open, and sound has come through.
    ///
    /// # Panics
    /// When they do not get so far: the scene itself is broken.
    pub fn connected(crypto: CryptoProvider, now: Instant) -> Self {
        let mut shard = shard(crypto.clone());
        let (publisher, offer) = Client::offering(Part::Publisher, PUBLISHER, crypto.clone(), now);
        let (viewer, view) = Client::offering(Part::Viewer, VIEWER, crypto, now);
        let offer_of = |session, sdp| Command::Offer { session, id: 1, sdp };
        let mut script = vec![open(PUBLISHING, Role::Both)];
        script.extend(TRACKS.map(|track| publish(PUBLISHING, track)));
        script.extend([offer_of(PUBLISHING, offer), open(VIEWING, Role::Both)]);
        script.extend(TRACKS.map(|track| subscribe(VIEWING, track)));
        script.push(offer_of(VIEWING, view));
        for command in script {
            shard.handle(Input::Command(command), now);
        }
        let mut stage = Stage {
            shard,
            now,
            publisher,
            viewer,
            ended: Vec::new(),
            parcels: Vec::new(),
            astray: Vec::new(),
            username: String::new(),
            records: Default::default(),
            ssrc: 0,
            words: 0,
        };
        for _ in 0..200 {
            stage.pass(Duration::from_millis(10));
            if stage.ready() {
                break;
            }
        }
        assert!(stage.ready(), "the clients do not connect");
        // Media waits until the viewer's browser must have taken in its description.
        stage.pass(Duration::from_millis(100));
        assert!(stage.hears(), "sound does not come through");
        let microphone = stage.publisher.mids[0];
        let mut api = stage.publisher.rtc.direct_api();
        let stream = api.stream_tx_by_mid(microphone, None);
        stage.ssrc = stream.map_or(0, |stream| *stream.ssrc());
        stage
    }

    fn ready(&self) -> bool {
        let open = |client: &Client| client.channels.iter().all(Option::is_some);
        let both = [&self.publisher, &self.viewer];
        both.iter().all(|client| client.connected && open(client))
    }

    /// Lets time pass and everybody talk.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Gives one datagram to the shard, as its socket would.
    pub fn inject(&mut self, source: SocketAddr, bytes: &[u8]) {
        let (transport, at) = (Transport::Udp, self.now);
        let datagram = Datagram { transport, source, local: SERVER, bytes, at };
        self.shard.handle(Input::Datagram(datagram), self.now);
    }

    /// Lets everybody talk until nobody has anything to say at this instant, for some rounds at most:
    /// a hostile peer can make two stacks go on for ever.
    pub fn settle(&mut self) {
        self.parcels.clear();
        for _ in 0..64 {
            self.shard.flush(self.now);
            let from_shard = self.deliver();
            let from_clients = self.collect();
            if !from_shard && !from_clients {
                break;
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.shard.poll() {
            any = true;
            match output {
                Output::Transmit(transmit) => {
                    let (to, bytes) = (transmit.destination, &transmit.bytes);
                    assert!(bytes.len() <= RTP_MAX, "a datagram of {} bytes", bytes.len());
                    match to {
                        PUBLISHER => self.publisher.receive(SERVER, bytes, self.now),
                        VIEWER => self.viewer.receive(SERVER, bytes, self.now),
                        other => self.astray.push(other),
                    }
                }
                Output::Parcel(parcel) => self.parcels.push(parcel),
                Output::Address(..) => {}
                Output::Notice(notice) => self.hear(notice),
            }
        }
        any
    }

    fn collect(&mut self) -> bool {
        let mut any = false;
        for client in [&mut self.publisher, &mut self.viewer] {
            let address = client.address;
            let (shard, now) = (&mut self.shard, self.now);
            let record = &mut self.records[usize::from(address == VIEWER)];
            client.drain(now, |_, bytes| {
                any = true;
                if matches!(bytes.first(), Some(20..=63)) {
                    *record = bytes.iter().copied().take(13).collect();
                }
                let datagram = Datagram {
                    transport: Transport::Udp,
                    source: address,
                    local: SERVER,
                    bytes: &bytes,
                    at: now,
                };
                shard.handle(Input::Datagram(datagram), now);
            });
        }
        any
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Answer { session, sdp, .. } => {
                let client =
                    if session == PUBLISHING { &mut self.publisher } else { &mut self.viewer };
                if session == PUBLISHING && self.username.is_empty() {
                    let ufrag = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
                    let theirs = client.rtc.direct_api().local_ice_credentials().ufrag;
                    self.username = format!("{}:{theirs}", ufrag.unwrap_or_default());
                }
                client.answered(&sdp);
            }
            Notice::SessionEnded { session, reason } => self.ended.push((session, reason)),
            _ => {}
        }
    }

    /// Whether a packet of the publisher's microphone still reaches the viewer.
    pub fn hears(&mut self) -> bool {
        self.viewer.packets.clear();
        self.words += 1;
        let word = self.words.to_be_bytes();
        self.publisher.speak(&word, self.now);
        self.settle();
        self.viewer.packets.iter().any(|packet| *packet.payload == word)
    }
}

/// Keeps a stage for some inputs.
pub struct Keeper {
    make: fn() -> Stage,
    inputs_max: usize,
    stage: Option<Stage>,
    history: Vec<Vec<u8>>,
}

impl Keeper {
    /// Makes a new stage with `make` after so many inputs.
    pub fn new(make: fn() -> Stage, inputs_max: usize) -> Self {
        Keeper { make, inputs_max, stage: None, history: Vec::new() }
    }

    /// Runs one input on the stage. `play` says whether the stage can be used again.
    pub fn run(&mut self, input: &[u8], play: impl FnOnce(&mut Stage) -> bool) {
        if self.history.len() >= self.inputs_max {
            self.stage = None;
        }
        if self.stage.is_none() {
            self.history.clear();
        }
        let stage = self.stage.get_or_insert_with(self.make);
        let mut again = false;
        panics::run(input, &self.history, || again = play(stage));
        self.history.push(input.to_vec());
        if !again {
            self.stage = None;
        }
    }
}
