//! Arithmetic of numbers that wrap on the wire.
//!
//! Wire numbers are bare (`u16`, `u32`); extended ones carry `ext_` in their names, never wrap and
//! are never compared with wire ones.

/// The extended number nearest to `ext_last` whose low 16 bits are `wire`.
///
/// ```
/// # use antipode_base::seq::extend_u16;
/// assert_eq!(extend_u16(0x1_0005, 0xffff), 0x0_ffff); // late, from before the wrap
/// assert_eq!(extend_u16(0x0_ffff, 0x0002), 0x1_0002); // after the wrap
/// assert_eq!(extend_u16(0x0_0001, 0xfff0), 0x0_fff0); // there is nothing before zero
/// ```
pub fn extend_u16(ext_last: u64, wire: u16) -> u64 {
    let distance = wire.wrapping_sub(ext_last as u16) as i16;
    let near = ext_last.wrapping_add_signed(i64::from(distance));
    // Below zero there is no number: then it is one from ahead.
    if distance < 0 && near > ext_last { near.wrapping_add(1 << 16) } else { near }
}

/// Whether wire timestamp `a` is later than `b` (RFC 3550 §5.1, serial arithmetic of RFC 1982).
pub fn newer_u32(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extends_across_the_wrap_both_ways() {
        for (last, wire, want) in [
            (0u64, 0u16, 0u64),
            (0, 1, 1),
            (5, 3, 3),
            (65_535, 0, 65_536),
            (65_536, 65_535, 65_535),
            (131_072 + 10, 65_530, 131_066),
            (3, 65_535, 65_535),
        ] {
            assert_eq!(extend_u16(last, wire), want, "{last} {wire}");
        }
    }

    #[test]
    fn newer_wraps() {
        assert!(newer_u32(1, 0));
        assert!(newer_u32(0, u32::MAX));
        assert!(!newer_u32(u32::MAX, 0));
        assert!(!newer_u32(7, 7));
    }
}
