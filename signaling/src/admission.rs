//! Who gets in, before any work is done for them; and the count of those who do not.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antipode_base::limits::{SIGNAL_ADDRESSES_MAX, SIGNAL_RATE_BURST, SIGNAL_RATE_PER_S};
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::AdmissionLimits;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why somebody was turned away or thrown out. Each is a label of the refusal counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refused { $($(#[$doc])* $name,)* }

        impl Refused {
            /// All of them.
            pub(crate) const ALL: &'static [Refused] = &[$(Refused::$name,)*];

            /// The label in `/metrics`.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Refused::$name => $text,)* }
            }
        }
    };
}

refusals! {
    /// Too many new connections from one address.
    TooManyConnects = "connects",
    /// All WebSockets are taken.
    ClientsFull = "clients_full",
    /// No token, or one that is not valid.
    Token = "token",
    /// The token does not grant it.
    Permission = "permission",
    /// The request in the URL does not parse.
    Request = "request",
    /// No node came in time.
    NoNode = "no_node",
    /// All shards are full.
    ShardsFull = "shards_full",
    /// By HTTP: a body of another type than the path takes.
    Type = "type",
    /// By HTTP: an offer or fragment that cannot be taken.
    Offer = "offer",
    /// By HTTP: an offer without a codec of ours.
    Codec = "codec",
    /// By HTTP: no such resource, or somebody else's.
    Resource = "resource",
    /// By HTTP: the ICE session that is meant is not named, or over.
    Condition = "condition",
    /// A message that does not parse, or of the wrong kind.
    BadMessage = "bad_message",
    /// A message above the limit.
    MessageTooLong = "message_too_long",
    /// Too many messages.
    TooManyMessages = "messages",
    /// A client that does not read what it is sent.
    SlowReader = "slow_reader",
    /// A client that fell silent.
    Silent = "silent",
}

/// Counters by reason.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts([AtomicU64; Refused::ALL.len()]);

impl RefusalCounts {
    /// One more.
    pub(crate) fn count(&self, reason: Refused) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every reason with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Refused, u64)> + '_ {
        Refused::ALL
            .iter()
            .map(|reason| (*reason, self.0[*reason as usize].load(Ordering::Relaxed)))
    }
}

/// The door.
pub(crate) struct Admission {
    /// The key is a peer's choice in part: governor's map is keyed with a random state.
    connects: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clients: Arc<Semaphore>,
    clients_max: usize,
    /// Why people were turned away.
    pub refused: RefusalCounts,
}

impl Admission {
    pub(crate) fn new(limits: &AdmissionLimits) -> Self {
        let rate = NonZeroU32::new(limits.connects_per_s);
        let connects = rate.map(|rate| {
            let burst = NonZeroU32::new(limits.connects_burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        // A semaphore has a maximum of its own, far above any real one.
        let clients_max = limits.clients_max.min(Semaphore::MAX_PERMITS);
        Admission {
            connects,
            clients: Arc::new(Semaphore::new(clients_max)),
            clients_max,
            refused: RefusalCounts::default(),
        }
    }

    /// Whether a new connection from there is one too many.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        let Some(connects) = &self.connects else { return Ok(()) };
        if connects.len() >= SIGNAL_ADDRESSES_MAX {
            connects.retain_recent();
            if connects.len() >= SIGNAL_ADDRESSES_MAX {
                return Err(Refused::TooManyConnects);
            }
        }
        connects.check_key(&network(address)).map_err(|_| Refused::TooManyConnects)
    }

    /// A place for one WebSocket; it is free again when the permit is dropped.
    pub(crate) fn take_place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.clients.clone().try_acquire_owned().map_err(|_| Refused::ClientsFull)
    }

    /// WebSockets at the moment.
    pub(crate) fn clients(&self) -> usize {
        self.clients_max - self.clients.available_permits()
    }
}

/// A subscriber of IPv6 has a /64 of his own (RFC 6177), so that counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// How fast one client may talk.
pub(crate) struct MessageRate(RateLimiter<NotKeyed, InMemoryState, DefaultClock>);

impl MessageRate {
    pub(crate) fn new() -> Self {
        let rate = NonZeroU32::new(SIGNAL_RATE_PER_S).expect("the limit is not zero");
        let burst = NonZeroU32::new(SIGNAL_RATE_BURST).expect("the limit is not zero");
        MessageRate(RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)))
    }

    /// Whether one more message is still fine.
    pub(crate) fn check(&self) -> bool {
        self.0.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> AdmissionLimits {
        AdmissionLimits { clients_max: 2, connects_per_s: 1, connects_burst: 3 }
    }

    #[test]
    fn one_address_cannot_take_the_door_from_others() {
        let admission = Admission::new(&limits());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..3 {
            assert!(admission.check_address(address("192.0.2.1")).is_ok());
        }
        assert!(admission.check_address(address("192.0.2.1")).is_err());
        assert!(admission.check_address(address("::ffff:192.0.2.1")).is_err(), "the same, mapped");
        assert!(admission.check_address(address("192.0.2.2")).is_ok());
        for host in 1..=3 {
            assert!(admission.check_address(address(&format!("2001:db8::{host}"))).is_ok());
        }
        assert!(admission.check_address(address("2001:db8::ff")).is_err(), "the same /64");
        assert!(admission.check_address(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let admission = Admission::new(&AdmissionLimits { connects_per_s: 0, ..limits() });
        assert!((0..1_000).all(|_| admission.check_address([192, 0, 2, 1].into()).is_ok()));
    }

    #[test]
    fn places_are_given_back() {
        let admission = Admission::new(&limits());
        let first = admission.take_place().unwrap();
        let _second = admission.take_place().unwrap();
        assert_eq!(admission.take_place().err(), Some(Refused::ClientsFull));
        assert_eq!(admission.clients(), 2);
        drop(first);
        assert!(admission.take_place().is_ok());
    }

    #[test]
    fn a_client_that_talks_without_pause_is_stopped() {
        let rate = MessageRate::new();
        let allowed = (0..SIGNAL_RATE_BURST * 3).filter(|_| rate.check()).count() as u32;
        assert!((SIGNAL_RATE_BURST..SIGNAL_RATE_BURST * 2).contains(&allowed), "{allowed}");
    }
}
