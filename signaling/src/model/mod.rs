//! The control plane as a state machine: rooms, members, tracks, subscriptions.
//!
//! ```text
//!   joins, resumes, requests ----\                  /---- messages to clients
//!   nodes, notices, snapshots ---- Model (no I/O) ------- commands to shards
//!   time ------------------------/                  \---- memos to nodes
//! ```
//!
//! Inputs are method calls with a [`Now`]; then [`Model::settle`] once; then [`Model::poll`] until
//! it returns `None`; then wait for the next input or for [`Model::deadline`] and call
//! [`Model::tick`]. It knows nothing of WebSockets, protobuf or sockets, reads no clock, and draws
//! its random numbers from the generator that it was given.

pub(crate) mod http;
mod join;
pub(crate) mod member;
pub(crate) mod message;
mod news;
mod nodes;
mod notices;
pub(crate) mod program;
pub(crate) mod quality;
mod requests;
mod resume;
mod room;
#[cfg(test)]
mod scenes;
mod speakers;
mod subscribe;
pub(crate) mod track;
mod tracks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::command::Command;
use antipode_base::control::Memo;
use antipode_base::ids::{MemberId, NodeId, RoomId, SessionId, TrackId};
use rand::Rng;
use rand::rngs::StdRng;

use crate::memo;
use member::{Member, Seat};
use message::{Gone, MemberView, Then, ToClient};
use nodes::Node;
use resume::Waiting;
use room::Room;
pub(crate) use room::RoomRecord;

/// One WebSocket, for as long as it lasts; or one request by HTTP, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub u64);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For time limits.
    pub at: Instant,
    /// For what people read, in microseconds since 1970.
    pub unix_us: i64,
}

impl Now {
    /// Milliseconds since 1970.
    fn unix_ms(self) -> i64 {
        self.unix_us / 1_000
    }

    /// Seconds since 1970.
    pub(crate) fn unix_s(self) -> u64 {
        u64::try_from(self.unix_us / 1_000_000).unwrap_or(0)
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No node came in time.
    NoNode,
    /// All shards are full.
    Full,
}

/// Something to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// For one shard.
    Command {
        /// Which one.
        seat: Seat,
        /// What.
        command: Command,
    },
    /// For a node to keep.
    Memo {
        /// Which one.
        node: NodeId,
        /// What.
        memo: Memo,
    },
    /// A client may open its WebSocket; what it is told follows.
    Admit(ClientId),
    /// It may not.
    Refuse(ClientId, Refusal),
    /// One message for one or many.
    Tell {
        /// To whom.
        clients: Vec<ClientId>,
        /// What.
        message: ToClient,
    },
    /// Close its WebSocket, after what it was told.
    Hangup(ClientId),
    /// To a request by HTTP.
    Reply {
        /// Which.
        call: ClientId,
        /// How it went.
        reply: Result<http::Reply, http::Denied>,
    },
    /// For whoever listens to a player's events.
    Play {
        /// Which player.
        player: MemberId,
        /// What.
        event: program::PlayEvent,
    },
    /// A member that came by HTTP is gone: nobody need listen any more.
    Over(MemberId),
}

/// How the model is to behave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Every join to the next shard.
    pub spread: bool,
    /// There is but one node: the arrival of another means that the one before is dead.
    pub one_node: bool,
    /// Clients may order faults.
    pub simulate: bool,
    /// How many of a room's microphones a member hears at once; 0: all.
    pub audio_top: u8,
}

/// Something that becomes due. A timer is never taken back: whoever handles it checks whether it
/// still applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A member without WebSocket has waited long enough.
    Away(MemberId),
    /// A client whose media broke had its moment to say goodbye.
    MediaLost(MemberId),
    /// An arrival has waited long enough for a node.
    Waiting(ClientId),
    /// A node without link has had its grace.
    Grace(NodeId),
    /// The room's speakers.
    Speakers(RoomId),
    /// Who came to the room and who went.
    News(RoomId),
    /// The room's quality report, its size, its members' tokens.
    Report(RoomId),
}

/// Figures for `/metrics`; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Members let in.
    pub joins: u64,
    /// WebSockets that took up their member again.
    pub resumes: u64,
    /// Resumes of nobody we know.
    pub resumes_unknown: u64,
    /// Members found in snapshots.
    pub rebuilt: u64,
}

/// See the module's documentation.
pub(crate) struct Model {
    options: Options,
    rng: StdRng,
    nodes: BTreeMap<NodeId, Node>,
    rooms: HashMap<RoomId, Room>,
    /// Clients choose the names: the default hasher is keyed.
    rooms_by_name: HashMap<String, RoomId>,
    members: HashMap<MemberId, Member>,
    members_by_sid: HashMap<String, MemberId>,
    sessions: HashMap<SessionId, MemberId>,
    tracks: HashMap<TrackId, MemberId>,
    tracks_by_sid: HashMap<String, TrackId>,
    clients: HashMap<ClientId, MemberId>,
    /// Members that came by HTTP, by the last part of their path.
    resources: HashMap<String, MemberId>,
    /// Rooms that changed in this turn and have players.
    stirred: BTreeSet<RoomId>,
    /// Rooms of which news wait since this turn.
    restless: BTreeSet<RoomId>,
    /// Arrivals that no node can take yet.
    waiting: Vec<Waiting>,
    /// The number tells apart what is due at one instant.
    timers: BTreeMap<(Instant, u64), Timer>,
    timer_count: u64,
    /// Members whose memo is behind.
    dirty: Vec<MemberId>,
    effects: VecDeque<Effect>,
    counters: Counters,
}

impl Model {
    pub(crate) fn new(options: Options, rng: StdRng) -> Self {
        Model {
            options,
            rng,
            nodes: BTreeMap::new(),
            rooms: HashMap::new(),
            rooms_by_name: HashMap::new(),
            members: HashMap::new(),
            members_by_sid: HashMap::new(),
            sessions: HashMap::new(),
            tracks: HashMap::new(),
            tracks_by_sid: HashMap::new(),
            clients: HashMap::new(),
            resources: HashMap::new(),
            stirred: BTreeSet::new(),
            restless: BTreeSet::new(),
            waiting: Vec::new(),
            timers: BTreeMap::new(),
            timer_count: 0,
            dirty: Vec::new(),
            effects: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The next thing to do. Call again after every input and after [`Model::settle`].
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Ends a turn: one memo for each member that changed in it, however often.
    pub(crate) fn settle(&mut self, now: Now) {
        self.direct();
        self.bundle(now);
        for id in std::mem::take(&mut self.dirty) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.dirty = false;
            let Some(room) = self.rooms.get(&member.room) else { continue };
            let memo = memo::write(member, &room.record);
            self.effects.push_back(Effect::Memo { node: member.seat.node, memo });
        }
    }

    /// When to call [`Model::tick`] if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Fires what is due.
    pub(crate) fn tick(&mut self, now: Now) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now.at {
                return;
            }
            match entry.remove() {
                Timer::Away(member) => self.end_departure(member, now),
                Timer::MediaLost(member) => self.end_media_grace(member, now),
                Timer::Waiting(client) => self.end_wait(client, now),
                Timer::Grace(node) => self.end_node_grace(node, now),
                Timer::Speakers(room) => self.report_speakers(room, now),
                Timer::News(room) => self.news_due(room, now),
                Timer::Report(room) => self.report_room(room, now),
            }
        }
    }

    /// Members, rooms, nodes with a link.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let nodes = self.nodes.values().filter(|node| node.linked).count();
        (self.members.len(), self.rooms.len(), nodes)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Nobody's number yet; 0 is nobody's ever.
    fn fresh_id(&mut self) -> u64 {
        loop {
            // 64 random bits: that two are equal is not expected in the age of the universe.
            let id = self.rng.random::<u64>();
            if id != 0 {
                return id;
            }
        }
    }

    fn arm(&mut self, now: Now, after: Duration, timer: Timer) {
        self.timer_count += 1;
        self.timers.insert((now.at + after, self.timer_count), timer);
    }

    fn tell(&mut self, client: ClientId, message: ToClient) {
        self.effects.push_back(Effect::Tell { clients: vec![client], message });
    }

    /// To a member, if it has a WebSocket at the moment.
    fn tell_member(&mut self, member: MemberId, message: ToClient) {
        if let Some(client) = self.members.get(&member).and_then(|member| member.client) {
            self.tell(client, message);
        }
    }

    /// To all of a room, but for one.
    fn tell_room(&mut self, room: RoomId, but: Option<MemberId>, message: ToClient) {
        let Some(room) = self.rooms.get(&room) else { return };
        let clients: Vec<ClientId> = room
            .members
            .iter()
            .filter(|id| Some(**id) != but)
            .filter_map(|id| self.members.get(id)?.client)
            .collect();
        if !clients.is_empty() {
            self.effects.push_back(Effect::Tell { clients, message });
        }
    }

    /// Shows a member's new state to everybody who may see it, itself included.
    fn show(&mut self, id: MemberId) {
        let Some((room, view)) = self.renew(id) else { return };
        if view.permissions.hidden {
            self.tell_member(id, ToClient::Members(Arc::from([view])));
        } else {
            self.tell_of(room, id, view, None);
        }
    }

    /// The same where others have time to learn of it.
    fn show_soon(&mut self, id: MemberId) {
        let Some((room, view)) = self.renew(id) else { return };
        self.tell_member(id, ToClient::Members(Arc::from([view.clone()])));
        if !view.permissions.hidden {
            self.tell_of_soon(room, id, view, Some(id));
        }
    }

    /// A member changed: its room, and how it looks now.
    fn renew(&mut self, id: MemberId) -> Option<(RoomId, MemberView)> {
        let member = self.members.get_mut(&id)?;
        member.version += 1;
        let renewed = (member.room, view(member));
        self.touch(id);
        Some(renewed)
    }

    /// The member's memo is behind.
    fn touch(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id)
            && !member.dirty
        {
            member.dirty = true;
            self.dirty.push(id);
        }
    }

    fn command(&mut self, seat: Seat, command: Command) {
        let linked = self.nodes.get_mut(&seat.node);
        match linked {
            Some(node) if !node.linked => node.keep(seat.shard, command),
            _ => self.effects.push_back(Effect::Command { seat, command }),
        }
    }

    /// Sends a leave and hangs up, if there is a WebSocket.
    fn dismiss(&mut self, id: MemberId, why: Gone, then: Then) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(client) = member.client.take() else { return };
        self.clients.remove(&client);
        self.tell(client, ToClient::Leave { why, then });
        self.effects.push_back(Effect::Hangup(client));
    }
}

/// A member as others see it.
fn view(member: &Member) -> MemberView {
    let mut who = member.who.clone();
    who.attributes.insert(SHARD_ATTRIBUTE.to_owned(), member.seat.shard.0.to_string());
    MemberView {
        sid: member.sid.clone(),
        who,
        permissions: member.permissions.clone(),
        phase: Some(member.phase),
        gone: None,
        tracks: member.tracks.iter().filter(|track| track.live.is_some()).cloned().collect(),
        version: member.version,
        joined_ms: member.joined_ms,
        traits: member.traits.clone(),
    }
}

/// The attribute that tells which shard serves a member.
pub(crate) const SHARD_ATTRIBUTE: &str = "antipode.shard";
