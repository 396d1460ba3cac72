//! Asks a STUN server by which address the world sees the media port (RFC 8489).
//!
//! Done once, before the shards have the port: behind a one-to-one NAT, as on most clouds, no
//! interface has the address that clients must be told. It is not ICE: the core answers checks itself.
//!
//! ```text
//!   0                   1                   2                   3
//!   |0 0|      type             |            length             |  1 request, 0x101 answer
//!   |                 magic cookie 0x2112a442                   |
//!   |                 transaction, 96 bits                      |
//!   |       attribute type      |            length             |  padded to four bytes,
//!   |                 value …                                   |  as often as length says
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use antipode_base::limits::{STUN_RETRY, STUN_TIMEOUT};

use super::socket;
use crate::error::NodeError;

/// RFC 8489 §5.
const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// The longest answer that is read.
const ANSWER_MAX: usize = 1_500;

/// Names a request; its answer carries the same.
pub(crate) type Transaction = [u8; 12];

/// Why a datagram is no answer that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// Not STUN, or of another transaction: somebody else's.
    #[error("a datagram that is no answer")]
    Stray,
    /// It contradicts itself.
    #[error("an answer that does not parse")]
    Malformed,
    /// The server does not want to say.
    #[error("an error response")]
    Refused,
}

/// The request.
pub(crate) fn request(transaction: Transaction) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    bytes[8..].copy_from_slice(&transaction);
    bytes
}

/// The address that the server saw.
pub(crate) fn answer(bytes: &[u8], transaction: Transaction) -> Result<SocketAddr, AnswerError> {
    let Some((header, mut rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(AnswerError::Stray);
    };
    if header[4..8] != COOKIE.to_be_bytes() || header[8..] != transaction {
        return Err(AnswerError::Stray);
    }
    match u16::from_be_bytes([header[0], header[1]]) {
        BINDING_SUCCESS => {}
        BINDING_ERROR => return Err(AnswerError::Refused),
        _ => return Err(AnswerError::Stray),
    }
    if usize::from(u16::from_be_bytes([header[2], header[3]])) != rest.len() {
        return Err(AnswerError::Malformed);
    }
    // Whatever else the server says changes nothing in what it saw.
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = after.get(..length).ok_or(AnswerError::Malformed)?;
        if u16::from_be_bytes([head[0], head[1]]) == XOR_MAPPED_ADDRESS {
            return xor_mapped(value, transaction).ok_or(AnswerError::Malformed);
        }
        rest = after.get(length.next_multiple_of(4)..).ok_or(AnswerError::Malformed)?;
    }
    Err(AnswerError::Malformed)
}

/// RFC 8489 §14.2: port and address under the cookie, and for IPv6 the transaction after it, so that
/// no NAT mistakes the bytes for an address that it should rewrite.
fn xor_mapped(value: &[u8], transaction: Transaction) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ (COOKIE >> 16) as u16;
    let ip = match head[1] {
        1 => IpAddr::V4((u32::from_be_bytes(address.try_into().ok()?) ^ COOKIE).into()),
        2 => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&transaction);
            let bits = u128::from_be_bytes(address.try_into().ok()?) ^ u128::from_be_bytes(mask);
            IpAddr::V6(bits.into())
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the request, again or for the first time.
    Send,
    /// Wait for an answer until then.
    Wait(Instant),
    /// Nobody answers.
    GiveUp,
}

/// When to send (RFC 8489 §6.2.1): each pause is twice the one before.
#[derive(Debug)]
pub(crate) struct Schedule {
    next: Instant,
    pause: Duration,
    end: Instant,
}

impl Schedule {
    pub(crate) fn new(now: Instant) -> Self {
        Schedule { next: now, pause: STUN_RETRY, end: now + STUN_TIMEOUT }
    }

    /// To be called again after each step was done.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if now >= self.end {
            Step::GiveUp
        } else if now >= self.next {
            self.next = now + self.pause;
            self.pause *= 2;
            Step::Send
        } else {
            Step::Wait(self.next.min(self.end))
        }
    }
}

/// The addresses to tell clients: those of the configuration, and the one that `server` sees. With
/// none in the configuration, those of the host stay that are of the other family: the discovered
/// one stands for the rest.
pub(crate) fn addresses(
    server: Option<&str>,
    media: SocketAddr,
    advertise: &[IpAddr],
    host: &[IpAddr],
    transaction: Transaction,
) -> Result<Vec<IpAddr>, NodeError> {
    let Some(server) = server else { return Ok(advertise.to_vec()) };
    let seen = discover(server, media, transaction)?;
    tracing::info!(server, address = %seen, "STUN tells our public address");
    Ok(with_discovered(seen, media.ip(), advertise, host))
}

fn with_discovered(
    seen: IpAddr,
    bound: IpAddr,
    advertise: &[IpAddr],
    host: &[IpAddr],
) -> Vec<IpAddr> {
    let mut told = vec![seen];
    if !advertise.is_empty() {
        told.extend(advertise);
    } else if bound.is_unspecified() {
        let other = |ip: &&IpAddr| ip.is_ipv4() != seen.is_ipv4() && socket::is_reachable(**ip);
        told.extend(host.iter().filter(other));
    }
    told
}

/// Asks from the media port itself: a NAT may treat each port in its own way.
fn discover(
    server: &str,
    media: SocketAddr,
    transaction: Transaction,
) -> Result<IpAddr, NodeError> {
    let refuse = |why: String| NodeError::Stun { server: server.to_owned(), why };
    let all: Vec<SocketAddr> = server
        .to_socket_addrs()
        .map_err(|error| refuse(format!("the name is not found ({error})")))?
        .collect();
    let (place, from) = route(&all, media)
        .ok_or_else(|| refuse(format!("it has no address that media on {media} could ask")))?;
    let socket = UdpSocket::bind(from).map_err(|error| socket::describe(from, error))?;
    let failed = |error: io::Error| refuse(format!("{place}: {error}"));
    let port = socket.local_addr().map_err(failed)?.port();
    let seen = ask(&socket, place, transaction).map_err(failed)?;
    let seen = seen.ok_or_else(|| {
        refuse(format!("{place} does not answer within {} s", STUN_TIMEOUT.as_secs()))
    })?;
    if seen.port() != port {
        return Err(refuse(format!(
            "{place} sees port {} as {}, so this is no one-to-one NAT and clients cannot come in",
            port,
            seen.port()
        )));
    }
    Ok(seen.ip().to_canonical())
}

/// Which of the server's addresses to ask, and from where. IPv4 first: it is what gets translated.
fn route(all: &[SocketAddr], media: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
    let any = media.ip().is_unspecified();
    let from = |place: &SocketAddr| match (place.is_ipv4(), media.is_ipv4()) {
        (true, false) if any => Some((Ipv4Addr::UNSPECIFIED, media.port()).into()),
        (v4, own_v4) if v4 == own_v4 => Some(media),
        _ => None,
    };
    let routes = all.iter().filter_map(|place| Some((*place, from(place)?)));
    routes.min_by_key(|(place, _)| place.is_ipv6())
}

/// `None`: nobody answers in time.
fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    transaction: Transaction,
) -> io::Result<Option<SocketAddr>> {
    let mut schedule = Schedule::new(Instant::now());
    let mut buffer = [0; ANSWER_MAX];
    loop {
        let now = Instant::now();
        let until = match schedule.step(now) {
            Step::GiveUp => return Ok(None),
            Step::Wait(until) => until,
            Step::Send => {
                socket.send_to(&request(transaction), server)?;
                continue;
            }
        };
        socket.set_read_timeout(Some(until.saturating_duration_since(now)))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) if from == server => match answer(&buffer[..length], transaction) {
                Ok(seen) => return Ok(Some(seen)),
                Err(AnswerError::Stray) => {}
                Err(error) => return Err(io::Error::other(error)),
            },
            // Anybody may send to the media port.
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The time is over, or a signal came.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
