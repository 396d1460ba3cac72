//! The control plane at work: members, a node, virtual time. No socket, no clock, one seed.

mod bandwidth;
mod calls;
mod crowds;
mod resources;
mod rules;
mod survival;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antipode_base::command::Command;
use antipode_base::control::Memo;
use antipode_base::ids::{MemberId, NodeId, SessionId, ShardId, TrackId};
use antipode_base::media::{Codec, Kind, Layer};
use antipode_base::notice::{LayerInfo, Notice};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::http::{Denied, Reply};
use super::member::{ClientTraits, Identity, Permissions, Wire};
use super::message::{Description, Gone, Join, MemberView, Request, Resume, Then, ToClient};
use super::program::PlayEvent;
use super::track::{LayerSpec, Marks, Source, TrackSpec};
use super::{ClientId, Effect, Model, Now, Options, Refusal};

const NODE: NodeId = NodeId(1);

/// The model, and everything that it said so far.
struct Scene {
    model: Model,
    now: Now,
    clients: u64,
    commands: Vec<(ShardId, Command)>,
    told: BTreeMap<ClientId, Vec<ToClient>>,
    admitted: Vec<ClientId>,
    refused: Vec<(ClientId, Refusal)>,
    hung_up: Vec<ClientId>,
    replies: Vec<(ClientId, Result<Reply, Denied>)>,
    played: Vec<(MemberId, PlayEvent)>,
    over: Vec<MemberId>,
    memos: BTreeMap<MemberId, Memo>,
}

impl Scene {
    fn empty(options: Options) -> Self {
        Scene {
            model: Model::new(options, StdRng::seed_from_u64(7)),
            now: Now { at: Instant::now(), unix_us: 1_800_000_000_000_000 },
            clients: 0,
            commands: Vec::new(),
            told: BTreeMap::new(),
            admitted: Vec::new(),
            refused: Vec::new(),
            hung_up: Vec::new(),
            replies: Vec::new(),
            played: Vec::new(),
            over: Vec::new(),
            memos: BTreeMap::new(),
        }
    }

    /// With a node of two shards.
    fn new() -> Self {
        let mut scene = Scene::empty(Options::default());
        scene.node_up(NODE, &[]);
        scene
    }

    fn spread() -> Self {
        let mut scene = Scene::empty(Options { spread: true, ..Options::default() });
        scene.node_up(NODE, &[]);
        scene
    }

    fn node_up(&mut self, node: NodeId, held: &[Memo]) {
        self.model.node_up(node, 2, held.to_vec(), self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.model.settle(self.now);
        while let Some(effect) = self.model.poll() {
            match effect {
                Effect::Command { seat, command } => self.commands.push((seat.shard, command)),
                Effect::Memo { memo, .. } => {
                    self.memos.insert(memo.member, memo);
                }
                Effect::Admit(client) => self.admitted.push(client),
                Effect::Refuse(client, refusal) => self.refused.push((client, refusal)),
                Effect::Tell { clients, message } => {
                    for client in clients {
                        self.told.entry(client).or_default().push(message.clone());
                    }
                }
                Effect::Hangup(client) => self.hung_up.push(client),
                Effect::Reply { call, reply } => self.replies.push((call, reply)),
                Effect::Play { player, event } => self.played.push((player, event)),
                Effect::Over(member) => self.over.push(member),
            }
        }
        self.check();
    }

    /// Oracles that hold after every step.
    fn check(&self) {
        let model = &self.model;
        for (id, member) in &model.members {
            assert!(!member.dirty, "{id} has no memo of its last change");
            let room = &model.rooms[&member.room];
            assert!(room.members.contains(id) && room.by_identity[&member.who.identity] == *id);
            assert_eq!(model.members_by_sid[&member.sid], *id);
            for (track, subscription) in &member.subscriptions {
                let publisher = &model.members[&model.tracks[track]];
                assert_eq!(publisher.room, member.room, "a subscription crosses rooms");
                assert!(!subscription.active || publisher.track(*track).unwrap().live.is_some());
            }
        }
        let tracks: usize = model.members.values().map(|member| member.tracks.len()).sum();
        assert_eq!((model.tracks.len(), model.tracks_by_sid.len()), (tracks, tracks));
        assert_eq!(model.members_by_sid.len(), model.members.len());
        assert_eq!(model.rooms.len(), model.rooms_by_name.len());
        assert!(model.rooms.values().all(|room| !room.members.is_empty()), "an empty room is kept");
        let resources = model.members.values().filter(|member| member.http.is_some()).count();
        assert_eq!(model.resources.len(), resources);
        for room in model.rooms.values() {
            let plays = room.members.iter().filter(|id| model.members[id].plays()).count();
            assert_eq!(room.players, plays);
        }
        for (client, member) in &model.clients {
            assert_eq!(model.members[member].client, Some(*client));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(at) = self.model.deadline().filter(|at| *at <= end) {
            self.advance_to(at.max(self.now.at));
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, at: Instant) {
        self.now.unix_us += (at - self.now.at).as_micros() as i64;
        self.now.at = at;
        self.model.tick(self.now);
        self.settle();
    }

    fn join(&mut self, room: &str, identity: &str) -> Guest {
        self.join_as(join(room, identity))
    }

    fn join_as(&mut self, join: Join) -> Guest {
        let guest = self.knock(join);
        assert_eq!(self.admitted.last(), Some(&guest.client), "not admitted");
        let joined = self.told(&guest).into_iter().find_map(|message| match message {
            ToClient::Joined(joined) => Some(joined),
            _ => None,
        });
        let sid = joined.expect("the first message").me.sid;
        let sessions = self.model.members[&self.model.members_by_sid[&sid]].sessions;
        Guest { sid, publish: sessions.publish(), subscribe: sessions.subscribe(), ..guest }
    }

    /// Without waiting for an answer.
    fn knock(&mut self, join: Join) -> Guest {
        let client = self.next_client();
        let (room, identity) = (join.room.clone(), join.who.identity.clone());
        self.model.join(client, join, self.now);
        self.settle();
        let none = SessionId(0);
        Guest { client, room, identity, sid: String::new(), publish: none, subscribe: none }
    }

    fn next_client(&mut self) -> ClientId {
        self.clients += 1;
        ClientId(self.clients)
    }

    fn resume(&mut self, guest: &Guest) -> Guest {
        let client = self.next_client();
        let resume = Resume {
            room: guest.room.clone(),
            sid: guest.sid.clone(),
            identity: guest.identity.clone(),
            token_until_s: 2_000_000_000,
        };
        self.model.resume(client, resume, self.now);
        self.settle();
        Guest { client, ..guest.clone() }
    }

    fn gone(&mut self, guest: &Guest) {
        self.model.client_gone(guest.client, self.now);
        self.settle();
    }

    fn ask(&mut self, guest: &Guest, request: Request) {
        self.model.request(guest.client, request, self.now);
        self.settle();
    }

    fn notice(&mut self, notice: Notice) {
        let shard = notice.session().map_or(ShardId(0), |session| {
            let member = self.model.sessions.get(&session).map(|id| &self.model.members[id]);
            member.map_or(ShardId(0), |member| member.seat.shard)
        });
        self.model.notice(NODE, shard, notice, self.now);
        self.settle();
    }

    /// Announces a track and lets the shard take it. Gives its ids.
    fn publish(&mut self, guest: &Guest, spec: TrackSpec) -> (TrackId, String) {
        let kind = spec.kind;
        self.ask(guest, Request::Publish(spec));
        let (track, sid) = self.announced(guest);
        self.live(guest, track, kind);
        (track, sid)
    }

    fn announced(&self, guest: &Guest) -> (TrackId, String) {
        let published = self.told(guest).into_iter().rev().find_map(|message| match message {
            ToClient::Published { track, .. } => Some((track.id, track.sid)),
            _ => None,
        });
        published.expect("the track was not taken")
    }

    fn live(&mut self, guest: &Guest, track: TrackId, kind: Kind) {
        let (codec, rids) = match kind {
            Kind::Audio => (Codec::Opus, &[""][..]),
            Kind::Video => (Codec::Vp8, &["q", "h", "f"][..]),
        };
        let layer = |(index, rid): (usize, &&str)| LayerInfo {
            layer: Layer(index as u8),
            rid: (*rid).to_owned(),
            ssrc: 0,
            repair_ssrc: 0,
        };
        self.notice(Notice::TrackLive {
            session: guest.publish,
            track,
            mid: "7".into(),
            codec,
            layers: rids.iter().enumerate().map(layer).collect(),
        });
    }

    /// All commands since the last call.
    fn take_commands(&mut self) -> Vec<(ShardId, Command)> {
        std::mem::take(&mut self.commands)
    }

    fn told(&self, guest: &Guest) -> Vec<ToClient> {
        self.told.get(&guest.client).cloned().unwrap_or_default()
    }

    fn take_told(&mut self, guest: &Guest) -> Vec<ToClient> {
        self.told.remove(&guest.client).unwrap_or_default()
    }

    /// What a client knows of a member, from all that it was told.
    fn sees(&self, guest: &Guest, identity: &str) -> Option<MemberView> {
        let views = self.told(guest).into_iter().flat_map(|message| match message {
            ToClient::Joined(joined) => joined.others,
            ToClient::Members(members) => members.to_vec(),
            _ => Vec::new(),
        });
        views.filter(|view| view.who.identity == identity).max_by_key(|view| view.version)
    }

    fn was_left(&self, guest: &Guest) -> Option<(Gone, Then)> {
        self.told(guest).into_iter().find_map(|message| match message {
            ToClient::Leave { why, then } => Some((why, then)),
            _ => None,
        })
    }
}

/// A client, from outside.
#[derive(Clone, Debug)]
struct Guest {
    client: ClientId,
    room: String,
    identity: String,
    sid: String,
    publish: SessionId,
    subscribe: SessionId,
}

fn join(room: &str, identity: &str) -> Join {
    Join {
        room: room.into(),
        who: Identity { identity: identity.into(), name: identity.into(), ..Default::default() },
        permissions: Permissions::default(),
        key: "devkey".into(),
        token_until_s: 1_800_010_000,
        wire: Wire::One,
        auto_subscribe: true,
        traits: ClientTraits::default(),
        tracks: Vec::new(),
        offer: None,
    }
}

fn offer(id: u32) -> Description {
    Description { id, sdp: format!("v=0 offer {id}") }
}

fn microphone() -> TrackSpec {
    TrackSpec {
        client_id: "mic".into(),
        kind: Kind::Audio,
        source: Source::Microphone,
        name: String::new(),
        stream: String::new(),
        width: 0,
        height: 0,
        layers: Vec::new(),
        codec: None,
        muted: false,
        marks: Marks::default(),
    }
}

fn camera() -> TrackSpec {
    let layer = |quality, width, height| LayerSpec { quality, width, height, bitrate: 0 };
    TrackSpec {
        client_id: "cam".into(),
        kind: Kind::Video,
        source: Source::Camera,
        layers: vec![layer(0, 320, 180), layer(1, 640, 360), layer(2, 1280, 720)],
        codec: Some(Codec::Vp8),
        ..microphone()
    }
}
