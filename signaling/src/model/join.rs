//! Coming in and going out.

use antipode_base::command::{CloseReason, Command, OpenSession, Role};
use antipode_base::ids::{MemberId, SessionId, TrackId};
use antipode_base::limits::TOKEN_REFRESH;

use super::http::{Resource, Way};
use super::member::{Member, Phase, Seat, Sessions, Wire};
use super::message::{Gone, Join, Joined, MemberView, Then, ToClient};
use super::quality::Grades;
use super::resume::Arrival;
use super::{ClientId, Effect, Model, Now, Refusal, view};
use crate::placement::{Load, Policy, place};
use crate::token::TokenRequest;

/// Where a join can go.
pub(super) enum Place {
    /// There.
    Seat(Seat),
    /// Nowhere before a node comes (back).
    Wait,
    /// Nowhere.
    Full,
}

impl Model {
    /// Lets somebody in, at once or when a node comes. Answered by [`Effect::Admit`] or
    /// [`Effect::Refuse`].
    pub(crate) fn join(&mut self, client: ClientId, join: Join, now: Now) {
        self.arrive(client, Arrival::Join(Box::new(join)), now);
    }

    /// Gives the join back when it must wait.
    pub(super) fn try_join(
        &mut self,
        client: ClientId,
        join: Box<Join>,
        now: Now,
    ) -> Option<Box<Join>> {
        let seat = match self.place(&join.room) {
            Place::Wait => return Some(join),
            Place::Full => {
                self.effects.push_back(Effect::Refuse(client, Refusal::Full));
                return None;
            }
            Place::Seat(seat) => seat,
        };
        self.displace(&join.room, &join.who.identity, now);
        self.effects.push_back(Effect::Admit(client));
        self.counters.joins += 1;
        self.admit(client, *join, seat, now);
        None
    }

    /// Of two with one identity the newer stays.
    pub(super) fn displace(&mut self, room: &str, identity: &str, now: Now) {
        let taken = self
            .rooms_by_name
            .get(room)
            .and_then(|room| self.rooms.get(room)?.by_identity.get(identity).copied());
        if let Some(taken) = taken {
            self.remove(taken, Gone::Replaced, Some(Then::Stop), now);
        }
    }

    pub(super) fn place(&mut self, room_name: &str) -> Place {
        let room = self.rooms_by_name.get(room_name).and_then(|id| self.rooms.get(id));
        let room_node = room.and_then(super::Room::node);
        let ready = |id| self.nodes.get(&id).is_some_and(|node| node.linked);
        let any = self.nodes.values().any(|node| node.linked);
        if !any || room_node.is_some_and(|node| !ready(node)) {
            return Place::Wait;
        }
        let in_room = |seat| room.and_then(|room| room.seats.get(&seat).copied()).unwrap_or(0);
        let loads: Vec<Load> = self
            .nodes
            .values()
            .filter(|node| node.linked)
            .flat_map(super::Node::seats)
            .map(|(seat, sessions)| Load { seat, sessions, room_members: in_room(seat) })
            .collect();
        let policy =
            if self.options.spread { Policy::Spread(self.counters.joins) } else { Policy::Pack };
        place(policy, &loads, room_node).map_or(Place::Full, Place::Seat)
    }

    fn admit(&mut self, client: ClientId, join: Join, seat: Seat, now: Now) {
        let Join { tracks, offer, .. } = join.clone();
        let member = self.new_member(Some(client), join, seat, now);
        let (id, room) = (member.id, member.room);
        self.open_sessions(&member);
        self.seat_member(member);
        self.span(room);
        self.greet(client, id);
        self.give_token(id, now);
        self.show_newcomer(id);
        self.subscribe_to_room(id);
        for spec in tracks {
            self.publish(id, spec, now);
        }
        if let Some(offer) = offer {
            self.offer(id, offer);
        }
    }

    /// The same for one that has no WebSocket.
    pub(super) fn admit_resource(&mut self, join: Join, seat: Seat, resource: Resource, now: Now) {
        let Join { tracks, offer, .. } = join.clone();
        let offer = offer.map(|offer| offer.sdp).unwrap_or_default();
        let mut member = self.new_member(None, join, seat, now);
        member.http = Some(Resource { offer: offer.clone(), ..resource });
        let (id, room) = (member.id, member.room);
        self.open_sessions(&member);
        self.seat_member(member);
        self.span(room);
        self.show_newcomer(id);
        for spec in tracks {
            self.publish(id, spec, now);
        }
        self.send_offer(id, offer);
        self.stir(room);
    }

    fn new_member(&mut self, client: Option<ClientId>, join: Join, seat: Seat, now: Now) -> Member {
        let room = self.room_named(&join.room, now);
        let sessions = match join.wire {
            Wire::One => Sessions::Both(SessionId(self.fresh_id())),
            Wire::Two => Sessions::Pair {
                publish: SessionId(self.fresh_id()),
                subscribe: SessionId(self.fresh_id()),
            },
        };
        Member {
            id: MemberId(self.fresh_id()),
            room,
            sid: crate::sid::member(&mut self.rng),
            who: join.who,
            permissions: join.permissions,
            key: join.key,
            token_until_s: join.token_until_s,
            wire: join.wire,
            auto_subscribe: join.auto_subscribe,
            traits: join.traits,
            joined_ms: now.unix_ms(),
            version: 1,
            phase: Phase::Joined,
            seat,
            sessions,
            tracks: Vec::new(),
            subscriptions: Default::default(),
            audience: Default::default(),
            http: None,
            client,
            away_since: None,
            grades: Grades::default(),
            told_quality: None,
            knows_qualities: false,
            media_lost: false,
            rebuilt: None,
            dirty: false,
        }
    }

    fn open_sessions(&mut self, member: &Member) {
        let roles: &[(SessionId, Role)] = match member.sessions {
            Sessions::Both(session) => match member.http.as_ref().map(|resource| resource.way) {
                None => &[(session, Role::Both)],
                Some(Way::Whip) => &[(session, Role::Publish)],
                Some(Way::Whep) => &[(session, Role::Play)],
            },
            Sessions::Pair { publish, subscribe } => {
                &[(publish, Role::Publish), (subscribe, Role::Subscribe)]
            }
        };
        // A recording wants everybody, and so may a program.
        let all = member.permissions.recorder || member.permissions.agent;
        // What a player hears is chosen for it.
        let all = all || member.http.is_some();
        let audio_top = if all { 0 } else { self.options.audio_top };
        for &(session, role) in roles {
            let open = OpenSession {
                session,
                member: member.id,
                room: member.room,
                role,
                grants: member.permissions.grants(),
                identity: member.who.identity.clone(),
                sid: member.sid.clone(),
                audio_top,
                // What is no browser may have made its certificate the old way.
                rsa: member.http.is_some(),
            };
            self.command(member.seat, Command::OpenSession(open));
        }
    }

    /// The first message.
    fn greet(&mut self, client: ClientId, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        let Some(room) = self.room_view(member.room) else { return };
        let joined = Joined {
            room,
            me: view(member),
            others: self.others(id),
            wire: member.wire,
            node: member.seat.node,
        };
        self.tell(client, ToClient::Joined(Box::new(joined)));
    }

    /// Everybody else in the room who may be seen.
    pub(super) fn others(&self, id: MemberId) -> Vec<MemberView> {
        let room = self.members.get(&id).and_then(|member| self.rooms.get(&member.room));
        room.into_iter()
            .flat_map(|room| &room.members)
            .filter(|other| **other != id)
            .filter_map(|other| self.members.get(other))
            .filter(|other| !other.permissions.hidden)
            .map(view)
            .collect()
    }

    fn show_newcomer(&mut self, id: MemberId) {
        self.touch(id);
        let Some(member) = self.members.get(&id) else { return };
        if !member.permissions.hidden {
            let (room, view) = (member.room, view(member));
            self.tell_of_soon(room, id, view, Some(id));
        }
    }

    /// A token that keeps the client able to come back, at least for [`TOKEN_REFRESH`].
    pub(super) fn give_token(&mut self, id: MemberId, now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(room) = self.rooms.get(&member.room) else { return };
        let until_s = member.token_until_s.max(now.unix_s() + TOKEN_REFRESH.as_secs());
        member.token_until_s = until_s;
        let grant = TokenRequest {
            room: room.record.name.clone(),
            identity: member.who.identity.clone(),
            name: member.who.name.clone(),
            metadata: member.who.metadata.clone(),
            attributes: member.who.attributes.clone(),
            not_before_s: now.unix_s(),
            expires_s: until_s,
            permissions: member.permissions.clone(),
        };
        let message = ToClient::Token { key: member.key.clone(), grant: Box::new(grant) };
        self.touch(id);
        self.tell_member(id, message);
    }

    /// Ends a member: its sessions, its tracks, its place. `then`: what its client, if there is
    /// one, is told to do.
    pub(super) fn remove(&mut self, id: MemberId, why: Gone, then: Option<Then>, now: Now) {
        match then {
            Some(then) => self.dismiss(id, why, then),
            None => self.hang_up(id),
        }
        let Some(member) = self.members.get(&id) else { return };
        let tracks: Vec<TrackId> = member.tracks.iter().map(|track| track.id).collect();
        self.unsubscribe_all(member.room, id, &tracks);
        let Some(member) = self.unseat_member(id, now) else { return };
        for session in member.sessions.all() {
            let reason = close_reason(why);
            self.command(member.seat, Command::CloseSession { session, reason });
        }
        self.span(member.room);
        if member.permissions.hidden {
            return;
        }
        let mut gone = view(&member);
        // Of who is gone only the ids matter, and many may be remembered.
        gone.tracks.clear();
        gone.who.metadata.clear();
        gone.who.attributes.clear();
        gone.phase = None;
        gone.gone = Some(why);
        gone.version += 1;
        if tracks.is_empty() {
            self.tell_of_soon(member.room, id, gone.clone(), None);
        } else {
            self.tell_of(member.room, id, gone.clone(), None);
        }
        self.remember_departed(member.room, gone, now);
    }

    /// Closes the WebSocket without a word.
    pub(super) fn hang_up(&mut self, id: MemberId) {
        let Some(client) = self.members.get_mut(&id).and_then(|member| member.client.take()) else {
            return;
        };
        self.clients.remove(&client);
        self.effects.push_back(Effect::Hangup(client));
    }
}

fn close_reason(why: Gone) -> CloseReason {
    match why {
        Gone::Left => CloseReason::Left,
        Gone::Replaced => CloseReason::Replaced,
        Gone::Abandoned | Gone::MediaFailed | Gone::NodeLost => CloseReason::Abandoned,
        Gone::Removed => CloseReason::Removed,
        Gone::JoinFailed | Gone::StateMismatch => CloseReason::Misbehaved,
    }
}
