//! The only unsafe code of this crate: system calls that no safe crate of ours wraps.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`batch`] | recvmmsg and sendmmsg with packet info, UDP_GRO and UDP_SEGMENT |
//! | [`bpf`] | bpf(2) and attaching a program to a reuseport group |
//!
//! Every function here has a safe signature and keeps its promise by itself.
#![allow(unsafe_code)]

pub(crate) mod batch;
pub(crate) mod bpf;

use std::ffi::{c_int, c_void};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// `setsockopt` of an integer.
pub(crate) fn set_int(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    check(result)
}

/// An address of a local interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) ip: IpAddr,
    pub(crate) loopback: bool,
    pub(crate) up: bool,
}

/// Every IP address of this network namespace, getifaddrs(3).
pub(crate) fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut head: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `head` is a valid place for the list's address.
    check(unsafe { libc::getifaddrs(&raw mut head) })?;
    let mut found = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list, which is freed only after the loop.
        let entry = unsafe { &*next };
        // SAFETY: `ifa_addr` is null or a socket address of the size that its family implies.
        if let Some(ip) = unsafe { ip_of(entry.ifa_addr) } {
            let flag = |bit: c_int| entry.ifa_flags & bit as u32 != 0;
            found.push(InterfaceAddress {
                ip,
                loopback: flag(libc::IFF_LOOPBACK),
                up: flag(libc::IFF_UP),
            });
        }
        next = entry.ifa_next;
    }
    // SAFETY: `head` came from getifaddrs and nothing of the list is used any more.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}

/// # Safety
/// `address` is null or points to a socket address as long as its family implies.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every socket address starts with its family.
    match c_int::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: AF_INET implies sockaddr_in; the read does not ask for alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: AF_INET6 implies sockaddr_in6; the read does not ask for alignment.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// Bytes of `struct io_uring_params`, which the probe only needs as a place for the kernel's answer.
const IO_URING_PARAMS: usize = 120;

/// Whether this process may make an io_uring: makes a small one and closes it.
pub(crate) fn probe_io_uring() -> io::Result<()> {
    let mut params = [0u64; IO_URING_PARAMS / 8];
    // SAFETY: `params` is a zeroed io_uring_params, and the kernel writes within its size.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made for us just now and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as c_int) });
    Ok(())
}

/// Gives a UDP socket to glommio's reactor. Must be called inside an executor.
pub(crate) fn glommio_udp(fd: OwnedFd) -> glommio::net::UdpSocket {
    // SAFETY: the descriptor is owned, open, and handed over.
    unsafe { glommio::net::UdpSocket::from_raw_fd(fd.into_raw_fd()) }
}

/// Gives an eventfd to glommio's reactor as something to read from. Must be called inside an
/// executor.
pub(crate) fn glommio_file(fd: OwnedFd) -> glommio::io::BufferedFile {
    // SAFETY: the descriptor is owned, open, and handed over.
    unsafe { glommio::io::BufferedFile::from_raw_fd(fd.into_raw_fd()) }
}

/// The last system call's error when `result` is negative.
fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
