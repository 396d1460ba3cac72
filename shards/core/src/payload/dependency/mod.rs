//! The dependency descriptor: which frames a frame needs, and which decode targets need it.
//!
//! A header extension of the AV1 RTP specification 1.0, appendix A, that senders also attach to VP9 and
//! H264. Most packets carry three bytes that name a template; the templates come with a keyframe, in a
//! [`Structure`] that the caller keeps for as long as frames refer to it.
//!
//! ```text
//!   |S|E| template  |         frame number          |     S, E: first, last packet of the frame
//!   |T|A|D|F|C| structure (T) | mask (A) | DTIs (D) | frame diffs (F) | chain diffs (C) | zeros |
//! ```
//!
//! The second row is there when the descriptor is longer than three bytes. Nothing here allocates but
//! the reading of a structure.

mod bits;
#[cfg(test)]
mod made_up;
mod structure;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use antipode_base::limits::FRAME_DIFFS_MAX;

use self::bits::{BitReader, BitWriter};
pub(crate) use self::structure::Structure;
use self::structure::Template;
use super::Resolution;
use super::list::List;

/// Decode targets of one structure: their count has five bits.
pub(crate) const DECODE_TARGETS_MAX: usize = 32;
/// The longest descriptor: an extension's length has eight bits (RFC 8285 §4.3).
pub(crate) const DESCRIPTOR_MAX: usize = 255;
/// A descriptor without the extended fields, and the fields that every descriptor has.
const MANDATORY: usize = 3;

/// How far back the frames are that a frame needs: 1 to 4096 frame numbers.
pub(crate) type FrameDiffs = List<u16, FRAME_DIFFS_MAX>;
/// How far back the last frame of each chain is: 0 to 255 frame numbers, 0 where the chain (re)starts.
pub(crate) type ChainDiffs = List<u8, DECODE_TARGETS_MAX>;

/// What a frame is to one decode target, §A.4.2, table A.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dti {
    /// The frame is no part of it.
    NotPresent,
    /// Nothing else in it needs the frame.
    Discardable,
    /// Whoever can decode the frame can decode all that follows in it.
    Switch,
    /// Later frames in it may need the frame.
    Required,
}

/// What a frame is to every decode target. Two bits each, target 0 in the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dtis(u64);

impl Dtis {
    /// For one decode target; a frame is not present in one that does not exist.
    pub(crate) fn of(self, target: usize) -> Dti {
        match (target < DECODE_TARGETS_MAX).then(|| self.0 >> (2 * target) & 3) {
            Some(1) => Dti::Discardable,
            Some(2) => Dti::Switch,
            Some(3) => Dti::Required,
            _ => Dti::NotPresent,
        }
    }

    /// §A.4.1, `frame_dtis`.
    fn read(reader: &mut BitReader<'_>, targets: u32) -> Option<Self> {
        let mut packed = 0;
        for target in 0..targets {
            packed |= u64::from(reader.bits(2)?) << (2 * target);
        }
        Some(Self(packed))
    }
}

/// Why a descriptor says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It breaks the specification, or goes beyond what any real sender needs.
    Malformed,
    /// It names a template that is in no structure known here: a keyframe was lost or is late.
    UnknownTemplate,
}

/// One descriptor, with its template filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// First packet of the frame.
    pub(crate) starts_frame: bool,
    /// Last packet of the frame; other frames of the same picture may follow.
    pub(crate) ends_frame: bool,
    /// In decode order, wraps.
    pub(crate) frame_number: u16,
    /// Spatial id.
    pub(crate) spatial: u8,
    /// Temporal id.
    pub(crate) temporal: u8,
    /// What the frame is to each decode target.
    pub(crate) dtis: Dtis,
    /// The frames that it needs; empty for one that a decoder can start with.
    pub(crate) diffs: FrameDiffs,
    /// One for each chain of the structure.
    pub(crate) chains: ChainDiffs,
    /// The structure for this frame and all that follow; on the first packet of a keyframe.
    pub(crate) attached: Option<Arc<Structure>>,
    /// The decode targets that are sent from now on, bit 0 for target 0. `None`: as before. An attached
    /// structure without a mask means all of them (§A.4.1).
    pub(crate) active_targets: Option<u32>,
    /// The largest picture of the frame's spatial layer, if the structure tells.
    pub(crate) resolution: Option<Resolution>,
}

impl Descriptor {
    /// The frame belongs to the decode target.
    pub(crate) fn is_in(&self, target: usize) -> bool {
        self.dtis.of(target) != Dti::NotPresent
    }

    /// A receiver that can decode this frame can go on with the decode target from here.
    pub(crate) fn switches_to(&self, target: usize) -> bool {
        self.dtis.of(target) == Dti::Switch
    }

    /// The frame before this one in a chain: `None` when the chain starts here, or does not exist.
    pub(crate) fn before_in_chain(&self, chain: usize) -> Option<u16> {
        let diff = self.chains.get(chain).copied().filter(|diff| *diff > 0)?;
        Some(self.frame_number.wrapping_sub(u16::from(diff)))
    }
}

/// The first row of a descriptor, which every packet has.
#[derive(Clone, Copy)]
struct Mandatory {
    starts_frame: bool,
    ends_frame: bool,
    template: u8,
    frame_number: u16,
}

impl Mandatory {
    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        Some(Self {
            starts_frame: reader.flag()?,
            ends_frame: reader.flag()?,
            template: reader.small(6)?,
            frame_number: reader.bits(16)? as u16,
        })
    }
}

/// Which extended fields are there; none of them in a descriptor of three bytes.
#[derive(Clone, Copy, Default)]
struct Flags {
    structure: bool,
    active_targets: bool,
    dtis: bool,
    diffs: bool,
    chains: bool,
}

impl Flags {
    fn read(reader: &mut BitReader<'_>, length: usize) -> Option<Self> {
        if length <= MANDATORY {
            return Some(Self::default());
        }
        Some(Self {
            structure: reader.flag()?,
            active_targets: reader.flag()?,
            dtis: reader.flag()?,
            diffs: reader.flag()?,
            chains: reader.flag()?,
        })
    }

    fn write(self, writer: &mut BitWriter<'_>) -> Option<()> {
        [self.structure, self.active_targets, self.dtis, self.diffs, self.chains]
            .into_iter()
            .try_for_each(|flag| writer.put(u32::from(flag), 1))
    }
}

/// What a frame has instead of its template's.
#[derive(Clone, Copy, Default)]
struct Custom {
    dtis: Option<Dtis>,
    diffs: Option<FrameDiffs>,
    chains: Option<ChainDiffs>,
}

impl Custom {
    fn read(reader: &mut BitReader<'_>, flags: Flags, structure: &Structure) -> Option<Self> {
        let mut custom = Self::default();
        if flags.dtis {
            custom.dtis = Some(Dtis::read(reader, structure.target_count() as u32)?);
        }
        if flags.diffs {
            custom.diffs = Some(frame_diffs(reader)?);
        }
        if flags.chains {
            custom.chains = Some(structure::chains(reader, structure.chain_count() as u32, 8)?);
        }
        Some(custom)
    }
}

/// §A.4.1, `frame_fdiffs`: each behind its size in steps of four bits, a zero at the end.
fn frame_diffs(reader: &mut BitReader<'_>) -> Option<FrameDiffs> {
    let mut diffs = FrameDiffs::default();
    loop {
        match reader.bits(2)? {
            0 => return Some(diffs),
            size => diffs.push(reader.bits(4 * size)? as u16 + 1)?,
        }
    }
}

/// Reads one descriptor. `known` is the structure that was attached last.
///
/// # Errors
/// See [`Unread`]. A template that an attached structure itself does not have is malformed.
pub(crate) fn parse(bytes: &[u8], known: Option<&Structure>) -> Result<Descriptor, Unread> {
    if bytes.len() > DESCRIPTOR_MAX {
        return Err(Unread::Malformed);
    }
    let mut reader = BitReader::new(bytes);
    let head = Mandatory::read(&mut reader).ok_or(Unread::Malformed)?;
    let flags = Flags::read(&mut reader, bytes.len()).ok_or(Unread::Malformed)?;
    let attached = match flags.structure {
        true => Some(Structure::read(&mut reader).ok_or(Unread::Malformed)?),
        false => None,
    };
    let structure = attached.as_ref().or(known).ok_or(Unread::UnknownTemplate)?;
    let lost = if attached.is_some() { Unread::Malformed } else { Unread::UnknownTemplate };
    let template = structure.template(head.template).ok_or(lost)?;
    let (active_targets, custom) = rest(&mut reader, flags, structure).ok_or(Unread::Malformed)?;
    let Template { spatial, temporal, .. } = *template;
    Ok(Descriptor {
        starts_frame: head.starts_frame,
        ends_frame: head.ends_frame,
        frame_number: head.frame_number,
        spatial,
        temporal,
        dtis: custom.dtis.unwrap_or(template.dtis),
        diffs: custom.diffs.unwrap_or(template.diffs),
        chains: custom.chains.unwrap_or(template.chains),
        active_targets,
        resolution: structure.resolution(spatial),
        attached: attached.map(Arc::new),
    })
}

/// What stands behind the structure, if there is one.
fn rest(
    reader: &mut BitReader<'_>,
    flags: Flags,
    structure: &Structure,
) -> Option<(Option<u32>, Custom)> {
    let active_targets = match (flags.active_targets, flags.structure) {
        (true, _) => Some(reader.bits(structure.target_count() as u32)?),
        (false, true) => Some(structure.every_target()),
        (false, false) => None,
    };
    Some((active_targets, Custom::read(reader, flags, structure)?))
}

/// Whether a descriptor brings a structure or a mask of decode targets.
pub(crate) fn tells_targets(bytes: &[u8]) -> bool {
    bytes.get(MANDATORY).is_some_and(|flags| flags & 0xc0 != 0)
}

/// Copies a descriptor with another frame number; `None` when it is none at all.
pub(crate) fn renumber<'out>(
    bytes: &[u8],
    frame_number: u16,
    out: &'out mut [u8; DESCRIPTOR_MAX],
) -> Option<&'out [u8]> {
    let copy = out.get_mut(..bytes.len())?;
    copy.copy_from_slice(bytes);
    copy.get_mut(1..MANDATORY)?.copy_from_slice(&frame_number.to_be_bytes());
    Some(copy)
}

/// Writes a descriptor again, with another frame number and, where `active_targets` is given, with that
/// mask of decode targets in place of the sender's. All else means what it meant.
///
/// `structure` is the attached one, or else the one in force when the packet was read. An attached one
/// is not read again, so that a keyframe costs little per viewer; only its offset and number of decode
/// targets are compared, to notice a mistaken caller. A mask makes a short descriptor extended: 29 bits
/// and one for each decode target.
///
/// # Errors
/// See [`Unread`]; [`Unread::Malformed`] also when the mask no longer fits into [`DESCRIPTOR_MAX`].
pub(crate) fn rewrite<'out>(
    bytes: &[u8],
    structure: &Structure,
    frame_number: u16,
    active_targets: Option<u32>,
    out: &'out mut [u8; DESCRIPTOR_MAX],
) -> Result<&'out [u8], Unread> {
    let mut reader = BitReader::new(bytes);
    let head = Mandatory::read(&mut reader).ok_or(Unread::Malformed)?;
    structure.template(head.template).ok_or(Unread::UnknownTemplate)?;
    let Some(mask) = active_targets else {
        return renumber(bytes, frame_number, out).ok_or(Unread::Malformed);
    };
    masked(bytes, structure, frame_number, mask & structure.every_target(), out)
        .ok_or(Unread::Malformed)
}

/// Copies a descriptor, so that its frame also needs the one before it. `None` when it does already, when
/// a decoder can start with it, or when it is not one that the structure in force can tell.
pub(crate) fn tie<'out>(
    bytes: &[u8],
    structure: &Structure,
    out: &'out mut [u8; DESCRIPTOR_MAX],
) -> Option<&'out [u8]> {
    let mut reader = BitReader::new(bytes);
    let head = Mandatory::read(&mut reader)?;
    let mut writer = BitWriter::new(out);
    writer.copy(&mut BitReader::new(bytes), 8 * MANDATORY)?;
    let flags = Flags::read(&mut reader, bytes.len())?;
    if flags.structure {
        return None;
    }
    Flags { diffs: true, ..flags }.write(&mut writer)?;
    let each = usize::from(flags.active_targets) + 2 * usize::from(flags.dtis);
    let end = reader.position() + each * structure.target_count();
    writer.copy(&mut reader, end)?;
    let mut diffs = match flags.diffs {
        true => frame_diffs(&mut reader)?,
        false => structure.template(head.template)?.diffs,
    };
    if diffs.is_empty() || diffs.contains(&1) {
        return None;
    }
    diffs.push(1)?;
    for diff in diffs.iter().map(|diff| u32::from(diff - 1)) {
        let size = (u32::BITS - diff.leading_zeros()).div_ceil(4).max(1);
        writer.put(size, 2)?;
        writer.put(diff, 4 * size)?;
    }
    writer.put(0, 2)?;
    if flags.chains {
        let mut end = reader;
        structure::chains(&mut end, structure.chain_count() as u32, 8)?;
        writer.copy(&mut reader, end.position())?;
    }
    Some(writer.finish())
}

/// The fields behind the mask are moved as they are: they have one encoding each.
fn masked<'out>(
    bytes: &[u8],
    structure: &Structure,
    frame_number: u16,
    mask: u32,
    out: &'out mut [u8; DESCRIPTOR_MAX],
) -> Option<&'out [u8]> {
    let targets = structure.target_count() as u32;
    let mut reader = BitReader::new(bytes);
    let mut writer = BitWriter::new(out);
    writer.copy(&mut reader, 8)?;
    writer.put(u32::from(frame_number), 16)?;
    reader.skip(16)?;
    let flags = Flags::read(&mut reader, bytes.len())?;
    Flags { active_targets: true, ..flags }.write(&mut writer)?;
    if flags.structure {
        let mut end = reader;
        structure.skip(&mut end)?;
        writer.copy(&mut reader, end.position())?;
    }
    if flags.active_targets {
        reader.skip(targets as usize)?;
    }
    writer.put(mask, targets)?;
    let mut end = reader;
    Custom::read(&mut end, flags, structure)?;
    writer.copy(&mut reader, end.position())?;
    Some(writer.finish())
}
