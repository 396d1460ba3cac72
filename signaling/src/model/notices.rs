//! What a shard tells.

use antipode_base::ids::{MemberId, NodeId, RoomId, SessionId, ShardId, TrackId};
use antipode_base::notice::{EndReason, Notice, Quality, Slot};
use std::time::Duration;

use super::member::{Phase, Seat, Sessions};
use super::message::{Description, Gone, Then, ToClient, slot_names};
use super::quality::Grade;
use super::track::Live;
use super::{Model, Now, Timer};

/// How long a client whose media ended may take to say goodbye: many close their peer connection
/// before they send their leave.
const GOODBYE: Duration = Duration::from_secs(1);

impl Model {
    /// One notice of one shard. What it says of members of other shards is ignored.
    pub(crate) fn notice(&mut self, node: NodeId, shard: ShardId, notice: Notice, now: Now) {
        let seat = Seat { node, shard };
        if let Some(session) = notice.session() {
            let Some(id) = self.member_of(session, seat) else { return };
            return self.session_notice(id, notice, now);
        }
        match notice {
            Notice::TrackWatched { track } if self.is_seated(track, seat) => {
                self.track_watched(track);
            }
            Notice::Levels { room, levels } => {
                for level in levels {
                    self.hear(room, level.track, level.level, now);
                }
            }
            _ => {}
        }
    }

    fn member_of(&self, session: SessionId, seat: Seat) -> Option<MemberId> {
        let member = self.members.get(self.sessions.get(&session)?)?;
        (member.seat == seat).then_some(member.id)
    }

    fn is_seated(&self, track: TrackId, seat: Seat) -> bool {
        let member = self.tracks.get(&track).and_then(|id| self.members.get(id));
        member.is_some_and(|member| member.seat == seat)
    }

    fn owns(&self, id: MemberId, track: TrackId) -> bool {
        self.tracks.get(&track) == Some(&id)
    }

    fn session_notice(&mut self, id: MemberId, notice: Notice, now: Now) {
        match notice {
            Notice::Answer { id: number, sdp, .. } if self.is_resource(id) => {
                self.answered(id, number, sdp, now);
            }
            Notice::Answer { id: number, sdp, slots, .. } => {
                let tracks = self.names(&slots);
                let description = Description { id: number, sdp };
                self.tell_member(id, ToClient::Answer { description, tracks });
            }
            Notice::Offer { id: number, sdp, slots, .. } => {
                let tracks = self.names(&slots);
                let description = Description { id: number, sdp };
                self.tell_member(id, ToClient::Offer { description, tracks });
            }
            Notice::NegotiationFailed { session, id: number, reason } => {
                tracing::info!(%session, number, %reason, "negotiation failed");
                if !self.is_resource(id) || self.offer_failed(id, number, reason) {
                    self.negotiation_failed(id, now);
                }
            }
            Notice::NeedSections { audio, video, .. } => {
                self.tell_member(id, ToClient::NeedSections { audio, video });
            }
            Notice::Connected { session } => self.connected(id, session, now),
            Notice::TrackLive { track, mid, codec, layers, .. } if self.owns(id, track) => {
                self.track_live(track, Live { mid, codec, layers }, now);
            }
            Notice::TrackRefused { track, reason, .. } if self.owns(id, track) => {
                self.refuse_track(track, reason);
            }
            Notice::TrackEnded { track, .. } if self.owns(id, track) => self.end_track(track),
            Notice::SubscriptionRefused { track, reason, .. } => {
                self.subscription_refused(id, track, &reason);
            }
            Notice::Delivery { track, paused, .. } => self.delivery(id, track, paused),
            Notice::Demand { track, layer_max, .. } if self.owns(id, track) => {
                self.track_demanded(track, layer_max);
            }
            Notice::Quality(quality) => self.graded(id, &quality, now),
            Notice::SessionEnded { session, reason } => {
                tracing::debug!(%session, ?reason, "session ended");
                self.session_ended(id, reason, now);
            }
            _ => {}
        }
    }

    fn is_resource(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| member.http.is_some())
    }

    fn names(&self, slots: &[Slot]) -> Vec<(String, String)> {
        slot_names(slots, |track| {
            let publisher = self.members.get(self.tracks.get(&track)?)?;
            Some(publisher.track(track)?.sid.as_str())
        })
    }

    /// The client waits for an answer that will not come; its own time limit would make it come
    /// anew after many seconds. One whose very first offer fails would only fail again.
    fn negotiation_failed(&mut self, id: MemberId, now: Now) {
        let Some(member) = self.members.get(&id) else { return };
        match member.phase {
            Phase::Joined => self.remove(id, Gone::JoinFailed, Some(Then::Stop), now),
            Phase::Active => self.remove(id, Gone::MediaFailed, Some(Then::Rejoin), now),
        }
    }

    fn connected(&mut self, id: MemberId, session: SessionId, now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let primary = match member.sessions {
            Sessions::Both(both) => both,
            Sessions::Pair { subscribe, .. } => subscribe,
        };
        if session == primary && member.phase != Phase::Active {
            member.phase = Phase::Active;
            let perfect = Quality { session, loss_in: 0.0, loss_out: 0.0, rtt_ms: 0.0 };
            member.grades.note(session, Grade::of(&perfect), now.at);
            self.show_soon(id);
        }
    }

    fn subscription_refused(&mut self, id: MemberId, track: TrackId, reason: &str) {
        let Some(sid) = self
            .members
            .get(self.tracks.get(&track).unwrap_or(&MemberId(0)))
            .and_then(|publisher| Some(publisher.track(track)?.sid.clone()))
        else {
            return;
        };
        tracing::info!(track = sid, reason, "subscription refused");
        if let Some(member) = self.members.get_mut(&id)
            && let Some(subscription) = member.subscriptions.get_mut(&track)
        {
            // Not wanted until the client asks again: or else every change would try it anew.
            subscription.active = false;
            subscription.wanted = Some(false);
            let room = member.room;
            self.touch(id);
            self.stir(room);
        }
        self.tell_member(id, ToClient::SubscriptionFailed { track: sid, unsupported: true });
    }

    fn graded(&mut self, id: MemberId, quality: &Quality, now: Now) {
        if let Some(member) = self.members.get_mut(&id) {
            member.grades.note(quality.session, Grade::of(quality), now.at);
        }
    }

    fn hear(&mut self, room_id: RoomId, track: TrackId, level: f32, now: Now) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(member) = self.members.get(&id) else { return };
        let audible = member.track(track).is_some_and(|track| !track.spec.muted);
        if member.room != room_id || member.permissions.hidden || !audible {
            return;
        }
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        let first = room.speakers.is_empty();
        room.speakers.hear(id, level, now.at);
        if first {
            // At once: a listener's picture should not lag behind the voice.
            self.arm(now, Duration::ZERO, Timer::Speakers(room_id));
        }
    }

    fn session_ended(&mut self, id: MemberId, reason: EndReason, now: Now) {
        let (why, then) = match reason {
            // Our own command; the member is gone already, or a twin session goes with it.
            EndReason::Closed => return,
            EndReason::Refused => (Gone::JoinFailed, Then::Stop),
            EndReason::PeerMisbehaved | EndReason::WrongFingerprint => {
                (Gone::JoinFailed, Then::Stop)
            }
            EndReason::Fault | EndReason::ShardRestarted | EndReason::TimedOut => {
                (Gone::MediaFailed, Then::Rejoin)
            }
            EndReason::PeerClosed => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.media_lost = true;
                    self.arm(now, GOODBYE, Timer::MediaLost(id));
                }
                return;
            }
        };
        self.remove(id, why, Some(then), now);
    }

    pub(super) fn end_media_grace(&mut self, id: MemberId, now: Now) {
        if self.members.get(&id).is_some_and(|member| member.media_lost) {
            self.remove(id, Gone::MediaFailed, Some(Then::Rejoin), now);
        }
    }
}
