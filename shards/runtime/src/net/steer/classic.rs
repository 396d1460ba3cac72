//! The steering programs in classic BPF, which any process may attach. They see the UDP payload.

use super::*;
use crate::net::bpf_asm::Classic;

/// Classic BPF over the UDP payload; returns the shard of a STUN request, or [`NO_SOCKET`].
///
/// X walks over the attributes. Memory word 0 holds the last place at which one may start.
pub(super) fn classic_program() -> Vec<libc::sock_filter> {
    const LAST_START: u32 = 0;
    const HIGH_DIGIT: u32 = 1;
    let mut p = Classic::default();
    let (elsewhere, found) = (p.label(), p.label());
    p.load_length();
    // A load past the end would return 0, which is a shard: so compare first.
    let shortest = STUN_HEADER + ATTRIBUTE_HEADER + DIGITS;
    let long_enough = p.label();
    p.jump_if(libc::BPF_JGE, shortest, long_enough);
    p.jump(elsewhere);
    p.bind(long_enough);
    p.compute(libc::BPF_SUB, ATTRIBUTE_HEADER + DIGITS);
    p.remember(LAST_START);
    expect_classic(&mut p, libc::BPF_H, 0, u32::from(STUN_BINDING_REQUEST), elsewhere);
    expect_classic(&mut p, libc::BPF_W, 4, STUN_MAGIC_COOKIE, elsewhere);
    p.set_x(STUN_HEADER);
    for _ in 0..ATTRIBUTES_SEEN_MAX {
        p.recall(LAST_START);
        p.jump_if_below_x(elsewhere);
        p.load_at_x(libc::BPF_H, 0);
        p.jump_if(libc::BPF_JEQ, u32::from(STUN_USERNAME), found);
        // Values are padded to four bytes (RFC 8489 §14).
        p.load_at_x(libc::BPF_H, 2);
        p.compute(libc::BPF_ADD, 3);
        p.compute(libc::BPF_AND, !3);
        p.compute(libc::BPF_ADD, ATTRIBUTE_HEADER);
        p.compute_x(libc::BPF_ADD);
        p.move_to_x();
    }
    p.jump(elsewhere);
    p.bind(found);
    classic_digit(&mut p, ATTRIBUTE_HEADER, elsewhere);
    p.compute(libc::BPF_LSH, 4);
    p.remember(HIGH_DIGIT);
    classic_digit(&mut p, ATTRIBUTE_HEADER + 1, elsewhere);
    p.move_to_x();
    p.recall(HIGH_DIGIT);
    p.compute_x(libc::BPF_OR);
    p.return_a();
    p.bind(elsewhere);
    p.return_constant(NO_SOCKET);
    p.finish()
}

fn expect_classic(p: &mut Classic, size: u32, at: u32, want: u32, elsewhere: Label) {
    let equal = p.label();
    p.load(size, at);
    p.jump_if(libc::BPF_JEQ, want, equal);
    p.jump(elsewhere);
    p.bind(equal);
}

/// Classic BPF for one shard: socket 1 for what may wait, 2 for pictures, 0 for all else.
pub(super) fn class_program() -> Vec<libc::sock_filter> {
    let mut p = Classic::default();
    let (long_enough, urgent, patient) = (p.label(), p.label(), p.label());
    let (rtp, dynamic) = (p.label(), p.label());
    p.load_length();
    p.jump_if(libc::BPF_JGE, 2, long_enough);
    p.jump(urgent);
    p.bind(long_enough);
    p.load(libc::BPF_B, 0);
    p.compute(libc::BPF_SUB, RTP_FIRST);
    // Below it wraps to a large number.
    p.jump_if(libc::BPF_JGE, RTP_END - RTP_FIRST, urgent);
    p.load(libc::BPF_B, 1);
    p.compute(libc::BPF_SUB, RTCP_FIRST);
    p.jump_if(libc::BPF_JGE, RTCP_END - RTCP_FIRST, rtp);
    p.load(libc::BPF_B, 1);
    p.jump_if(libc::BPF_JEQ, SENDER_REPORT, patient);
    p.jump_if(libc::BPF_JEQ, RECEIVER_REPORT, patient);
    expect_classic(&mut p, libc::BPF_B, 1, TRANSPORT_FEEDBACK, urgent);
    p.load(libc::BPF_B, 0);
    p.compute(libc::BPF_AND, RTCP_COUNT);
    p.jump_if(libc::BPF_JEQ, TRANSPORT_WIDE, patient);
    p.jump(urgent);
    p.bind(rtp);
    p.load(libc::BPF_B, 1);
    p.compute(libc::BPF_AND, PAYLOAD_TYPE);
    p.jump_if(libc::BPF_JGE, STATIC_SOUND_END, dynamic);
    p.jump(urgent);
    p.bind(dynamic);
    for sound in SOUND {
        p.jump_if(libc::BPF_JEQ, sound, urgent);
    }
    p.return_constant(2);
    p.bind(urgent);
    p.return_constant(0);
    p.bind(patient);
    p.return_constant(1);
    p.finish()
}

/// A = the lowercase hexadecimal digit at X + `at`.
fn classic_digit(p: &mut Classic, at: u32, elsewhere: Label) {
    let (letter, done) = (p.label(), p.label());
    p.load_at_x(libc::BPF_B, at);
    p.jump_if(libc::BPF_JGE, u32::from(b'a'), letter);
    // Below '0' it wraps to a large number.
    p.compute(libc::BPF_SUB, u32::from(b'0'));
    p.jump_if(libc::BPF_JGT, 9, elsewhere);
    p.jump(done);
    p.bind(letter);
    p.compute(libc::BPF_SUB, u32::from(b'a') - 10);
    p.jump_if(libc::BPF_JGT, 15, elsewhere);
    p.bind(done);
}
