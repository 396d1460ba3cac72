//! What signaling says.

use std::time::Instant;

use antipode_base::command::{CloseReason, Command, Grants, Subscribe, Tune};
use antipode_base::ids::{RoomId, SessionId, ShardId, TrackId};
use antipode_base::limits::{
    NAME_MAX, SHARDS_MAX, SUBSCRIPTIONS_PER_SESSION_MAX, TRACKS_PER_SESSION_MAX,
};
use antipode_base::notice::{EndReason, Notice};

use super::Shard;
use crate::forward::{Origin, Track};
use crate::session::publications::Publication;

impl Shard {
    /// Commands for sessions that are gone are let be: their end was or will be reported.
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        let key = command.session().and_then(|id| self.by_id.get(&id).copied());
        match (command, key) {
            (Command::OpenSession(open), _) => self.open(&open, now),
            (Command::SpanRoom { room, shards }, _) => self.span(room, shards),
            (_, None) => {}
            (Command::CloseSession { session, reason }, Some(key)) => {
                self.close(key, session, reason, now);
            }
            (Command::Permit { grants, .. }, Some(key)) => self.permit(key, grants),
            (Command::Offer { id, sdp, .. }, Some(key)) => self.offer(key, id, &sdp, now),
            (Command::Answer { id, sdp, .. }, Some(key)) => {
                self.guarded(key, now, |session, setup, fx| {
                    session.answered(id, &sdp, setup, now, fx);
                });
            }
            (Command::Publish { track, kind, client_id, codec, source, red, .. }, Some(key)) => {
                let announced = Publication::new(track, kind, source, client_id, codec);
                self.publish(key, Publication { red, ..announced }, now);
            }
            (Command::Unpublish { track, .. }, Some(key)) => self.unpublish(key, track),
            (Command::Mute { track, muted, .. }, Some(key)) => self.mute(key, track, muted),
            (Command::Subscribe(subscribe), Some(key)) => self.subscribe(key, subscribe),
            (Command::Unsubscribe { track, .. }, Some(key)) => self.detach(key, track, now),
            (Command::Tune { track, tune, .. }, Some(key)) => self.tune(key, track, tune, now),
            (Command::RestartIce { .. }, Some(key)) => {
                self.sessions[key].want_ice_restart();
                self.enqueue(key);
            }
        }
    }

    fn span(&mut self, room: RoomId, mut shards: Vec<ShardId>) {
        shards.truncate(SHARDS_MAX);
        shards.retain(|shard| shard.0 < self.config.shards && *shard != self.config.shard);
        if let Some(room) = self.rooms.get_mut(&room) {
            room.shards = shards;
        }
    }

    fn close(&mut self, key: usize, session: SessionId, reason: CloseReason, now: Instant) {
        tracing::debug!(%session, ?reason, "closing");
        self.guarded(key, now, |session, _, fx| {
            session.close(now, fx);
            fx.ended = Some(EndReason::Closed);
        });
    }

    fn permit(&mut self, key: usize, grants: Grants) {
        let session = &mut self.sessions[key];
        session.grants = grants;
        let member = session.member;
        if let Some(room) = self.rooms.get_mut(&session.room)
            && let Some(member) = room.members.get_mut(&member)
        {
            member.grants = grants;
        }
    }

    fn offer(&mut self, key: usize, id: u32, sdp: &str, now: Instant) {
        self.guarded(key, now, |session, setup, fx| {
            session.offered(id, sdp, setup, now, fx);
        });
    }

    fn publish(&mut self, key: usize, announced: Publication, now: Instant) {
        let (track, kind) = (announced.track, announced.kind);
        let session = &mut self.sessions[key];
        // Said again by a signaling process that may have lost our notices.
        if let Some(known) = session.publications.get(track)
            && (known.kind, &known.client_id) == (kind, &announced.client_id)
        {
            if let Some(codec) = known.codec {
                session.report_live(track, codec, &mut self.fx);
                self.repeat_demand(track);
            }
            return;
        }
        let refusal = if !session.grants.publish {
            Some("the token does not allow publishing")
        } else if session.publications.iter().count() >= TRACKS_PER_SESSION_MAX {
            Some("too many tracks are published already")
        } else if announced.client_id.len() > NAME_MAX {
            Some("the client's id of the track is too long")
        } else {
            None
        };
        let refusal = refusal.or_else(|| {
            let announced = session.publications.announce(announced);
            (!announced).then_some("the client's id of the track is taken")
        });
        let (id, room) = (session.id, session.room);
        match refusal {
            None => {
                self.fabric.get_or_make(track, || Track::new(kind, Origin::Session(key), room));
                self.demand_changed(track, now);
            }
            Some(reason) => self.fx.notices.push_back(Notice::TrackRefused {
                session: id,
                track,
                reason: reason.to_owned(),
            }),
        }
    }

    fn mute(&mut self, key: usize, track: TrackId, muted: bool) {
        if let Some(track) = self.fabric.get_mut(track)
            && track.origin == Origin::Session(key)
        {
            track.muted = muted;
        }
    }

    fn subscribe(&mut self, key: usize, subscribe: Subscribe) {
        let session = &mut self.sessions[key];
        let track = subscribe.track;
        // Said again by a signaling process that may have lost our notices.
        if session.slots.wishes().iter().any(|wish| wish.subscribe.track == track) {
            return self.repeat_delivery(key, track);
        }
        let refusal = if !session.grants.subscribe {
            Some("the token does not allow subscribing")
        } else if session.slots.wishes().len() >= SUBSCRIPTIONS_PER_SESSION_MAX {
            Some("too many tracks are subscribed already")
        } else if subscribe.stream_label.len() > NAME_MAX || subscribe.track_label.len() > NAME_MAX
        {
            Some("a label is too long")
        } else if subscribe.home.0 >= self.config.shards {
            Some("the track's shard is not of this node")
        } else {
            None
        };
        if let Some(reason) = refusal {
            let (session, reason) = (session.id, reason.to_owned());
            return self.fx.notices.push_back(Notice::SubscriptionRefused {
                session,
                track,
                reason,
            });
        }
        if session.slots.wish(subscribe) {
            session.want_negotiation();
            self.enqueue(key);
        }
    }

    fn tune(&mut self, key: usize, track: TrackId, tune: Tune, now: Instant) {
        if !self.sessions[key].slots.tune(track, tune) {
            return;
        }
        self.catch_up(now);
        let near = self.sessions[key].slots.hop(track);
        let entry = self.fabric.get_mut(track).zip(near);
        if let Some(viewer) = entry.and_then(|(entry, near)| entry.viewer(key, near)) {
            let resumed = viewer.tune.paused && !tune.paused;
            viewer.tune(tune);
            self.demand_changed(track, now);
            if resumed {
                self.viewer_begins(key, track, now);
            }
            self.sessions[key].want_allocation(now);
            self.enqueue(key);
        }
    }
}
