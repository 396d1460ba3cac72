//! Bandwidth, both ways: what each viewer gets of its own, and what no viewer needs at all.
//!
//! Downwards, a session's estimate is shared among its subscriptions ([`allocate`]) when it moves, when a
//! wish changes, and at intervals, since publishers change their rates too. Upwards, the highest layer that
//! anybody uses is told to the track's home and by it to the publisher, who may stop the rest: more at
//! once, less after a while, so that a viewer who looks away for a moment costs nobody a restart.

use std::time::{Duration, Instant};

use antipode_base::command::Priority;
use antipode_base::ids::TrackId;
use antipode_base::media::{Bitrate, Kind, Layer};
use antipode_base::notice::Notice;
use antipode_relay::parcel::Note;

use super::Shard;
use crate::forward::allocation::{Grant, Want, allocate};
use crate::forward::{Origin, Track};
use crate::sdp::member_of;
use crate::timers::Reason;

/// How often a session's bandwidth is shared anew though nothing was heard of it: while it lacks
/// something, and while it has all that it wants or wants nothing.
const ALLOCATE_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long less must be needed before the publisher is told.
const DEMAND_HOLD: Duration = Duration::from_secs(3);

impl Shard {
    /// Shares a session's bandwidth among what it receives.
    pub(super) fn allocate(&mut self, key: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.allocate_at = None;
        let Some(estimate) = session.egress.estimate() else { return };
        let sound = session.egress.audio_rate(now).0;
        let (wants, whose) = self.wants(key, now);
        if wants.is_empty() {
            let session = &mut self.sessions[key];
            session.pacer.set_rate(None, false);
            session.egress.want(None, now);
            // What is muted or paused now comes back.
            if session.slots.wishes().iter().any(|wish| wish.subscribe.kind == Kind::Video) {
                session.want_allocation(self.fx.beats.after(now + LOOK_EVERY));
            }
            return;
        }
        let mut grants = std::mem::take(&mut self.grants);
        let budget = Bitrate(estimate.0.saturating_sub(sound));
        let session = &mut self.sessions[key];
        let share = session.climb.share(budget, now);
        let mut allocated = allocate(share, &wants, &mut grants);
        let more = grants.iter().zip(&wants).any(|(grant, want)| *grant > want.now);
        if more && !session.climb.may(budget, Some(allocated.used), now) {
            // As it was, and the probes look for what the climb would take.
            let used = allocated.used;
            let held: Vec<Want> = wants.iter().map(Want::held).collect();
            allocated = allocate(share, &held, &mut grants);
            allocated.next = Some(used);
        }
        let both = || wants.iter().zip(&grants);
        let more = both().any(|(want, grant)| *grant > want.now);
        let less = both().any(|(want, grant)| want.is_short_of(*grant));
        self.sessions[key].climb.note(more, less, now);
        tracing::trace!(session = %self.sessions[key].id, ?estimate, sound, ?allocated, ?grants, "shared");
        for (track, grant) in whose.into_iter().zip(&grants) {
            self.grant(key, track, *grant, now);
        }
        self.grants = grants;
        let session = &mut self.sessions[key];
        let full = session.egress.backed_off(now);
        session.pacer.set_rate(allocated.next.map(|_| estimate), full);
        session.egress.want(allocated.next.map(|next| Bitrate(next.0 + sound)), now);
        let lacks = allocated.next.is_some();
        let next = now + if lacks { ALLOCATE_EVERY } else { LOOK_EVERY };
        session.want_allocation(self.fx.beats.after(next));
    }

    /// What the session wants, track by track.
    fn wants(&mut self, key: usize, now: Instant) -> (Vec<Want>, Vec<TrackId>) {
        let wishes = self.sessions[key].slots.wishes();
        let (mut wants, mut whose) = (Vec::new(), Vec::new());
        // Who speaks, by the member's part of the label.
        let voices: Vec<&str> = wishes
            .iter()
            .filter(|wish| wish.subscribe.kind == Kind::Audio)
            .filter(|wish| self.fabric.get(wish.subscribe.track).is_some_and(|track| track.speaks))
            .map(|wish| member_of(&wish.subscribe.stream_label))
            .collect();
        for wish in wishes.iter().filter(|wish| wish.subscribe.kind == Kind::Video) {
            let Some(track) = self.fabric.get(wish.subscribe.track) else { continue };
            let viewer = track.viewer_of(key, &wish.hop).filter(|viewer| viewer.ready);
            let Some(viewer) = viewer else { continue };
            if viewer.tune.paused || track.muted {
                continue;
            }
            let speaks = voices.contains(&member_of(&wish.subscribe.stream_label));
            let priority = match viewer.tune.priority {
                Priority::Camera if speaks => Priority::Speaker,
                other => other,
            };
            wants.push(Want {
                priority,
                layer_max: viewer.tune.layer_max,
                temporal_max: viewer.tune.temporal_max,
                active: track.active(now),
                rates: *track.rates(),
                svc: track.svc,
                now: viewer.grant,
            });
            whose.push(wish.subscribe.track);
        }
        (wants, whose)
    }

    fn grant(&mut self, key: usize, track: TrackId, grant: Grant, now: Instant) {
        let Some(entry) = self.fabric.get_mut(track) else { return };
        let Some(near) = self.sessions[key].slots.hop(track) else { return };
        let svc = entry.svc;
        let viewer = entry.viewer(key, near).filter(|viewer| viewer.grant != grant);
        let Some(viewer) = viewer else { return };
        let slot = viewer.slot;
        let granted = viewer.grant(grant, svc);
        let paused = grant == Grant::Paused;
        let session = &mut self.sessions[key];
        if granted.turned {
            let session = session.id;
            self.fx.notices.push_back(Notice::Delivery { session, track, paused });
        }
        if granted.turned {
            session.abandon(slot);
        }
        if granted.too_large || (granted.turned && !paused) {
            self.viewer_needs_keyframe(key, track, now);
        }
    }

    /// Says once more whether a viewer's track starves, if it is on its way to it at all.
    pub(super) fn repeat_delivery(&mut self, key: usize, track: TrackId) {
        let entry = self.fabric.get(track).zip(self.sessions[key].slots.hop(track));
        if let Some(viewer) = entry.and_then(|(entry, near)| entry.viewer_of(key, near)) {
            let (session, paused) = (self.sessions[key].id, viewer.grant == Grant::Paused);
            self.fx.notices.push_back(Notice::Delivery { session, track, paused });
        }
    }

    /// The first viewer of a track is here: its home is to send it.
    pub(super) fn watch(&mut self, id: TrackId) {
        let track = self.fabric.get(id).filter(|track| matches!(track.origin, Origin::Shard(_)));
        if let Some(demanded) = track.map(Track::demanded) {
            self.tell_demand(id, demanded);
        }
    }

    /// Something changed in what viewers need of a track.
    pub(super) fn demand_changed(&mut self, id: TrackId, now: Instant) {
        let Some(track) = self.fabric.get_mut(id).filter(|track| track.kind == Kind::Video) else {
            return;
        };
        let demanded = track.demanded();
        if demanded > track.demand.told {
            self.tell_demand(id, demanded);
        } else if demanded < track.demand.told
            && !std::mem::replace(&mut track.demand.waiting, true)
        {
            self.timers.set(now + DEMAND_HOLD, Reason::Demand(id));
        }
    }

    pub(super) fn demand_due(&mut self, id: TrackId) {
        let Some(track) = self.fabric.get_mut(id) else { return };
        track.demand.waiting = false;
        let demanded = track.demanded();
        if demanded != track.demand.told {
            self.tell_demand(id, demanded);
        }
    }

    /// Says once more what was last said about the layers of a track.
    pub(super) fn repeat_demand(&mut self, id: TrackId) {
        let track = self.fabric.get(id).filter(|track| track.kind == Kind::Video);
        if let Some(told) = track.map(|track| track.demand.told) {
            self.tell_demand(id, told);
        }
    }

    fn tell_demand(&mut self, id: TrackId, layer_max: Option<Layer>) {
        let Some(track) = self.fabric.get_mut(id) else { return };
        track.demand.told = layer_max;
        let room = track.room;
        match track.origin {
            Origin::Shard(home) => {
                self.send_note(home, Note::Watch { track: id, room, layer_max });
            }
            Origin::Session(key) => {
                let Some(session) = self.sessions.get(key).map(|session| session.id) else {
                    return;
                };
                self.fx.notices.push_back(Notice::Demand { session, track: id, layer_max });
            }
        }
    }
}
