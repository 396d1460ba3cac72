//! Redundant sound (RFC 2198, `audio/red`): packets that carry earlier ones along with their own.
//!
//! ```text
//!   |1|   PT (7)    |  timestamp offset (14)    | length (10)       |  each older block, oldest first
//!   |0|   PT (7)    |                                                  the primary block
//!   | data of the blocks in the same order; the primary one takes the rest |
//! ```
//!
//! [`split`] takes such a payload apart, [`Encoder`] makes it for one viewer, and [`Received`] finds
//! lost packets in it. All of it works on payloads alone: nothing here knows of sessions, and nothing
//! decodes sound.

use antipode_base::limits::{RED_BLOCKS_MAX, RED_PAYLOAD_MAX};
use antipode_base::seq::newer_u32;

#[cfg(test)]
mod tests;

/// Another header follows (RFC 2198 §3, the F bit).
const FOLLOWS: u8 = 0x80;
/// The largest timestamp offset that 14 bits hold: 341 ms at 48 kHz.
const OFFSET_MAX: u32 = (1 << 14) - 1;
/// The longest redundant block that 10 bits of length allow.
const BLOCK_MAX: usize = (1 << 10) - 1;
/// The header of a redundant block, in bytes.
const HEADER: usize = 4;
/// Up to so many bytes an Opus packet is silence that its encoder need not even have sent (what
/// libopus says of the length that it returns): not worth a second sending.
const OPUS_SILENCE_MAX: usize = 2;
/// How many earlier packets one may carry.
const DISTANCE_MAX: usize = 2;

/// Why a payload cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It ends before the primary block's header.
    #[error("the headers are cut short")]
    HeadersCut,
    /// More than [`RED_BLOCKS_MAX`].
    #[error("too many blocks")]
    TooManyBlocks,
    /// The redundant blocks are longer than what is there.
    #[error("the blocks are cut short")]
    BlocksCut,
    /// Nothing is left for the primary block.
    #[error("there is no primary block")]
    NoPrimary,
}

/// One block, as a packet of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// Payload type, as the sender numbers them.
    pub(crate) payload_type: u8,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// Its payload; empty where the sender had nothing for this place.
    pub(crate) payload: &'a [u8],
}

/// A payload that was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks<'a> {
    all: [Block<'a>; RED_BLOCKS_MAX],
    /// At least 1: the primary one is the last.
    len: usize,
}

impl<'a> Blocks<'a> {
    /// The packet's own sound.
    pub(crate) fn primary(&self) -> Block<'a> {
        self.all[self.len - 1]
    }

    /// Packets from before, those with something in them.
    pub(crate) fn redundant(&self) -> impl Iterator<Item = Block<'a>> + '_ {
        self.all[..self.len - 1].iter().copied().filter(|block| !block.payload.is_empty())
    }
}

/// Takes a payload apart. `timestamp` is the RTP packet's.
///
/// # Errors
/// See [`Malformed`].
pub(crate) fn split(payload: &[u8], timestamp: u32) -> Result<Blocks<'_>, Malformed> {
    let mut blocks = Blocks { all: [Block::default(); RED_BLOCKS_MAX], len: 0 };
    let mut lengths = [0; RED_BLOCKS_MAX];
    let mut rest = payload;
    loop {
        let first = *rest.first().ok_or(Malformed::HeadersCut)?;
        let at = blocks.len;
        let block = blocks.all.get_mut(at).ok_or(Malformed::TooManyBlocks)?;
        block.payload_type = first & !FOLLOWS;
        block.timestamp = timestamp;
        blocks.len += 1;
        if first & FOLLOWS == 0 {
            rest = &rest[1..];
            break;
        }
        let (header, after) = rest.split_first_chunk::<HEADER>().ok_or(Malformed::HeadersCut)?;
        let bits = u32::from_be_bytes(*header);
        block.timestamp = timestamp.wrapping_sub(bits >> 10 & OFFSET_MAX);
        lengths[at] = bits as usize & BLOCK_MAX;
        rest = after;
    }
    let primary = blocks.len - 1;
    for (block, length) in blocks.all[..primary].iter_mut().zip(lengths) {
        (block.payload, rest) = rest.split_at_checked(length).ok_or(Malformed::BlocksCut)?;
    }
    if rest.is_empty() {
        return Err(Malformed::NoPrimary);
    }
    blocks.all[primary].payload = rest;
    Ok(blocks)
}

/// One earlier payload that an [`Encoder`] keeps.
#[derive(Clone, Debug)]
struct Earlier {
    timestamp: u32,
    bytes: Vec<u8>,
}

/// Makes RED for one viewer out of plain Opus, whoever speaks in the viewer's slot: it is given the
/// timestamps that the viewer sees, after they were rewritten.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    /// Newest first. Each has room for [`BLOCK_MAX`] bytes from the start and never grows.
    earlier: [Option<Earlier>; DISTANCE_MAX],
    /// Buffers that wait to be used again.
    spare: Vec<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        let spare = (0..DISTANCE_MAX).map(|_| Vec::with_capacity(BLOCK_MAX)).collect();
        Encoder { earlier: [const { None }; DISTANCE_MAX], spare }
    }
}

impl Encoder {
    /// Writes one packet's RED payload into `out`, which is cleared: the payload behind up to
    /// `distance` earlier ones (2 at most; 0 makes RED without redundancy, from which the next ones
    /// can go on). Left out are those that the format cannot carry, that are silence, or that would
    /// make it longer than [`RED_PAYLOAD_MAX`].
    pub(crate) fn encode(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
        distance: usize,
        out: &mut Vec<u8>,
    ) {
        let payload_type = payload_type & !FOLLOWS;
        let mut room = RED_PAYLOAD_MAX.saturating_sub(1 + payload.len());
        let mut fits = |earlier: &&Earlier| {
            let size = HEADER + earlier.bytes.len();
            let fits = offset(earlier.timestamp, timestamp).is_some() && size <= room;
            room -= if fits { size } else { 0 };
            fits
        };
        let mut carried = [None; DISTANCE_MAX];
        let earlier = self.earlier.iter().take(distance).flatten();
        for (slot, earlier) in carried.iter_mut().zip(earlier.filter(|earlier| fits(earlier))) {
            *slot = Some(earlier);
        }
        out.clear();
        let oldest_first = || carried.iter().rev().copied().flatten();
        for earlier in oldest_first() {
            let offset = offset(earlier.timestamp, timestamp).unwrap_or_default();
            let bits = offset << 10 | earlier.bytes.len() as u32;
            let first = u32::from(FOLLOWS | payload_type) << 24;
            out.extend_from_slice(&(first | bits).to_be_bytes());
        }
        out.push(payload_type);
        oldest_first().for_each(|earlier| out.extend_from_slice(&earlier.bytes));
        out.extend_from_slice(payload);
        self.keep(timestamp, payload);
    }

    fn keep(&mut self, timestamp: u32, payload: &[u8]) {
        let newest = self.earlier[0].as_ref().map(|earlier| earlier.timestamp);
        if let Some(newest) = newest
            && !newer_u32(timestamp, newest)
        {
            // A late packet comes too late to be carried. One from long ago is another beginning.
            if newest.wrapping_sub(timestamp) <= OFFSET_MAX {
                return;
            }
            self.spare.extend(self.earlier.iter_mut().filter_map(Option::take).map(|e| e.bytes));
        }
        if !(OPUS_SILENCE_MAX + 1..=BLOCK_MAX).contains(&payload.len()) {
            return;
        }
        let [newest, oldest] = &mut self.earlier;
        let freed = oldest.take().map(|earlier| earlier.bytes).or_else(|| self.spare.pop());
        let mut bytes = freed.unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(payload);
        *oldest = newest.replace(Earlier { timestamp, bytes });
    }
}

/// How far `timestamp` is behind, if the format can say it and it is behind at all.
fn offset(timestamp: u32, primary: u32) -> Option<u32> {
    let offset = primary.wrapping_sub(timestamp);
    (1..=OFFSET_MAX).contains(&offset).then_some(offset)
}

/// Packets that are remembered: a loss further back than this is not mended.
const REMEMBERED: usize = 16;

/// Which packets of one stream came, so that those that did not are found in the redundancy of later
/// ones.
///
/// A redundant block has a timestamp and no sequence number. Between two packets that came, the
/// blocks in time are the missing ones in number when there are as many of them, or when time and
/// number advance at one pace there; else nobody can tell, and nothing is rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// By number, the oldest first; those of `len` are valid.
    seen: [Seen; REMEMBERED],
    len: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    ext_seq: u64,
    timestamp: u32,
}

/// A lost packet out of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt<'a> {
    /// The number that it had.
    pub(crate) ext_seq: u64,
    /// Its timestamp and payload.
    pub(crate) block: Block<'a>,
}

impl Received {
    /// Notes a packet. `false` when it had come before, or had been rebuilt: then it goes no further.
    /// What is older than all that is remembered counts as new.
    pub(crate) fn note(&mut self, ext_seq: u64, timestamp: u32) -> bool {
        let seen = &self.seen[..self.len];
        let at = seen.partition_point(|seen| seen.ext_seq < ext_seq);
        if seen.get(at).is_some_and(|seen| seen.ext_seq == ext_seq) {
            return false;
        }
        if self.len == REMEMBERED {
            if at == 0 {
                return true;
            }
            self.seen[..at].rotate_left(1);
            self.seen[at - 1] = Seen { ext_seq, timestamp };
        } else {
            self.seen[at..=self.len].rotate_right(1);
            self.seen[at] = Seen { ext_seq, timestamp };
            self.len += 1;
        }
        true
    }

    /// The lost packets that are among the redundant blocks of packet `ext_seq`, oldest first; from
    /// now on they count as received. To be called after [`Received::note`], also for
    /// a packet that had been rebuilt: it may carry others.
    /// Blocks of another payload type than the primary one's are left alone.
    pub(crate) fn recover<'a>(
        &mut self,
        ext_seq: u64,
        blocks: &Blocks<'a>,
    ) -> impl Iterator<Item = Rebuilt<'a>> + use<'a> {
        let primary = blocks.primary();
        let mut rebuilt = [Rebuilt::default(); RED_BLOCKS_MAX];
        let mut count = 0;
        for block in blocks.redundant() {
            let same = block.payload_type == primary.payload_type;
            if same && let Some(ext_seq) = self.number(ext_seq, block.timestamp, blocks) {
                rebuilt[count] = Rebuilt { ext_seq, block };
                count += 1;
            }
        }
        // Noted only now: what was found for one must not narrow the gap of the next.
        let mut fresh = rebuilt.map(|rebuilt| (rebuilt, false));
        for (rebuilt, fresh) in fresh.iter_mut().take(count) {
            *fresh = self.note(rebuilt.ext_seq, rebuilt.block.timestamp);
        }
        fresh.into_iter().filter(|(_, fresh)| *fresh).map(|(rebuilt, _)| rebuilt)
    }

    /// The number of the missing packet with this timestamp, at or before packet `ext_seq`.
    fn number(&self, ext_seq: u64, timestamp: u32, blocks: &Blocks<'_>) -> Option<u64> {
        let seen = self.seen[..self.len].iter().rev().skip_while(|seen| seen.ext_seq > ext_seq);
        let mut after: Option<Seen> = None;
        for before in seen.copied() {
            if before.timestamp == timestamp {
                return None;
            }
            if newer_u32(timestamp, before.timestamp) {
                return between(before, after?, timestamp, blocks);
            }
            after = Some(before);
        }
        None
    }
}

/// See [`Received`]: the number of one block in the gap between two packets.
fn between(before: Seen, after: Seen, timestamp: u32, blocks: &Blocks<'_>) -> Option<u64> {
    let missing = after.ext_seq - before.ext_seq - 1;
    let span = after.timestamp.wrapping_sub(before.timestamp);
    let into = |timestamp: u32| timestamp.wrapping_sub(before.timestamp);
    let inside = |time: u32| (1..span).contains(&time);
    let payload_type = blocks.primary().payload_type;
    let mine = blocks.redundant().filter(|block| block.payload_type == payload_type);
    let mut times = mine.map(|block| into(block.timestamp)).filter(|time| inside(*time));
    let mut steps = 0;
    let mut rank = 0;
    let mut last = 0;
    let mut rising = true;
    for time in times.by_ref() {
        rising &= time > last;
        last = time;
        steps += 1;
        rank += u64::from(time <= into(timestamp));
    }
    if missing == 0 || !rising || !inside(into(timestamp)) {
        return None;
    }
    if steps == missing {
        return Some(before.ext_seq + rank);
    }
    let pace = u64::from(span).checked_div(missing + 1).filter(|pace| *pace > 0)?;
    let even = u64::from(span) == pace * (missing + 1);
    let steps = u64::from(into(timestamp));
    (even && steps % pace == 0).then(|| before.ext_seq + steps / pace)
}
