//! Putting ICE-TCP together: from the configuration to a thread that can run and what others hold of
//! it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use antipode_base::stats::TcpStats;
use antipode_relay::doorbell::Doorbell;
use crossbeam_channel::{Receiver, bounded};

use super::rings::{self, ShardEnd};
use super::{MediaTcp, Wiring, listener};
use crate::error::NodeError;
use crate::net::locals::Locals;
use crate::net::socket;
use crate::wake::EventBell;

/// A port that listens, and what clients are told of it.
pub(crate) struct Place {
    listener: TcpListener,
    bound: SocketAddr,
    pub(crate) candidates: Vec<SocketAddr>,
}

/// All ends of the thread to be.
pub(crate) struct Furnished {
    pub(crate) thread: MediaTcp,
    /// Wakes it at a stop.
    pub(crate) rung: EventBell,
    /// For the control thread; only the newest counters count.
    pub(crate) reports: Receiver<TcpStats>,
    /// In the order of the shards.
    pub(crate) ends: Vec<ShardEnd>,
}

impl Place {
    /// Takes the port. `advertise`: what clients are told, discovered addresses among it; `own`: the
    /// host's addresses.
    ///
    /// # Errors
    /// What the operator must mend.
    pub(crate) fn open(
        at: SocketAddr,
        advertise: &[IpAddr],
        loopback: bool,
        own: &[IpAddr],
    ) -> Result<Place, NodeError> {
        let (listener, bound) = listener::open(at)?;
        let candidates = socket::candidates(bound, advertise, loopback, own)?;
        tracing::info!(address = %bound, "ICE-TCP listens");
        Ok(Place { listener, bound, candidates })
    }

    /// `shards` and `control` are the bells of those that the thread speaks to.
    ///
    /// # Errors
    /// When the kernel is out of something.
    pub(crate) fn furnish(
        self,
        own: &[IpAddr],
        shards: &[Arc<Doorbell>],
        control: &Arc<Doorbell>,
    ) -> Result<Furnished, NodeError> {
        let rung = EventBell::new().map_err(NodeError::system("eventfd"))?;
        let bell = Arc::new(Doorbell::new(Box::new(rung.clone())));
        let (rings, ends) = rings::rings(shards, &bell);
        let (reports_tx, reports) = bounded(1);
        let wiring = Wiring {
            listener: self.listener,
            locals: Locals::new(self.candidates, own, self.bound),
            rings,
            bell,
            rung: rung.clone(),
            reports: reports_tx,
            control: Arc::clone(control),
        };
        let thread = MediaTcp::new(wiring).map_err(NodeError::system("epoll"))?;
        Ok(Furnished { thread, rung, reports, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_what_is_advertised_with_the_port_that_was_taken() {
        let public: IpAddr = "203.0.113.9".parse().unwrap();
        let own = ["127.0.0.1".parse().unwrap()];
        let place = Place::open("127.0.0.1:0".parse().unwrap(), &[public], false, &own).unwrap();
        assert_eq!(place.candidates, [SocketAddr::new(public, place.bound.port())]);
    }
}
