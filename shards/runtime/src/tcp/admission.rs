//! Which connections are let in: so many in all, so many from one address, not too fast.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use antipode_base::limits::{
    TCP_ACCEPTS_BURST, TCP_ACCEPTS_PER_S, TCP_ADDRESSES_MAX, TCP_CONNECTIONS_MAX,
    TCP_CONNECTIONS_PER_ADDRESS_MAX,
};
use antipode_base::stats::TcpEnding;

/// One client, or all that share an address with it.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    open: usize,
    /// Connections that it may open at once, as it was at `at`.
    allowance: f64,
    at: Instant,
}

impl Neighbour {
    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64();
        let gained = gained * f64::from(TCP_ACCEPTS_PER_S);
        self.allowance = (self.allowance + gained).min(f64::from(TCP_ACCEPTS_BURST));
        self.at = now;
    }

    /// Whether there is nothing to remember of it.
    fn is_forgettable(&self) -> bool {
        self.open == 0 && self.allowance >= f64::from(TCP_ACCEPTS_BURST)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Clients choose the key, so it is std's keyed hash.
    neighbours: HashMap<IpAddr, Neighbour>,
    open: usize,
}

impl Admission {
    /// Lets one in, or says why not. Each that is let in is to [`Admission::leave`] once.
    pub(crate) fn enter(&mut self, ip: IpAddr, now: Instant) -> Result<(), TcpEnding> {
        let key = household(ip);
        if !self.neighbours.contains_key(&key) && self.neighbours.len() >= TCP_ADDRESSES_MAX {
            self.forget(now);
            if self.neighbours.len() >= TCP_ADDRESSES_MAX {
                return Err(TcpEnding::TooFast);
            }
        }
        let allowance = f64::from(TCP_ACCEPTS_BURST);
        let fresh = || Neighbour { open: 0, allowance, at: now };
        let neighbour = self.neighbours.entry(key).or_insert_with(fresh);
        neighbour.refill(now);
        if neighbour.allowance < 1.0 {
            return Err(TcpEnding::TooFast);
        }
        neighbour.allowance -= 1.0;
        if self.open >= TCP_CONNECTIONS_MAX {
            return Err(TcpEnding::NodeFull);
        }
        if neighbour.open >= TCP_CONNECTIONS_PER_ADDRESS_MAX {
            return Err(TcpEnding::AddressFull);
        }
        neighbour.open += 1;
        self.open += 1;
        Ok(())
    }

    /// One that was let in is gone.
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        if let Some(neighbour) = self.neighbours.get_mut(&household(ip)) {
            neighbour.open = neighbour.open.saturating_sub(1);
            self.open = self.open.saturating_sub(1);
        }
    }

    /// Forgets those of whom there is nothing to remember; now and then.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.neighbours.retain(|_, neighbour| {
            neighbour.refill(now);
            !neighbour.is_forgettable()
        });
    }
}

/// What counts as one address: an IPv6 client owns at least a /64 and could come from any of it.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_then_a_rate() {
        let mut now = Instant::now();
        let mut admission = Admission::default();
        for _ in 0..TCP_ACCEPTS_BURST {
            admission.enter(ip("192.0.2.1"), now).unwrap();
            admission.leave(ip("192.0.2.1"));
        }
        assert_eq!(admission.enter(ip("192.0.2.1"), now), Err(TcpEnding::TooFast));
        // Others are not its neighbours.
        assert_eq!(admission.enter(ip("192.0.2.2"), now), Ok(()));
        now += Duration::from_secs(1);
        let let_in = (0..1_000).filter(|_| admission.enter(ip("192.0.2.1"), now).is_ok()).count();
        assert_eq!(let_in, TCP_ACCEPTS_PER_S as usize);
    }

    #[test]
    fn so_many_at_once_from_one_address_and_in_all() {
        let mut now = Instant::now();
        let mut admission = Admission::default();
        // Two addresses of one /64 are one.
        let mut enter = |admission: &mut Admission, at: IpAddr| {
            now += Duration::from_millis(100);
            admission.enter(at, now)
        };
        for n in 0..TCP_CONNECTIONS_PER_ADDRESS_MAX {
            let at = if n % 2 == 0 { ip("2001:db8::1") } else { ip("2001:db8::ffff:1") };
            enter(&mut admission, at).unwrap();
        }
        let full = enter(&mut admission, ip("2001:db8::2"));
        assert_eq!(full, Err(TcpEnding::AddressFull));
        admission.leave(ip("2001:db8::1"));
        enter(&mut admission, ip("2001:db8::2")).unwrap();
        let mut others = 0;
        let refused = loop {
            let at = IpAddr::from([10, 0, (others / 250) as u8, (others % 250) as u8]);
            match enter(&mut admission, at) {
                Ok(()) => others += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, TcpEnding::NodeFull);
        assert_eq!(others, TCP_CONNECTIONS_MAX - TCP_CONNECTIONS_PER_ADDRESS_MAX);
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let at = |n: usize| IpAddr::from((n as u32 + 1).to_be_bytes());
        for n in 0..TCP_ADDRESSES_MAX {
            admission.enter(at(n), now).unwrap();
            admission.leave(at(n));
        }
        assert_eq!(admission.enter(at(TCP_ADDRESSES_MAX), now), Err(TcpEnding::TooFast));
        let later = now + Duration::from_secs(1);
        assert_eq!(admission.enter(at(TCP_ADDRESSES_MAX), later), Ok(()));
        assert_eq!(admission.neighbours.len(), 1);
    }
}
