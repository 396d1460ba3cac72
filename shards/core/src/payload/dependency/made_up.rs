//! Dependency descriptors that were made up from a seed, written by a writer of their own.

use super::structure::Template;
use super::tests::check_rewrite;
use super::*;

/// xorshift64, Marsaglia 2003.
struct Dice(u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % sides
    }
}

/// A structure that was made up.
#[derive(Default)]
struct Made {
    offset: u8,
    targets: u32,
    chains: u32,
    templates: Vec<Template>,
    resolutions: Vec<Resolution>,
}

/// Makes up fields and writes them as the specification says: `None` when they take over 255 bytes.
struct Maker<'a> {
    dice: &'a mut Dice,
    writer: BitWriter<'a>,
}

impl Maker<'_> {
    /// One field of any value.
    fn any(&mut self, width: u32) -> Option<u32> {
        let value = (self.dice.roll(1 << 16) << 16 | self.dice.roll(1 << 16)) >> (32 - width);
        self.writer.put(value, width)?;
        Some(value)
    }

    fn dtis(&mut self, targets: u32) -> Option<Dtis> {
        let mut packed = 0;
        for target in 0..targets {
            packed |= u64::from(self.any(2)?) << (2 * target);
        }
        Some(Dtis(packed))
    }

    fn chains(&mut self, count: u32, width: u32) -> Option<ChainDiffs> {
        let mut chains = ChainDiffs::default();
        (0..count).try_for_each(|_| chains.push(self.any(width)? as u8))?;
        Some(chains)
    }

    fn layers(&mut self) -> Option<Vec<Template>> {
        let mut templates = vec![Template::default()];
        for _ in 0..self.dice.roll(20) {
            let Template { spatial, temporal, .. } = *templates.last()?;
            let (step, spatial, temporal) = match self.dice.roll(3) {
                1 if temporal < 7 => (1, spatial, temporal + 1),
                2 if spatial < 7 => (2, spatial + 1, 0),
                _ => (0, spatial, temporal),
            };
            self.writer.put(step, 2)?;
            templates.push(Template { spatial, temporal, ..Template::default() });
        }
        self.writer.put(3, 2)?;
        Some(templates)
    }

    fn template_diffs(&mut self) -> Option<FrameDiffs> {
        let mut diffs = FrameDiffs::default();
        for _ in 0..self.dice.roll(4) {
            self.writer.put(1, 1)?;
            diffs.push(self.any(4)? as u16 + 1)?;
        }
        self.writer.put(0, 1)?;
        Some(diffs)
    }

    fn frame_diffs(&mut self) -> Option<FrameDiffs> {
        let mut diffs = FrameDiffs::default();
        for _ in 0..self.dice.roll(4) {
            let size = 1 + self.dice.roll(3);
            self.writer.put(size, 2)?;
            diffs.push(self.any(4 * size)? as u16 + 1)?;
        }
        self.writer.put(0, 2)?;
        Some(diffs)
    }

    fn structure(&mut self, offset: u8) -> Option<Made> {
        self.writer.put(u32::from(offset), 6)?;
        let most = if self.dice.roll(2) == 0 { 32 } else { 9 };
        let targets = 1 + self.dice.roll(most);
        self.writer.put(targets - 1, 5)?;
        let mut templates = self.layers()?;
        for template in &mut templates {
            template.dtis = self.dtis(targets)?;
        }
        for template in &mut templates {
            template.diffs = self.template_diffs()?;
        }
        let chains = self.dice.roll(targets + 1);
        self.writer.put_below(targets + 1, chains)?;
        if chains > 0 {
            for _ in 0..targets {
                let chain = self.dice.roll(chains);
                self.writer.put_below(chains, chain)?;
            }
        }
        for template in &mut templates {
            template.chains = self.chains(chains, 4)?;
        }
        let mut resolutions = Vec::new();
        if self.any(1)? == 1 {
            for _ in 0..=templates.last()?.spatial {
                let (width, height) = (self.any(16)? + 1, self.any(16)? + 1);
                resolutions.push(Resolution { width, height });
            }
        }
        Some(Made { offset, targets, chains, templates, resolutions })
    }

    /// A frame, with a structure of its own in front when `known` has no template. What is attached is
    /// left out of the answer.
    fn descriptor(&mut self, known: &mut Made) -> Option<Descriptor> {
        let key = known.templates.is_empty();
        let (starts_frame, ends_frame) = (self.any(1)? == 1, self.any(1)? == 1);
        let index = if key { 0 } else { self.dice.roll(known.templates.len() as u32) as u8 };
        let offset = if key { self.dice.roll(64) as u8 } else { known.offset };
        self.writer.put(u32::from((offset + index) % 64), 6)?;
        let frame_number = self.any(16)? as u16;
        let extended = key || self.dice.roll(4) > 0;
        let mut flags = [false; 4];
        if extended {
            self.writer.put(u32::from(key), 1)?;
            for flag in &mut flags {
                *flag = self.any(1)? == 1;
            }
        }
        if key {
            *known = self.structure(offset)?;
        }
        let [mask, dtis, diffs, chains] = flags;
        let template = known.templates[usize::from(index)];
        let every = u32::MAX >> (32 - known.targets);
        let Template { spatial, temporal, .. } = template;
        Some(Descriptor {
            starts_frame,
            ends_frame,
            frame_number,
            spatial,
            temporal,
            active_targets: if mask {
                Some(self.any(known.targets)?)
            } else {
                key.then_some(every)
            },
            dtis: if dtis { self.dtis(known.targets)? } else { template.dtis },
            diffs: if diffs { self.frame_diffs()? } else { template.diffs },
            chains: if chains { self.chains(known.chains, 8)? } else { template.chains },
            attached: None,
            resolution: known.resolutions.get(usize::from(spatial)).copied(),
        })
    }
}

fn check_structure(structure: &Structure, made: &Made) {
    assert_eq!(structure.target_count(), made.targets as usize);
    assert_eq!(structure.chain_count(), made.chains as usize);
    for (index, template) in (0..).zip(&made.templates) {
        assert_eq!(structure.template((made.offset + index) % 64), Some(template));
    }
    let reach = |target: usize, of: fn(&Template) -> u8| {
        let inside = |template: &&Template| template.dtis.of(target) != Dti::NotPresent;
        made.templates.iter().filter(inside).map(of).max()
    };
    for target in 0..structure.target_count() {
        let seen = structure.target(target);
        assert_eq!(seen.map(|seen| seen.spatial), reach(target, |template| template.spatial));
        assert_eq!(seen.map(|seen| seen.temporal), reach(target, |template| template.temporal));
        assert_eq!(structure.chain_of(target).is_some(), made.chains > 0);
    }
}

#[test]
fn made_up_structures_and_frames_are_read_and_rewritten() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut sequences = 0;
    for _ in 0..400 {
        let mut made = Made::default();
        let mut buffer = [0xff; DESCRIPTOR_MAX];
        let mut maker = Maker { dice: &mut dice, writer: BitWriter::new(&mut buffer) };
        let Some(key) = maker.descriptor(&mut made) else { continue };
        let bytes = maker.writer.finish();
        let read = parse(bytes, None).unwrap();
        let structure = read.attached.clone().unwrap();
        assert_eq!(Descriptor { attached: None, ..read }, key, "{bytes:x?}");
        check_structure(&structure, &made);
        if bytes.len() + 5 <= DESCRIPTOR_MAX {
            check_rewrite(bytes, &structure);
        }
        for _ in 0..20 {
            let mut buffer = [0xff; DESCRIPTOR_MAX];
            let mut maker = Maker { dice: &mut dice, writer: BitWriter::new(&mut buffer) };
            let want = maker.descriptor(&mut made).unwrap();
            let bytes = maker.writer.finish();
            assert_eq!(parse(bytes, Some(&structure)), Ok(want), "{bytes:x?}");
            check_rewrite(bytes, &structure);
        }
        sequences += 1;
    }
    assert!(sequences > 200, "only {sequences} fit");
}
