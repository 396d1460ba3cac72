//! A room: who is in it, on which shards, who speaks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use antipode_base::command::Command;
use antipode_base::ids::{MemberId, NodeId, RoomId, ShardId};
use antipode_base::limits::{
    LEVEL_INTERVAL, NEWS_ROOM_MIN, QUALITY_INTERVAL, RESUME_WINDOW, SIGNAL_PING_TIMEOUT,
    TOKEN_REFRESH,
};
use serde::{Deserialize, Serialize};

use super::member::{Member, Phase, Seat};
use super::message::{MemberView, RoomView, SpeakerView, ToClient};
use super::news::News;
use super::quality::Grade;
use super::speakers::Speakers;
use super::{Model, Now, Timer};

/// What a memo keeps of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomRecord {
    /// Inner id.
    pub id: RoomId,
    /// Public id.
    pub sid: String,
    /// Chosen by the first member's token.
    pub name: String,
    /// In milliseconds since 1970.
    pub created_ms: i64,
}

/// Those who left that a resuming client may still think present.
const DEPARTED_MAX: usize = 1_024;

/// A room with at least one member.
#[derive(Debug)]
pub(super) struct Room {
    pub record: RoomRecord,
    /// In the order of arrival.
    pub members: Vec<MemberId>,
    pub by_identity: HashMap<String, MemberId>,
    /// How many members each seat has. A room stays on one node.
    pub seats: BTreeMap<Seat, usize>,
    /// The shards that were last told of each other.
    pub span_told: BTreeSet<ShardId>,
    pub speakers: Speakers,
    /// Members that play by WHEP.
    pub players: usize,
    /// Who left within the last [`RESUME_WINDOW`].
    pub departed: VecDeque<(Instant, MemberView)>,
    /// What it has not been told of its members yet.
    pub news: News,
    /// What was last told of the room's size.
    pub told: Option<RoomView>,
}

impl Room {
    pub(super) fn new(record: RoomRecord) -> Self {
        Room {
            record,
            members: Vec::new(),
            by_identity: HashMap::new(),
            seats: BTreeMap::new(),
            span_told: BTreeSet::new(),
            speakers: Speakers::default(),
            players: 0,
            departed: VecDeque::new(),
            news: News::default(),
            told: None,
        }
    }

    /// The node that has the room.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.seats.keys().next().map(|seat| seat.node)
    }
}

impl Model {
    /// The room of that name, made if need be.
    pub(super) fn room_named(&mut self, name: &str, now: Now) -> RoomId {
        if let Some(id) = self.rooms_by_name.get(name) {
            return *id;
        }
        let record = RoomRecord {
            id: RoomId(self.fresh_id()),
            sid: crate::sid::room(&mut self.rng),
            name: name.to_owned(),
            created_ms: now.unix_ms(),
        };
        self.open_room(record, now)
    }

    pub(super) fn open_room(&mut self, record: RoomRecord, now: Now) -> RoomId {
        let id = record.id;
        self.rooms_by_name.insert(record.name.clone(), id);
        self.rooms.insert(id, Room::new(record));
        self.arm(now, QUALITY_INTERVAL, Timer::Report(id));
        id
    }

    /// Puts a member into its room's tables.
    pub(super) fn seat_member(&mut self, member: Member) {
        let Some(room) = self.rooms.get_mut(&member.room) else { return };
        room.members.push(member.id);
        room.by_identity.insert(member.who.identity.clone(), member.id);
        *room.seats.entry(member.seat).or_default() += 1;
        room.players += usize::from(member.plays());
        if let Some(node) = self.nodes.get_mut(&member.seat.node) {
            node.take_seat(member.seat.shard, member.sessions.all().len());
        }
        for session in member.sessions.all() {
            self.sessions.insert(session, member.id);
        }
        for track in &member.tracks {
            self.tracks.insert(track.id, member.id);
            self.tracks_by_sid.insert(track.sid.clone(), track.id);
        }
        if let Some(client) = member.client {
            self.clients.insert(client, member.id);
        }
        if let Some(resource) = &member.http {
            self.resources.insert(resource.id.clone(), member.id);
        }
        self.members_by_sid.insert(member.sid.clone(), member.id);
        self.members.insert(member.id, member);
    }

    /// Takes a member out of all tables; an empty room goes with it.
    pub(super) fn unseat_member(&mut self, id: MemberId, now: Now) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.members_by_sid.remove(&member.sid);
        for session in member.sessions.all() {
            self.sessions.remove(&session);
        }
        for track in &member.tracks {
            self.tracks.remove(&track.id);
            self.tracks_by_sid.remove(&track.sid);
        }
        if let Some(client) = member.client {
            self.clients.remove(&client);
        }
        self.forget_resource(&member);
        if let Some(node) = self.nodes.get_mut(&member.seat.node) {
            node.give_seat(member.seat.shard, member.sessions.all().len());
        }
        let room = self.rooms.get_mut(&member.room)?;
        room.members.retain(|other| *other != id);
        room.by_identity.remove(&member.who.identity);
        room.speakers.forget(id);
        room.players -= usize::from(member.plays());
        if let Some(count) = room.seats.get_mut(&member.seat) {
            *count -= 1;
            if *count == 0 {
                room.seats.remove(&member.seat);
            }
        }
        room.departed.retain(|(at, _)| now.at.duration_since(*at) < RESUME_WINDOW);
        if room.members.is_empty() {
            let name = std::mem::take(&mut room.record.name);
            self.rooms_by_name.remove(&name);
            self.rooms.remove(&member.room);
        }
        Some(member)
    }

    /// Keeps who left for those who resume later.
    pub(super) fn remember_departed(&mut self, room: RoomId, view: MemberView, now: Now) {
        let Some(room) = self.rooms.get_mut(&room) else { return };
        if room.departed.len() == DEPARTED_MAX {
            room.departed.pop_front();
        }
        room.departed.push_back((now.at, view));
    }

    /// Tells all shards of a room of each other, when their set changed.
    pub(super) fn span(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let shards: BTreeSet<ShardId> = room.seats.keys().map(|seat| seat.shard).collect();
        if shards == room.span_told {
            return;
        }
        room.span_told.clone_from(&shards);
        let seats: Vec<Seat> = room.seats.keys().copied().collect();
        let shards: Vec<ShardId> = shards.into_iter().collect();
        for seat in seats {
            self.command(seat, Command::SpanRoom { room: id, shards: shards.clone() });
        }
    }

    pub(super) fn room_view(&self, id: RoomId) -> Option<RoomView> {
        let room = self.rooms.get(&id)?;
        let seen = || room.members.iter().filter_map(|id| self.members.get(id));
        let seen = || seen().filter(|member| !member.permissions.hidden);
        Some(RoomView {
            sid: room.record.sid.clone(),
            name: room.record.name.clone(),
            created_ms: room.record.created_ms,
            members: seen().count() as u32,
            publishers: seen().filter(|member| member.publishes()).count() as u32,
        })
    }

    pub(super) fn report_speakers(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let told = room.speakers.changes(now.at);
        let again = !room.speakers.is_empty();
        let speakers: Arc<[SpeakerView]> = told
            .into_iter()
            .filter_map(|told| {
                let sid = self.members.get(&told.member)?.sid.clone();
                Some(SpeakerView { sid, level: told.level })
            })
            .collect();
        if !speakers.is_empty() {
            self.stir(id);
            self.tell_room(id, None, ToClient::Speakers(speakers));
        }
        if again {
            self.arm(now, LEVEL_INTERVAL, Timer::Speakers(id));
        }
    }

    /// Tells how good each connection is, when that changes, and newcomers all of it.
    fn report_qualities(&mut self, members: &[MemberId], now: Now) {
        let (mut all, mut changed) = (Vec::new(), Vec::new());
        for id in members {
            let Some(member) = self.members.get_mut(id) else { continue };
            let grade = member.grades.worst(SIGNAL_PING_TIMEOUT, now.at);
            let Some(grade) = grade.filter(|_| member.phase == Phase::Active) else { continue };
            let named = (member.sid.clone(), grade);
            // How well a viewer hears is its own concern, and there may be thousands of them.
            let shared = member.publishes() || members.len() < NEWS_ROOM_MIN;
            let like = |(told, to_all): (Grade, bool)| told.is_like(grade) && to_all == shared;
            let is_news = !member.told_quality.is_some_and(like);
            if is_news {
                member.told_quality = Some((grade, shared));
            }
            if shared {
                changed.extend(is_news.then(|| named.clone()));
                all.push(named);
            } else if is_news {
                self.tell_member(*id, ToClient::Quality(Arc::from([named])));
            }
        }
        let (all, changed): (Arc<[_]>, Arc<[_]>) = (all.into(), changed.into());
        for id in members {
            let Some(member) = self.members.get_mut(id) else { continue };
            let knows = std::mem::replace(&mut member.knows_qualities, true);
            let told = if knows { &changed } else { &all };
            if !told.is_empty() {
                self.tell_member(*id, ToClient::Quality(Arc::clone(told)));
            }
        }
    }

    pub(super) fn report_room(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get(&id) else { return };
        let members: Vec<MemberId> = room.members.clone();
        self.report_qualities(&members, now);
        let view = self.room_view(id);
        if let (Some(room), Some(view)) = (self.rooms.get_mut(&id), view)
            && room.told.as_ref() != Some(&view)
        {
            room.told = Some(view.clone());
            self.tell_room(id, None, ToClient::Room(view));
        }
        self.count_viewers(id);
        for id in members {
            self.renew_token(id, now);
        }
        self.arm(now, QUALITY_INTERVAL, Timer::Report(id));
    }

    /// A connected client's token never comes near its end.
    fn renew_token(&mut self, id: MemberId, now: Now) {
        let Some(member) = self.members.get(&id) else { return };
        let left = member.token_until_s.saturating_sub(now.unix_s());
        if member.client.is_some() && left < TOKEN_REFRESH.as_secs() / 2 {
            self.give_token(id, now);
        }
    }
}
