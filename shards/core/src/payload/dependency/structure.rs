//! The template dependency structure: how the frames of a coded video sequence hang together.

use super::bits::BitReader;
use super::{ChainDiffs, DECODE_TARGETS_MAX, Dti, Dtis, FrameDiffs};
use crate::payload::Resolution;
use crate::payload::list::List;

/// Templates of one structure: their ids have six bits.
const TEMPLATES_MAX: usize = 64;
/// Spatial ids; VP9 has the most (RFC 9628 §4.2, three bits).
const SPATIAL_MAX: usize = 8;
/// Temporal ids; AV1 and VP9 both have three bits for them.
const TEMPORAL_MAX: u8 = 8;
/// Width of a template id.
const TEMPLATE_ID_BITS: u32 = 6;
/// Width of the number of decode targets, less one.
const TARGET_COUNT_BITS: u32 = 5;

/// The layers up to which one decode target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// The highest spatial id among its frames.
    pub(crate) spatial: u8,
    /// The highest temporal id among its frames.
    pub(crate) temporal: u8,
}

/// What a frame is unless its own descriptor says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) dtis: Dtis,
    pub(super) diffs: FrameDiffs,
    pub(super) chains: ChainDiffs,
}

/// A template dependency structure, AV1 RTP specification §A.4.1. Two that are equal were equal on the
/// wire. It is made once per keyframe and kept behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    /// The template id of the first template.
    offset: u8,
    /// 1 to 64 of them.
    templates: Vec<Template>,
    /// Per decode target; `None` for one that no template belongs to. 1 to 32 of them.
    targets: List<Option<Target>, DECODE_TARGETS_MAX>,
    /// 0 to as many as there are decode targets.
    chain_count: u8,
    /// The chain of each decode target; empty when there are no chains.
    protected_by: List<u8, DECODE_TARGETS_MAX>,
    /// Per spatial id; empty when the sender did not say.
    resolutions: List<Resolution, SPATIAL_MAX>,
    /// Length on the wire, in bits. It follows from the other fields: every field has one encoding.
    wire_bits: usize,
}

impl Structure {
    /// The number of decode targets, 1 to 32.
    pub(crate) fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// A mask of every decode target.
    pub(crate) fn every_target(&self) -> u32 {
        u32::MAX >> (DECODE_TARGETS_MAX - self.target_count())
    }

    /// The layers up to which a decode target goes; `None` for one without frames.
    pub(crate) fn target(&self, target: usize) -> Option<Target> {
        self.targets.get(target).copied().flatten()
    }

    /// The best decode target of the mask `active` that needs no layer above the two given ones. A
    /// larger picture counts for more than a smoother one. `None` when even the lowest needs more.
    pub(crate) fn target_for(
        &self,
        spatial_max: u8,
        temporal_max: u8,
        active: u32,
    ) -> Option<usize> {
        self.targets
            .iter()
            .enumerate()
            .filter(|(index, _)| active >> index & 1 == 1)
            .filter_map(|(index, target)| target.map(|target| (target, index)))
            .filter(|(target, _)| target.spatial <= spatial_max && target.temporal <= temporal_max)
            .max()
            .map(|(_, index)| index)
    }

    /// A mask of the decode targets that need no layer above the two given ones.
    pub(crate) fn targets_within(&self, spatial_max: u8, temporal_max: u8) -> u32 {
        let within =
            |target: &Target| target.spatial <= spatial_max && target.temporal <= temporal_max;
        let kept = |target: &Option<Target>| target.as_ref().is_some_and(within);
        let targets = self.targets.iter().enumerate().filter(|(_, target)| kept(target));
        targets.fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// The number of chains; 0 when the sender uses none.
    pub(crate) fn chain_count(&self) -> usize {
        usize::from(self.chain_count)
    }

    /// The chain whose frames must all arrive for the decode target to stay decodable.
    pub(crate) fn chain_of(&self, target: usize) -> Option<usize> {
        self.protected_by.get(target).copied().map(usize::from)
    }

    /// The largest picture of a spatial layer.
    pub(crate) fn resolution(&self, spatial: u8) -> Option<Resolution> {
        self.resolutions.get(usize::from(spatial)).copied()
    }

    /// §A.4.1, `frame_dependency_definition`: ids wrap at 64.
    pub(super) fn template(&self, id: u8) -> Option<&Template> {
        let index = (id + TEMPLATES_MAX as u8 - self.offset) % TEMPLATES_MAX as u8;
        self.templates.get(usize::from(index))
    }

    /// Goes past this structure where the reader stands in front of it; `None` when the reader stands
    /// before another one, as far as the first two fields tell.
    pub(super) fn skip(&self, reader: &mut BitReader<'_>) -> Option<()> {
        let mut ahead = *reader;
        let offset = ahead.small(TEMPLATE_ID_BITS)?;
        let targets = ahead.bits(TARGET_COUNT_BITS)? as usize + 1;
        (offset == self.offset && targets == self.target_count()).then_some(())?;
        reader.skip(self.wire_bits)
    }

    /// §A.4.1, `template_dependency_structure`.
    pub(super) fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        let start = reader.position();
        let offset = reader.small(TEMPLATE_ID_BITS)?;
        let target_count = reader.bits(TARGET_COUNT_BITS)? + 1;
        let mut templates = template_layers(reader)?;
        for template in &mut templates {
            template.dtis = Dtis::read(reader, target_count)?;
        }
        for template in &mut templates {
            template.diffs = template_diffs(reader)?;
        }
        let mut protected_by = List::default();
        let chain_count = reader.below(target_count + 1)?;
        if chain_count > 0 {
            for _ in 0..target_count {
                protected_by.push(reader.below(chain_count)? as u8)?;
            }
            for template in &mut templates {
                template.chains = chains(reader, chain_count, 4)?;
            }
        }
        let spatial_max = templates.iter().map(|template| template.spatial).max()?;
        let mut resolutions = List::default();
        if reader.flag()? {
            for _ in 0..=spatial_max {
                let (width, height) = (reader.bits(16)? + 1, reader.bits(16)? + 1);
                resolutions.push(Resolution { width, height })?;
            }
        }
        let targets = targets(&templates, target_count)?;
        let wire_bits = reader.position() - start;
        let chain_count = chain_count as u8;
        Some(Self { offset, templates, targets, chain_count, protected_by, resolutions, wire_bits })
    }
}

/// §A.4.1, `template_layers`, and table A.2.
fn template_layers(reader: &mut BitReader<'_>) -> Option<Vec<Template>> {
    // L3T3 has 15 in Chromium.
    let mut templates = Vec::with_capacity(16);
    let mut next = Template::default();
    loop {
        if templates.len() == TEMPLATES_MAX {
            return None;
        }
        templates.push(next);
        match reader.bits(2)? {
            0 => {}
            1 => next.temporal += 1,
            2 => next = Template { spatial: next.spatial + 1, ..Template::default() },
            _ => return Some(templates),
        }
        if usize::from(next.spatial) >= SPATIAL_MAX || next.temporal >= TEMPORAL_MAX {
            return None;
        }
    }
}

/// §A.4.1, the part of `template_fdiffs` for one template.
fn template_diffs(reader: &mut BitReader<'_>) -> Option<FrameDiffs> {
    let mut diffs = FrameDiffs::default();
    while reader.flag()? {
        diffs.push(reader.bits(4)? as u16 + 1)?;
    }
    Some(diffs)
}

/// So many chain differences, each `width` bits wide.
pub(super) fn chains(reader: &mut BitReader<'_>, count: u32, width: u32) -> Option<ChainDiffs> {
    let mut diffs = ChainDiffs::default();
    for _ in 0..count {
        diffs.push(reader.small(width)?)?;
    }
    Some(diffs)
}

/// What a decode target reaches is nowhere on the wire: it follows from the templates in it.
fn targets(templates: &[Template], count: u32) -> Option<List<Option<Target>, DECODE_TARGETS_MAX>> {
    let mut targets = List::default();
    for target in 0..count as usize {
        let inside = || templates.iter().filter(|t| t.dtis.of(target) != Dti::NotPresent);
        let spatial = inside().map(|template| template.spatial).max();
        let temporal = inside().map(|template| template.temporal).max();
        let both = spatial.zip(temporal);
        targets.push(both.map(|(spatial, temporal)| Target { spatial, temporal }))?;
    }
    Some(targets)
}
