//! From a datagram to the session that owns it.
//!
//! STUN finds its session by the ufrag that we chose, everything else by the address that a session
//! has validated. What belongs to another shard is told apart: STUN by the shard in the ufrag,
//! the rest by the claims of the other shards.
//!
//! A TCP connection belongs to the shard that its first message names, so nothing of it is anybody
//! else's, and no other shard is told its address.

use std::collections::HashMap;
use std::net::SocketAddr;

use antipode_base::ids::ShardId;
use antipode_base::limits::{FOREIGN_ADDRESSES_MAX, RTP_MAX};
use antipode_base::verdict::DropReason;

use crate::io::{PeerAddress, Transport};
use crate::session::config::shard_of;
use crate::stun::binding_username;

/// Whose a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A session of this shard; STUN that it must recognize.
    Stun(usize),
    /// A session of this shard; its address is validated.
    Session(usize),
    /// Another shard's.
    Shard(ShardId),
}

/// The tables of one shard. Peers choose addresses, so both maps use std's keyed hash.
#[derive(Debug)]
pub(crate) struct Demux {
    me: ShardId,
    shards: u16,
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<PeerAddress, usize>,
    /// By UDP.
    foreign: HashMap<SocketAddr, ShardId>,
}

impl Demux {
    /// Empty tables.
    pub(crate) fn new(me: ShardId, shards: u16) -> Self {
        Demux {
            me,
            shards,
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            foreign: HashMap::new(),
        }
    }

    /// Finds the owner; cheap checks first, no allocation.
    pub(crate) fn find(&self, peer: PeerAddress, bytes: &[u8]) -> Result<Owner, DropReason> {
        if bytes.len() > RTP_MAX {
            return Err(DropReason::Oversized);
        }
        // RFC 7983 §7, RFC 9443 §3.
        match bytes.first() {
            Some(0..=3) => match (self.find_stun(bytes)?, peer.0) {
                (Owner::Shard(_), Transport::Tcp) => Err(DropReason::OtherShard),
                (owner, _) => Ok(owner),
            },
            Some(20..=63 | 128..=191) => match (self.by_address.get(&peer), peer) {
                (Some(session), _) => Ok(Owner::Session(*session)),
                (None, (Transport::Udp, source)) => match self.foreign.get(&source) {
                    Some(shard) => Ok(Owner::Shard(*shard)),
                    None => Err(DropReason::UnknownAddress),
                },
                (None, (Transport::Tcp, _)) => Err(DropReason::UnknownAddress),
            },
            _ => Err(DropReason::NotOurs),
        }
    }

    fn find_stun(&self, bytes: &[u8]) -> Result<Owner, DropReason> {
        let username = binding_username(bytes).ok_or(DropReason::StunMalformed)?;
        let ufrag = username.split(|byte| *byte == b':').next().unwrap_or_default();
        match shard_of(ufrag) {
            Some(shard) if shard != self.me && shard.0 < self.shards => Ok(Owner::Shard(shard)),
            _ => {
                let ufrag = std::str::from_utf8(ufrag).map_err(|_| DropReason::StunMalformed)?;
                let session = self.by_ufrag.get(ufrag).ok_or(DropReason::StunUnknownUfrag)?;
                Ok(Owner::Stun(*session))
            }
        }
    }

    /// A session has these credentials from now on.
    pub(crate) fn add_ufrag(&mut self, ufrag: &str, session: usize) {
        self.by_ufrag.insert(ufrag.to_owned(), session);
    }

    /// It has them no longer.
    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// A session has validated an address. Returns the session that had it before.
    pub(crate) fn add_address(&mut self, address: PeerAddress, session: usize) -> Option<usize> {
        if let (Transport::Udp, source) = &address {
            self.foreign.remove(source);
        }
        self.by_address.insert(address, session).filter(|before| *before != session)
    }

    /// An address is no longer this session's.
    pub(crate) fn remove_address(&mut self, address: PeerAddress, session: usize) {
        if self.by_address.get(&address) == Some(&session) {
            self.by_address.remove(&address);
        }
    }

    /// The session that has validated an address.
    pub(crate) fn session_at(&self, address: PeerAddress) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    /// Whether the address is this session's.
    pub(crate) fn owns(&self, address: PeerAddress, session: usize) -> bool {
        self.by_address.get(&address) == Some(&session)
    }

    /// Another shard says that an address is its own. Above the limit claims are not taken in: then
    /// its strays are dropped here, which costs that session and nobody else.
    pub(crate) fn claim(&mut self, address: SocketAddr, shard: ShardId) {
        if self.foreign.len() < FOREIGN_ADDRESSES_MAX || self.foreign.contains_key(&address) {
            self.foreign.insert(address, shard);
        }
    }

    /// It no longer is.
    pub(crate) fn disclaim(&mut self, address: SocketAddr, shard: ShardId) {
        if self.foreign.get(&address) == Some(&shard) {
            self.foreign.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::tests::binding;

    fn udp(text: &str) -> PeerAddress {
        (Transport::Udp, text.parse().unwrap())
    }

    fn tcp(text: &str) -> PeerAddress {
        (Transport::Tcp, text.parse().unwrap())
    }

    fn demux() -> Demux {
        let mut demux = Demux::new(ShardId(1), 2);
        demux.add_ufrag("01abc", 5);
        demux.add_address(udp("10.0.0.1:1000"), 5);
        demux.claim("10.0.0.2:1000".parse().unwrap(), ShardId(0));
        demux
    }

    #[test]
    fn stun_by_ufrag() {
        let demux = demux();
        let from = udp("10.9.9.9:9");
        for (bytes, want) in [
            (binding(b"01abc:peer", &[]), Ok(Owner::Stun(5))),
            (binding(b"01abc:peer", &[0x80, 0x22, 0, 3, 1, 2, 3, 0]), Ok(Owner::Stun(5))),
            (binding(b"00abc:peer", &[]), Ok(Owner::Shard(ShardId(0)))),
            (binding(b"01xyz:peer", &[]), Err(DropReason::StunUnknownUfrag)),
            // There is no shard 9: the ufrag is nobody's.
            (binding(b"09abc:peer", &[]), Err(DropReason::StunUnknownUfrag)),
            (binding(b"\xff\xff:peer", &[]), Err(DropReason::StunMalformed)),
            (binding(b"01abc:peer", &[])[..24].to_vec(), Err(DropReason::StunMalformed)),
            (vec![0; 20], Err(DropReason::StunMalformed)),
            (vec![0], Err(DropReason::StunMalformed)),
        ] {
            assert_eq!(demux.find(from, &bytes), want, "{bytes:x?}");
        }
        let mut response = binding(b"01abc:peer", &[]);
        response[0] = 1;
        assert_eq!(demux.find(from, &response), Err(DropReason::StunMalformed));
    }

    #[test]
    fn one_address_is_two_peers_by_two_transports() {
        let mut demux = demux();
        let rtp = [128, 96, 0, 1];
        let [by_udp, by_tcp] = [udp("10.0.0.1:1000"), tcp("10.0.0.1:1000")];
        assert_eq!(demux.find(by_tcp, &rtp), Err(DropReason::UnknownAddress));
        // Another shard's claim is one by UDP.
        assert_eq!(demux.find(tcp("10.0.0.2:1000"), &rtp), Err(DropReason::UnknownAddress));
        demux.add_address(by_tcp, 8);
        assert_eq!(demux.find(by_tcp, &rtp), Ok(Owner::Session(8)));
        assert_eq!(demux.find(by_udp, &rtp), Ok(Owner::Session(5)));
        demux.remove_address(by_tcp, 8);
        assert!(demux.owns(by_udp, 5) && !demux.owns(by_tcp, 8));
        assert_eq!(demux.find(by_tcp, &binding(b"01abc:peer", &[])), Ok(Owner::Stun(5)));
        let elsewhere = binding(b"00abc:peer", &[]);
        assert_eq!(demux.find(by_tcp, &elsewhere), Err(DropReason::OtherShard));
    }

    #[test]
    fn the_rest_by_address() {
        let mut demux = demux();
        let dtls = [22, 254, 253];
        let rtp = [128, 96, 0, 1];
        let known = udp("10.0.0.1:1000");
        let foreign = udp("10.0.0.2:1000");
        let unknown = udp("10.0.0.3:1000");
        assert_eq!(demux.find(known, &dtls), Ok(Owner::Session(5)));
        assert_eq!(demux.find(known, &rtp), Ok(Owner::Session(5)));
        assert_eq!(demux.find(foreign, &rtp), Ok(Owner::Shard(ShardId(0))));
        assert_eq!(demux.find(unknown, &dtls), Err(DropReason::UnknownAddress));
        assert_eq!(demux.find(known, &[]), Err(DropReason::NotOurs));
        assert_eq!(demux.find(known, &[80]), Err(DropReason::NotOurs));
        assert_eq!(demux.find(known, &[128; RTP_MAX + 1]), Err(DropReason::Oversized));
        // Only the claimant can give an address back; validating it here takes it over.
        demux.disclaim(foreign.1, ShardId(1));
        assert_eq!(demux.find(foreign, &rtp), Ok(Owner::Shard(ShardId(0))));
        demux.add_address(foreign, 6);
        assert_eq!(demux.find(foreign, &rtp), Ok(Owner::Session(6)));
        assert_eq!(demux.add_address(foreign, 7), Some(6));
        demux.remove_address(foreign, 6);
        assert!(demux.owns(foreign, 7));
    }
}
