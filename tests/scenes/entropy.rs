//! The operating system's randomness and its clock, replaced for this binary.
//!
//! std seeds the order of its maps from `getrandom`, once per thread, and so does the generator from
//! which SCTP takes its tags and first numbers. [`antipode_tests::seeds`] plays each scene on a thread of
//! its own, so whatever these two choose is the same in every run. What AWS-LC draws (keys,
//! signatures) does not pass here; no trace holds it.
//!
//! The clock stands. The world reads it once, at its start, and str0m does once, to tell wall clocks;
//! the span between the two would reach a trace by the rounding of NTP times.
#![expect(unsafe_code, reason = "symbols of the C library are replaced")]

use std::cell::Cell;

use antipode_tests::seed::mix;

thread_local! {
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// getrandom(2). Never fails, never blocks, ignores `flags`.
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes, as for the function of the C library.
// SAFETY: the name and the signature are those of the C library, whose definition this one shadows.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length > 0 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        for chunk in bytes.chunks_mut(8) {
            let drawn = DRAWN.get() + 1;
            DRAWN.set(drawn);
            chunk.copy_from_slice(&mix(&[drawn]).to_le_bytes()[..chunk.len()]);
        }
    }
    length as isize
}

/// The C library's `struct timespec`.
#[repr(C)]
pub(crate) struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Later than any real monotonic clock, so that a deadline which the test harness computes from it and
/// hands to the kernel is far away.
const MONOTONIC_S: i64 = 1_000_000_000;
/// November 2023.
const REALTIME_S: i64 = 1_700_000_000;

/// clock_gettime(2). Always the same time, whole seconds.
///
/// # Safety
/// `time` is valid for a write, as for the function of the C library.
// SAFETY: the name and the signature are those of the C library, whose definition this one shadows.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    let seconds = if clock == 0 { REALTIME_S } else { MONOTONIC_S };
    // SAFETY: the caller's promise.
    unsafe { time.write(Timespec { seconds, nanoseconds: 0 }) };
    0
}

#[test]
fn each_thread_draws_one_row() {
    let keys = || {
        std::thread::spawn(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(1)
        })
    };
    let (one, two) = (keys().join(), keys().join());
    assert_eq!(one.expect("no panic"), two.expect("no panic"));
}

#[test]
fn the_clock_stands() {
    let before = std::time::Instant::now();
    assert_eq!(std::time::Instant::now(), before);
}
