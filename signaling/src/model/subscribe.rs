//! Who receives what.

use antipode_base::command::{Command, Subscribe, Tune};
use antipode_base::ids::{MemberId, RoomId, TrackId};
use antipode_base::limits::SUBSCRIPTIONS_PER_SESSION_MAX;

use super::Model;
use super::member::{ClientTraits, Naming, Subscription};
use super::message::ToClient;
use super::track::{Source, Track, Viewing};

impl Model {
    /// A newcomer gets every track that it may have.
    pub(super) fn subscribe_to_room(&mut self, viewer: MemberId) {
        for (publisher, track) in self.live_tracks_for(viewer) {
            if self.refresh_subscription(viewer, publisher, track) {
                self.tell_permission(viewer, publisher, track, true);
            }
        }
    }

    /// All live tracks of the others in a member's room.
    pub(super) fn live_tracks_for(&self, viewer: MemberId) -> Vec<(MemberId, TrackId)> {
        let room = self.members.get(&viewer).and_then(|viewer| self.rooms.get(&viewer.room));
        room.into_iter()
            .flat_map(|room| &room.members)
            .filter(|id| **id != viewer)
            .filter_map(|id| self.members.get(id))
            .flat_map(|publisher| {
                let live = publisher.tracks.iter().filter(|track| track.live.is_some());
                live.map(|track| (publisher.id, track.id))
            })
            .collect()
    }

    /// A new or changed track of `publisher`: everybody's subscription to it is looked at anew.
    pub(super) fn refresh_viewers(&mut self, publisher: MemberId, track: TrackId) {
        let Some(member) = self.members.get(&publisher) else { return };
        let of = member.room;
        let Some(room) = self.rooms.get(&of) else { return };
        let viewers = room.members.clone();
        self.stir(of);
        for viewer in viewers {
            self.refresh_subscription(viewer, publisher, track);
        }
    }

    /// Whether the rules let `viewer` have the track at all.
    pub(super) fn may_receive(
        &self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
    ) -> bool {
        let (Some(viewer), Some(publisher)) =
            (self.members.get(&viewer), self.members.get(&publisher))
        else {
            return false;
        };
        let Some(track) = publisher.track(track) else { return false };
        viewer.id != publisher.id
            && viewer.permissions.subscribe
            && !publisher.permissions.hidden
            && publisher.lets(viewer, &track.sid)
    }

    /// Brings one subscription to where rules and wishes want it. Says whether it is active now.
    pub(super) fn refresh_subscription(
        &mut self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
    ) -> bool {
        let allowed = self.may_receive(viewer, publisher, track);
        let live =
            |member: &super::Member| member.track(track).is_some_and(|track| track.live.is_some());
        let live = self.members.get(&publisher).is_some_and(live);
        let Some(member) = self.members.get(&viewer) else { return false };
        let current = member.subscriptions.get(&track).copied().unwrap_or_default();
        let wanted = current.wanted.unwrap_or(member.auto_subscribe);
        let active = member.subscriptions.values().filter(|s| s.active).count();
        let room = current.active || active < SUBSCRIPTIONS_PER_SESSION_MAX;
        let want = allowed && live && wanted && room;
        if want != current.active {
            self.switch_subscription(viewer, publisher, track, current, want);
        }
        want
    }

    fn switch_subscription(
        &mut self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
        current: Subscription,
        on: bool,
    ) {
        let Some(member) = self.members.get_mut(&viewer) else { return };
        member.subscriptions.insert(track, Subscription { active: on, starved: false, ..current });
        self.touch(viewer);
        if on {
            self.send_subscription(viewer, publisher, track);
        } else {
            self.send_unsubscribe(viewer, track);
        }
    }

    /// Tells the viewer's shard of an active subscription. Idempotent there.
    pub(super) fn send_subscription(
        &mut self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
    ) {
        let (Some(to), Some(from)) = (self.members.get(&viewer), self.members.get(&publisher))
        else {
            return;
        };
        let Some(source) = from.track(track) else { return };
        let session = to.sessions.subscribe();
        let subscribe = Subscribe {
            session,
            track,
            home: from.seat.shard,
            kind: source.spec.kind,
            stream_label: stream_label(&from.sid, source, &to.traits),
            track_label: track_label(source, &to.traits),
        };
        let seat = to.seat;
        let viewing = to.subscriptions.get(&track).and_then(|subscription| subscription.viewing);
        let tune = source.tune_for(viewing);
        self.command(seat, Command::Subscribe(subscribe));
        // A shard begins with the default; repeated after a lost link, it may have another one.
        if viewing.is_some() || tune != Tune::default() {
            self.command(seat, Command::Tune { session, track, tune });
        }
    }

    pub(super) fn send_unsubscribe(&mut self, viewer: MemberId, track: TrackId) {
        let Some(member) = self.members.get(&viewer) else { return };
        let session = member.sessions.subscribe();
        self.command(member.seat, Command::Unsubscribe { session, track });
    }

    /// Tracks are gone: nobody in the room receives them or has an opinion on them any more.
    pub(super) fn unsubscribe_all(&mut self, room: RoomId, but: MemberId, tracks: &[TrackId]) {
        self.stir(room);
        let Some(room) = self.rooms.get(&room) else { return };
        for viewer in room.members.clone() {
            for track in tracks {
                let Some(member) = self.members.get_mut(&viewer) else { continue };
                let Some(subscription) = member.subscriptions.remove(track) else { continue };
                self.touch(viewer);
                if subscription.active && viewer != but {
                    self.send_unsubscribe(viewer, *track);
                }
            }
        }
    }

    /// A viewer's word on some tracks.
    pub(super) fn want(&mut self, viewer: MemberId, sids: &[String], wanted: bool) {
        for sid in sids.iter().take(SUBSCRIPTIONS_PER_SESSION_MAX) {
            let Some((publisher, track)) = self.find_track(viewer, sid) else {
                if wanted {
                    let failed =
                        ToClient::SubscriptionFailed { track: sid.clone(), unsupported: false };
                    self.tell_member(viewer, failed);
                }
                continue;
            };
            let Some(member) = self.members.get_mut(&viewer) else { return };
            member.subscriptions.entry(track).or_default().wanted = Some(wanted);
            self.touch(viewer);
            self.refresh_subscription(viewer, publisher, track);
            if wanted && !self.may_receive(viewer, publisher, track) {
                self.tell_permission(viewer, publisher, track, false);
            }
        }
    }

    /// A viewer's wish for some tracks.
    pub(super) fn tune(&mut self, viewer: MemberId, sids: &[String], viewing: Viewing) {
        for sid in sids.iter().take(SUBSCRIPTIONS_PER_SESSION_MAX) {
            let Some((publisher, track)) = self.find_track(viewer, sid) else { continue };
            self.set_viewing(viewer, publisher, track, viewing);
        }
    }

    /// Pauses without a word on layers.
    pub(super) fn pause(&mut self, viewer: MemberId, sids: &[String]) {
        for sid in sids.iter().take(SUBSCRIPTIONS_PER_SESSION_MAX) {
            let Some((publisher, track)) = self.find_track(viewer, sid) else { continue };
            let before = self.members.get(&viewer).and_then(|m| m.subscriptions.get(&track));
            let before = before.and_then(|subscription| subscription.viewing).unwrap_or_default();
            self.set_viewing(viewer, publisher, track, Viewing { paused: true, ..before });
        }
    }

    pub(super) fn set_viewing(
        &mut self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
        viewing: Viewing,
    ) {
        let Some(source) = self.members.get(&publisher).and_then(|m| m.track(track)).cloned()
        else {
            return;
        };
        let Some(member) = self.members.get_mut(&viewer) else { return };
        let subscription = member.subscriptions.entry(track).or_default();
        if subscription.viewing == Some(viewing) {
            return;
        }
        let before = source.tune_for(subscription.viewing);
        subscription.viewing = Some(viewing);
        self.touch(viewer);
        self.send_tune(viewer, track, before, source.tune_for(Some(viewing)));
    }

    /// A publisher changed the sizes of a track's layers: a size in which it is shown may mean
    /// another layer now.
    pub(super) fn retune_viewers(&mut self, publisher: MemberId, before: &Track) {
        let Some(member) = self.members.get(&publisher) else { return };
        let Some(after) = member.track(before.id).cloned() else { return };
        let Some(room) = self.rooms.get(&member.room) else { return };
        for viewer in room.members.clone() {
            let viewing = self
                .members
                .get(&viewer)
                .and_then(|viewer| viewer.subscriptions.get(&after.id))
                .and_then(|subscription| subscription.viewing);
            self.send_tune(viewer, after.id, before.tune_for(viewing), after.tune_for(viewing));
        }
    }

    /// Tells the viewer's shard of a change, if it is one and the track is sent.
    fn send_tune(&mut self, viewer: MemberId, track: TrackId, before: Tune, tune: Tune) {
        let Some(member) = self.members.get(&viewer) else { return };
        let active = member.subscriptions.get(&track).is_some_and(|found| found.active);
        if active && tune != before {
            let (seat, session) = (member.seat, member.sessions.subscribe());
            self.command(seat, Command::Tune { session, track, tune });
        }
    }

    /// A viewer's shard paused a track for want of bandwidth, or sends it again.
    pub(super) fn delivery(&mut self, viewer: MemberId, track: TrackId, paused: bool) {
        let Some(member) = self.members.get_mut(&viewer) else { return };
        let Some(subscription) = member.subscriptions.get_mut(&track) else { return };
        if subscription.active && subscription.starved != paused {
            subscription.starved = paused;
            self.touch(viewer);
            self.tell_delivery(viewer, track, paused);
        }
    }

    pub(super) fn tell_delivery(&mut self, viewer: MemberId, track: TrackId, paused: bool) {
        let Some(publisher) = self.tracks.get(&track).and_then(|id| self.members.get(id)) else {
            return;
        };
        let Some(track) = publisher.track(track).map(|track| track.sid.clone()) else { return };
        let publisher = publisher.sid.clone();
        self.tell_member(viewer, ToClient::Delivery { publisher, track, paused });
    }

    /// The live track with that public id in a viewer's room.
    fn find_track(&self, viewer: MemberId, sid: &str) -> Option<(MemberId, TrackId)> {
        let track = *self.tracks_by_sid.get(sid)?;
        let publisher = self.members.get(self.tracks.get(&track)?)?;
        let same_room = publisher.room == self.members.get(&viewer)?.room;
        let live = publisher.track(track)?.live.is_some();
        (same_room && live).then_some((publisher.id, track))
    }

    pub(super) fn tell_permission(
        &mut self,
        viewer: MemberId,
        publisher: MemberId,
        track: TrackId,
        allowed: bool,
    ) {
        let Some(from) = self.members.get(&publisher) else { return };
        let Some(track) = from.track(track) else { return };
        let message =
            ToClient::Permission { publisher: from.sid.clone(), track: track.sid.clone(), allowed };
        self.tell_member(viewer, message);
    }
}

/// The stream in which a client gets a track: the member's sid, a bar, and what the track belongs to.
/// Browsers play in step what is in one stream, and nothing else (lip sync). SDKs read the member in
/// it, and a track's own sid where one stands behind the bar.
fn stream_label(member: &str, track: &Track, viewer: &ClientTraits) -> String {
    let shared = match track.spec.source {
        Source::Camera | Source::Microphone => Some(Source::Camera),
        Source::ScreenShare | Source::ScreenShareAudio => Some(Source::ScreenShare),
        Source::Unknown => None,
    };
    match shared.filter(|_| viewer.naming != Naming::Stream) {
        Some(source) => format!("{member}|{}", source.claim()),
        None => format!("{member}|{}", track.sid),
    }
}

fn track_label(track: &Track, viewer: &ClientTraits) -> String {
    match viewer.naming {
        Naming::Stream | Naming::Section => track.sid.clone(),
        Naming::SectionUnlessSid => format!("track-{}", track.sid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::track::tests::track;

    #[test]
    fn what_is_to_be_played_in_step_is_in_one_stream() {
        let named = |naming| ClientTraits { naming, ..ClientTraits::default() };
        for (source, want) in [
            (Source::Camera, "PA_a|camera"),
            (Source::Microphone, "PA_a|camera"),
            (Source::ScreenShare, "PA_a|screen_share"),
            (Source::ScreenShareAudio, "PA_a|screen_share"),
            (Source::Unknown, "PA_a|TR_b"),
        ] {
            let mut track = track(&[]);
            track.sid = "TR_b".to_owned();
            track.spec.source = source;
            for (naming, stream, id) in [
                (Naming::Section, want, "TR_b"),
                (Naming::SectionUnlessSid, want, "track-TR_b"),
                (Naming::Stream, "PA_a|TR_b", "TR_b"),
            ] {
                assert_eq!(stream_label("PA_a", &track, &named(naming)), stream);
                assert_eq!(track_label(&track, &named(naming)), id);
            }
        }
    }
}
