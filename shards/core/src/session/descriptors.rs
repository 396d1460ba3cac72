//! Dependency descriptors as they come in: from a packet's header to its place among layers.
//!
//! A sender names templates that came with its last keyframe, so the last structure of each stream is kept
//! here.

use std::sync::Arc;

use antipode_base::limits::{LAYERS_MAX, TRACKS_PER_SESSION_MAX};
use antipode_relay::packet::Mark;
use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

use crate::ingress::Numbers;
use crate::payload::Glance;
use crate::payload::dependency::{
    self, DECODE_TARGETS_MAX, DESCRIPTOR_MAX, Descriptor, Dti, Structure, Unread,
};

/// The extension's name in descriptions, AV1 RTP specification §A.2.
pub(crate) const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// Streams whose structures are kept; with one more, the one that was kept longest is forgotten.
pub(super) const STREAMS_MAX: usize = TRACKS_PER_SESSION_MAX * LAYERS_MAX;

/// The extension as str0m is told of it.
pub(crate) fn extension() -> Extension {
    named(URI)
}

/// One of pictures that str0m negotiates and no more.
pub(super) fn named(uri: &str) -> Extension {
    Extension::with_serializer(uri, Negotiated)
}

/// Packets go past str0m both ways.
#[derive(Debug)]
struct Negotiated;

impl ExtensionSerializer for Negotiated {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _: &[u8], _: &mut ExtensionValues) -> bool {
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// The structure of one stream.
#[derive(Debug)]
struct Known {
    ssrc: u32,
    /// The packet that it came with.
    ext_seq: u64,
    structure: Arc<Structure>,
    /// The newest frame.
    newest: Newest,
}

/// The newest frame of a stream.
#[derive(Clone, Copy, Debug)]
struct Newest {
    number: u16,
    timestamp: u32,
    /// It was the last one of its picture.
    ended: bool,
}

impl Newest {
    /// Whether another frame of spatial layer `above` has the one before it in its own picture, whether
    /// that came or is late.
    fn is_below(&self, number: u16, timestamp: u32, above: u8) -> bool {
        let ahead = number.wrapping_sub(self.number);
        let least = match self.timestamp == timestamp {
            true => 1,
            false if self.ended => 2,
            false => return false,
        };
        above > 0 && (least..=u16::from(above) + 1).contains(&ahead)
    }
}

/// The last structure of each stream of a session.
#[derive(Debug, Default)]
pub(crate) struct Structures(Vec<Known>);

impl Structures {
    /// Replaces what the payload told of the packet's place by what its descriptor says, and keeps a
    /// structure that comes along.
    ///
    /// Where spatial layers need one another in keyframes alone (`L3T3_KEY`), the descriptor is changed: a
    /// frame then also needs the one below it in its picture. A browser takes a picture for whole once
    /// its highest layer is there, whatever is missing below; it decodes that, throws away a lower frame
    /// that was lost and comes again, and waits for it for ever.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) fn place(
        &mut self,
        numbers: Numbers,
        bytes: &mut Arc<[u8]>,
        glance: Glance,
    ) -> Result<Glance, Unread> {
        let Numbers { ssrc, ext_seq, timestamp, marker } = numbers;
        let at = self.0.iter().position(|known| known.ssrc == ssrc);
        let known = at.map(|at| &self.0[at].structure);
        let read = dependency::parse(bytes, known.map(|known| &**known))?;
        let structure = read.attached.as_ref().or(known);
        let glance = placed(&read, structure.ok_or(Unread::UnknownTemplate)?, glance);
        let number = read.frame_number;
        let newest = Newest { number, timestamp, ended: marker };
        if let Some(attached) = &read.attached {
            let structure = attached.clone();
            match at {
                // A late keyframe is of the past.
                Some(at) if self.0[at].ext_seq > ext_seq => {}
                Some(at) => self.0[at] = Known { ssrc, ext_seq, structure, newest },
                None => {
                    if self.0.len() == STREAMS_MAX {
                        self.0.remove(0);
                    }
                    self.0.push(Known { ssrc, ext_seq, structure, newest });
                }
            }
        } else if let Some(known) = at.map(|at| &mut self.0[at]) {
            if read.starts_frame && known.newest.is_below(number, timestamp, read.spatial) {
                let mut out = [0; DESCRIPTOR_MAX];
                if let Some(tied) = dependency::tie(bytes, &known.structure, &mut out) {
                    *bytes = tied.into();
                }
            }
            if number.wrapping_sub(known.newest.number) < 1 << 15 {
                known.newest = newest;
            }
        }
        Ok(glance)
    }
}

fn placed(read: &Descriptor, structure: &Structure, glance: Glance) -> Glance {
    let targets = || (0..DECODE_TARGETS_MAX).filter_map(|at| Some((at, structure.target(at)?)));
    let svc = targets().any(|(_, target)| target.spatial > 0);
    // §A.4.2: from a switch indication on, all frames of that decode target can be decoded.
    let opened = targets()
        .filter(|(at, target)| target.spatial == read.spatial && read.dtis.of(*at) == Dti::Switch);
    Glance {
        keyframe: read.attached.is_some()
            && read.starts_frame
            && read.spatial == 0
            && read.diffs.is_empty(),
        mark: Mark {
            begins: read.starts_frame,
            ends: read.ends_frame,
            temporal: read.temporal,
            sync: false,
            opens: opened.map(|(_, target)| target.temporal).max().unwrap_or(0),
            svc,
        },
        layer: svc.then_some(read.spatial),
        ..glance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::dependency::tests::{CHROMIUM_L3T3, hex, l1t3};
    use antipode_base::media::Codec;

    fn read(structures: &mut Structures, ssrc: u32, ext_seq: u64, bytes: &[u8]) -> Option<Glance> {
        // The first byte of a payload that says nothing: no keyframe, no new sequence.
        let glance = crate::payload::glance(Codec::Av1, &[0x10]).unwrap();
        let numbers = Numbers { ssrc, ext_seq, ..Numbers::default() };
        structures.place(numbers, &mut bytes.into(), glance).ok()
    }

    #[test]
    fn frames_find_their_layers_by_the_last_structure() {
        let mut structures = Structures::default();
        let frame = hex("c20005 1a60201800");
        assert!(read(&mut structures, 1, 9, &frame).is_none(), "before any keyframe");
        let key = read(&mut structures, 1, 10, &hex(CHROMIUM_L3T3)).unwrap();
        assert!(key.keyframe && key.mark.begins && key.mark.svc && !key.mark.ends);
        // All nine targets can be switched to: two temporal layers above the lowest.
        assert_eq!((key.layer, key.mark.temporal, key.mark.opens), (Some(0), 0, 2));
        let frame = read(&mut structures, 1, 11, &frame).unwrap();
        assert!(!frame.keyframe && frame.mark.begins && frame.mark.ends);
        // -DS-RR-RR: whoever has this frame of temporal layer 1 can go on with layer 2.
        assert_eq!((frame.layer, frame.mark.temporal, frame.mark.opens), (Some(0), 1, 2));
        assert!(read(&mut structures, 2, 11, &[0xc2, 0, 5]).is_none(), "another stream");
        // A late keyframe does not replace a newer one.
        read(&mut structures, 1, 8, &l1t3()).unwrap();
        assert!(read(&mut structures, 1, 12, &[0xc8, 0, 8]).unwrap().mark.svc);
        let key = read(&mut structures, 1, 13, &l1t3()).unwrap();
        assert_eq!((key.keyframe, key.mark.svc, key.layer), (true, false, None));
        assert!(read(&mut structures, 1, 14, &[0xff, 1, 6]).is_some());
    }

    #[test]
    fn no_more_streams_are_kept_than_a_session_can_have() {
        let mut structures = Structures::default();
        for ssrc in 0..=STREAMS_MAX as u32 {
            read(&mut structures, ssrc, 1, &l1t3()).unwrap();
        }
        assert_eq!(structures.0.len(), STREAMS_MAX);
        assert!(read(&mut structures, 0, 2, &[0xff, 1, 6]).is_none(), "forgotten");
        assert!(read(&mut structures, 1, 2, &[0xff, 1, 6]).is_some());
    }

    #[test]
    fn what_was_of_one_picture_alone_stays_together() {
        let mut structures = Structures::default();
        let mut known = None;
        // One after the other: time, frame, whether it shall need the frame before it.
        for (seq, (timestamp, bytes, tied)) in [
            (0, CHROMIUM_L3T3, false),
            // Templates 5 and 10 are the second and third spatial layer; each needs its own last frame.
            (3_000, "c00004", false),
            (3_000, "c50005 1240", true),
            (3_000, "ca0006 1240", true),
            // Frame 8 of the second layer is late or lost: it was of this picture.
            (6_000, "c00007", false),
            (6_000, "ca0009 1240", true),
            (6_000, "c50008 1240", false),
            // The lower ones are all missing, and so may be the end of the picture before.
            (9_000, "ca000c 1240", false),
            (12_000, "ca000f 1240", true),
            // A later packet of a frame is not asked what it needs, nor a frame that tells already.
            (15_000, "0a0011 1240", false),
            (18_000, "c00012", false),
            (18_000, "c50013", false),
        ]
        .into_iter()
        .enumerate()
        {
            // The third layer ends a picture, but where it came before the second.
            let marker = bytes.starts_with("ca") && seq != 5;
            let before = hex(bytes);
            let mut bytes: Arc<[u8]> = before.clone().into();
            let glance = crate::payload::glance(Codec::Av1, &[0x10]).unwrap();
            let numbers = Numbers { ssrc: 0, ext_seq: seq as u64, timestamp, marker };
            structures.place(numbers, &mut bytes, glance).unwrap();
            let read = dependency::parse(&bytes, known.as_deref()).unwrap();
            assert_eq!(*bytes != *before, tied, "{before:x?}");
            assert!(read.diffs.contains(&1) || !tied, "{before:x?}");
            known = read.attached.or(known);
        }
    }
}
