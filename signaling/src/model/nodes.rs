//! Nodes come, go, and come back with what they still hold.

use std::collections::HashSet;

use antipode_base::command::{CloseReason, Command};
use antipode_base::control::Memo;
use antipode_base::ids::{MemberId, NodeId, RoomId, ShardId, TrackId};
use antipode_base::limits::{CONTROL_CHANNEL_MAX, NODE_GRACE, RESUME_WINDOW};

use super::member::Seat;
use super::message::{Gone, Then};
use super::{Effect, Model, Now, Timer};
use crate::memo;

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    id: NodeId,
    /// Whether its control link stands.
    pub linked: bool,
    /// Sessions by shard.
    sessions: Vec<usize>,
    /// Commands that wait for the link to come back within its grace.
    kept: Vec<(ShardId, Command)>,
    /// Counts the losses of the link, so that a grace ends only its own.
    losses: u64,
}

impl Node {
    /// Each seat and how many sessions it has.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Seat, usize)> + '_ {
        self.sessions
            .iter()
            .enumerate()
            .map(|(shard, count)| (Seat { node: self.id, shard: ShardId(shard as u16) }, *count))
    }

    pub(super) fn take_seat(&mut self, shard: ShardId, sessions: usize) {
        if let Some(count) = self.sessions.get_mut(shard.index()) {
            *count += sessions;
        }
    }

    pub(super) fn give_seat(&mut self, shard: ShardId, sessions: usize) {
        if let Some(count) = self.sessions.get_mut(shard.index()) {
            *count = count.saturating_sub(sessions);
        }
    }

    /// Holds a command back. Above the maximum it is lost, and the client's own time limit helps.
    pub(super) fn keep(&mut self, shard: ShardId, command: Command) {
        if self.kept.len() < CONTROL_CHANNEL_MAX {
            self.kept.push((shard, command));
        }
    }
}

impl Model {
    /// A node said hello and told what it holds.
    pub(crate) fn node_up(&mut self, node: NodeId, shards: u16, held: Vec<Memo>, now: Now) {
        if self.options.one_node {
            let dead: Vec<NodeId> = self.nodes.keys().copied().filter(|id| *id != node).collect();
            for other in dead {
                self.bury(other, now);
            }
        }
        match self.nodes.get_mut(&node) {
            Some(known) => {
                known.linked = true;
                self.reconcile(node, &held, now);
            }
            None => {
                let sessions = vec![0; usize::from(shards)];
                let new = Node { id: node, linked: true, sessions, kept: Vec::new(), losses: 0 };
                self.nodes.insert(node, new);
                self.rebuild(node, &held, now);
            }
        }
        self.retry_waiting(now);
    }

    /// Its link broke. It may dial again within [`NODE_GRACE`] and nobody notices.
    pub(crate) fn node_lost(&mut self, node: NodeId, now: Now) {
        if let Some(lost) = self.nodes.get_mut(&node) {
            lost.linked = false;
            lost.losses += 1;
            self.arm(now, NODE_GRACE, Timer::Grace(node));
        }
    }

    pub(super) fn end_node_grace(&mut self, node: NodeId, now: Now) {
        // One timer per loss: only the last one finds a node that is still without link.
        let Some(lost) = self.nodes.get_mut(&node) else { return };
        lost.losses -= 1;
        if lost.losses == 0 && !lost.linked {
            self.bury(node, now);
        }
    }

    /// A node is dead, and its members' sessions with it.
    fn bury(&mut self, node: NodeId, now: Now) {
        self.nodes.remove(&node);
        let members: Vec<MemberId> = self.members_on(node);
        for id in &members {
            // All are told before any is taken out: their clients need not hear of one another.
            self.dismiss(*id, Gone::NodeLost, Then::Rejoin);
        }
        for id in members {
            self.unseat_member(id, now);
        }
        self.retry_waiting(now);
    }

    fn members_on(&self, node: NodeId) -> Vec<MemberId> {
        let mut members: Vec<MemberId> = self
            .members
            .values()
            .filter(|member| member.seat.node == node)
            .map(|member| member.id)
            .collect();
        // The table's order is nobody's; effects should not depend on it.
        members.sort_unstable();
        members
    }

    /// The same node, with the same sessions but for what ended meanwhile on either side.
    fn reconcile(&mut self, node: NodeId, held: &[Memo], now: Now) {
        let held_ids: HashSet<MemberId> = held.iter().map(|memo| memo.member).collect();
        let kept = self.nodes.get_mut(&node).map(|n| std::mem::take(&mut n.kept));
        for memo in held {
            if !self.members.contains_key(&memo.member) {
                self.close_held(node, memo, CloseReason::Abandoned);
            }
        }
        for id in self.members_on(node) {
            if held_ids.contains(&id) {
                self.touch(id);
                self.repeat(id);
            } else {
                self.remove(id, Gone::MediaFailed, Some(Then::Rejoin), now);
            }
        }
        self.repeat_spans(node);
        for (shard, command) in kept.unwrap_or_default() {
            self.command(Seat { node, shard }, command);
        }
    }

    /// We are new, the node is not: what it holds are our members.
    fn rebuild(&mut self, node: NodeId, held: &[Memo], now: Now) {
        let mut found = Vec::new();
        for memo in held {
            match self.rebuild_member(node, memo, now) {
                Some(id) => found.push(id),
                None => self.close_held(node, memo, CloseReason::Replaced),
            }
        }
        if !held.is_empty() {
            tracing::info!(%node, held = held.len(), rebuilt = found.len(), "took members over");
        }
        self.repeat_spans(node);
        for id in found {
            self.counters.rebuilt += 1;
            self.forget_unknown_tracks(id);
            self.subscribe_to_room(id);
            self.repeat(id);
            if let Some(room) = self.members.get(&id).map(|member| member.room) {
                self.stir(room);
            }
            self.arm(now, RESUME_WINDOW, Timer::Away(id));
        }
    }

    fn rebuild_member(&mut self, node: NodeId, memo: &Memo, now: Now) -> Option<MemberId> {
        let memo::Read { mut member, room } = memo::read(memo)?;
        let shards = self.nodes.get(&node)?.sessions.len();
        if member.seat.node != node || member.seat.shard.index() >= shards {
            return None;
        }
        match self.rooms_by_name.get(&room.name) {
            // The room was made anew, by members of another node who came first.
            Some(id) if *id != room.id => return None,
            Some(id) => {
                let taken = &self.rooms.get(id)?.by_identity;
                if taken.contains_key(&member.who.identity) {
                    return None;
                }
            }
            None => {
                self.open_room(room, now);
            }
        }
        if member.http.is_none() {
            member.away_since = Some(now.at);
            let live = member.tracks.iter().filter(|track| track.live.is_some());
            member.rebuilt = Some(live.map(|track| track.id).collect());
        }
        // The last change may not have reached the memo; clients drop what looks older.
        member.version += 16;
        let id = member.id;
        self.seat_member(member);
        self.touch(id);
        Some(id)
    }

    /// Opinions on tracks whose publishers are gone.
    fn forget_unknown_tracks(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.subscribe());
        let tracks = &self.tracks;
        let gone: Vec<TrackId> =
            member.subscriptions.keys().copied().filter(|id| !tracks.contains_key(id)).collect();
        for track in gone {
            member.subscriptions.remove(&track);
            self.effects.push_back(Effect::Command {
                seat,
                command: Command::Unsubscribe { session, track },
            });
        }
    }

    /// Says again what may have been lost on the way; all of it is idempotent.
    fn repeat(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        let active = member.subscriptions.iter().filter(|(_, s)| s.active);
        let active: Vec<TrackId> = active.map(|(track, _)| *track).collect();
        for track in active {
            if let Some(&publisher) = self.tracks.get(&track) {
                self.send_subscription(id, publisher, track);
            }
        }
        let Some(member) = self.members.get(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.publish());
        let tracks: Vec<(TrackId, bool, Command)> = member
            .tracks
            .iter()
            .map(|track| (track.id, track.spec.muted, track.announcement(session)))
            .collect();
        for (track, muted, publish) in tracks {
            self.command(seat, publish);
            self.command(seat, Command::Mute { session, track, muted });
        }
        self.forget_states(id);
    }

    /// What shards tell only as it changes may have changed unheard. Until they tell it anew, all
    /// layers are in demand: a viewer would sooner notice one that is missing.
    fn forget_states(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.tracks.iter_mut().for_each(|track| track.demand = None);
        member.subscriptions.values_mut().for_each(|found| found.starved = false);
        self.touch(id);
        self.repeat_states(id);
    }

    fn repeat_spans(&mut self, node: NodeId) {
        let mut rooms: Vec<RoomId> = self
            .rooms
            .values()
            .filter(|room| room.node() == Some(node))
            .map(|room| room.record.id)
            .collect();
        rooms.sort_unstable();
        for id in rooms {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.span_told.clear();
            }
            self.span(id);
        }
    }

    fn close_held(&mut self, node: NodeId, memo: &Memo, reason: CloseReason) {
        let seat = Seat { node, shard: memo.shard };
        for &session in &memo.sessions {
            self.command(seat, Command::CloseSession { session, reason });
        }
    }
}
