//! Header extensions that are read of what comes in.

use str0m::media::Media;
use str0m::rtp::Extension;

use super::header::Header;
use crate::session::{allocations, descriptors};

/// One that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    TransportSeq,
    Mid,
    Rid,
    RepairedRid,
    AudioLevel,
    Orientation,
    Descriptor,
    Allocation,
}

/// str0m knows no ids above this.
const ID_MAX: usize = 16;

/// Which id stands for which. All sections are of one bundle, and use the same ids (RFC 8843 §9).
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids([Option<Field>; ID_MAX + 1]);

impl Ids {
    /// One for each of our fields, in the order in which we offer them.
    pub(crate) fn all() -> Self {
        let mut ids = Ids::default();
        for (id, field) in [
            (1, Field::AudioLevel),
            (3, Field::TransportSeq),
            (4, Field::Mid),
            (5, Field::Allocation),
            (10, Field::Rid),
            (11, Field::RepairedRid),
            (12, Field::Descriptor),
            (13, Field::Orientation),
        ] {
            ids.0[id] = Some(field);
        }
        ids
    }

    /// Adds those of a section.
    pub(super) fn learn(&mut self, media: &Media) {
        let known = [
            (Extension::TransportSequenceNumber, Field::TransportSeq),
            (Extension::RtpMid, Field::Mid),
            (Extension::RtpStreamId, Field::Rid),
            (Extension::RepairedRtpStreamId, Field::RepairedRid),
            (Extension::AudioLevel, Field::AudioLevel),
            (Extension::VideoOrientation, Field::Orientation),
            (descriptors::extension(), Field::Descriptor),
            (allocations::extension(), Field::Allocation),
        ];
        for (extension, field) in known {
            let id = media.remote_extmap().id_of(extension).map(usize::from);
            if let Some(place) = id.and_then(|id| self.0.get_mut(id)) {
                *place = Some(field);
            }
        }
    }
}

/// What one packet's extensions say. What is too short, or no text where there should be some, says
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    /// Transport-wide sequence number.
    pub(crate) transport_seq: Option<u16>,
    /// The section (RFC 8843 §15.2).
    pub(crate) mid: Option<&'a str>,
    /// The layer of a simulcast (RFC 8852 §3.1).
    pub(crate) rid: Option<&'a str>,
    /// The layer that it repeats packets of (RFC 8852 §3.2).
    pub(crate) repaired_rid: Option<&'a str>,
    /// Loudness in dBov, -127..=0 (RFC 6464).
    pub(crate) audio_level: Option<i8>,
    /// Whether somebody speaks, in the same byte.
    pub(crate) voice_activity: Option<bool>,
    /// Quarter turns, 0..=3 (3GPP TS 26.114 §7.4.5).
    pub(crate) orientation: Option<u8>,
    /// Dependency descriptor.
    pub(crate) descriptor: Option<&'a [u8]>,
    /// Video layers allocation.
    pub(crate) allocation: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Reads those of a packet. `ids`: what the client said that they stand for.
    pub(crate) fn read(header: &Header, datagram: &'a [u8], ids: &Ids) -> Self {
        let mut fields = Fields::default();
        for (id, value) in header.elements(datagram) {
            let Some(field) = ids.0.get(usize::from(id)).copied().flatten() else { continue };
            match field {
                Field::TransportSeq => {
                    fields.transport_seq = value.first_chunk().copied().map(u16::from_be_bytes);
                }
                Field::Mid => fields.mid = text(value),
                Field::Rid => fields.rid = text(value),
                Field::RepairedRid => fields.repaired_rid = text(value),
                Field::AudioLevel => {
                    let byte = value.first();
                    fields.audio_level = byte.map(|byte| -((byte & 0x7f) as i8));
                    fields.voice_activity = byte.map(|byte| byte & 0x80 != 0);
                }
                Field::Orientation => fields.orientation = value.first().map(|byte| byte & 3),
                Field::Descriptor => fields.descriptor = Some(value).filter(|v| !v.is_empty()),
                Field::Allocation => fields.allocation = Some(value).filter(|v| !v.is_empty()),
            }
        }
        fields
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let head = [0x90, 0xe0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        let elements = [
            &[0xbe, 0xde, 0, 6, 0x10, 0x80 | 30, 0x31, 0x12, 0x34, 0x41, b'1', b'2'][..],
            &[0xa0, b'f', 0xb0, b'h', 0xc2, 9, 8, 7, 0xd0, 7, 0x50, 0, 0x61, 1, 1, 0],
        ];
        let datagram = [&head[..], elements[0], elements[1]].concat();
        let header = Header::read(&datagram).unwrap();
        let want = Fields {
            transport_seq: Some(0x1234),
            mid: Some("12"),
            rid: Some("f"),
            repaired_rid: Some("h"),
            audio_level: Some(-30),
            voice_activity: Some(true),
            orientation: Some(3),
            descriptor: Some(&[9, 8, 7]),
            allocation: Some(&[0]),
        };
        assert_eq!(Fields::read(&header, &datagram, &Ids::all()), want);
        assert_eq!(Fields::read(&header, &datagram, &Ids::default()), Fields::default());
    }

    #[test]
    fn what_is_too_short_or_no_text_says_nothing() {
        let head = [0x90, 0xe0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        let elements = [0x10, 0, 0, 3, 1, 0, 3, 1, 9, 4, 1, 0xff, 10, 0, 0, 0];
        let datagram = [&head[..], &elements].concat();
        let header = Header::read(&datagram).unwrap();
        assert_eq!(header.elements(&datagram).count(), 4);
        assert_eq!(Fields::read(&header, &datagram, &Ids::all()), Fields::default());
    }
}
