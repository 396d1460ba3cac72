//! Our own addresses: as clients know them, and as the kernel does.
//!
//! They differ behind a one-to-one NAT, as on most clouds: clients are told a public address and the
//! kernel sees a private one. The core only ever hears of the former.

use std::net::{IpAddr, SocketAddr};

/// One shard's view; small tables, looked through from the front.
#[derive(Clone, Debug)]
pub(crate) struct Locals {
    /// What clients are told.
    candidates: Vec<SocketAddr>,
    /// For each candidate that is no address of this host: where its datagrams last came in.
    behind: Vec<Option<IpAddr>>,
    /// For each candidate: whether it is an address of this host.
    own: Vec<bool>,
    /// Where the sockets are bound.
    bound: SocketAddr,
}

impl Locals {
    /// `own`: the host's addresses; `bound`: where the sockets are.
    pub(crate) fn new(candidates: Vec<SocketAddr>, own: &[IpAddr], bound: SocketAddr) -> Self {
        Locals {
            behind: vec![None; candidates.len()],
            own: candidates.iter().map(|candidate| own.contains(&candidate.ip())).collect(),
            candidates,
            bound,
        }
    }

    /// The address by which a client knows `real`, at which its datagram came in.
    pub(crate) fn known_as(&mut self, real: IpAddr) -> SocketAddr {
        if let Some(same) = self.candidates.iter().find(|candidate| candidate.ip() == real) {
            return *same;
        }
        let family = |candidate: &SocketAddr| candidate.is_ipv4() == real.is_ipv4();
        let Some(place) = self.candidates.iter().position(family) else {
            return SocketAddr::new(real, self.bound.port());
        };
        if !real.is_multicast() && !real.is_unspecified() {
            self.behind[place] = Some(real);
        }
        self.candidates[place]
    }

    /// The address to send from, so that the client sees `local`. `None`: the kernel's choice, which of a
    /// socket with an address of its own is that address. Naming it costs two or three hundredths of a send.
    pub(crate) fn source_of(&self, local: SocketAddr) -> Option<IpAddr> {
        if !self.bound.ip().is_unspecified() {
            return None;
        }
        match self.candidates.iter().position(|candidate| candidate.ip() == local.ip()) {
            Some(place) if !self.own[place] => self.behind[place],
            _ => Some(local.ip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 7882)
    }

    #[test]
    fn own_addresses_are_themselves() {
        let own = [ip("192.0.2.2"), ip("fd00::2"), ip("127.0.0.1")];
        let mut locals = Locals::new(vec![at("192.0.2.2"), at("fd00::2")], &own, at("::"));
        assert_eq!(locals.known_as(ip("192.0.2.2")), at("192.0.2.2"));
        assert_eq!(locals.known_as(ip("fd00::2")), at("fd00::2"));
        // Nobody was told of loopback; whoever uses it does not move the others.
        assert_eq!(locals.known_as(ip("127.0.0.1")), at("192.0.2.2"));
        assert_eq!(locals.source_of(at("192.0.2.2")), Some(ip("192.0.2.2")));
        assert_eq!(locals.source_of(at("fd00::2")), Some(ip("fd00::2")));
    }

    #[test]
    fn a_public_address_stands_for_the_private_one_behind_it() {
        let own = [ip("10.0.0.5"), ip("10.0.0.6")];
        let mut locals = Locals::new(vec![at("203.0.113.9")], &own, at("::"));
        assert_eq!(locals.source_of(at("203.0.113.9")), None, "nothing came in yet");
        assert_eq!(locals.known_as(ip("10.0.0.6")), at("203.0.113.9"));
        assert_eq!(locals.source_of(at("203.0.113.9")), Some(ip("10.0.0.6")));
        assert_eq!(locals.known_as(ip("224.0.0.1")), at("203.0.113.9"));
        assert_eq!(locals.source_of(at("203.0.113.9")), Some(ip("10.0.0.6")));
        // There is no candidate of that family.
        assert_eq!(locals.known_as(ip("fd00::9")), at("fd00::9"));
    }

    #[test]
    fn a_socket_with_an_address_of_its_own_sends_from_nowhere_else() {
        let own = [ip("10.0.0.5"), ip("10.0.0.6")];
        for (candidate, real) in [("10.0.0.5", "10.0.0.5"), ("203.0.113.9", "10.0.0.5")] {
            let mut locals = Locals::new(vec![at(candidate)], &own, at("10.0.0.5"));
            assert_eq!(locals.known_as(ip(real)), at(candidate));
            assert_eq!(locals.source_of(at(candidate)), None, "{candidate}");
        }
    }
}
