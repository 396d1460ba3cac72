//! RTP headers as they come in (RFC 3550 §5.1, RFC 8285).

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type.
    pub payload_type: u8,
    /// Low bits of the sequence number.
    pub seq: u16,
    /// Timestamp, in ticks of the codec's clock.
    pub timestamp: u32,
    /// Stream.
    pub ssrc: u32,
    /// Marker bit.
    pub marker: bool,
    /// Bytes of it all, with CSRCs and extension.
    pub length: usize,
    padded: bool,
    /// The extension's profile, and where its elements begin and end.
    extension: Option<(u16, usize, usize)>,
}

impl Header {
    /// `None` when the datagram is none, or shorter than it says.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let head = datagram.first_chunk::<12>().filter(|head| head[0] >> 6 == 2)?;
        let fixed = 12 + 4 * usize::from(head[0] & 0x0f);
        let extension = if head[0] & 0x10 == 0 {
            None
        } else {
            let [high, low, words @ ..] = *datagram.get(fixed..)?.first_chunk::<4>()?;
            let length = 4 * usize::from(u16::from_be_bytes(words));
            Some((u16::from_be_bytes([high, low]), fixed + 4, fixed + 4 + length))
        };
        let length = extension.map_or(fixed, |(_, _, end)| end);
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        (length <= datagram.len()).then_some(Header {
            payload_type: head[1] & 0x7f,
            seq: u16::from_be_bytes([head[2], head[3]]),
            timestamp: word(4),
            ssrc: word(8),
            marker: head[1] & 0x80 != 0,
            length,
            padded: head[0] & 0x20 != 0,
            extension,
        })
    }

    /// The elements of its extension, of either form: ids and values. Those behind one that does not fit
    /// are not seen.
    pub fn elements<'a>(&self, datagram: &'a [u8]) -> impl Iterator<Item = (u8, &'a [u8])> {
        let (profile, start, end) = self.extension.unwrap_or_default();
        let mut rest = datagram.get(start..end).unwrap_or_default();
        std::iter::from_fn(move || {
            // A zero is padding between elements; a long form is one of the profile 0x100x.
            while let Some((0, behind)) = rest.split_first() {
                rest = behind;
            }
            let (&first, behind) = rest.split_first()?;
            let (id, length, behind) = match profile {
                // RFC 8285 §4.2: nothing behind this one is to be read.
                0xbede if first >> 4 == 15 => return None,
                0xbede => (first >> 4, usize::from(first & 0x0f) + 1, behind),
                0x1000..=0x100f => {
                    let (&length, behind) = behind.split_first()?;
                    (first, usize::from(length), behind)
                }
                _ => return None,
            };
            let (value, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some((id, value))
        })
    }

    /// The transport-wide number, under this id; 0 is none.
    pub fn transport_seq(&self, datagram: &[u8], id: u8) -> Option<u16> {
        let (_, value) = self.elements(datagram).find(|(own, _)| *own == id && id != 0)?;
        value.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// A payload without the padding behind it, whose length its last byte tells.
    pub fn unpadded<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.padded {
            return Some(payload);
        }
        let padding = usize::from(*payload.last()?);
        payload.get(..payload.len().checked_sub(padding)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Padded, one CSRC, marker, type 96.
    const FIXED: [u8; 16] = [0xb1, 0xe0, 0xab, 0xcd, 0, 0, 1, 0, 1, 2, 3, 4, 9, 9, 9, 9];

    #[test]
    fn elements_of_both_forms() {
        let short =
            [&FIXED[..], &[0xbe, 0xde, 0, 2, 0x10, 7, 0, 0x31, 0x12, 0x34, 0, 0], &[5, 5, 2]];
        let long = [&FIXED[..], &[0x10, 0, 0, 2, 1, 1, 7, 0, 3, 2, 0x12, 0x34], &[5, 5, 2]];
        for datagram in [short.concat(), long.concat()] {
            let header = Header::read(&datagram).unwrap();
            assert_eq!((header.payload_type, header.seq), (96, 0xabcd));
            assert_eq!((header.timestamp, header.ssrc), (256, 0x0102_0304));
            assert_eq!(header.length, 28);
            assert_eq!(header.transport_seq(&datagram, 3), Some(0x1234));
            assert_eq!(header.transport_seq(&datagram, 1), None, "one byte is no number");
            assert_eq!(header.transport_seq(&datagram, 4), None);
            let elements: Vec<_> = header.elements(&datagram).collect();
            assert_eq!(elements, [(1, &[7][..]), (3, &[0x12, 0x34])]);
            assert!(header.marker);
            assert_eq!(header.transport_seq(&datagram, 0), None);
            assert_eq!(header.unpadded(&datagram[28..]), Some(&[5][..]));
            for cut in 0..28 {
                assert_eq!(Header::read(&datagram[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn an_id_of_fifteen_ends_the_short_form_alone() {
        let short = [&FIXED[..], &[0xbe, 0xde, 0, 2, 0x10, 7, 0xf0, 1, 0x31, 0x12, 0x34, 0]];
        let long = [&FIXED[..], &[0x10, 0, 0, 2, 1, 1, 7, 15, 1, 9, 3, 0]];
        for (datagram, want) in [(short.concat(), &[1][..]), (long.concat(), &[1, 15, 3])] {
            let header = Header::read(&datagram).unwrap();
            let ids: Vec<u8> = header.elements(&datagram).map(|(id, _)| id).collect();
            assert_eq!(ids, want);
        }
    }

    #[test]
    fn any_bytes_stay_within_the_datagram() {
        for _ in 0..100_000 {
            let mut datagram = vec![0; rand::random_range(0..64)];
            rand::fill(&mut datagram[..]);
            if let Some(first) = datagram.first_mut() {
                *first = 0x80 | *first & 0x31;
            }
            if let Some(profile) = datagram.get_mut(12..14) {
                profile.copy_from_slice(if rand::random() { &[0xbe, 0xde] } else { &[0x10, 0] });
            }
            let Some(header) = Header::read(&datagram) else { continue };
            assert!(header.length <= datagram.len());
            header.transport_seq(&datagram, rand::random_range(0..15));
            header.unpadded(&datagram[header.length..]);
        }
    }

    #[test]
    fn padding_that_cannot_be() {
        let header = Header { padded: true, ..plain() };
        assert_eq!(header.unpadded(&[]), None);
        assert_eq!(header.unpadded(&[1, 2, 4]), None);
        assert_eq!(header.unpadded(&[1, 2, 3]), Some(&[][..]));
        assert_eq!(plain().unpadded(&[1, 2, 3]), Some(&[1, 2, 3][..]));
    }

    fn plain() -> Header {
        Header::read(&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap()
    }
}
