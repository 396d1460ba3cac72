//! Which shard a new member goes to. Pure.
//!
//! A small room stays on one shard: every packet then crosses no border. A room that outgrows
//! [`ROOM_SPILL_MEMBERS`] spills to the least loaded shard that has none of it. A room stays on
//! one node.

use antipode_base::ids::{NodeId, ShardId};
use antipode_base::limits::{MEMBERS_PER_ROOM_MAX, ROOM_SPILL_MEMBERS, SESSIONS_PER_SHARD_MAX};

use crate::model::member::Seat;

/// What is known of one shard at the moment of a join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Which one.
    pub seat: Seat,
    /// Sessions of all rooms.
    pub sessions: usize,
    /// Members of the joined room.
    pub room_members: usize,
}

impl Load {
    fn has_space(&self) -> bool {
        // A member has up to two sessions.
        self.sessions + 2 <= SESSIONS_PER_SHARD_MAX && self.room_members < MEMBERS_PER_ROOM_MAX
    }
}

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// As the module says.
    Pack,
    /// For development: the next shard for every join; the number is that of the join.
    Spread(u64),
}

/// The seat of a new member, or `None` when every shard is full. `loads` has one row per shard of
/// every node, ordered; `room_node` is the node that has the room already.
pub(crate) fn place(policy: Policy, loads: &[Load], room_node: Option<NodeId>) -> Option<Seat> {
    let open: Vec<&Load> = loads
        .iter()
        .filter(|load| room_node.is_none_or(|node| load.seat.node == node) && load.has_space())
        .collect();
    if let Policy::Spread(number) = policy {
        // All shards count, also full ones, so that consecutive joins differ.
        let node = open.first()?.seat.node;
        let shards = loads.iter().filter(|load| load.seat.node == node).count() as u64;
        let wished = ShardId((number % shards) as u16);
        let seat = open.iter().find(|load| load.seat == Seat { node, shard: wished });
        return Some(seat.unwrap_or(&open[0]).seat);
    }
    let begun = open
        .iter()
        .filter(|load| (1..ROOM_SPILL_MEMBERS).contains(&load.room_members))
        .max_by_key(|load| (load.room_members, std::cmp::Reverse(load.seat)));
    let least = || open.iter().min_by_key(|load| (load.room_members, load.sessions, load.seat));
    begun.or_else(least).map(|load| load.seat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);
    const OTHER: NodeId = NodeId(8);

    /// Rows of (sessions, members of the room), one per shard of `NODE`.
    fn loads(rows: &[(usize, usize)]) -> Vec<Load> {
        rows.iter()
            .enumerate()
            .map(|(shard, &(sessions, room_members))| Load {
                seat: Seat { node: NODE, shard: ShardId(shard as u16) },
                sessions,
                room_members,
            })
            .collect()
    }

    #[test]
    fn packs_a_room_and_spills_it() {
        const SPILL: usize = ROOM_SPILL_MEMBERS;
        const FULL: usize = SESSIONS_PER_SHARD_MAX;
        for (rows, want) in [
            (&[(0, 0), (0, 0)][..], Some(0)),
            (&[(9, 0), (3, 0)], Some(1)),
            (&[(9, 1), (3, 0)], Some(0)),
            (&[(9, 1), (3, 5)], Some(1)),
            (&[(90, SPILL - 1), (3, 0)], Some(0)),
            (&[(90, SPILL), (3, 0), (2, 0)], Some(2)),
            (&[(90, SPILL), (3, 1), (2, 0)], Some(1)),
            (&[(90, SPILL + 4), (3, SPILL)], Some(1)),
            (&[(FULL, 1), (3, 0)], Some(1)),
            (&[(FULL - 1, 1), (3, 0)], Some(1)),
            (&[(FULL, 0), (FULL, 0)], None),
            (&[(3, MEMBERS_PER_ROOM_MAX)], None),
            (&[], None),
        ] {
            let seat = place(Policy::Pack, &loads(rows), None);
            assert_eq!(seat.map(|seat| seat.shard.index()), want, "{rows:?}");
        }
    }

    #[test]
    fn a_room_stays_on_its_node() {
        let mut loads = loads(&[(50, 0)]);
        let other = Seat { node: OTHER, shard: ShardId(0) };
        loads.push(Load { seat: other, sessions: 1, room_members: 0 });
        assert_eq!(place(Policy::Pack, &loads, None), Some(other));
        assert_eq!(place(Policy::Pack, &loads, Some(NODE)).map(|seat| seat.node), Some(NODE));
        assert_eq!(place(Policy::Pack, &loads, Some(NodeId(9))), None);
    }

    #[test]
    fn spreads_round_robin_over_one_node() {
        let rows = loads(&[(0, 0), (0, 0), (0, 0)]);
        let shards: Vec<usize> = (0..5)
            .filter_map(|number| place(Policy::Spread(number), &rows, None))
            .map(|seat| seat.shard.index())
            .collect();
        assert_eq!(shards, [0, 1, 2, 0, 1]);

        let rows = loads(&[(0, 0), (SESSIONS_PER_SHARD_MAX, 0)]);
        let seat = place(Policy::Spread(1), &rows, None).unwrap();
        assert_eq!(seat.shard, ShardId(0), "a full shard is passed over");
    }
}
