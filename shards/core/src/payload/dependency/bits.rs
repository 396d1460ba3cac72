//! Bit fields, most significant bit first, as AV1 RTP specification §A.4.1 names them.

/// Reads fields of a byte string; what is not there is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit; never beyond the end.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits that were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// `f(count)`, for up to 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= u32::BITS);
        let end = self.at + count as usize;
        let past = end.div_ceil(8);
        // Five bytes at most, since 32 bits may begin in the middle of one.
        let touched = self.bytes.get(self.at / 8..past)?;
        let value = touched.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        self.at = end;
        Some((value >> (past * 8 - end) & ((1 << count) - 1)) as u32)
    }

    /// `f(count)`, for up to 8 bits.
    pub(super) fn small(&mut self, count: u32) -> Option<u8> {
        debug_assert!(count <= u8::BITS);
        self.bits(count).map(|value| value as u8)
    }

    /// `f(1)`.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.bits(1).map(|bit| bit == 1)
    }

    /// `ns(values)`: a number below `values`, the lower ones in one bit less. `values` is at least 1.
    pub(super) fn below(&mut self, values: u32) -> Option<u32> {
        let width = u32::BITS - values.leading_zeros();
        let short = (1 << width) - values;
        let value = self.bits(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.bits(1)?)
    }

    /// Leaves out so many bits.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len() * 8).then(|| self.at = end)
    }
}

/// Writes fields into a buffer, whatever was in it; what does not fit is `None`. The rest of the last
/// byte is zero.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The lowest `count` bits of the value, at most 32.
    pub(super) fn put(&mut self, value: u32, count: u32) -> Option<()> {
        debug_assert!(count <= u32::BITS);
        let mut left = count as usize;
        while left > 0 {
            let free = 8 - self.at % 8;
            let taken = free.min(left);
            let piece = value >> (left - taken) & ((1 << taken) - 1);
            let byte = self.bytes.get_mut(self.at / 8)?;
            if free == 8 {
                *byte = 0;
            }
            *byte |= (piece << (free - taken)) as u8;
            self.at += taken;
            left -= taken;
        }
        Some(())
    }

    /// What a reader has in front of the position `end`.
    pub(super) fn copy(&mut self, from: &mut BitReader<'_>, end: usize) -> Option<()> {
        while from.at < end {
            let count = (end - from.at).min(32) as u32;
            self.put(from.bits(count)?, count)?;
        }
        Some(())
    }

    /// The bytes that were written.
    pub(super) fn finish(self) -> &'a [u8] {
        &self.bytes[..self.at.div_ceil(8)]
    }
}

#[cfg(test)]
impl BitWriter<'_> {
    /// `write_ns(values, value)`.
    pub(super) fn put_below(&mut self, values: u32, value: u32) -> Option<()> {
        let width = u32::BITS - values.leading_zeros();
        let short = (1 << width) - values;
        if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let fields = [
            (0b1, 1),
            (0, 0),
            (0b01, 2),
            (0x3fff_ffff, 30),
            (0x89ab_cdef, 32),
            (0, 7),
            (1, 8),
            (u32::MAX, 32),
            (0b101, 3),
        ];
        // The buffer holds something else before.
        let mut buffer = [0xff; 15];
        let mut writer = BitWriter::new(&mut buffer);
        for (value, count) in fields {
            writer.put(value, count).unwrap();
        }
        let bytes = writer.finish();
        assert_eq!(bytes.len(), 15, "115 bits");
        assert_eq!(bytes[14] & 0b0001_1111, 0, "padding");
        let mut reader = BitReader::new(bytes);
        for (value, count) in fields {
            assert_eq!(reader.bits(count), Some(value), "{count}");
        }
        assert_eq!(reader.position(), 115);
        assert_eq!(reader.bits(6), None);
        assert_eq!(reader.bits(5), Some(0));
        assert_eq!(reader.bits(1), None);
        assert_eq!(reader.bits(0), Some(0));
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let mut buffer = [0; 2];
        let mut writer = BitWriter::new(&mut buffer);
        assert_eq!(writer.put(0x1fff, 13), Some(()));
        assert_eq!(writer.put(0, 4), None);
    }

    #[test]
    fn bits_are_copied_from_any_place_to_any_place() {
        let bytes = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x0f];
        for from in 0..9 {
            for to in 0..9 {
                let count = 50;
                let mut buffer = [0xff; 12];
                let mut writer = BitWriter::new(&mut buffer);
                writer.put(0, to).unwrap();
                let mut source = BitReader::new(&bytes);
                source.skip(from).unwrap();
                writer.copy(&mut source, from + count).unwrap();
                let mut copied = BitReader::new(writer.finish());
                copied.skip(to as usize).unwrap();
                let mut source = BitReader::new(&bytes);
                source.skip(from).unwrap();
                for _ in 0..count {
                    assert_eq!(copied.bits(1), source.bits(1), "{from} {to}");
                }
            }
        }
        assert_eq!(BitReader::new(&bytes).skip(73), None);
        assert_eq!(BitReader::new(&bytes).skip(usize::MAX), None);
    }

    #[test]
    fn uneven_ranges_take_the_bits_of_the_specification() {
        // §A.4.1, the table for n = 5.
        for (value, bits, count) in
            [(0, 0b00, 2), (1, 0b01, 2), (2, 0b10, 2), (3, 0b110, 3), (4, 0b111, 3)]
        {
            let mut buffer = [0; 1];
            BitWriter::new(&mut buffer).put(bits, count).unwrap();
            let mut reader = BitReader::new(&buffer);
            assert_eq!((reader.below(5), reader.position()), (Some(value), count as usize));
        }
        for values in 1..=33 {
            for value in 0..values {
                let mut buffer = [0; 1];
                BitWriter::new(&mut buffer).put_below(values, value).unwrap();
                assert_eq!(BitReader::new(&buffer).below(values), Some(value), "{values}");
            }
        }
    }
}
