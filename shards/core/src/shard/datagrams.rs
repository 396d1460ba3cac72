//! Stops 2 and 3 of a packet: from a datagram to its session, or a counted drop.

use std::net::SocketAddr;
use std::time::Instant;

use antipode_base::limits::{ADDRESSES_PER_SESSION_MAX, CLAIM_INTERVAL};
use antipode_base::verdict::DropReason;
use antipode_relay::parcel::{Note, Parcel, Stray};
use str0m::net::Receive;

use super::Shard;
use crate::demux::Owner;
use crate::io::{Datagram, PeerAddress, Standing, Transport, is_rtcp};
use crate::session::checks::Checks;
use crate::stun::{mistakes_roles, nominates};

impl Shard {
    /// What comes by UDP after the next datagram, if anything: whence, and its bytes. The memory that a
    /// viewer's report needs is asked for meanwhile.
    pub fn expect(&mut self, next: Option<(SocketAddr, &[u8])>) {
        if let Some(session) = self.expected.take().and_then(|key| self.sessions.get(key)) {
            session.fetch_reported();
        }
        let report = next.filter(|(_, bytes)| is_rtcp(bytes));
        self.expected =
            report.and_then(|(source, _)| self.demux.session_at((Transport::Udp, source)));
        if let Some(session) = self.expected.and_then(|key| self.sessions.get(key)) {
            session.fetch_report();
        }
    }

    pub(super) fn datagram(&mut self, datagram: &Datagram<'_>, now: Instant) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.bytes.len() as u64;
        match self.demux.find(datagram.peer(), datagram.bytes) {
            Ok(Owner::Session(key)) => self.media(key, datagram, now),
            Ok(Owner::Stun(key)) => self.stun(key, datagram, now),
            Ok(Owner::Shard(to)) => {
                self.counters.strays_out += 1;
                let stray = Stray {
                    source: datagram.source,
                    local: datagram.local,
                    bytes: datagram.bytes.into(),
                };
                self.send_parcel(to, Parcel::Stray(stray));
            }
            Err(reason) => self.fx.drops.count(reason),
        }
    }

    /// A datagram that landed elsewhere. It does not hop a second time.
    pub(super) fn stray(&mut self, stray: &Stray, now: Instant) {
        let datagram = Datagram {
            transport: Transport::Udp,
            source: stray.source,
            local: stray.local,
            bytes: &stray.bytes,
            at: now,
        };
        match self.demux.find(datagram.peer(), datagram.bytes) {
            Ok(Owner::Session(key)) => self.media(key, &datagram, now),
            Ok(Owner::Stun(key)) => self.stun(key, &datagram, now),
            Ok(Owner::Shard(_)) => self.fx.drops.count(DropReason::SessionGone),
            Err(reason) => self.fx.drops.count(reason),
        }
    }

    /// DTLS, RTP or RTCP of a validated address.
    fn media(&mut self, key: usize, datagram: &Datagram<'_>, now: Instant) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.heard = true;
        }
        self.receive(key, datagram, now);
    }

    fn receive(&mut self, key: usize, datagram: &Datagram<'_>, now: Instant) {
        self.guarded(key, now, |session, _, fx| session.receive(datagram, now, fx));
    }

    /// STUN proves whose it is by its MESSAGE-INTEGRITY; only then is its address believed, and
    /// only for the session whose password it knows (A1, A3 to A5: nothing else moves media).
    fn stun(&mut self, key: usize, datagram: &Datagram<'_>, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else {
            return self.fx.drops.count(DropReason::SessionGone);
        };
        // str0m believes the address that is nominated without a look at the integrity, and a
        // source address can be forged; so it is looked at here for all.
        let genuine = self.setup.verifies(datagram.bytes, &session.credentials);
        let known = session.connected && session.egress.is_path_of(datagram);
        if genuine && known && session.checks.is_routine(now) && !mistakes_roles(datagram.bytes) {
            return self.answer(key, datagram, now);
        }
        let protocol = datagram.transport.protocol();
        let parsed = Receive::new(protocol, datagram.source, datagram.local, datagram.bytes);
        let Ok(receive) = parsed else {
            return self.fx.drops.count(DropReason::StunMalformed);
        };
        if !genuine || !(known || session.recognizes(receive, now)) {
            return self.fx.drops.count(DropReason::StunBadIntegrity);
        }
        session.consent(now);
        if session.egress.offer_path(datagram, nominates(datagram.bytes)) {
            session.checks = Checks::default();
        }
        let settles = session.egress.is_path_of(datagram) && session.checks.heard(now);
        self.validate(key, datagram.peer(), now);
        self.settled(settles, datagram.peer());
        self.receive(key, datagram, now);
    }

    /// A genuine check that changes nothing.
    fn answer(&mut self, key: usize, check: &Datagram<'_>, now: Instant) {
        let session = &mut self.sessions[key];
        session.consent(now);
        let settles = session.checks.answered(now);
        let answer = self.setup.answer(check, &session.credentials, self.fx.outbox.buffer());
        self.fx.send(answer);
        self.validate(key, check.peer(), now);
        self.settled(settles, check.peer());
    }

    /// Checks from this address may wait from now on, if they did not before.
    fn settled(&mut self, settles: bool, peer: PeerAddress) {
        if let (true, (Transport::Udp, address)) = (settles, peer) {
            self.addresses.push_back((address, Standing::Settled));
        }
    }

    /// The session may be spoken to and heard at this address from now on.
    fn validate(&mut self, key: usize, address: PeerAddress, now: Instant) {
        if self.demux.owns(address, key) {
            return self.claim_again(key, now);
        }
        if let Some(before) = self.demux.add_address(address, key)
            && let Some(session) = self.sessions.get_mut(before)
        {
            session.addresses.retain(|known| *known != address);
        }
        let session = &mut self.sessions[key];
        session.addresses.push(address);
        if session.addresses.len() > ADDRESSES_PER_SESSION_MAX {
            let oldest = session.addresses.remove(0);
            self.demux.remove_address(oldest, key);
            self.disclaim(oldest);
        }
        // What comes by TCP comes to this shard and no other.
        if let (Transport::Udp, address) = address {
            self.addresses.push_back((address, Standing::Validated));
            self.tell_all(&Note::Claim { address });
        }
    }

    /// STUN finds us by its ufrag; the rest may land on a shard that must know whose it is. Where STUN
    /// alone arrives, a full ring may have lost our claim, so it is made again, for all addresses: the
    /// one that lacks it need not be the one that speaks.
    fn claim_again(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        if now < session.claimed + CLAIM_INTERVAL {
            return;
        }
        session.claimed = now;
        if std::mem::take(&mut session.heard) || self.config.shards < 2 {
            return;
        }
        let settled = session.egress.peer().filter(|_| session.checks.is_settled());
        for peer in session.addresses.clone() {
            if let (Transport::Udp, address) = peer {
                let settled = settled == Some(peer);
                let standing = if settled { Standing::Settled } else { Standing::Validated };
                self.addresses.push_back((address, standing));
                self.tell_all(&Note::Claim { address });
            }
        }
    }

    /// Other shards need not send us what comes from this address any more.
    pub(super) fn disclaim(&mut self, address: PeerAddress) {
        if let (Transport::Udp, address) = address {
            self.addresses.push_back((address, Standing::Gone));
            self.tell_all(&Note::Disclaim { address });
        }
    }
}
