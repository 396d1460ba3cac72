//! What a client asks for.

use std::collections::BTreeMap;

use antipode_base::command::Command;
use antipode_base::ids::MemberId;
use antipode_base::limits::{ATTRIBUTES_MAX, METADATA_MAX, NAME_MAX, SDP_MAX};

use super::member::{Audience, Wire};
use super::message::{Description, Gone, Outcome, Request, Simulate, Then, ToClient};
use super::{ClientId, Model, Now, SHARD_ATTRIBUTE};

/// Lines of an [`Audience`], and tracks of one line.
const AUDIENCE_MAX: usize = 256;

impl Model {
    /// One request of a client that was let in.
    pub(crate) fn request(&mut self, client: ClientId, request: Request, now: Now) {
        let Some(&id) = self.clients.get(&client) else { return };
        match request {
            Request::Offer(offer) => self.offer(id, offer),
            Request::Answer(answer) => self.answer(id, answer),
            Request::Publish(spec) => self.publish(id, spec, now),
            Request::Mute { track, muted } => self.mute(id, &track, muted, now),
            Request::Subscribe { tracks, wanted } => self.want(id, &tracks, wanted),
            Request::Tune { tracks, viewing } => self.tune(id, &tracks, viewing),
            Request::Audience(audience) => self.set_audience(id, audience),
            Request::Profile { request_id, name, metadata, attributes } => {
                let outcome = self.update_profile(id, name, metadata, attributes);
                self.respond(id, request_id, outcome);
            }
            Request::Retouch { track, change } => self.retouch(id, &track, change, now),
            Request::Sync { tracks, wanted, paused, published } => {
                self.sync(id, &published, now);
                self.want(id, &tracks, wanted);
                self.pause(id, &paused);
            }
            Request::Simulate(fault) if self.options.simulate => self.simulate(id, fault, now),
            Request::Simulate(_) => {}
            Request::Leave => self.remove(id, Gone::Left, None, now),
        }
    }

    pub(super) fn offer(&mut self, id: MemberId, offer: Description) {
        let Some(member) = self.members.get(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.publish());
        if offer.sdp.len() <= SDP_MAX {
            let Description { id, sdp } = offer;
            self.command(seat, Command::Offer { session, id, sdp });
        }
    }

    fn answer(&mut self, id: MemberId, answer: Description) {
        let Some(member) = self.members.get(&id) else { return };
        if member.wire == Wire::Two && answer.sdp.len() <= SDP_MAX {
            let (seat, session) = (member.seat, member.sessions.subscribe());
            let Description { id, sdp } = answer;
            self.command(seat, Command::Answer { session, id, sdp });
        }
    }

    fn set_audience(&mut self, id: MemberId, audience: Audience) {
        if let Audience::Listed(rules) = &audience {
            let tracks =
                |rule: &super::member::AudienceRule| rule.tracks.as_ref().map_or(0, Vec::len);
            if rules.len() > AUDIENCE_MAX || rules.iter().any(|r| tracks(r) > AUDIENCE_MAX) {
                return self.respond(id, 0, Outcome::LimitExceeded);
            }
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.audience == audience {
            return;
        }
        let before = std::mem::replace(&mut member.audience, audience);
        self.touch(id);
        let Some(member) = self.members.get(&id) else { return };
        let room = member.room;
        self.stir(room);
        let Some(member) = self.members.get(&id) else { return };
        let viewers = self.rooms.get(&member.room).map_or(Vec::new(), |room| room.members.clone());
        let live = member.tracks.iter().filter(|track| track.live.is_some());
        let tracks: Vec<_> = live.map(|track| (track.id, track.sid.clone())).collect();
        let mut old = member.clone();
        old.audience = before;
        for viewer in viewers.into_iter().filter(|viewer| *viewer != id) {
            for (track, sid) in &tracks {
                let allowed_before = self.members.get(&viewer).is_some_and(|v| old.lets(v, sid));
                let allowed = self.may_receive(viewer, id, *track);
                self.refresh_subscription(viewer, id, *track);
                if allowed != allowed_before {
                    self.tell_permission(viewer, id, *track, allowed);
                }
            }
        }
    }

    fn update_profile(
        &mut self,
        id: MemberId,
        name: String,
        metadata: String,
        attributes: BTreeMap<String, String>,
    ) -> Outcome {
        let Some(member) = self.members.get_mut(&id) else { return Outcome::NotFound };
        if !member.permissions.update_own {
            return Outcome::NotAllowed;
        }
        let mut who = member.who.clone();
        if !name.is_empty() {
            who.name = name;
        }
        if !metadata.is_empty() {
            who.metadata = metadata;
        }
        for (key, value) in attributes {
            if value.is_empty() {
                who.attributes.remove(&key);
            } else if key != SHARD_ATTRIBUTE {
                who.attributes.insert(key, value);
            }
        }
        let attributes: usize = who.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
        if who.name.len() > NAME_MAX
            || who.metadata.len() > METADATA_MAX
            || attributes > ATTRIBUTES_MAX
        {
            return Outcome::LimitExceeded;
        }
        if who != member.who {
            member.who = who;
            self.show(id);
        }
        Outcome::Ok
    }

    /// After a resume the client tells which tracks it publishes. If it counts on one that we do
    /// not know, the two sides cannot be made equal and it must come anew.
    fn sync(&mut self, id: MemberId, published: &[String], now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let known = |sid: &String| member.tracks.iter().any(|track| track.sid == *sid);
        if !published.iter().all(known) {
            return self.remove(id, Gone::StateMismatch, Some(Then::Rejoin), now);
        }
        // A notice of a track's end may have been lost while we were down. One that was not live
        // yet may still be on its way at the client.
        if let Some(were_live) = member.rebuilt.take() {
            let ended: Vec<_> = member
                .tracks
                .iter()
                .filter(|track| were_live.contains(&track.id) && !published.contains(&track.sid))
                .map(|track| track.id)
                .collect();
            let (seat, session) = (member.seat, member.sessions.publish());
            for track in ended {
                self.command(seat, Command::Unpublish { session, track });
                self.end_track(track);
            }
        }
    }

    fn simulate(&mut self, id: MemberId, fault: Simulate, now: Now) {
        match fault {
            Simulate::Leave => self.remove(id, Gone::Removed, Some(Then::Stop), now),
            Simulate::FullReconnect => {
                self.remove(id, Gone::StateMismatch, Some(Then::Rejoin), now);
            }
            Simulate::Resume => {
                let client = self.members.get(&id).and_then(|member| member.client);
                self.dismiss(id, Gone::StateMismatch, Then::Resume);
                self.depart(id, client, now);
            }
            Simulate::Drop => {
                let client = self.members.get(&id).and_then(|member| member.client);
                self.hang_up(id);
                self.depart(id, client, now);
            }
        }
    }

    /// We closed the WebSocket ourselves but keep the member.
    fn depart(&mut self, id: MemberId, client: Option<ClientId>, now: Now) {
        if let Some(client) = client {
            self.clients.insert(client, id);
            self.client_gone(client, now);
        }
    }

    fn respond(&mut self, id: MemberId, request_id: u32, outcome: Outcome) {
        let message = match outcome {
            Outcome::Ok => "",
            Outcome::NotFound => "there is no such thing",
            Outcome::NotAllowed => "the token does not grant it",
            Outcome::LimitExceeded => "a text or list is too long",
            Outcome::Unsupported => "it is not supported",
            Outcome::Invalid => "the request contradicts itself",
        };
        let message = message.to_owned();
        self.tell_member(id, ToClient::Response { request_id, outcome, message, publish: None });
    }
}
