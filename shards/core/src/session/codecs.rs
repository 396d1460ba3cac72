//! Payload types of one session, both ways.

use antipode_base::media::Codec;
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
}

/// Payload type → codec for what comes, codec → payload type for what goes. A session has one set
/// of payload types for all its sections (RFC 8843 §10.1.2).
#[derive(Clone, Debug)]
pub(crate) struct CodecTable {
    incoming: [Option<Codec>; 128],
    outgoing: Vec<Outgoing>,
}

impl Default for CodecTable {
    fn default() -> Self {
        CodecTable { incoming: [None; 128], outgoing: Vec::new() }
    }
}

impl CodecTable {
    /// Reads what is negotiated; to be called after each offer and answer, with the client's
    /// sections: str0m's list also holds formats that the client never named.
    pub(crate) fn new(rtc: &Rtc, sections: &[Section<'_>]) -> Self {
        let named = |pt: Pt| {
            sections
                .iter()
                .any(|section| section.payload_types.iter().any(|text| text.parse() == Ok(*pt)))
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
        }
        // Where a codec has several formats, one that every decoder takes.
        params.sort_by_key(|(_, params)| unusual(params));
        for (codec, params) in params {
            if table.outgoing.iter().all(|known| known.codec != codec) {
                table.outgoing.push(Outgoing {
                    codec,
                    payload_type: *params.pt(),
                    repair_type: params.resend().map(|pt| *pt),
                });
            }
        }
        table
    }

    /// What the client sends under this payload type.
    pub(crate) fn codec(&self, pt: Pt) -> Option<Codec> {
        self.incoming.get(usize::from(*pt)).copied().flatten()
    }

    /// Under which payload type the client takes this codec.
    pub(crate) fn payload_type(&self, codec: Codec) -> Option<u8> {
        self.outgoing.iter().find(|known| known.codec == codec).map(|known| known.payload_type)
    }

    /// Under which one it takes repeats of it (RFC 4588).
    pub(crate) fn repair_type(&self, codec: Codec) -> Option<u8> {
        self.outgoing.iter().find(|known| known.codec == codec)?.repair_type
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
