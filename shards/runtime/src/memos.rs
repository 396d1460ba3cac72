//! What signaling asked this node to remember of its members, so that it finds it again after its
//! own restart. A memo lives as long as one of its sessions.

use std::collections::{HashMap, HashSet, VecDeque};

use antipode_base::control::Memo;
use antipode_base::ids::{MemberId, SessionId};
use antipode_base::limits::{ENDED_SESSIONS_MAX, SESSIONS_PER_SHARD_MAX, SHARDS_MAX};

/// No more members than sessions can be.
const MEMOS_MAX: usize = SESSIONS_PER_SHARD_MAX * SHARDS_MAX;

/// The memos of a node, by member. Keys are signaling's random ids, not a client's choice.
#[derive(Debug, Default)]
pub(crate) struct Memos {
    memos: HashMap<MemberId, Memo>,
    owners: HashMap<SessionId, MemberId>,
    /// The last [`ENDED_SESSIONS_MAX`] sessions that ended, oldest first, and the same as a set: a
    /// memo may name a session whose end is still on its way to signaling.
    ended: VecDeque<SessionId>,
    ended_set: HashSet<SessionId>,
}

impl Memos {
    /// Keeps a memo in place of what was kept of that member; without a session that may live, it
    /// is forgotten. `false`: there is no room.
    pub(crate) fn remember(&mut self, mut memo: Memo) -> bool {
        self.forget(memo.member);
        memo.sessions.retain(|session| !self.ended_set.contains(session));
        if memo.sessions.is_empty() {
            return true;
        }
        if self.memos.len() >= MEMOS_MAX {
            return false;
        }
        for session in &memo.sessions {
            self.owners.insert(*session, memo.member);
        }
        self.memos.insert(memo.member, memo);
        true
    }

    /// A session has ended; with its last one a memo goes.
    pub(crate) fn session_ended(&mut self, session: SessionId) {
        if self.ended_set.insert(session) {
            self.ended.push_back(session);
            if self.ended.len() > ENDED_SESSIONS_MAX
                && let Some(oldest) = self.ended.pop_front()
            {
                self.ended_set.remove(&oldest);
            }
        }
        let Some(member) = self.owners.remove(&session) else { return };
        let Some(memo) = self.memos.get_mut(&member) else { return };
        memo.sessions.retain(|other| *other != session);
        if memo.sessions.is_empty() {
            self.memos.remove(&member);
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Memo> {
        self.memos.values()
    }

    fn forget(&mut self, member: MemberId) {
        if let Some(old) = self.memos.remove(&member) {
            for session in &old.sessions {
                self.owners.remove(session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_base::ids::{RoomId, ShardId};

    fn memo(member: u64, sessions: &[u64], text: &str) -> Memo {
        Memo {
            member: MemberId(member),
            room: RoomId(1),
            shard: ShardId(0),
            sessions: sessions.iter().copied().map(SessionId).collect(),
            bytes: text.as_bytes().to_vec(),
        }
    }

    fn texts(memos: &Memos) -> Vec<String> {
        let mut texts: Vec<_> =
            memos.iter().map(|memo| String::from_utf8_lossy(&memo.bytes).into_owned()).collect();
        texts.sort();
        texts
    }

    #[test]
    fn a_memo_lives_as_long_as_its_last_session() {
        let mut memos = Memos::default();
        assert!(memos.remember(memo(1, &[10, 11], "one")));
        assert!(memos.remember(memo(2, &[20], "two")));
        memos.session_ended(SessionId(10));
        assert_eq!(texts(&memos), ["one", "two"]);
        assert_eq!(memos.memos[&MemberId(1)].sessions, [SessionId(11)]);
        memos.session_ended(SessionId(11));
        assert_eq!(texts(&memos), ["two"]);
        memos.session_ended(SessionId(99));
        memos.session_ended(SessionId(20));
        assert!(texts(&memos).is_empty() && memos.owners.is_empty());
    }

    #[test]
    fn a_newer_memo_replaces_the_older() {
        let mut memos = Memos::default();
        memos.remember(memo(1, &[10], "old"));
        memos.remember(memo(1, &[12], "new"));
        memos.session_ended(SessionId(10));
        assert_eq!(texts(&memos), ["new"]);
        assert_eq!(memos.owners.len(), 1);
    }

    #[test]
    fn a_memo_that_crossed_the_end_of_its_session_is_not_kept() {
        let mut memos = Memos::default();
        memos.remember(memo(1, &[10], "old"));
        memos.session_ended(SessionId(10));
        memos.remember(memo(1, &[10], "late"));
        assert!(texts(&memos).is_empty());
        for session in 0..2 * ENDED_SESSIONS_MAX as u64 {
            memos.session_ended(SessionId(session));
        }
        assert_eq!(memos.ended.len(), ENDED_SESSIONS_MAX);
        assert_eq!(memos.ended_set.len(), ENDED_SESSIONS_MAX);
    }
}
