//! Payload types of one session, both ways.

use antipode_base::media::{Codec, Kind};
use antipode_base::near;
use str0m::Rtc;
use str0m::format::{Codec as Format, PayloadParams};
use str0m::media::Pt;

use crate::sdp::Section;

/// Under which payload types the client takes a codec.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    codec: Codec,
    payload_type: u8,
    repair_type: Option<u8>,
    red_type: Option<u8>,
}

/// The payload types of one codec towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PayloadTypes {
    /// Of packets.
    pub(crate) media: u8,
    /// Of repeats; `None` when they were not negotiated.
    pub(crate) repair: Option<u8>,
    /// Of redundant blocks of it (RFC 2198); `None` when the client does not take them.
    pub(crate) red: Option<u8>,
}

/// Payload type → codec for what comes, codec → payload type for what goes. A session has one set
/// of payload types for all its sections (RFC 8843 §10.1.2).
#[derive(Clone, Debug)]
pub(crate) struct CodecTable {
    incoming: [Option<Codec>; 128],
    /// Payload types of repeats (RFC 4588), and what they repeat.
    repeats: Vec<(u8, Codec)>,
    /// What comes under this one are blocks (RFC 2198) of the codec.
    red: Option<u8>,
    outgoing: Vec<Outgoing>,
}

impl Default for CodecTable {
    fn default() -> Self {
        CodecTable { incoming: [None; 128], repeats: Vec::new(), red: None, outgoing: Vec::new() }
    }
}

impl CodecTable {
    /// Reads what is negotiated; to be called after each offer and answer, with the client's
    /// sections: str0m's list also holds formats that the client never named.
    pub(crate) fn new(rtc: &Rtc, sections: &[Section<'_>]) -> Self {
        let names = |section: &Section<'_>, pt: Pt| {
            section.payload_types.iter().any(|text| text.parse() == Ok(*pt))
        };
        let named = |pt: Pt| sections.iter().any(|section| names(section, pt));
        // A browser takes a payload type only in sections that name it, and any may get sound of ours.
        let taken = |pt: &Pt| {
            let mut ears = sections.iter().filter(|section| {
                section.kind == Some(Kind::Audio) && section.receives && !section.stopped
            });
            ears.all(|section| names(section, *pt))
        };
        let mut table = CodecTable::default();
        let mut params: Vec<(Codec, &PayloadParams)> = rtc
            .codec_config()
            .params()
            .iter()
            .filter(|params| named(params.pt()))
            .filter_map(|params| Some((codec(params.spec().codec)?, params)))
            .collect();
        for (codec, params) in &params {
            table.incoming[usize::from(*params.pt() & 0x7f)] = Some(*codec);
            if let Some(red) = params.red().filter(|red| named(*red)) {
                table.incoming[usize::from(*red & 0x7f)] = Some(*codec);
                table.red = Some(*red);
            }
            let repeat = params.resend().filter(|resend| named(*resend));
            table.repeats.extend(repeat.map(|resend| (*resend, *codec)));
        }
        // Where a codec has several formats, one that every decoder takes.
        params.sort_by_key(|(_, params)| unusual(params));
        for (codec, params) in params {
            if table.outgoing.iter().all(|known| known.codec != codec) {
                table.outgoing.push(Outgoing {
                    codec,
                    payload_type: *params.pt(),
                    repair_type: params.resend().map(|pt| *pt),
                    red_type: params.red().filter(taken).map(|pt| *pt),
                });
            }
        }
        table
    }

    /// What the client sends under this payload type, and whether those are repeats of it.
    pub(crate) fn sent(&self, payload_type: u8) -> Option<(Codec, bool)> {
        let repeat = || self.repeats.iter().find(|(known, _)| *known == payload_type);
        let media = self.incoming.get(usize::from(payload_type)).copied().flatten();
        media.map(|codec| (codec, false)).or_else(|| repeat().map(|(_, codec)| (*codec, true)))
    }

    /// Whether the client sends again what is missing of this codec.
    pub(crate) fn is_repeated(&self, codec: Codec) -> bool {
        self.repeats.iter().any(|(_, of)| *of == codec)
    }

    /// What the client sends under this payload type, as it is or in blocks.
    pub(crate) fn codec(&self, pt: Pt) -> Option<Codec> {
        self.incoming.get(usize::from(*pt)).copied().flatten()
    }

    /// The payload type under which the client sends blocks (RFC 2198).
    pub(crate) fn red(&self) -> Option<u8> {
        self.red
    }

    /// Brings near what [`CodecTable::types`] looks at.
    pub(crate) fn fetch(&self) {
        near::fetch(&self.outgoing);
    }

    /// And what lies behind that.
    pub(crate) fn fetch_behind(&self) {
        near::fetch(&self.outgoing[..]);
    }

    /// Under which payload types the client takes this codec and repeats of it (RFC 4588).
    pub(crate) fn types(&self, codec: Codec) -> Option<PayloadTypes> {
        let known = self.outgoing.iter().find(|known| known.codec == codec)?;
        Some(PayloadTypes {
            media: known.payload_type,
            repair: known.repair_type,
            red: known.red_type,
        })
    }
}

/// 0 for the format that is most widely decoded: H.264 constrained baseline in packetization mode 1
/// (RFC 7742 §6.2), VP9 and AV1 profile 0.
fn unusual(params: &PayloadParams) -> u8 {
    let format = params.spec().format;
    let baseline = format.profile_level_id.is_none_or(|id| id >> 8 == 0x42e0);
    let mode = format.packetization_mode.is_none_or(|mode| mode == 1);
    let profile = format.profile_id.is_none_or(|id| id == 0);
    u8::from(!mode) * 4 + u8::from(!baseline) * 2 + u8::from(!profile)
}

fn codec(format: Format) -> Option<Codec> {
    match format {
        Format::Opus => Some(Codec::Opus),
        Format::PCMU => Some(Codec::Pcmu),
        Format::PCMA => Some(Codec::Pcma),
        Format::Vp8 => Some(Codec::Vp8),
        Format::Vp9 => Some(Codec::Vp9),
        Format::H264 => Some(Codec::H264),
        Format::H265 => Some(Codec::H265),
        Format::Av1 => Some(Codec::Av1),
        _ => None,
    }
}
