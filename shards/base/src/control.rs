//! The frames between a node and signaling: what they say, and how they lie on a byte stream.
//!
//! ```text
//!   0        4                 4 + length
//!   +--------+-----------------+
//!   | length | bincode message |   length: u32, little endian, at most CONTROL_FRAME_MAX
//!   +--------+-----------------+
//! ```
//!
//! The node dials. Signaling speaks first with a [`ToNode::Challenge`]; the node answers with
//! [`ToSignal::Hello`], whose proof shows that it holds the same secret, then with
//! [`ToSignal::Snapshot`]s of what it still holds. After that both sides speak freely. A peer of
//! another [`VERSION`] is refused with a readable error.

use bincode::Options;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::net::SocketAddr;

use crate::command::Command;
use crate::ids::{MemberId, NodeId, RoomId, SessionId, ShardId};
use crate::limits::{CONTROL_FRAME_MAX, MEMO_MAX};
use crate::notice::Notice;
use crate::stats::{ProcessStats, ShardStats, TcpStats};

/// Changes with every change of a type that travels here.
pub const VERSION: u32 = 6;

/// Bytes of the length before each message.
pub const PREFIX: usize = 4;

/// Signaling → node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToNode {
    /// The first message.
    Challenge {
        /// [`VERSION`] of the sender.
        version: u32,
        /// To be signed with the shared secret.
        nonce: [u8; 32],
    },
    /// For one shard.
    Command {
        /// Which one.
        shard: ShardId,
        /// What.
        command: Command,
    },
    /// Remember this of a member until its last session ends, and give it back in the snapshot.
    /// Replaces what was remembered before.
    Memo(Memo),
}

/// What signaling wants to find again after its own restart. Opaque to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// Whose.
    pub member: MemberId,
    /// The member's room.
    pub room: RoomId,
    /// The shard of its sessions.
    pub shard: ShardId,
    /// Its sessions.
    pub sessions: Vec<SessionId>,
    /// At most [`MEMO_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// Node → signaling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToSignal {
    /// The answer to the challenge.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// HMAC-SHA-256 of the nonce under the shared secret.
        proof: [u8; 32],
        /// This run of the node.
        node: NodeId,
        /// How many shards it has.
        shards: u16,
        /// Where clients reach its media, as its candidates say.
        media: Vec<SocketAddr>,
    },
    /// Right after the hello: the members whose sessions live. Several, where one frame could not
    /// hold them all.
    Snapshot {
        /// One per member.
        members: Vec<Memo>,
        /// It was the last one.
        last: bool,
    },
    /// From one shard.
    Notice {
        /// Which one.
        shard: ShardId,
        /// What.
        notice: Notice,
    },
    /// Once per [`crate::limits::STATS_INTERVAL`] and shard.
    Stats {
        /// Which one.
        shard: ShardId,
        /// Its counters.
        stats: Box<ShardStats>,
    },
    /// As often, from the thread that has the TCP connections.
    TcpStats(Box<TcpStats>),
    /// As often, of the whole process.
    ProcessStats(ProcessStats),
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`CONTROL_FRAME_MAX`].
    #[error("a control frame of {0} bytes, {CONTROL_FRAME_MAX} are allowed")]
    TooLong(usize),
    /// The message does not parse, or leaves bytes over.
    #[error("a control frame that does not parse: {0}")]
    Malformed(String),
    /// A memo above its limit.
    #[error("a memo of {0} bytes, {MEMO_MAX} are allowed")]
    MemoTooLong(usize),
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(CONTROL_FRAME_MAX as u64)
        .reject_trailing_bytes()
}

/// Appends one frame to `out`.
///
/// # Errors
/// [`FrameError::TooLong`], [`FrameError::MemoTooLong`]; then `out` is as before.
pub fn encode<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    let written = options().serialize_into(&mut *out, message);
    let length = out.len() - start - PREFIX;
    if written.is_err() || length > CONTROL_FRAME_MAX {
        out.truncate(start);
        return Err(FrameError::TooLong(length));
    }
    out[start..start + PREFIX].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Takes the first frame of `bytes`: the message and how many bytes it took. `None`: not all there.
///
/// # Errors
/// The stream is broken; nothing after this can be trusted.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(M, usize)>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > CONTROL_FRAME_MAX {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = bytes.get(PREFIX..PREFIX + length) else { return Ok(None) };
    let message = options()
        .deserialize(body)
        .map_err(|error: bincode::Error| FrameError::Malformed(error.to_string()))?;
    Ok(Some((message, PREFIX + length)))
}

/// Checks a memo against its limit.
///
/// # Errors
/// [`FrameError::MemoTooLong`].
pub fn check_memo(memo: &Memo) -> Result<(), FrameError> {
    if memo.bytes.len() > MEMO_MAX {
        Err(FrameError::MemoTooLong(memo.bytes.len()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackId;

    fn sample() -> ToNode {
        ToNode::Command {
            shard: ShardId(1),
            command: Command::Unsubscribe { session: SessionId(2), track: TrackId(3) },
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode(&sample(), &mut out).unwrap();
        let want: &[u8] = &[
            26, 0, 0, 0, // length
            1, 0, 0, 0, // ToNode::Command
            1, 0, // shard
            9, 0, 0, 0, // Command::Unsubscribe
            2, 0, 0, 0, 0, 0, 0, 0, // session
            3, 0, 0, 0, 0, 0, 0, 0, // track
        ];
        assert_eq!(out, want);
        assert_eq!(decode::<ToNode>(&out).unwrap(), Some((sample(), out.len())));
    }

    #[test]
    fn waits_for_the_rest() {
        let mut out = Vec::new();
        encode(&sample(), &mut out).unwrap();
        for cut in 0..out.len() {
            assert_eq!(decode::<ToNode>(&out[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn refuses_what_is_broken() {
        let mut long = ((CONTROL_FRAME_MAX + 1) as u32).to_le_bytes().to_vec();
        long.push(0);
        assert!(matches!(decode::<ToNode>(&long), Err(FrameError::TooLong(_))));

        let mut trailing = Vec::new();
        encode(&sample(), &mut trailing).unwrap();
        trailing.push(7);
        trailing[0] += 1;
        assert!(matches!(decode::<ToNode>(&trailing), Err(FrameError::Malformed(_))));

        let unknown = [4, 0, 0, 0, 99, 0, 0, 0];
        assert!(matches!(decode::<ToNode>(&unknown), Err(FrameError::Malformed(_))));

        // A vector that claims more elements than the frame has bytes.
        let mut bomb = Vec::new();
        let command = Command::SpanRoom { room: RoomId(1), shards: vec![] };
        encode(&ToNode::Command { shard: ShardId(0), command }, &mut bomb).unwrap();
        let at = bomb.len() - 8;
        bomb[at..].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<ToNode>(&bomb), Err(FrameError::Malformed(_))));
    }
}
