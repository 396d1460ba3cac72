//! Who came and who went, told to large rooms in bundles.
//!
//! Each arrival at a meeting of ten is told at once. Were it so in a webinar, a thousand viewers that come
//! together would cause a million messages; so what concerns members that publish nothing waits for the
//! next bundle, the longer the larger the room is. Whoever publishes is shown at once everywhere.

use std::time::{Duration, Instant};

use antipode_base::ids::{MemberId, RoomId};
use antipode_base::limits::{NEWS_BUNDLE_MAX, NEWS_INTERVAL_MAX, NEWS_PER_S, NEWS_ROOM_MIN};

use super::message::{MemberView, ToClient};
use super::{Model, Now, Timer};

/// What a room has not been told yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// In the order in which it is to be told: of one who left and came back under its identity the end
    /// goes before the beginning, or clients would take the end for the new one's.
    waiting: Vec<(MemberId, MemberView)>,
    /// No bundle before this.
    next: Option<Instant>,
    armed: bool,
}

/// How long a room of so many waits from one bundle to the next.
fn interval(members: usize) -> Duration {
    Duration::from_secs_f64(members as f64 / NEWS_PER_S).min(NEWS_INTERVAL_MAX)
}

impl Model {
    /// Tells a room, but for one, of a member now; before it, what the room does not know of earlier members
    /// of that identity.
    pub(super) fn tell_of(
        &mut self,
        room: RoomId,
        id: MemberId,
        view: MemberView,
        but: Option<MemberId>,
    ) {
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let same = |of: &MemberView| of.who.identity == view.who.identity;
        let waiting = &mut entry.news.waiting;
        let earlier = waiting.extract_if(.., |(_, of)| same(of));
        // What waits of itself is older than this.
        let earlier = earlier.filter(|(of, _)| *of != id).map(|(_, of)| of);
        let mut views: Vec<MemberView> = earlier.collect();
        views.push(view);
        self.tell_room(room, but, ToClient::Members(views.into()));
    }

    /// Tells a room, but for one, of a member: now, or, if it publishes nothing, with the next bundle.
    pub(super) fn tell_of_soon(
        &mut self,
        room: RoomId,
        id: MemberId,
        view: MemberView,
        but: Option<MemberId>,
    ) {
        match self.rooms.get_mut(&room) {
            Some(entry) if view.tracks.is_empty() && entry.members.len() >= NEWS_ROOM_MIN => {
                entry.news.waiting.retain(|(of, _)| *of != id);
                entry.news.waiting.push((id, view));
                self.restless.insert(room);
            }
            _ => self.tell_of(room, id, view, but),
        }
    }

    /// The end of a turn: bundles leave whose time has come, the others get a timer.
    pub(super) fn bundle(&mut self, now: Now) {
        for id in std::mem::take(&mut self.restless) {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            match room.news.next.filter(|next| now.at < *next) {
                None => self.tell_news(id, now),
                Some(next) => {
                    if !std::mem::replace(&mut room.news.armed, true) {
                        self.arm(now, next.duration_since(now.at), Timer::News(id));
                    }
                }
            }
        }
    }

    /// A bundle's time has come.
    pub(super) fn news_due(&mut self, id: RoomId, now: Now) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.news.armed = false;
            self.tell_news(id, now);
        }
    }

    fn tell_news(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut room.news.waiting);
        if waiting.is_empty() {
            return;
        }
        room.news.next = Some(now.at + interval(room.members.len()));
        let views: Vec<MemberView> = waiting.into_iter().map(|(_, view)| view).collect();
        for bundle in views.chunks(NEWS_BUNDLE_MAX) {
            self.tell_room(id, None, ToClient::Members(bundle.into()));
        }
    }
}
