//! The steering program in eBPF, which knows addresses.

use super::*;
use crate::net::bpf_asm::{Extended, Reg, Size};

// Helpers of linux/bpf.h and the places of struct sk_reuseport_md.
const MAP_LOOKUP_ELEM: i32 = 1;
const SKB_LOAD_BYTES: i32 = 26;
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
const SK_SELECT_REUSEPORT: i32 = 82;
const RELATIVE_TO_IP: i32 = 1;
const MD_ETH_PROTOCOL: i16 = 20;
const MD_HASH: i16 = 32;
const SK_PASS: i32 = 1;
/// In these programs a datagram starts with its UDP header.
const UDP_HEADER: u32 = 8;
const ETH_P_IPV6: u16 = 0x86dd;
const IPV4_SOURCE: i32 = 12;
const IPV6_SOURCE: i32 = 8;

// The stack, downwards from its end: an AddressKey, then room for what is read of the payload.
const KEY: i16 = -24;
const KEY_MAPPED: i16 = KEY + 10;
const KEY_V4: i16 = KEY + 12;
const KEY_PORT: i16 = KEY + 16;
const READ: i16 = -48;
const SHARD: i16 = -56;

/// eBPF: selects a socket of the group; where nobody claims the datagram, by the kernel's hash. `apart`: the
/// other classes have sockets of their own.
///
/// R6 is the context, R7 the place of the current attribute, R8 and R9 digits, then R8 the shard they name.
pub(super) fn ebpf_program(addresses: &Map, sockets: &Map, shards: i32, apart: bool) -> Vec<Insn> {
    let mut p = Extended::default();
    let (by_address, found, select, unclaimed) = (p.label(), p.label(), p.label(), p.label());
    p.copy(Reg::R6, Reg::R1);
    read_payload(&mut p, None, 8, by_address);
    p.load(Size::Half, Reg::R1, Reg::Stack, READ);
    p.jump_unless(Reg::R1, i32::from(STUN_BINDING_REQUEST.to_be()), by_address);
    p.load(Size::Word, Reg::R1, Reg::Stack, READ + 4);
    p.jump_unless(Reg::R1, STUN_MAGIC_COOKIE.to_be() as i32, by_address);
    p.set(Reg::R7, (UDP_HEADER + STUN_HEADER) as i32);
    for _ in 0..ATTRIBUTES_SEEN_MAX {
        read_payload(&mut p, Some(Reg::R7), (ATTRIBUTE_HEADER + DIGITS) as i32, by_address);
        p.load(Size::Half, Reg::R1, Reg::Stack, READ);
        p.jump_if(libc::BPF_JEQ, Reg::R1, i32::from(STUN_USERNAME.to_be()), found);
        // Values are padded to four bytes (RFC 8489 §14).
        p.load(Size::Half, Reg::R1, Reg::Stack, READ + 2);
        p.network_half_to_host(Reg::R1);
        p.compute(libc::BPF_ADD, Reg::R1, 3);
        p.compute(libc::BPF_AND, Reg::R1, 0xf_fffc);
        p.compute(libc::BPF_ADD, Reg::R1, ATTRIBUTE_HEADER as i32);
        p.compute_from(libc::BPF_ADD, Reg::R7, Reg::R1);
    }
    p.jump(by_address);
    p.bind(found);
    let digits = READ + ATTRIBUTE_HEADER as i16;
    ebpf_digit(&mut p, Reg::R8, digits, by_address);
    ebpf_digit(&mut p, Reg::R9, digits + 1, by_address);
    p.compute(libc::BPF_LSH, Reg::R8, 4);
    p.compute_from(libc::BPF_OR, Reg::R8, Reg::R9);
    // A shard that there is not would be a socket of another class.
    p.jump_if(libc::BPF_JGE, Reg::R8, shards, by_address);
    p.store(Size::Word, SHARD, Reg::R8);
    if apart {
        look_up_address(&mut p, addresses, select);
        p.compute_from(libc::BPF_XOR, Reg::R1, Reg::R8);
        p.jump_unless(Reg::R1, SETTLED, select);
        go_on(&mut p, shards);
    }
    p.jump(select);
    p.bind(by_address);
    look_up_address(&mut p, addresses, unclaimed);
    p.compute(libc::BPF_AND, Reg::R1, SETTLED - 1);
    p.store(Size::Word, SHARD, Reg::R1);
    if apart {
        classify(&mut p, shards, select);
    }
    p.jump(select);
    p.bind(unclaimed);
    p.load(Size::Word, Reg::R1, Reg::R6, MD_HASH);
    p.compute(libc::BPF_MOD, Reg::R1, shards);
    p.store(Size::Word, SHARD, Reg::R1);
    p.bind(select);
    p.copy(Reg::R1, Reg::R6);
    p.load_map(Reg::R2, sockets.raw());
    p.stack_address(Reg::R3, SHARD);
    p.set(Reg::R4, 0);
    p.call(SK_SELECT_REUSEPORT);
    // Passing without a selection, should that ever fail, is the kernel's hash.
    p.set(Reg::R0, SK_PASS);
    p.exit();
    p.finish()
}

/// SHARD += `shards` for what may wait, and twice that for pictures.
fn classify(p: &mut Extended, shards: i32, urgent: Label) {
    let (rtp, dynamic, patient) = (p.label(), p.label(), p.label());
    read_payload(p, None, 2, urgent);
    p.load(Size::Byte, Reg::R1, Reg::Stack, READ);
    p.compute(libc::BPF_SUB, Reg::R1, RTP_FIRST as i32);
    // Below it wraps to a large number.
    p.jump_if(libc::BPF_JGE, Reg::R1, (RTP_END - RTP_FIRST) as i32, urgent);
    p.load(Size::Byte, Reg::R1, Reg::Stack, READ + 1);
    p.copy(Reg::R2, Reg::R1);
    p.compute(libc::BPF_SUB, Reg::R2, RTCP_FIRST as i32);
    p.jump_if(libc::BPF_JGE, Reg::R2, (RTCP_END - RTCP_FIRST) as i32, rtp);
    p.jump_if(libc::BPF_JEQ, Reg::R1, SENDER_REPORT as i32, patient);
    p.jump_if(libc::BPF_JEQ, Reg::R1, RECEIVER_REPORT as i32, patient);
    p.jump_unless(Reg::R1, TRANSPORT_FEEDBACK as i32, urgent);
    p.load(Size::Byte, Reg::R1, Reg::Stack, READ);
    p.compute(libc::BPF_AND, Reg::R1, RTCP_COUNT as i32);
    p.jump_unless(Reg::R1, TRANSPORT_WIDE as i32, urgent);
    p.jump(patient);
    p.bind(rtp);
    p.compute(libc::BPF_AND, Reg::R1, PAYLOAD_TYPE as i32);
    p.jump_if(libc::BPF_JGE, Reg::R1, STATIC_SOUND_END as i32, dynamic);
    p.jump(urgent);
    p.bind(dynamic);
    for sound in SOUND {
        p.jump_if(libc::BPF_JEQ, Reg::R1, sound as i32, urgent);
    }
    go_on(p, shards);
    p.bind(patient);
    go_on(p, shards);
}

/// SHARD += `places`.
fn go_on(p: &mut Extended, places: i32) {
    p.load(Size::Word, Reg::R1, Reg::Stack, SHARD);
    p.compute(libc::BPF_ADD, Reg::R1, places);
    p.store(Size::Word, SHARD, Reg::R1);
}

/// Reads `length` bytes of the datagram into the stack at READ: from the place in a register, or
/// from the start of the payload.
fn read_payload(p: &mut Extended, at: Option<Reg>, length: i32, otherwise: Label) {
    p.copy(Reg::R1, Reg::R6);
    match at {
        Some(register) => p.copy(Reg::R2, register),
        None => p.set(Reg::R2, UDP_HEADER as i32),
    }
    p.stack_address(Reg::R3, READ);
    p.set(Reg::R4, length);
    p.call(SKB_LOAD_BYTES);
    p.jump_unless(Reg::R0, 0, otherwise);
}

/// `to` = the lowercase hexadecimal digit at the stack's `at`.
fn ebpf_digit(p: &mut Extended, to: Reg, at: i16, otherwise: Label) {
    let (letter, done) = (p.label(), p.label());
    p.load(Size::Byte, to, Reg::Stack, at);
    p.jump_if(libc::BPF_JGE, to, i32::from(b'a'), letter);
    // Below '0' it wraps to a large number.
    p.compute(libc::BPF_SUB, to, i32::from(b'0'));
    p.jump_if(libc::BPF_JGT, to, 9, otherwise);
    p.jump(done);
    p.bind(letter);
    p.compute(libc::BPF_SUB, to, i32::from(b'a') - 10);
    p.jump_if(libc::BPF_JGT, to, 15, otherwise);
    p.bind(done);
}

/// R1 = what is known of the datagram's source address.
fn look_up_address(p: &mut Extended, addresses: &Map, unclaimed: Label) {
    let (v6, ready) = (p.label(), p.label());
    p.store_constant(Size::Double, KEY, 0);
    p.store_constant(Size::Double, KEY + 8, 0);
    p.store_constant(Size::Word, KEY_PORT, 0);
    p.copy(Reg::R1, Reg::R6);
    // The source port is the first thing in the UDP header.
    p.set(Reg::R2, 0);
    p.stack_address(Reg::R3, KEY_PORT);
    p.set(Reg::R4, 2);
    p.call(SKB_LOAD_BYTES);
    p.jump_unless(Reg::R0, 0, unclaimed);
    p.load(Size::Word, Reg::R1, Reg::R6, MD_ETH_PROTOCOL);
    p.jump_if(libc::BPF_JEQ, Reg::R1, i32::from(ETH_P_IPV6.to_be()), v6);
    p.store_constant(Size::Half, KEY_MAPPED, 0xffff);
    read_source(p, IPV4_SOURCE, KEY_V4, 4, unclaimed);
    p.jump(ready);
    p.bind(v6);
    read_source(p, IPV6_SOURCE, KEY, 16, unclaimed);
    p.bind(ready);
    p.load_map(Reg::R1, addresses.raw());
    p.stack_address(Reg::R2, KEY);
    p.call(MAP_LOOKUP_ELEM);
    p.jump_if(libc::BPF_JEQ, Reg::R0, 0, unclaimed);
    p.load(Size::Word, Reg::R1, Reg::R0, 0);
}

fn read_source(p: &mut Extended, from: i32, to: i16, length: i32, otherwise: Label) {
    p.copy(Reg::R1, Reg::R6);
    p.set(Reg::R2, from);
    p.stack_address(Reg::R3, to);
    p.set(Reg::R4, length);
    p.set(Reg::R5, RELATIVE_TO_IP);
    p.call(SKB_LOAD_BYTES_RELATIVE);
    p.jump_unless(Reg::R0, 0, otherwise);
}
