//! Opening, settling and ending sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use antipode_base::command::{OpenSession, Role};
use antipode_base::ids::{SessionId, TrackId};
use antipode_base::limits::{
    MEMBERS_PER_ROOM_MAX, NAME_MAX, ROOMS_PER_SHARD_MAX, SESSIONS_PER_SHARD_MAX,
};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::stats::ShardStats;
use antipode_relay::parcel::Note;

use super::Shard;
use crate::effects::Effects;
use crate::forward::{Origin, Subscription, Track};
use crate::room::Member;
use crate::sdp::member_of;
use crate::session::Session;
use crate::session::config::SessionSetup;
use crate::session::slots::Wish;
use crate::timers::{Alarm, FAR, Reason};

/// No timer is set nearer than this: what is due together is done together.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// How long a description takes from us to the client and into its browser, beyond what media takes.
const DESCRIBED: Duration = Duration::from_millis(60);

impl Shard {
    pub(super) fn open(&mut self, open: &OpenSession, now: Instant) {
        let known_room = self.rooms.get(&open.room);
        let members = known_room.map_or(0, |room| room.members.len());
        let full = self.sessions.len() >= SESSIONS_PER_SHARD_MAX
            || (known_room.is_none() && self.rooms.len() >= ROOMS_PER_SHARD_MAX)
            || members >= MEMBERS_PER_ROOM_MAX;
        let named = open.identity.len() <= NAME_MAX && open.sid.len() <= NAME_MAX;
        if full || !named || self.by_id.contains_key(&open.session) {
            let (session, reason) = (open.session, EndReason::Refused);
            return self.fx.notices.push_back(Notice::SessionEnded { session, reason });
        }
        let credentials = self.setup.credentials();
        let rtc = self.setup.build(open.rsa, credentials.clone(), now);
        let session = Box::new(Session::new(open, rtc, credentials.clone(), now));
        let key = self.sessions.insert(session);
        self.by_id.insert(open.session, key);
        self.demux.add_ufrag(&credentials.ufrag, key);
        let room = self.rooms.entry(open.room).or_default();
        let member = room.members.entry(open.member).or_insert_with(|| Member {
            identity: open.identity.clone(),
            sid: open.sid.clone(),
            grants: open.grants,
            sessions: Vec::new(),
            data_session: None,
        });
        member.sessions.push(key);
        if matches!(open.role, Role::Both | Role::Subscribe) {
            member.data_session = Some(key);
        }
        if open.role != Role::Publish {
            self.fabric.microphones.limit(open.room, open.audio_top);
        }
        self.counters.sessions_opened += 1;
        self.arm_levels(now);
        self.enqueue(key);
    }

    /// Runs something on one session. A panic in it ends that session and no other; what the session
    /// left behind is then acted on.
    pub(super) fn guarded(
        &mut self,
        key: usize,
        now: Instant,
        work: impl FnOnce(&mut Session, &mut SessionSetup, &mut Effects),
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (setup, fx) = (&mut self.setup, &mut self.fx);
        if catch_unwind(AssertUnwindSafe(|| work(session, setup, fx))).is_err() {
            note_fault(session.id, &mut self.counters);
            fx.ended = Some(EndReason::Fault);
        }
        if let Some(keys) = session.fresh_keys.take() {
            session.egress.set_keys(self.setup.provider(), &keys);
            session.ingress.set_keys(self.setup.provider(), keys);
        }
        if let Some(old) = session.retired.take() {
            session.egress.leave_path();
            self.demux.remove_ufrag(&old.ufrag);
            self.demux.add_ufrag(&session.credentials.ufrag, key);
        }
        self.settle(key, now);
    }

    /// Acts on what a session's work led to.
    fn settle(&mut self, key: usize, now: Instant) {
        // Taken first: delivering data settles other sessions meanwhile.
        let ended = self.fx.ended.take();
        if std::mem::take(&mut self.fx.connected) {
            self.connected(key, now);
        }
        for wish in std::mem::take(&mut self.fx.announced) {
            self.attach(key, &wish, now);
        }
        for track in std::mem::take(&mut self.fx.stopped) {
            self.unpublish(key, track);
        }
        self.forward_all();
        self.heard(key, now);
        for (reliable, bytes) in std::mem::take(&mut self.fx.data) {
            self.data_from(key, reliable, &bytes, now);
        }
        if let Some(reason) = ended {
            return self.end(key, reason, now);
        }
        self.arm(key, now);
    }

    /// Sets the timer of a session, or puts it into line for the end of the turn.
    fn arm(&mut self, key: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (due, reason) = (session.deadline, Reason::Session(key, session.id));
        let mut unset = |alarm: Alarm| !alarm.patient && self.timers.unset(alarm.at, reason);
        // What has been done meanwhile is to wake nobody.
        if let Some(next) = session.armed.next().filter(|next| next.due < due)
            && unset(next)
        {
            session.armed.fires(next.at);
        }
        // What is past and waits for its beat would hide what becomes due before that: now is as good.
        let next = session.armed.next();
        let waiting = next.filter(|next| next.due == due && due <= now && now < next.at);
        let waits = waiting.is_some();
        if let Some(waiting) = waiting {
            unset(waiting);
            session.armed.disarm();
        }
        // What became due by what came in is done at this turn's end; what is due again after that, later.
        let now_due = due <= now && self.ending.now.is_none();
        if session.dirty || waits || now_due {
            return self.enqueue(key);
        }
        if next.is_some_and(|next| next.due == due) {
            return;
        }
        let soon = due.max(now + TIMER_STEP);
        let beat = self.fx.beats.after(soon);
        let patient = soon == beat || soon >= now + FAR;
        let at = if patient { beat } else { soon };
        // What was far when its timer was set may be near by now, and still waits for its beat.
        if next.is_none_or(|next| at < next.at) {
            session.armed.set(Alarm { at, due, patient });
            if patient {
                self.timers.set_patient(at, reason);
            } else {
                self.timers.set(at, reason);
            }
        }
    }

    /// The end of the turn drains this session.
    pub(super) fn enqueue(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !std::mem::replace(&mut session.queued, true) {
            self.dirty.push(key);
        }
    }

    pub(super) fn session_turn(&mut self, key: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.queued) else {
            return;
        };
        session.queued = false;
        self.guarded(key, now, |session, setup, fx| {
            session.leave(now, fx);
            if session.dirty || session.deadline <= now {
                session.negotiate(setup, now, fx);
                session.turn(now, fx);
            }
        });
        let session = self.sessions.get(key);
        if session.and_then(|session| session.allocate_at).is_some_and(|at| at <= now) {
            self.allocate(key, now);
            self.arm(key, now);
        }
    }

    /// A session's timer fires that was set for `at`.
    pub(super) fn session_due(&mut self, at: Instant, key: usize, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.id == id) else {
            return;
        };
        if !session.armed.fires(at) {
            return;
        }
        if session.deadline <= now {
            self.enqueue(key);
        } else {
            self.arm(key, now);
        }
    }

    fn connected(&mut self, key: usize, now: Instant) {
        let announced = |wish: &Wish| Some((wish.subscribe.track, wish.announced?));
        let wishes: Vec<_> =
            self.sessions[key].slots.wishes().iter().filter_map(announced).collect();
        for (track, announced) in wishes {
            self.begin_after(key, track, announced, now);
        }
    }

    /// Lets packets of a track flow when the client knows of its section. A connection that was there
    /// before the description would else be faster than it, and the client would lose the first keyframe.
    fn begin_after(&mut self, key: usize, track: TrackId, announced: Instant, now: Instant) {
        let (at, id) = (announced + DESCRIBED, self.sessions[key].id);
        if now >= at {
            self.beginners.push_back((key, id, track));
        } else {
            self.timers.set(at, Reason::Begin(key, id, track));
        }
    }

    /// Lets the next one begin whose time has come, when the others have all of this turn. `false`: there is
    /// none. Each gets what came since a keyframe, so what was sealed for one is to leave before the next.
    pub(super) fn begin_next(&mut self, now: Instant) -> bool {
        // It gets what is kept, and that is to have gone to the others.
        if !self.beginners.is_empty() && self.fabric.release(None) {
            return true;
        }
        let Some((key, id, track)) = self.beginners.pop_front() else { return false };
        self.begin(key, id, track, now);
        true
    }

    fn begin(&mut self, key: usize, id: SessionId, track: TrackId, now: Instant) {
        let Some(session) = self.sessions.get(key).filter(|session| session.id == id) else {
            return;
        };
        let entry = self.fabric.get_mut(track).zip(session.slots.hop(track));
        let viewer = entry.and_then(|(entry, near)| entry.viewer(key, near));
        if let Some(viewer) = viewer.filter(|viewer| !viewer.ready) {
            viewer.ready = true;
            self.viewer_begins(key, track, now);
        }
    }

    /// Begins to send a track to a session that knows where to expect it.
    fn attach(&mut self, key: usize, wish: &Wish, now: Instant) {
        let track = wish.subscribe.track;
        let home = wish.subscribe.home;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let room = session.room;
        // A track that is known here must be of the viewer's room, whoever else watches it; one that
        // is not is checked by its home, which has the room in our `Watch`.
        let known = self.fabric.get_mut(track).map(|track| track.room);
        if known.map_or(home == self.config.shard, |of| of != room) {
            return self.refuse(key, track, "there is no such track in the room");
        }
        let Some(slot) = wish.slot else { return };
        let Some(rewriter) = session.slots.get_mut(slot).and_then(|slot| slot.rewriter.take())
        else {
            return;
        };
        if let Some(lane) = session.egress.lane_mut(slot) {
            // One name for all that one member sends keeps sound and picture together.
            lane.set_cname(member_of(&wish.subscribe.stream_label));
        }
        let mut viewer = Subscription::new(key, slot, wish.tune, rewriter);
        viewer.listener = (session.audio_top > 0).then_some(session.member);
        let kind = wish.subscribe.kind;
        let entry = self.fabric.get_or_make(track, || Track::new(kind, Origin::Shard(home), room));
        let first = !entry.has_viewers();
        if !entry.add_viewer(viewer) {
            return self.refuse(key, track, "the track has too many viewers");
        }
        if first {
            self.watch(track);
        }
        self.demand_changed(track, now);
        // It will have come when the viewer is ready for it.
        self.viewer_needs_keyframe(key, track, now);
        if self.sessions[key].connected {
            self.begin_after(key, track, wish.announced.unwrap_or(now), now);
        }
    }

    fn refuse(&mut self, key: usize, track: TrackId, reason: &str) {
        let session = &mut self.sessions[key];
        session.slots.forget(track);
        let (session, reason) = (session.id, reason.to_owned());
        self.fx.notices.push_back(Notice::SubscriptionRefused { session, track, reason });
    }

    /// Stops sending a track to a session; its slot is free for another.
    pub(super) fn detach(&mut self, key: usize, track: TrackId, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(wish) = session.slots.forget(track) else { return };
        session.want_negotiation();
        self.enqueue(key);
        let viewer = self.fabric.remove_viewer(track, key);
        let Some(entry) = self.fabric.get(track) else { return };
        if let Some(viewer) = viewer
            && let Some(slot) = wish.slot.and_then(|slot| self.sessions[key].slots.get_mut(slot))
        {
            slot.rewriter = Some(viewer.into_rewriter());
        }
        if let (Origin::Shard(home), false) = (entry.origin, entry.has_viewers()) {
            self.fabric.remove(track);
            self.send_note(home, Note::Unwatch { track });
        } else {
            self.demand_changed(track, now);
        }
        self.sessions[key].want_allocation(now);
    }

    /// Ends a track of one of our sessions.
    pub(super) fn unpublish(&mut self, key: usize, track: TrackId) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.publications.remove(track).is_some() {
            let session = session.id;
            self.fx.notices.push_back(Notice::TrackEnded { session, track });
            self.end_track(track);
        }
    }

    /// Takes a track away, with its viewers here and its hops to other shards.
    pub(super) fn end_track(&mut self, track: TrackId) {
        let Some(entry) = self.fabric.remove(track) else { return };
        let (remotes, viewers) = entry.into_hops();
        for remote in remotes {
            self.send_note(remote.shard, Note::TrackEnded { track });
        }
        for viewer in viewers {
            let (key, slot) = (viewer.session, viewer.slot);
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.slots.forget(track);
            if let Some(slot) = session.slots.get_mut(slot) {
                slot.rewriter = Some(viewer.into_rewriter());
            }
            session.want_negotiation();
            self.enqueue(key);
        }
    }

    pub(super) fn end(&mut self, key: usize, reason: EndReason, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let published: Vec<TrackId> = session.publications.iter().map(|p| p.track).collect();
        let received: Vec<TrackId> =
            session.slots.wishes().iter().map(|wish| wish.subscribe.track).collect();
        for track in received {
            self.detach(key, track, now);
        }
        for track in published {
            self.end_track(track);
        }
        let session = self.sessions.remove(key);
        self.by_id.remove(&session.id);
        self.demux.remove_ufrag(&session.credentials.ufrag);
        for address in session.addresses {
            self.demux.remove_address(address, key);
            self.disclaim(address);
        }
        if let Some(room) = self.rooms.get_mut(&session.room) {
            if let Some(member) = room.members.get_mut(&session.member) {
                member.sessions.retain(|known| *known != key);
                member.data_session = member.data_session.filter(|known| *known != key);
                if member.sessions.is_empty() {
                    room.members.remove(&session.member);
                }
            }
            if room.members.is_empty() {
                self.rooms.remove(&session.room);
                self.fabric.microphones.close(session.room);
            }
        }
        self.fx.notices.push_back(Notice::SessionEnded { session: session.id, reason });
    }
}

/// A panic of ours in one session's work.
pub(super) fn note_fault(session: SessionId, counters: &mut ShardStats) {
    tracing::error!(%session, "a defect of ours ended this session");
    counters.session_faults += 1;
}
