//! The listening socket of ICE-TCP, and what is set on the connections that it gives.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use antipode_base::limits::TCP_UNSENT_MAX;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NodeError;
use crate::net::socket::lacks_ipv6;
use crate::net::sys;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Listens at `address`; a wildcard of IPv6 takes IPv4 as well, and gives way to that of IPv4 on
/// hosts without IPv6. Returns where it really listens.
///
/// # Errors
/// [`NodeError::TcpPortTaken`], [`NodeError::TcpSocket`].
pub(crate) fn open(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    match listen(address) {
        Err(error) if address.ip().is_unspecified() && lacks_ipv6(address, &error) => {
            tracing::info!(%error, "no IPv6 on this host: ICE-TCP over IPv4 alone");
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            listen(v4).map_err(|error| describe(v4, error))
        }
        other => other.map_err(|error| describe(address, error)),
    }
}

fn describe(address: SocketAddr, error: io::Error) -> NodeError {
    match error.kind() {
        io::ErrorKind::AddrInUse => NodeError::TcpPortTaken { port: address.port() },
        _ => NodeError::TcpSocket { address, error },
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections of the node before us may linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Makes a new connection one for media: nothing waits to be joined, and little waits unsent.
pub(crate) fn dress(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let unsent = TCP_UNSENT_MAX as libc::c_int;
    sys::set_int(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, unsent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_flag() {
        let (_first, at) = open("127.0.0.1:0".parse().unwrap()).expect("any port");
        let error = open(at).unwrap_err().to_string();
        assert!(error.contains(&format!("media.tcp: port {} is taken", at.port())), "{error}");
        assert!(error.contains("--media-tcp"), "{error}");
        let foreign = open("203.0.113.77:0".parse().unwrap()).unwrap_err().to_string();
        assert!(foreign.contains("media.tcp 203.0.113.77:0"), "{foreign}");
    }
}
