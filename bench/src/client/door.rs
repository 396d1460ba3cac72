//! Where a thread's peers are reached.
//!
//! On loopback many peers stand behind one socket, each at an address of its own (127.0.0.0/8). What the
//! kernel keeps of a receiver is touched by the sender there, once for each socket, which no network asks of
//! a server. Anywhere else a host has few addresses, and each peer has a socket of its own.
//!
//! ```text
//!   127.0.0.1:40000  peer 7 --+
//!   127.0.0.2:40000  peer 8 --+-- a door        a door -- 192.0.2.1:40001  peer 7
//!   127.0.0.3:40000  peer 9 --+
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use antipode_base::limits::{BENCH_DOOR_ADDRESSES_MAX, BENCH_DOOR_BUFFER, BENCH_SOCKET_BUFFER};
use antipode_runtime::udp;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;

/// A peer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The number of its door, which is the token too.
    pub door: usize,
    /// Its address.
    pub local: SocketAddr,
    /// What it must say when it sends, where others send by the same socket.
    pub from: Option<IpAddr>,
}

/// One socket.
pub struct Door {
    /// It tells to which address a datagram was sent if it is for many.
    pub socket: Socket,
    local: SocketAddr,
    /// So many peers at once.
    room: usize,
    open: usize,
    /// By address. None is used twice: the other side may not know that its first user left.
    peers: Vec<Option<usize>>,
}

impl Door {
    /// A door at any port: for many if it is on loopback and the host grants a buffer for many.
    fn open(at: SocketAddr) -> io::Result<Self> {
        if at.ip() == Ipv4Addr::LOCALHOST {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
            let (socket, granted) = udp::open_for_many(any, BENCH_DOOR_BUFFER)?;
            let room = granted / BENCH_SOCKET_BUFFER;
            if room > 1 {
                return Self::of(socket, room);
            }
        }
        Self::of(udp::open(at, BENCH_SOCKET_BUFFER)?, 1)
    }

    fn of(socket: Socket, room: usize) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket().ok_or(ErrorKind::Unsupported)?;
        Ok(Door { socket, local, room, open: 0, peers: Vec::new() })
    }

    fn is_for_many(&self) -> bool {
        self.room > 1
    }

    fn has_room(&self) -> bool {
        self.open < self.room && self.peers.len() < BENCH_DOOR_ADDRESSES_MAX
    }

    fn sit(&mut self, door: usize, id: usize) -> Seat {
        let number = self.peers.len() as u32;
        self.peers.push(Some(id));
        self.open += 1;
        if !self.is_for_many() {
            return Seat { door, local: self.local, from: None };
        }
        let ip = IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number));
        Seat { door, local: SocketAddr::new(ip, self.local.port()), from: Some(ip) }
    }

    /// Whose a datagram is that was sent to this address of the host.
    pub fn peer(&self, local: Option<IpAddr>) -> Option<usize> {
        *self.peers.get(self.number(local)?)?
    }

    fn number(&self, local: Option<IpAddr>) -> Option<usize> {
        match local {
            _ if !self.is_for_many() => Some(0),
            Some(IpAddr::V4(ip)) => {
                Some(u32::from(ip).checked_sub(u32::from(Ipv4Addr::LOCALHOST))? as usize)
            }
            _ => None,
        }
    }
}

/// All doors of a thread, by their numbers.
#[derive(Default)]
pub struct Doors(Vec<Option<Door>>);

impl Doors {
    /// A door that is still there.
    pub fn get(&self, door: usize) -> Option<&Door> {
        self.0.get(door)?.as_ref()
    }

    /// A place at any port of an address.
    ///
    /// # Errors
    /// No descriptors or ports left.
    pub fn open(&mut self, id: usize, at: SocketAddr, registry: &Registry) -> io::Result<Seat> {
        let shared = at.ip() == Ipv4Addr::LOCALHOST;
        let mut doors =
            self.0.iter_mut().enumerate().filter_map(|(at, door)| Some((at, door.as_mut()?)));
        if let Some((number, door)) = doors.find(|(_, door)| shared && door.has_room()) {
            return Ok(door.sit(number, id));
        }
        let mut door = Door::open(at)?;
        let number = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let descriptor = door.socket.as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), Token(number), Interest::READABLE)?;
        let seat = door.sit(number, id);
        if number == self.0.len() {
            self.0.push(None);
        }
        self.0[number] = Some(door);
        Ok(seat)
    }

    /// A peer is gone. The last one's door is closed, and the kernel forgets its descriptor by itself.
    pub fn leave(&mut self, seat: &Seat) {
        let Some(place) = self.0.get_mut(seat.door) else { return };
        let Some(door) = place else { return };
        let number = door.number(seat.from);
        if let Some(peer) = number.and_then(|number| door.peers.get_mut(number)) {
            door.open -= usize::from(peer.take().is_some());
        }
        if door.open == 0 {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_runtime::udp::{Receiver, Sender};
    use mio::Poll;

    fn at(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 0)
    }

    /// A door for so many, whatever the host grants.
    fn door(room: usize) -> Door {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (socket, _) = udp::open_for_many(any, BENCH_SOCKET_BUFFER).expect("a socket");
        Door::of(socket, room).expect("it is bound")
    }

    #[test]
    fn each_behind_a_door_is_found_by_its_address_and_sends_from_it() {
        let mut doors = Doors(vec![Some(door(3))]);
        let poll = Poll::new().expect("a poll");
        let mut open = |id| doors.open(id, at("127.0.0.1"), poll.registry()).expect("loopback");
        let seats = [open(7), open(8), open(9), open(10)];
        assert_eq!(seats[..3].iter().map(|seat| seat.door).collect::<Vec<_>>(), [0; 3]);
        assert_ne!(seats[3].door, 0, "the first has no room left");
        let door = doors.get(0).expect("it is open");
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
        let sent = sender.send(&door.socket, seats[0].from, seats[2].local, b"to nine");
        sent.expect("loopback takes it");
        let mut got = Vec::new();
        let take = |datagram: udp::Datagram<'_>| {
            got.push((door.peer(datagram.local), datagram.source, datagram.bytes.to_vec()));
        };
        receiver.receive(&door.socket, take).expect("it is there");
        assert_eq!(got, [(Some(9), seats[0].local, b"to nine".to_vec())]);
        assert_eq!(door.peer(Some(at("127.0.0.99").ip())), None);
        assert_eq!(door.peer(Some(at("10.0.0.1").ip())), None);
        assert_eq!(door.peer(None), None);
    }

    #[test]
    fn no_address_is_used_twice_and_the_last_closes_the_door() {
        let mut doors = Doors(vec![Some(door(2))]);
        let poll = Poll::new().expect("a poll");
        let mut seats = Vec::new();
        for id in 0..10 {
            let seat = doors.open(id, at("127.0.0.1"), poll.registry()).expect("loopback");
            if let Some(before) = seats.last() {
                doors.leave(before);
                doors.leave(before);
                assert_eq!(doors.get(0).expect("it is open").peer(before.from), None);
            }
            assert!(seat.door == 0 && !seats.contains(&seat), "{seat:?}");
            seats.push(seat);
        }
        doors.leave(&seats[9]);
        assert!(doors.get(0).is_none());
    }

    #[test]
    fn elsewhere_each_has_its_own_door() {
        let (mut doors, poll) = (Doors::default(), Poll::new().expect("a poll"));
        let Ok(seat) = doors.open(5, at("::1"), poll.registry()) else {
            // A host without IPv6.
            return;
        };
        let other = doors.open(6, at("::1"), poll.registry()).expect("a second one");
        assert_ne!(seat.door, other.door);
        assert_eq!(seat.from, None);
        assert_eq!(doors.get(seat.door).and_then(|door| door.peer(None)), Some(5));
    }
}
