//! Writing RTP headers with the extensions that a section negotiated.

use antipode_relay::packet::Extensions;
use str0m::media::Media;
use str0m::rtp::{Extension, ExtensionMap};

use crate::session::descriptors;

/// Ids of a section's header extensions (RFC 8285); 0 where one was not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    mid: u8,
    transport_cc: u8,
    audio_level: u8,
    orientation: u8,
    descriptor: u8,
}

impl ExtensionIds {
    /// What the client takes on this section. Dependency descriptors fit no extension of the one-byte
    /// form when they are long, and a client that does not allow both forms in one stream (RFC 8285
    /// §4.1.2) gets none at all: without the long ones nobody can read the short ones.
    pub(crate) fn of(media: &Media, mixed: bool) -> Self {
        let ids = Self::from_map(media.remote_extmap());
        ExtensionIds { descriptor: if mixed { ids.descriptor } else { 0 }, ..ids }
    }

    pub(super) fn from_map(map: &ExtensionMap) -> Self {
        // Only ids of the one-byte form are written.
        let id = |extension| map.id_of(extension).filter(|id| *id < 15).unwrap_or(0);
        ExtensionIds {
            mid: id(Extension::RtpMid),
            transport_cc: id(Extension::TransportSequenceNumber),
            audio_level: id(Extension::AudioLevel),
            orientation: id(Extension::VideoOrientation),
            descriptor: id(descriptors::extension()),
        }
    }

    /// Whether the client reports arrivals of this section's packets.
    pub(crate) fn has_transport_cc(&self) -> bool {
        self.transport_cc != 0
    }

    /// Whether the client takes dependency descriptors.
    pub(crate) fn has_descriptor(&self) -> bool {
        self.descriptor != 0
    }
}

/// The fields of one header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    /// Payload type.
    pub(crate) payload_type: u8,
    /// Marker bit.
    pub(crate) marker: bool,
    /// The low bits of the extended sequence number.
    pub(crate) seq: u16,
    /// Timestamp.
    pub(crate) timestamp: u32,
    /// The stream.
    pub(crate) ssrc: u32,
    /// `a=mid`, while the client may not know the SSRC.
    pub(crate) mid: Option<&'a str>,
    /// Transport-wide sequence number; `None` on a packet whose arrival nobody needs to know.
    pub(crate) transport_seq: Option<u16>,
    /// What the publisher sent along.
    pub(crate) extensions: Extensions,
    /// Dependency descriptor for this client, 1 to 255 bytes.
    pub(crate) descriptor: Option<&'a [u8]>,
    /// Bytes of padding at the payload's end, their count included (RFC 3550 §5.1).
    pub(crate) padded: bool,
}

impl Header<'_> {
    /// Writes the header into `out`, which is emptied first (RFC 3550 §5.1, RFC 8285 §4.2
    /// and §4.3).
    pub(crate) fn write(&self, ids: &ExtensionIds, out: &mut Vec<u8>) {
        out.clear();
        out.push(0x90 | u8::from(self.padded) << 5);
        out.push(u8::from(self.marker) << 7 | self.payload_type);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        // One form for all elements of a packet: one byte before each, or two where one is long.
        let wide = ids.descriptor != 0 && self.descriptor.is_some_and(|bytes| bytes.len() > 16);
        let element: fn(&mut Vec<u8>, u8, &[u8]) = if wide { element_wide } else { element };
        out.extend_from_slice(if wide { &[0x10, 0, 0, 0] } else { &[0xbe, 0xde, 0, 0] });
        let start = out.len();
        if let Some(number) = self.transport_seq {
            element(out, ids.transport_cc, &number.to_be_bytes());
        }
        if let Some(mid) = self.mid {
            element(out, ids.mid, mid.as_bytes());
        }
        if let Some(level) = self.extensions.audio_level {
            // RFC 6464 §3: V, then the level in -dBov without its sign.
            let voice = u8::from(self.extensions.voice_activity == Some(true)) << 7;
            element(out, ids.audio_level, &[voice | level.unsigned_abs().min(127)]);
        }
        if let Some(orientation) = self.extensions.orientation {
            element(out, ids.orientation, &[orientation & 3]);
        }
        if let Some(descriptor) = self.descriptor {
            element(out, ids.descriptor, descriptor);
        }
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - start) / 4) as u16;
        if words == 0 {
            // Nothing was negotiated: no extension at all.
            out.truncate(start - 4);
            out[0] &= !0x10;
        } else {
            out[start - 2..start].copy_from_slice(&words.to_be_bytes());
        }
    }
}

fn element(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    if id != 0 && (1..=16).contains(&value.len()) {
        out.push(id << 4 | (value.len() as u8 - 1));
        out.extend_from_slice(value);
    }
}

/// RFC 8285 §4.3.
fn element_wide(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    if id != 0
        && let Ok(length) = u8::try_from(value.len())
    {
        out.extend_from_slice(&[id, length]);
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: ExtensionIds =
        ExtensionIds { mid: 4, transport_cc: 3, audio_level: 1, orientation: 13, descriptor: 12 };

    fn header(mid: Option<&str>) -> Header<'_> {
        Header {
            payload_type: 96,
            marker: true,
            seq: 0x0102,
            timestamp: 0x0304_0506,
            ssrc: 0x0708_090a,
            mid,
            transport_seq: Some(0x0b0c),
            extensions: Extensions {
                audio_level: Some(-30),
                voice_activity: Some(true),
                orientation: Some(1),
            },
            descriptor: None,
            padded: false,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        header(Some("12")).write(&IDS, &mut out);
        assert_eq!(
            out,
            [
                0x90,
                0xe0,
                1,
                2,
                3,
                4,
                5,
                6,
                7,
                8,
                9,
                10,
                0xbe,
                0xde,
                0,
                3, //
                0x31,
                0x0b,
                0x0c, // transport-cc
                0x41,
                b'1',
                b'2', // mid
                0x10,
                0x80 | 30, // audio level
                0xd0,
                1, // orientation
                0,
                0,
            ]
        );
        header(None).write(&ExtensionIds::default(), &mut out);
        assert_eq!(out, [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_long_descriptor_takes_the_form_of_two_bytes() {
        let mut out = Vec::new();
        let extensions = Extensions::default();
        let short = Header { descriptor: Some(&[0xc2, 0, 5]), extensions, ..header(None) };
        short.write(&IDS, &mut out);
        assert_eq!(
            out[12..],
            [0xbe, 0xde, 0, 2, 0x31, 0x0b, 0x0c, 0xc2, 0xc2, 0, 5, 0],
            "transport-cc, descriptor, one byte of padding"
        );
        let descriptor = [7; 17];
        let long = Header { descriptor: Some(&descriptor), extensions, ..header(Some("12")) };
        long.write(&IDS, &mut out);
        assert_eq!(out[12..27], [0x10, 0, 0, 7, 3, 2, 0x0b, 0x0c, 4, 2, b'1', b'2', 12, 17, 7]);
        assert_eq!(out[27..], [[7; 16].as_slice(), &[0]].concat());
        // To a client that takes none, everything else goes as ever.
        long.write(&ExtensionIds { descriptor: 0, ..IDS }, &mut out);
        assert_eq!(out[12..], [0xbe, 0xde, 0, 2, 0x31, 0x0b, 0x0c, 0x41, b'1', b'2', 0, 0]);
    }
}
