//! Datagrams in flight between clients and the node.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use crate::path::{Class, Item, Micros, Path};
use crate::seed::mix;

/// One UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Whence.
    pub source: SocketAddr,
    /// Whither.
    pub destination: SocketAddr,
    /// Payload.
    pub bytes: Vec<u8>,
}

impl Datagram {
    /// Whether it is media: no report, nothing else.
    pub(crate) fn is_rtp(&self) -> bool {
        look(&self.bytes).0 == Class::Rtp
    }
}

/// One direction between one client's address and the node.
pub struct Lane {
    path: Box<dyn Path>,
    instant: Micros,
    /// Something of a connection that is up went this way.
    up: bool,
    /// How many datagrams of one look the current instant had.
    seen: BTreeMap<Look, u64>,
}

/// What two runs of one seed have in common of a datagram: class, payload type, RTP timestamp,
/// length. All but the class are 0 outside RTP.
type Look = (Class, u8, u32, u64);

struct Flight {
    at: Micros,
    order: u64,
    datagram: Datagram,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    /// The heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// All lanes, and what is on them.
#[derive(Default)]
pub struct Net {
    lanes: Vec<Lane>,
    flights: BinaryHeap<Flight>,
    order: u64,
}

impl Net {
    /// A new lane; its number.
    pub fn lane(&mut self, path: Box<dyn Path>) -> usize {
        self.lanes.push(Lane { path, instant: 0, up: false, seen: BTreeMap::new() });
        self.lanes.len() - 1
    }

    /// Another path for a lane: the network changed.
    pub fn replace(&mut self, lane: usize, path: Box<dyn Path>) {
        self.lanes[lane].path = path;
    }

    /// Sends what one side has at hand, in its order.
    pub fn send(&mut self, lane: usize, at: Micros, batch: Vec<Datagram>) {
        let lane = &mut self.lanes[lane];
        if lane.instant != at {
            lane.instant = at;
            lane.seen.clear();
        }
        let mut arrivals = Vec::new();
        for datagram in batch {
            let look = look(&datagram.bytes);
            let (class, payload_type, timestamp, len) = look;
            let nth = lane.seen.entry(look).or_default();
            // Reports of several streams leave in the order of a map: they share one fate.
            *nth += u64::from(class != Class::Rtcp);
            let looks = [class as u64, payload_type.into(), timestamp.into(), len, *nth];
            lane.up |= matches!(class, Class::Rtp | Class::Rtcp | Class::Data);
            let class = if class == Class::Stun && !lane.up { Class::Handshake } else { class };
            let item = Item { class, identity: mix(&looks), len };
            lane.path.pass(at, &item, &mut arrivals);
            for at in arrivals.drain(..) {
                self.order += 1;
                self.flights.push(Flight { at, order: self.order, datagram: datagram.clone() });
            }
        }
    }

    /// Puts a datagram onto no lane at all: it arrives then, whatever happens.
    pub fn inject(&mut self, at: Micros, datagram: Datagram) {
        self.order += 1;
        self.flights.push(Flight { at, order: self.order, datagram });
    }

    /// When the next one arrives.
    pub fn next(&self) -> Option<Micros> {
        self.flights.peek().map(|flight| flight.at)
    }

    /// The next one, if it has arrived.
    pub fn arrive(&mut self, now: Micros) -> Option<Datagram> {
        if self.next()? > now {
            return None;
        }
        self.flights.pop().map(|flight| flight.datagram)
    }
}

fn look(bytes: &[u8]) -> Look {
    match bytes.first() {
        Some(0..=3) => (Class::Stun, 0, 0, 0),
        // RFC 6347 §4.1: content type 23 is application data.
        Some(23) => (Class::Data, 0, 0, 0),
        Some(20..=63) => (Class::Handshake, 0, 0, 0),
        Some(128..=191) if bytes.len() >= 12 => {
            let payload_type = bytes[1] & 0x7f;
            if (64..96).contains(&payload_type) {
                return (Class::Rtcp, 0, 0, 0);
            }
            let timestamp = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            (Class::Rtp, payload_type, timestamp, bytes.len() as u64)
        }
        _ => (Class::Other, 0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Wire;

    fn rtp(timestamp: u8, len: usize) -> Datagram {
        let mut bytes = vec![0; len];
        bytes[..8].copy_from_slice(&[128, 96, 0, 0, 0, 0, 0, timestamp]);
        let at = "10.0.0.1:1".parse().unwrap();
        Datagram { source: at, destination: at, bytes }
    }

    #[test]
    fn arrives_in_order_of_time_and_then_of_sending() {
        let mut net = Net::default();
        let lane = net.lane(Box::new(Wire { delay: 5 }));
        net.send(lane, 11, vec![rtp(3, 20)]);
        net.send(lane, 10, vec![rtp(2, 30), rtp(1, 20)]);
        assert_eq!(net.arrive(14), None);
        let arrived: Vec<_> = std::iter::from_fn(|| net.arrive(16)).collect();
        assert_eq!(arrived, [rtp(2, 30), rtp(1, 20), rtp(3, 20)]);
    }

    #[test]
    fn looks_of_first_bytes() {
        for (bytes, class) in [
            (vec![0; 20], Class::Stun),
            (vec![22; 20], Class::Handshake),
            (vec![23; 20], Class::Data),
            (vec![128, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], Class::Rtcp),
            (vec![128, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], Class::Rtp),
            (vec![128, 96], Class::Other),
            (vec![], Class::Other),
        ] {
            assert_eq!(look(&bytes).0, class, "{bytes:?}");
        }
    }
}
