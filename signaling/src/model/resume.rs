//! Losing a WebSocket, coming back, and waiting for a node.

use std::sync::Arc;

use antipode_base::command::Command;
use antipode_base::ids::{MemberId, TrackId};
use antipode_base::limits::{NODE_WAIT, RESUME_WINDOW};

use super::http::Open;
use super::member::Sessions;
use super::message::{Gone, Join, MemberView, Resume, Then, ToClient};
use super::{ClientId, Effect, Model, Now, Refusal, Timer, view};

/// Somebody at the door.
#[derive(Debug)]
pub(super) enum Arrival {
    /// New.
    Join(Box<Join>),
    /// Back.
    Resume(Resume),
    /// New, by HTTP.
    Open(Box<Open>),
}

/// Somebody at the door while no node can take them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub client: ClientId,
    pub arrival: Arrival,
}

impl Model {
    /// Gives a client its member back. Answered as a join is; if there is no such member, the
    /// client is told to join anew.
    pub(crate) fn resume(&mut self, client: ClientId, resume: Resume, now: Now) {
        self.arrive(client, Arrival::Resume(resume), now);
    }

    pub(super) fn arrive(&mut self, client: ClientId, arrival: Arrival, now: Now) {
        if let Some(arrival) = self.try_arrive(client, arrival, now) {
            self.waiting.push(Waiting { client, arrival });
            self.arm(now, NODE_WAIT, Timer::Waiting(client));
        }
    }

    fn try_arrive(&mut self, client: ClientId, arrival: Arrival, now: Now) -> Option<Arrival> {
        match arrival {
            Arrival::Join(join) => self.try_join(client, join, now).map(Arrival::Join),
            Arrival::Resume(resume) => self.try_resume(client, resume, now).map(Arrival::Resume),
            Arrival::Open(open) => self.try_open(client, open, now).map(Arrival::Open),
        }
    }

    /// Something about the nodes changed.
    pub(super) fn retry_waiting(&mut self, now: Now) {
        for Waiting { client, arrival } in std::mem::take(&mut self.waiting) {
            // Its timer runs on from when it first came.
            if let Some(arrival) = self.try_arrive(client, arrival, now) {
                self.waiting.push(Waiting { client, arrival });
            }
        }
    }

    pub(super) fn end_wait(&mut self, client: ClientId, _now: Now) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.client != client);
        if self.waiting.len() < before {
            self.effects.push_back(Effect::Refuse(client, Refusal::NoNode));
        }
    }

    /// Gives the resume back when it must wait.
    fn try_resume(&mut self, client: ClientId, resume: Resume, now: Now) -> Option<Resume> {
        let found = self.members_by_sid.get(&resume.sid).copied();
        let found = found.filter(|id| self.is_whom_it_says(*id, &resume));
        let Some(id) = found else {
            // Right after our own start the node's snapshot may still be on its way.
            if !self.nodes.values().any(|node| node.linked) {
                return Some(resume);
            }
            self.counters.resumes_unknown += 1;
            self.effects.push_back(Effect::Admit(client));
            let leave = ToClient::Leave { why: Gone::StateMismatch, then: Then::Rejoin };
            self.tell(client, leave);
            self.effects.push_back(Effect::Hangup(client));
            return None;
        };
        let linked = self
            .members
            .get(&id)
            .and_then(|member| self.nodes.get(&member.seat.node))
            .is_some_and(|node| node.linked);
        if !linked {
            return Some(resume);
        }
        self.effects.push_back(Effect::Admit(client));
        self.counters.resumes += 1;
        self.take_back(client, id, resume.token_until_s, now);
        None
    }

    fn is_whom_it_says(&self, id: MemberId, resume: &Resume) -> bool {
        let Some(member) = self.members.get(&id) else { return false };
        let room = self.rooms.get(&member.room);
        member.who.identity == resume.identity
            && room.is_some_and(|room| room.record.name == resume.room)
    }

    fn take_back(&mut self, client: ClientId, id: MemberId, token_until_s: u64, now: Now) {
        // The old WebSocket may be half open still.
        self.hang_up(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        let away_since = member.away_since.take().unwrap_or(now.at);
        member.client = Some(client);
        member.token_until_s = token_until_s;
        // What it was told meanwhile is lost.
        member.knows_qualities = false;
        member.told_quality = member.told_quality.filter(|(_, to_all)| *to_all);
        let (room, node) = (member.room, member.seat.node);
        let identity = member.who.identity.clone();
        let me = view(member);
        self.clients.insert(client, id);
        self.tell(client, ToClient::Resumed { node, identity });

        let left = self.rooms.get(&room).into_iter().flat_map(|room| &room.departed);
        let mut views: Vec<MemberView> =
            left.filter(|(at, _)| *at >= away_since).map(|(_, view)| view.clone()).collect();
        let others = self.others(id);
        // Who left and came back under the same identity is present.
        views.retain(|gone| others.iter().all(|there| there.who.identity != gone.who.identity));
        views.push(me);
        views.extend(others);
        self.tell(client, ToClient::Members(Arc::from(views)));
        if let Some(view) = self.room_view(room) {
            self.tell(client, ToClient::Room(view));
        }
        self.give_token(id, now);
        self.repeat_states(id);
        self.restart_ice(id);
    }

    /// What is told as it changes may have changed, or been lost, while there was no WebSocket.
    pub(super) fn repeat_states(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        let tracks: Vec<TrackId> = member.tracks.iter().map(|track| track.id).collect();
        let active = member.subscriptions.iter().filter(|(_, found)| found.active);
        let states: Vec<(TrackId, bool)> = active.map(|(id, found)| (*id, found.starved)).collect();
        tracks.into_iter().for_each(|track| self.tell_layers(id, track));
        for (track, starved) in states {
            self.tell_delivery(id, track, starved);
        }
    }

    /// Where we offer, we restart ICE too (RFC 8839 §4.4.1.1.1); an offer that was lost with the
    /// old WebSocket is replaced by it. Clients that offer do it by their own offer.
    fn restart_ice(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        if let Sessions::Pair { subscribe, .. } = member.sessions {
            self.command(member.seat, Command::RestartIce { session: subscribe });
        }
    }

    /// A WebSocket is gone. Its member stays for [`RESUME_WINDOW`].
    pub(crate) fn client_gone(&mut self, client: ClientId, now: Now) {
        self.waiting.retain(|waiting| waiting.client != client);
        let Some(id) = self.clients.remove(&client) else { return };
        if let Some(member) = self.members.get_mut(&id) {
            member.client = None;
            member.away_since = Some(now.at);
            self.arm(now, RESUME_WINDOW, Timer::Away(id));
        }
    }

    pub(super) fn end_departure(&mut self, id: MemberId, now: Now) {
        let Some(member) = self.members.get(&id) else { return };
        let over = member.away_since.is_some_and(|at| at + RESUME_WINDOW <= now.at);
        if member.client.is_none() && over {
            self.remove(id, Gone::Abandoned, None, now);
        }
    }
}
