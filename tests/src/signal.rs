//! A tiny signaling process: turns notices into commands the way that the real one does.
//!
//! It knows rooms, members and tracks, subscribes every member to every track that becomes live in
//! its room, and passes descriptions on. It knows nothing of time; the world carries what it says.

use std::collections::{BTreeMap, BTreeSet};

use antipode_base::command::{CloseReason, Command, Grants, OpenSession, Role, Subscribe, Tune};
use antipode_base::ids::{MemberId, RoomId, SessionId, ShardId, TrackId};
use antipode_base::media::{Codec, Kind, Source};
use antipode_base::notice::{EndReason, LayerInfo, Level, Notice, Quality};

use crate::seed::mix;
use crate::talks::{ClientSays, ServerSays};

/// What signaling says, and to whom.
#[derive(Clone, Debug)]
pub enum Out {
    /// To a shard.
    Shard(ShardId, Command),
    /// To the client of a session.
    Client(SessionId, ServerSays),
}

/// Someone in a room.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its identity.
    pub name: String,
    /// Its room.
    pub room: RoomId,
    /// Its shard.
    pub shard: ShardId,
    /// Its id.
    pub id: MemberId,
    /// Its sessions with their roles; those that ended are gone.
    pub sessions: Vec<(SessionId, Role)>,
    /// It left or was lost.
    pub gone: bool,
}

impl Member {
    /// The session on which it publishes, or receives.
    pub fn session(&self, publishes: bool) -> Option<SessionId> {
        let not = if publishes { Role::Subscribe } else { Role::Publish };
        self.sessions.iter().find(|(_, role)| *role != not).map(|(session, _)| *session)
    }
}

/// A published track.
#[derive(Clone, Debug)]
pub struct Track {
    /// Whose, by its place.
    pub owner: usize,
    /// Its room.
    pub room: RoomId,
    /// Audio or video.
    pub kind: Kind,
    /// The publisher's shard.
    pub home: ShardId,
    /// As last reported.
    pub layers: Vec<LayerInfo>,
    /// It was negotiated.
    pub live: bool,
    /// It is over.
    pub ended: bool,
    /// A packet went to a viewer.
    pub watched: bool,
    /// Who receives it, by their places.
    pub viewers: BTreeSet<usize>,
    /// Who ever did.
    pub wanted: BTreeSet<usize>,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Signal {
    /// Everyone who ever joined.
    pub members: Vec<Member>,
    /// Every track that was ever announced.
    pub tracks: BTreeMap<TrackId, Track>,
    /// How each session ended.
    pub ended: BTreeMap<SessionId, EndReason>,
    /// Refused tracks and subscriptions, with the reason.
    pub refused: Vec<(TrackId, String)>,
    /// Levels as last reported, by room and shard.
    pub levels: BTreeMap<(RoomId, ShardId), Vec<Level>>,
    /// Subscriptions that are paused, by the viewer's place and the track.
    pub paused: BTreeSet<(usize, TrackId)>,
    /// Quality as last reported.
    pub quality: BTreeMap<SessionId, Quality>,
    /// What it says, to be taken by the world.
    pub out: Vec<Out>,
    /// Members subscribe to what becomes live by themselves.
    pub auto_subscribe: bool,
    audio_top: u8,
    seed: u64,
    ids: u64,
}

/// All that a member may be allowed.
pub const ALL_GRANTS: Grants = Grants { publish: true, subscribe: true, publish_data: true };

impl Signal {
    /// No rooms yet.
    pub fn new(seed: u64, audio_top: u8) -> Self {
        Signal { seed, audio_top, auto_subscribe: true, ..Signal::default() }
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        mix(&[self.seed, 0x1d, self.ids])
    }

    /// A member joins with sessions of these roles; its place.
    pub fn join(
        &mut self,
        name: &str,
        room: RoomId,
        shard: ShardId,
        roles: &[Role],
        grants: Grants,
    ) -> usize {
        let place = self.members.len();
        let id = MemberId(self.id());
        let sessions: Vec<_> = roles.iter().map(|role| (SessionId(self.id()), *role)).collect();
        for (session, role) in &sessions {
            let open = OpenSession {
                session: *session,
                member: id,
                room,
                role: *role,
                grants,
                identity: name.to_owned(),
                sid: format!("PA_{place}"),
                audio_top: self.audio_top,
                rsa: false,
            };
            self.out.push(Out::Shard(shard, Command::OpenSession(open)));
        }
        let name = name.to_owned();
        self.members.push(Member { name, room, shard, id, sessions, gone: false });
        self.span(room);
        if self.auto_subscribe {
            let live = |track: &&TrackId| {
                let track = &self.tracks[*track];
                track.room == room && track.live && !track.ended
            };
            let tracks: Vec<TrackId> = self.tracks.keys().filter(live).copied().collect();
            tracks.into_iter().for_each(|track| self.subscribe(place, track));
        }
        place
    }

    /// Tells every shard of a room about all of them.
    fn span(&mut self, room: RoomId) {
        let here = self.members.iter().filter(|member| member.room == room && !member.gone);
        let shards: BTreeSet<ShardId> = here.map(|member| member.shard).collect();
        let shards: Vec<ShardId> = shards.into_iter().collect();
        for shard in shards.clone() {
            let shards = shards.clone();
            self.out.push(Out::Shard(shard, Command::SpanRoom { room, shards }));
        }
    }

    /// A member announces a track.
    pub fn publish(&mut self, place: usize, kind: Kind, client_id: &str) -> Option<TrackId> {
        let track = TrackId(self.id());
        let member = &self.members[place];
        let (room, home) = (member.room, member.shard);
        let session = member.session(true)?;
        let publish = Command::Publish {
            session,
            track,
            kind,
            client_id: client_id.to_owned(),
            codec: (kind == Kind::Video).then_some(Codec::Vp8),
            source: Source::Other,
            red: true,
            stereo: false,
        };
        self.out.push(Out::Shard(home, publish));
        let entry = Track {
            owner: place,
            room,
            kind,
            home,
            layers: Vec::new(),
            live: false,
            ended: false,
            watched: false,
            viewers: BTreeSet::new(),
            wanted: BTreeSet::new(),
        };
        self.tracks.insert(track, entry);
        Some(track)
    }

    /// A member takes a track back.
    pub fn unpublish(&mut self, track: TrackId) {
        let Some(entry) = self.tracks.get_mut(&track) else { return };
        entry.ended = true;
        entry.viewers.clear();
        let (owner, home) = (entry.owner, entry.home);
        if let Some(session) = self.members[owner].session(true) {
            self.out.push(Out::Shard(home, Command::Unpublish { session, track }));
        }
    }

    /// A member wants a track.
    pub fn subscribe(&mut self, place: usize, track: TrackId) {
        let member = &self.members[place];
        let Some(entry) = self.tracks.get_mut(&track) else { return };
        let Some(session) = member.session(false).filter(|_| entry.owner != place) else { return };
        entry.viewers.insert(place);
        entry.wanted.insert(place);
        let owner = self.members[entry.owner].name.clone();
        let subscribe = Subscribe {
            session,
            track,
            home: entry.home,
            kind: entry.kind,
            stream_label: format!("PA_{}|{owner}", entry.owner),
            track_label: format!("TR_{track}"),
        };
        self.out.push(Out::Shard(member.shard, Command::Subscribe(subscribe)));
    }

    /// It no longer wants it.
    pub fn unsubscribe(&mut self, place: usize, track: TrackId) {
        let member = &self.members[place];
        if let Some(entry) = self.tracks.get_mut(&track) {
            entry.viewers.remove(&place);
        }
        // A subscription begins unpaused.
        self.paused.remove(&(place, track));
        if let Some(session) = member.session(false) {
            self.out.push(Out::Shard(member.shard, Command::Unsubscribe { session, track }));
        }
    }

    /// It wants it otherwise.
    pub fn tune(&mut self, place: usize, track: TrackId, tune: Tune) {
        if tune.paused {
            self.paused.insert((place, track));
        } else {
            self.paused.remove(&(place, track));
        }
        let member = &self.members[place];
        if let Some(session) = member.session(false) {
            self.out.push(Out::Shard(member.shard, Command::Tune { session, track, tune }));
        }
    }

    /// A publisher mutes or unmutes.
    pub fn mute(&mut self, track: TrackId, muted: bool) {
        let Some(entry) = self.tracks.get(&track) else { return };
        if let Some(session) = self.members[entry.owner].session(true) {
            self.out.push(Out::Shard(entry.home, Command::Mute { session, track, muted }));
        }
    }

    /// New grants for a member.
    pub fn permit(&mut self, place: usize, grants: Grants) {
        let member = &self.members[place];
        for (session, _) in member.sessions.clone() {
            self.out.push(Out::Shard(member.shard, Command::Permit { session, grants }));
        }
    }

    /// A client that is offered to is to restart ICE.
    pub fn restart_ice(&mut self, place: usize) {
        let member = &self.members[place];
        if let Some(session) = member.session(false) {
            self.out.push(Out::Shard(member.shard, Command::RestartIce { session }));
        }
    }

    /// A member leaves.
    pub fn leave(&mut self, place: usize, reason: CloseReason) {
        let member = &self.members[place];
        for (session, _) in &member.sessions {
            let close = Command::CloseSession { session: *session, reason };
            self.out.push(Out::Shard(member.shard, close));
        }
        self.gone(place);
    }

    /// What is left of a member that is gone.
    fn gone(&mut self, place: usize) {
        let member = &mut self.members[place];
        if std::mem::replace(&mut member.gone, true) {
            return;
        }
        let room = member.room;
        for track in self.tracks.values_mut() {
            track.viewers.remove(&place);
            if track.owner == place {
                track.ended = true;
                track.viewers.clear();
            }
        }
        self.span(room);
    }

    /// What a client says goes to its shard.
    pub fn client(&mut self, session: SessionId, says: ClientSays) {
        let Some(place) = self.place(session) else { return };
        let shard = self.members[place].shard;
        let command = match says {
            ClientSays::Offer { id, sdp } => Command::Offer { session, id, sdp },
            ClientSays::Answer { id, sdp } => Command::Answer { session, id, sdp },
        };
        self.out.push(Out::Shard(shard, command));
    }

    /// What a shard says.
    pub fn notice(&mut self, shard: ShardId, notice: Notice) {
        match notice {
            Notice::Answer { session, id, sdp, slots } => {
                self.out.push(Out::Client(session, ServerSays::Answer { id, sdp, slots }));
            }
            Notice::Offer { session, id, sdp, slots } => {
                self.out.push(Out::Client(session, ServerSays::Offer { id, sdp, slots }));
            }
            Notice::NeedSections { session, audio, video } => {
                self.out.push(Out::Client(session, ServerSays::NeedSections { audio, video }));
            }
            Notice::NegotiationFailed { session, reason, .. } => {
                self.out.push(Out::Client(session, ServerSays::Failed { reason }));
            }
            Notice::TrackLive { track, layers, .. } => self.live(track, layers),
            Notice::TrackEnded { track, .. } => {
                if let Some(entry) = self.tracks.get_mut(&track) {
                    entry.ended = true;
                    entry.viewers.clear();
                }
            }
            Notice::TrackRefused { track, reason, .. }
            | Notice::SubscriptionRefused { track, reason, .. } => {
                self.refused.push((track, reason));
            }
            Notice::TrackWatched { track } => {
                if let Some(entry) = self.tracks.get_mut(&track) {
                    entry.watched = true;
                }
            }
            Notice::Levels { room, levels } => {
                self.levels.insert((room, shard), levels);
            }
            Notice::Quality(quality) => {
                self.quality.insert(quality.session, quality);
            }
            Notice::Connected { .. } | Notice::Delivery { .. } | Notice::Demand { .. } => {}
            Notice::SessionEnded { session, reason } => self.session_ended(session, reason),
        }
    }

    fn live(&mut self, track: TrackId, layers: Vec<LayerInfo>) {
        let Some(entry) = self.tracks.get_mut(&track) else { return };
        entry.layers = layers;
        if entry.ended || std::mem::replace(&mut entry.live, true) || !self.auto_subscribe {
            return;
        }
        let room = entry.room;
        for place in 0..self.members.len() {
            if self.members[place].room == room && !self.members[place].gone {
                self.subscribe(place, track);
            }
        }
    }

    fn session_ended(&mut self, session: SessionId, reason: EndReason) {
        let place = self.place(session);
        self.ended.insert(session, reason);
        let Some(place) = place else { return };
        let member = &mut self.members[place];
        member.sessions.retain(|(known, _)| *known != session);
        if !member.gone {
            // A member that lost one of two sessions is told to come anew: the other goes too.
            self.leave(place, CloseReason::Abandoned);
        }
    }

    /// The member of a session that has not ended.
    pub fn place(&self, session: SessionId) -> Option<usize> {
        let has = |member: &Member| member.sessions.iter().any(|(known, _)| *known == session);
        self.members.iter().position(has)
    }
}
