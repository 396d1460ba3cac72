//! Datagrams on a byte stream (RFC 4571 §2).
//!
//! ```text
//!   0        2                 2 + length
//!   +--------+-----------------+
//!   | length | one datagram    |   length: u16, big endian; 0 is a null packet and says nothing
//!   +--------+-----------------+
//! ```

use antipode_base::limits::DATAGRAM_MAX;

/// Bytes of the length before each message.
pub(crate) const HEADER: usize = 2;

/// A message above [`DATAGRAM_MAX`]; nothing behind it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The length before a message of so many bytes. Whoever sends keeps to [`DATAGRAM_MAX`].
pub(crate) fn header(length: usize) -> Option<[u8; HEADER]> {
    let length = u16::try_from(length).ok().filter(|length| usize::from(*length) <= DATAGRAM_MAX);
    length.map(u16::to_be_bytes)
}

/// Cuts a stream into its messages, however it comes in.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    /// The begin of a message whose end has not come, with its header; at most one message.
    partial: Vec<u8>,
}

impl Deframer {
    /// Hands each message that `bytes` completes to `take`, in order. After an error the stream is
    /// of no use any more.
    ///
    /// # Errors
    /// [`TooLong`], and those of `take`.
    pub(crate) fn feed<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut give = |message: &[u8]| if message.is_empty() { Ok(()) } else { take(message) };
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(wanted) = wanted(bytes)?
                && let Some((message, rest)) = bytes.split_at_checked(wanted)
            {
                give(&message[HEADER..])?;
                bytes = rest;
                continue;
            }
            let whole = wanted(&self.partial)?.unwrap_or(HEADER);
            let (more, rest) = bytes.split_at((whole - self.partial.len()).min(bytes.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if wanted(&self.partial)? == Some(self.partial.len()) {
                give(&self.partial[HEADER..])?;
                self.partial.clear();
            }
        }
        Ok(())
    }
}

/// Bytes of the message at the begin of `bytes`, with its header; `None`: the header is not whole.
fn wanted(bytes: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes(*header)) {
        length if length > DATAGRAM_MAX => Err(TooLong),
        length => Ok(Some(HEADER + length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(deframer: &mut Deframer, bytes: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        deframer.feed(bytes, |message| {
            out.push(message.to_vec());
            Ok(())
        })
    }

    /// A message of three bytes, a null packet, one of one byte, and one of the largest.
    fn golden() -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut bytes = vec![0, 3, 0xa, 0xb, 0xc, 0, 0, 0, 1, 0xd, 0x08, 0x00];
        bytes.extend_from_slice(&[0xe; DATAGRAM_MAX]);
        (bytes, vec![vec![0xa, 0xb, 0xc], vec![0xd], vec![0xe; DATAGRAM_MAX]])
    }

    #[test]
    fn golden_bytes_split_at_every_byte() {
        let (bytes, want) = golden();
        for cut in 0..=bytes.len() {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            feed(&mut deframer, &bytes[..cut], &mut got).unwrap();
            feed(&mut deframer, &bytes[cut..], &mut got).unwrap();
            assert_eq!(got, want, "cut at {cut}");
            assert!(deframer.partial.is_empty());
        }
        let (mut deframer, mut got) = (Deframer::default(), Vec::new());
        for byte in &bytes {
            feed(&mut deframer, &[*byte], &mut got).unwrap();
        }
        assert_eq!(got, want);
    }

    #[test]
    fn a_long_message_is_refused_at_its_header() {
        let length = (DATAGRAM_MAX as u16 + 1).to_be_bytes();
        let stream = [&[0, 1, 7][..], &length, &[1, 2, 3]].concat();
        for cut in 0..=stream.len() {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            let first = feed(&mut deframer, &stream[..cut], &mut got);
            let both = first.and_then(|()| feed(&mut deframer, &stream[cut..], &mut got));
            assert_eq!(both, Err(TooLong), "cut at {cut}");
            assert_eq!(got, [[7]]);
        }
        assert_eq!(header(DATAGRAM_MAX + 1), None);
        assert_eq!(header(0x10_000), None);
        assert_eq!(header(0x0102), Some([1, 2]));
    }

    #[test]
    fn whatever_comes_in_whatever_pieces_gives_the_same_and_keeps_little() {
        // A generator of its own: the same bytes in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..2_000 {
            // Mostly short lengths, so that several messages fit.
            let bytes: Vec<u8> = (0..random(400))
                .map(|_| if random(3) == 0 { random(256) as u8 } else { random(6) as u8 })
                .collect();
            let mut whole = Vec::new();
            let result = feed(&mut Deframer::default(), &bytes, &mut whole);
            let (mut deframer, mut got, mut rest) = (Deframer::default(), Vec::new(), &bytes[..]);
            let mut pieces = Ok(());
            while !rest.is_empty() && pieces.is_ok() {
                let (piece, behind) = rest.split_at(1 + random(rest.len() as u64) as usize);
                pieces = feed(&mut deframer, piece, &mut got);
                assert!(deframer.partial.len() < HEADER + DATAGRAM_MAX);
                rest = behind;
            }
            assert_eq!((pieces, got), (result, whole), "{bytes:?}");
        }
    }
}
