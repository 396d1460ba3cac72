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
//! With eBPF, and where there is one shard, each shard has three sockets, one for each class:
//!
//! ```text
//!   urgent    sound, and all that is neither of these     wakes the shard
//!   pictures  RTP that is not sound                        may gather for a moment
//!   patient   reports, and transport-wide feedback         is looked for (crate::patience)
//! ```
//!
//! Which of them a datagram is stands in its first two bytes, in the clear (RFC 3711 §3.1 and §3.4). Sound
//! is known by the payload types that browsers and broadcasters give it; what has another gathers with the
//! pictures, which never holds for a stream in part, so none is put out of order. STUN waits only where it
//! is routine, which eBPF is told by address: what a newcomer sends next is dropped unless its STUN was
//! heard before.

mod classic;
mod extended;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use antipode_base::ids::ShardId;
use antipode_base::limits::FOREIGN_ADDRESSES_MAX;
use antipode_core::Standing;

use self::classic::{class_program, classic_program};
use self::extended::ebpf_program;
use super::bpf_asm::Label;
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
/// The first bytes of RTP and RTCP (RFC 7983 §7), and the second ones of RTCP (RFC 5761 §4).
const RTP_FIRST: u32 = 128;
const RTP_END: u32 = 192;
const RTCP_FIRST: u32 = 192;
const RTCP_END: u32 = 224;
/// The bits of an RTP packet's second byte that are the payload type.
const PAYLOAD_TYPE: u32 = 0x7f;
/// Payload types below this are static ones of sound (RFC 3551 §6).
const STATIC_SOUND_END: u32 = 24;
/// Of the others, Chromium's for redundant sound, Firefox's for Opus, and everybody else's for it.
const SOUND: [u32; 3] = [63, 109, 111];
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

/// Attaches the best program that the host permits, and opens the sockets of the other classes if it knows of
/// them. Also says why it is not a better one.
pub(crate) fn install(group: &mut Group) -> (Steering, Option<Claims>) {
    if let Err(error) = group.open_apart() {
        tracing::info!(%error, "one socket for all that comes to a shard");
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
        if let Err(error) = install_classes(group.sockets[0].as_fd()) {
            tracing::info!(%error, "every datagram wakes its shard");
            group.close_apart();
        }
        return (Steering::Single, None);
    }
    // They are the last of the group, so the others keep their numbers.
    group.close_apart();
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
fn install_classes(socket: BorrowedFd<'_>) -> io::Result<()> {
    bpf::attach_cbpf(socket, &mut class_program())
}

/// Whether this process may load the eBPF program; for the doctor.
pub(crate) fn probe_ebpf() -> io::Result<()> {
    let (addresses, sockets) = (address_map(64)?, socket_map(1)?);
    bpf::load_reuseport(&ebpf_program(&addresses, &sockets, 1, true)).map(drop)
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
    /// `sockets`: those of so many shards, and, if there are more, those of the other classes.
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
        let apart = sockets.len() > shards;
        let program = ebpf_program(&addresses, &group, shards as i32, apart);
        let program = bpf::load_reuseport(&program)?;
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

#[cfg(test)]
#[path = "steer_tests.rs"]
mod tests;
