//! Asking for memory before it is needed.
//!
//! A viewer's state lies in some fifty lines of memory that nobody has touched since the last picture. Each
//! takes a hundred nanoseconds from main memory, which is half of what a packet costs; so it is asked
//! for while the viewer before is served. It is a hint: nothing is read, and nothing can fail.

/// Bytes of a line of the caches, on all processors that we know.
const LINE: usize = 64;
/// Lines that one call asks for at most: a core has some sixteen requests under way.
const LINES_MAX: usize = 24;

/// Brings a value near, or the beginning of a long one.
#[inline]
pub fn fetch<T: ?Sized>(value: &T) {
    fetch_bytes(std::ptr::from_ref(value).cast(), size_of_val(value));
}

/// Brings near what begins with a value: so many of its kind, as far as they lie one after the other.
#[inline]
pub fn fetch_on<T>(first: &T, count: usize) {
    fetch_bytes(std::ptr::from_ref(first).cast(), size_of::<T>() * count);
}

#[inline]
fn fetch_bytes(start: *const u8, bytes: usize) {
    let within = start.addr() % LINE;
    let lines = (within + bytes).div_ceil(LINE).min(LINES_MAX);
    for line in 0..lines {
        fetch_line(start.wrapping_sub(within).wrapping_add(line * LINE));
    }
}

#[inline]
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn fetch_line(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint; it faults on no address and changes nothing that a program can see.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

/// Stable Rust has no such hint here.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
fn fetch_line(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_may_be_asked_for() {
        fetch(&());
        fetch("");
        fetch(&[0u8; 3 * LINE]);
        let long = vec![1u8; 1 << 20];
        fetch(&long[..]);
        fetch(&long[long.len()..]);
        fetch_on(&long[long.len() - 1], 10 * LINE);
        assert_eq!(long[0], 1);
    }
}
