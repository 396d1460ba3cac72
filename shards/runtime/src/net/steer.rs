//! Which shard the kernel gives a datagram to, so that it need not hop.
//!
//! ```text
//!   datagram ──> STUN request with USERNAME "2f…:…"? ──yes──> shard 0x2f
//!                 │ no                                          (the ufrag is ours: it says so)
//!                 └──> source address claimed? ──yes──> the shard that claimed it   (eBPF only)
//!                       │ no
//!                       └──> the kernel's hash of the four-tuple; a stray hops a ring
//! ```
//!
//! The best that the host permits is taken: eBPF, which needs CAP_BPF and CAP_NET_ADMIN; else classic
//! BPF, which any process may attach and which knows no addresses; else the hash alone. None of them
//! is needed for correctness: the core finds the owner of whatever lands anywhere.
//!
//! With eBPF, and where there is one shard, what may wait goes to a second socket of the shard, so that
//! it does not wake it ([`crate::patience`]): reports, and transport-wide feedback. Which is written in
//! their first two bytes, in the clear (RFC 3711 §3.4). STUN waits only where it is routine, which eBPF
//! is told by address: what a newcomer sends next is dropped unless its STUN was heard before.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use antipode_base::ids::ShardId;
use antipode_base::limits::FOREIGN_ADDRESSES_MAX;
use antipode_core::Standing;

use super::bpf_asm::{Classic, Extended, Label, Reg, Size};
use super::socket::Group;
use super::sys::bpf::{self, Insn, MAP_LRU_HASH, MAP_REUSEPORT_SOCKARRAY, Map};

/// STUN binding request, RFC 8489 §5 and §18.2.
const STUN_BINDING_REQUEST: u16 = 0x0001;
/// RFC 8489 §5.
const STUN_MAGIC_COOKIE: u32 = 0x2112_a442;
/// Bytes of a STUN header.
const STUN_HEADER: u32 = 20;
/// RFC 8489 §14.3. It is the first attribute that browsers write.
const STUN_USERNAME: u16 = 0x0006;
/// How many attributes are looked at; a USERNAME further behind falls through.
const ATTRIBUTES_SEEN_MAX: usize = 4;
/// Bytes of an attribute's type and length, and of the two digits behind them.
const ATTRIBUTE_HEADER: u32 = 4;
const DIGITS: u32 = 2;
/// RTCP packet types of both kinds of reports (RFC 3550 §12.1) and of transport feedback (RFC 4585 §6.1); its
/// format where it is transport-wide, and the bits in which that stands.
const SENDER_REPORT: u32 = 200;
const RECEIVER_REPORT: u32 = 201;
const TRANSPORT_FEEDBACK: u32 = 205;
const TRANSPORT_WIDE: u32 = 15;
const RTCP_COUNT: u32 = 0x1f;
/// Set beside the shard in the value of an address from which STUN may wait.
const SETTLED: i32 = 1 << 16;
/// What classic BPF returns to leave the choice to the kernel: there is no such socket.
const NO_SOCKET: u32 = u32::MAX;

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steering {
    /// STUN by ufrag, all else by claimed address.
    Ebpf,
    /// One shard: there is no owner to choose, only whether it may wait.
    Single,
    /// STUN by ufrag, all else by the kernel's hash.
    Classic,
    /// All by the kernel's hash.
    Hash,
}

/// Attaches the best program that the host permits, and opens the sockets for what may wait if it knows of
/// them. Also says why it is not a better one.
pub(crate) fn install(group: &mut Group) -> (Steering, Option<Claims>) {
    if let Err(error) = group.open_patient() {
        tracing::info!(%error, "no sockets for what may wait");
    }
    let shards = group.sockets.len();
    if shards < 2 && group.patient.is_empty() {
        return (Steering::Single, None);
    }
    let why_not_ebpf = match Claims::install(&group.borrowed(), shards) {
        Ok(claims) => {
            tracing::info!("steering: eBPF, STUN by ufrag and all else by claimed address");
            return (Steering::Ebpf, Some(claims));
        }
        Err(error) => error,
    };
    if shards < 2 {
        if let Err(error) = install_patience(group.sockets[0].as_fd()) {
            tracing::info!(%error, "every report wakes its shard");
            group.patient.clear();
        }
        return (Steering::Single, None);
    }
    // They are the last of the group, so the others keep their numbers.
    group.patient.clear();
    match install_classic(group.sockets[0].as_fd()) {
        Ok(()) => {
            tracing::info!(%why_not_ebpf, "steering: classic BPF, STUN by ufrag; strays hop");
            (Steering::Classic, None)
        }
        Err(why_not_classic) => {
            tracing::warn!(%why_not_ebpf, %why_not_classic, "steering: none; strays hop");
            (Steering::Hash, None)
        }
    }
}

/// Attaches the classic program.
pub(crate) fn install_classic(socket: BorrowedFd<'_>) -> io::Result<()> {
    bpf::attach_cbpf(socket, &mut classic_program())
}

/// Attaches the program for one shard.
fn install_patience(socket: BorrowedFd<'_>) -> io::Result<()> {
    bpf::attach_cbpf(socket, &mut patience_program())
}

/// Whether this process may load the eBPF program; for the doctor.
pub(crate) fn probe_ebpf() -> io::Result<()> {
    let (addresses, sockets) = (address_map(64)?, socket_map(1)?);
    bpf::load_reuseport(&ebpf_program(&addresses, &sockets, [1, 1])).map(drop)
}

/// The kernel's table of which address belongs to which shard.
#[derive(Debug)]
pub(crate) struct Claims {
    addresses: Map,
    /// The group holds the program and the program the maps; kept for the day that one is replaced.
    _sockets: Map,
    _program: OwnedFd,
}

/// A peer's address as the eBPF program makes it: IPv6 or mapped IPv4, then the port in network
/// order, then two zero bytes.
type AddressKey = [u8; 20];

impl Claims {
    /// `sockets`: those of so many shards, and, if there are more, one for each shard for what may wait.
    ///
    /// # Errors
    /// What the host forbids.
    pub(crate) fn install(sockets: &[BorrowedFd<'_>], shards: usize) -> io::Result<Claims> {
        let addresses = address_map(FOREIGN_ADDRESSES_MAX)?;
        let group = socket_map(sockets.len())?;
        for (index, socket) in sockets.iter().enumerate() {
            let descriptor = socket.as_raw_fd() as u64;
            group.insert(&(index as u32).to_ne_bytes(), &descriptor.to_ne_bytes())?;
        }
        let counts = [shards as i32, (sockets.len() - shards) as i32];
        let program = bpf::load_reuseport(&ebpf_program(&addresses, &group, counts))?;
        bpf::attach_ebpf(sockets[0], program.as_fd())?;
        Ok(Claims { addresses, _sockets: group, _program: program })
    }

    /// Follows what `owner` says of an address.
    pub(crate) fn follow(&self, owner: ShardId, address: SocketAddr, standing: Standing) {
        let done = match standing {
            Standing::Validated => self.claim(address, u32::from(owner.0)),
            Standing::Settled => self.claim(address, u32::from(owner.0) | SETTLED as u32),
            Standing::Gone => self.disclaim(owner, address),
        };
        // A missing entry costs a hop or a wake-up for each datagram, nothing else.
        if let Err(error) = done {
            tracing::debug!(%error, "the steering table was not changed");
        }
    }

    fn claim(&self, address: SocketAddr, value: u32) -> io::Result<()> {
        self.addresses.insert(&address_key(address), &value.to_ne_bytes())
    }

    /// Another shard may have taken the address over meanwhile: then it keeps it.
    fn disclaim(&self, owner: ShardId, address: SocketAddr) -> io::Result<()> {
        let (key, mut value) = (address_key(address), [0; size_of::<u32>()]);
        let gone = match self.addresses.get(&key, &mut value) {
            Ok(()) if owner_of(u32::from_ne_bytes(value)) != owner => return Ok(()),
            Ok(()) => self.addresses.remove(&key),
            Err(error) => Err(error),
        };
        match gone {
            // The oldest entries make room for new ones: it may be gone already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Whose an entry is; the rest of it says whether the address is settled.
fn owner_of(value: u32) -> ShardId {
    ShardId(value as u16)
}

fn address_map(entries: usize) -> io::Result<Map> {
    Map::create(MAP_LRU_HASH, size_of::<AddressKey>(), size_of::<u32>(), entries)
}

fn socket_map(entries: usize) -> io::Result<Map> {
    Map::create(MAP_REUSEPORT_SOCKARRAY, size_of::<u32>(), size_of::<u64>(), entries)
}

fn address_key(address: SocketAddr) -> AddressKey {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut key = [0; size_of::<AddressKey>()];
    key[..16].copy_from_slice(&ip.octets());
    key[16..18].copy_from_slice(&address.port().to_be_bytes());
    key
}

/// Classic BPF over the UDP payload; returns the shard of a STUN request, or [`NO_SOCKET`].
///
/// X walks over the attributes. Memory word 0 holds the last place at which one may start.
pub(crate) fn classic_program() -> Vec<libc::sock_filter> {
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

/// Classic BPF for one shard: socket 1 for what may wait, 0 for all else.
pub(crate) fn patience_program() -> Vec<libc::sock_filter> {
    let mut p = Classic::default();
    let (long_enough, urgent, patient) = (p.label(), p.label(), p.label());
    p.load_length();
    p.jump_if(libc::BPF_JGE, 2, long_enough);
    p.jump(urgent);
    p.bind(long_enough);
    p.load(libc::BPF_B, 1);
    p.jump_if(libc::BPF_JEQ, SENDER_REPORT, patient);
    p.jump_if(libc::BPF_JEQ, RECEIVER_REPORT, patient);
    expect_classic(&mut p, libc::BPF_B, 1, TRANSPORT_FEEDBACK, urgent);
    p.load(libc::BPF_B, 0);
    p.compute(libc::BPF_AND, RTCP_COUNT);
    p.jump_if(libc::BPF_JEQ, TRANSPORT_WIDE, patient);
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

/// eBPF: selects a socket of the group; where nobody claims the datagram, by the kernel's hash. `counts`:
/// shards, and sockets for what may wait, whose places follow.
///
/// R6 is the context, R7 the place of the current attribute, R8 and R9 digits, then R8 the shard they name.
fn ebpf_program(addresses: &Map, sockets: &Map, counts: [i32; 2]) -> Vec<Insn> {
    let [shards, patient] = counts;
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
    // A shard that there is not would be a socket for what may wait.
    p.jump_if(libc::BPF_JGE, Reg::R8, shards, by_address);
    p.store(Size::Word, SHARD, Reg::R8);
    if patient > 0 {
        look_up_address(&mut p, addresses, select);
        p.compute_from(libc::BPF_XOR, Reg::R1, Reg::R8);
        p.jump_unless(Reg::R1, SETTLED, select);
        wait(&mut p, patient);
    }
    p.jump(select);
    p.bind(by_address);
    look_up_address(&mut p, addresses, unclaimed);
    p.compute(libc::BPF_AND, Reg::R1, SETTLED - 1);
    p.store(Size::Word, SHARD, Reg::R1);
    if patient > 0 {
        reports_wait(&mut p, patient, select);
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

/// SHARD += `patient` for reports.
fn reports_wait(p: &mut Extended, patient: i32, urgent: Label) {
    let waits = p.label();
    read_payload(p, None, 2, urgent);
    p.load(Size::Byte, Reg::R1, Reg::Stack, READ + 1);
    p.jump_if(libc::BPF_JEQ, Reg::R1, SENDER_REPORT as i32, waits);
    p.jump_if(libc::BPF_JEQ, Reg::R1, RECEIVER_REPORT as i32, waits);
    p.jump_unless(Reg::R1, TRANSPORT_FEEDBACK as i32, urgent);
    p.load(Size::Byte, Reg::R1, Reg::Stack, READ);
    p.compute(libc::BPF_AND, Reg::R1, RTCP_COUNT as i32);
    p.jump_unless(Reg::R1, TRANSPORT_WIDE as i32, urgent);
    p.bind(waits);
    wait(p, patient);
}

/// SHARD += `patient`.
fn wait(p: &mut Extended, patient: i32) {
    p.load(Size::Word, Reg::R1, Reg::Stack, SHARD);
    p.compute(libc::BPF_ADD, Reg::R1, patient);
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

#[cfg(test)]
#[path = "steer_tests.rs"]
mod tests;
