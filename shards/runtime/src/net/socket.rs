//! The SO_REUSEPORT group: one socket per shard, all on the node's one media port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::sys::{self, interface_addresses};
use crate::error::NodeError;

/// What each socket should hold in each direction, in bytes: at 1 Gbit/s about 30 ms. The doctor
/// says what the host grants.
pub(crate) const BUFFER_WANTED: usize = 4 * 1024 * 1024;

/// All sockets of a node, in the order of the shards.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) sockets: Vec<Socket>,
    /// For what may wait, and for pictures: one of each for each shard, or none.
    pub(crate) patient: Vec<Socket>,
    pub(crate) pictures: Vec<Socket>,
    /// Where they are bound.
    pub(crate) address: SocketAddr,
}

impl Group {
    /// Those of the shards, those for what may wait, those for pictures: as the kernel numbers them.
    pub(crate) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        let all = self.sockets.iter().chain(&self.patient).chain(&self.pictures);
        all.map(AsFd::as_fd).collect()
    }

    /// Opens two more for each shard. Until a program steers, the kernel spreads datagrams over all.
    pub(crate) fn open_apart(&mut self) -> io::Result<()> {
        let open = || -> io::Result<Vec<Socket>> {
            self.sockets.iter().map(|_| open_one(self.address)).collect()
        };
        (self.patient, self.pictures) = (open()?, open()?);
        Ok(())
    }

    /// Closes them.
    pub(crate) fn close_apart(&mut self) {
        self.patient.clear();
        self.pictures.clear();
    }

    /// Says once what was opened, and which buffers the kernel really grants (doubled, socket(7)).
    pub(crate) fn log(&self) {
        let first = self.sockets.first();
        let recv_bytes = first.and_then(|socket| socket.recv_buffer_size().ok());
        let send_bytes = first.and_then(|socket| socket.send_buffer_size().ok());
        let sockets = self.sockets.len();
        tracing::info!(address = %self.address, sockets, recv_bytes, send_bytes, "media sockets are open");
    }
}

/// Opens the group. A wildcard of IPv6 takes IPv4 as well, and gives way to that of IPv4 on hosts
/// without IPv6.
///
/// # Errors
/// [`NodeError::PortTaken`], [`NodeError::MediaSocket`].
pub(crate) fn open_group(address: SocketAddr, shards: usize) -> Result<Group, NodeError> {
    match open_all(address, shards) {
        Err(error) if address.ip().is_unspecified() && lacks_ipv6(address, &error) => {
            tracing::info!(%error, "no IPv6 on this host: media over IPv4 alone");
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            open_all(v4, shards).map_err(|error| describe(v4, error))
        }
        other => other.map_err(|error| describe(address, error)),
    }
}

/// Whether the host has no IPv6 at all.
pub(crate) fn lacks_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    address.is_ipv6()
        && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

pub(crate) fn describe(address: SocketAddr, error: io::Error) -> NodeError {
    match error.kind() {
        io::ErrorKind::AddrInUse => NodeError::PortTaken { port: address.port() },
        _ => NodeError::MediaSocket { address, error },
    }
}

fn open_all(address: SocketAddr, shards: usize) -> io::Result<Group> {
    if address.port() != 0 {
        probe_free(address)?;
    }
    let first = open_one(address)?;
    let bound = first.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let mut sockets = vec![first];
    while sockets.len() < shards {
        sockets.push(open_one(bound)?);
    }
    Ok(Group { sockets, patient: Vec::new(), pictures: Vec::new(), address: bound })
}

/// Fails when anybody has the port. SO_REUSEPORT would let us join the group of another process of
/// the same user, and each would then get a part of the other's datagrams.
pub(crate) fn probe_free(address: SocketAddr) -> io::Result<()> {
    plain(address)?.bind(&address.into())
}

fn plain(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

fn open_one(address: SocketAddr) -> io::Result<Socket> {
    let socket = plain(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    grow_buffers(&socket, BUFFER_WANTED)?;
    let fd = socket.as_fd();
    if address.is_ipv6() {
        sys::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    } else {
        sys::set_int(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    // Linux 5.0; an older kernel delivers datagrams one by one.
    if let Err(error) = sys::set_int(fd, libc::SOL_UDP, libc::UDP_GRO, 1) {
        tracing::info!(%error, "the kernel does not join received datagrams (UDP_GRO)");
    }
    keep_whole(fd, true)?;
    // A turn may begin long after what it finds came, and publishers judge their path by our times.
    sys::set_int(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether a datagram that is longer than its path carries is refused instead of cut. What is never cut
/// needs no number to be put together by (RFC 6864 §4.1), and the kernel keeps those in a table that is
/// out of the core's caches for each destination: 7 % of what sound costs. IPv6 has none of that.
pub(crate) fn keep_whole(fd: BorrowedFd<'_>, whole: bool) -> io::Result<()> {
    let discovery = if whole { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_WANT };
    sys::set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discovery)
}

/// A privileged process may pass net.core.rmem_max; any other gets what that allows.
pub(crate) fn grow_buffers(socket: &Socket, wanted: usize) -> io::Result<()> {
    let fd = socket.as_fd();
    let forced = wanted as libc::c_int;
    if sys::set_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, forced).is_err() {
        socket.set_recv_buffer_size(wanted)?;
    }
    if sys::set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, forced).is_err() {
        socket.set_send_buffer_size(wanted)?;
    }
    Ok(())
}

/// Which addresses a client could use to reach this host.
pub(crate) fn host_addresses() -> Result<Vec<IpAddr>, NodeError> {
    let all = interface_addresses().map_err(NodeError::system("reading the host's addresses"))?;
    Ok(all.into_iter().filter(|address| address.up).map(|address| address.ip).collect())
}

/// The candidates of a node whose socket is bound to `bound`.
///
/// # Errors
/// [`NodeError::NoCandidates`].
pub(crate) fn candidates(
    bound: SocketAddr,
    advertise: &[IpAddr],
    include_loopback: bool,
    host: &[IpAddr],
) -> Result<Vec<SocketAddr>, NodeError> {
    let mut wanted: Vec<IpAddr> = if !advertise.is_empty() {
        advertise.to_vec()
    } else if !bound.ip().is_unspecified() {
        vec![bound.ip()]
    } else {
        host.iter().copied().filter(|ip| is_reachable(*ip)).collect()
    };
    if include_loopback && bound.ip().is_unspecified() {
        wanted.extend(host.iter().filter(|ip| ip.is_loopback()));
    }
    let served = |ip: &IpAddr| {
        bound.is_ipv6() && bound.ip().is_unspecified() || bound.is_ipv6() == ip.is_ipv6()
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for ip in wanted.iter().map(IpAddr::to_canonical).filter(served) {
        let candidate = SocketAddr::new(ip, bound.port());
        if !ip.is_unspecified() && !ip.is_multicast() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    if found.is_empty() {
        return Err(NodeError::NoCandidates { found: format!("of {wanted:?} for {bound}") });
    }
    Ok(found)
}

/// Not loopback, and not link-local IPv6, which means nothing without a zone that no candidate
/// carries (RFC 8839 §5.1).
pub(crate) fn is_reachable(ip: IpAddr) -> bool {
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !ip.is_loopback() && !link_local
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::sys::batch::RecvBatch;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect()
    }

    #[test]
    fn candidates_of_a_host() {
        let host = "127.0.0.1 ::1 192.0.2.2 fd00::2 fe80::1";
        let rows = [
            ("[::]:7882", "", false, "192.0.2.2 fd00::2"),
            ("[::]:7882", "", true, "192.0.2.2 fd00::2 127.0.0.1 ::1"),
            ("0.0.0.0:7882", "", true, "192.0.2.2 127.0.0.1"),
            ("127.0.0.1:7882", "", false, "127.0.0.1"),
            ("[::]:7882", "203.0.113.9 203.0.113.9", false, "203.0.113.9"),
            ("[::]:7882", "203.0.113.9", true, "203.0.113.9 127.0.0.1 ::1"),
            ("10.0.0.5:7882", "203.0.113.9 2001:db8::1", false, "203.0.113.9"),
        ];
        for (bound, advertise, loopback, want) in rows {
            let bound: SocketAddr = bound.parse().expect("an address");
            let got = candidates(bound, &ips(advertise), loopback, &ips(host)).unwrap();
            let want: Vec<_> = ips(want).iter().map(|ip| SocketAddr::new(*ip, 7882)).collect();
            assert_eq!(got, want, "{bound} {advertise} {loopback}");
        }
        let none = candidates("0.0.0.0:7882".parse().unwrap(), &ips("fd00::9"), false, &[]);
        assert!(none.unwrap_err().to_string().contains("--advertise"));
    }

    #[test]
    fn a_taken_port_is_refused_though_it_may_be_shared() {
        let first = open_group("127.0.0.1:0".parse().unwrap(), 2).expect("any port");
        let port = first.address.port();
        let second = open_group(first.address, 1).unwrap_err().to_string();
        assert!(second.contains(&format!("media.port {port} is taken")), "{second}");
        assert!(second.contains("--media-port"), "{second}");
    }

    #[test]
    fn a_datagram_came_when_the_kernel_had_it() {
        let group = open_group("127.0.0.1:0".parse().unwrap(), 1).expect("any port");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for byte in [1, 2] {
            sender.send_to(&[byte], group.address).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut batch = RecvBatch::new();
        assert_eq!(batch.recv(group.sockets[0].as_fd()).unwrap(), 2, "both were waiting");
        let [first, second] = [0, 1].map(|index| batch.message(index).unwrap().arrived);
        assert!(second - first >= Duration::from_millis(15), "{:?}", second - first);
    }

    #[test]
    fn a_foreign_address_names_the_field() {
        let error = open_group("203.0.113.77:0".parse().unwrap(), 1).unwrap_err().to_string();
        assert!(error.contains("media.bind 203.0.113.77:0"), "{error}");
    }
}
