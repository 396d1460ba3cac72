//! What signaling leaves with the nodes, so that its successor finds every member again.
//!
//! A memo is one byte of format and then bincode of the member and its room. A memo of another
//! format is not understood: its member's client then joins anew.

use antipode_base::control::Memo;
use antipode_base::limits::MEMO_MAX;
use bincode::Options;
use serde::{Deserialize, Serialize};

use crate::model::RoomRecord;
use crate::model::member::Member;

/// Changes with every change of [`Member`] or [`RoomRecord`].
const FORMAT: u8 = 5;

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(MEMO_MAX as u64)
        .reject_trailing_bytes()
}

#[derive(Serialize)]
struct Write<'a> {
    member: &'a Member,
    room: &'a RoomRecord,
}

/// What a memo holds.
#[derive(Deserialize)]
pub(crate) struct Read {
    /// The member; what is not kept is empty.
    pub member: Member,
    /// Its room.
    pub room: RoomRecord,
}

/// The memo of a member.
pub(crate) fn write(member: &Member, room: &RoomRecord) -> Memo {
    let bytes = pack(member, room).unwrap_or_else(|| {
        // The limits of names, metadata, attributes, tracks and subscriptions add up to less; but a
        // member without its free texts is better than a member that cannot resume.
        let mut lean = member.clone();
        lean.who.metadata.clear();
        lean.who.attributes.clear();
        lean.subscriptions.clear();
        pack(&lean, room).unwrap_or_default()
    });
    Memo {
        member: member.id,
        room: member.room,
        shard: member.seat.shard,
        sessions: member.sessions.all(),
        bytes,
    }
}

fn pack(member: &Member, room: &RoomRecord) -> Option<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    options().serialize_into(&mut bytes, &Write { member, room }).ok()?;
    (bytes.len() <= MEMO_MAX).then_some(bytes)
}

/// What a memo holds, or `None` when it is not one of ours.
pub(crate) fn read(memo: &Memo) -> Option<Read> {
    let (&format, bytes) = memo.bytes.split_first()?;
    if format != FORMAT {
        return None;
    }
    let read: Read = options().deserialize(bytes).ok()?;
    let same = read.member.id == memo.member
        && read.member.room == memo.room
        && read.room.id == memo.room
        && read.member.sessions.all() == memo.sessions;
    same.then_some(read)
}
