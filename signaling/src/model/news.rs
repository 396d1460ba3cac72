//! Who came and who went, told to large rooms in bundles.
//!
//! Each arrival at a meeting of ten is told at once. Were it so in a webinar, a thousand viewers that come
//! together would cause a million messages; so what concerns members that publish nothing waits for the
//! next bundle, the longer the larger the room is. Whoever publishes is shown at once everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::ids::{MemberId, RoomId};
use antipode_base::limits::{NEWS_BUNDLE_MAX, NEWS_INTERVAL_MAX, NEWS_PER_S, NEWS_ROOM_MIN};

use super::message::{MemberView, ToClient};
use super::{Model, Now, Timer};

/// What a room has not been told yet.
#[derive(Debug, Default)]
pub(super) struct News {
    waiting: BTreeMap<MemberId, MemberView>,
    /// No bundle before this.
    next: Option<Instant>,
    armed: bool,
}

/// How long a room of so many waits from one bundle to the next.
fn interval(members: usize) -> Duration {
    Duration::from_secs_f64(members as f64 / NEWS_PER_S).min(NEWS_INTERVAL_MAX)
}

impl Model {
    /// Tells a room, but for one, of a member now.
    pub(super) fn tell_of(
        &mut self,
        room: RoomId,
        id: MemberId,
        view: MemberView,
        but: Option<MemberId>,
    ) {
        if let Some(room) = self.rooms.get_mut(&room) {
            // What waits is older than this.
            room.news.waiting.remove(&id);
        }
        self.tell_room(room, but, ToClient::Members(Arc::from([view])));
    }

    /// Tells a room, but for one, of a member that publishes nothing: now, or with the next bundle.
    pub(super) fn tell_of_soon(
        &mut self,
        room: RoomId,
        id: MemberId,
        view: MemberView,
        but: Option<MemberId>,
    ) {
        match self.rooms.get_mut(&room) {
            Some(entry) if entry.members.len() >= NEWS_ROOM_MIN => {
                entry.news.waiting.insert(id, view);
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
        let views: Vec<MemberView> = waiting.into_values().collect();
        for bundle in views.chunks(NEWS_BUNDLE_MAX) {
            self.tell_room(id, None, ToClient::Members(Arc::from(bundle)));
        }
    }
}
