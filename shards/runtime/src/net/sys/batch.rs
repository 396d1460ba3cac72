//! Many datagrams per system call: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT, and on both the
//! local address (IP_PKTINFO, or IPV6_PKTINFO, which a dual-stack socket uses for IPv4 as well). Sockets that
//! ask for it also tell when a message came.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use antipode_base::limits::{RECV_BATCH, SEND_BATCH, TRAIN_SEGMENTS_MAX};
use antipode_core::Transmit;
use socket2::SockAddr;

use crate::net::calendar::Calendar;
use crate::net::trains::Train;

/// A received message is at most what UDP can carry; UDP_GRO makes full use of it.
const MESSAGE_MAX: usize = 65_535;

/// Distance of two message buffers. Not a power of two: then the first lines of all buffers, which
/// is all that a small datagram touches, would fall into one set of the cache.
const MESSAGE_STRIDE: usize = 65_536 + 2_240;

/// Room for the control messages of one message, aligned as `cmsghdr` asks.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 128]);

const CONTROL_EMPTY: Control = Control([0; 128]);

/// One message of a batch: one datagram, or several of one peer that the kernel has joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// The peer; IPv4 is given as IPv4.
    pub(crate) source: SocketAddr,
    /// Our address, to which the peer sent.
    pub(crate) local: Option<IpAddr>,
    /// The payloads, one after the other.
    pub(crate) bytes: &'a [u8],
    /// Length of each datagram but the last, which may be shorter.
    pub(crate) segment: usize,
    /// When the kernel had it; when it was read, unless the socket asks for that (SO_TIMESTAMPNS).
    pub(crate) arrived: Instant,
}

/// Buffers for one `recvmmsg`. Memory is taken from the system as it is touched, in small pages: most
/// messages touch the first of theirs alone.
pub(crate) struct RecvBatch {
    bytes: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    filled: usize,
    read: Calendar,
}

impl RecvBatch {
    pub(crate) fn new() -> Self {
        // SAFETY: zero is a valid value of these plain structs of integers and pointers.
        let (name, iovec, header) = unsafe { std::mem::zeroed() };
        let mut batch = RecvBatch {
            bytes: vec![0; MESSAGE_STRIDE * RECV_BATCH].into_boxed_slice(),
            names: vec![name; RECV_BATCH].into_boxed_slice(),
            controls: vec![CONTROL_EMPTY; RECV_BATCH].into_boxed_slice(),
            iovecs: vec![iovec; RECV_BATCH].into_boxed_slice(),
            headers: vec![header; RECV_BATCH].into_boxed_slice(),
            filled: 0,
            read: Calendar::read(),
        };
        keep_small(&mut batch.bytes);
        (0..RECV_BATCH).for_each(|index| batch.point_header(index));
        batch
    }

    /// The kernel writes lengths and flags into the headers that it fills; the rest of them stays.
    fn point_header(&mut self, index: usize) {
        self.iovecs[index] = libc::iovec {
            iov_base: self.bytes[index * MESSAGE_STRIDE..].as_mut_ptr().cast::<c_void>(),
            iov_len: MESSAGE_MAX,
        };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast::<c_void>();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &raw mut self.iovecs[index];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut self.controls[index]).cast::<c_void>();
        header.msg_controllen = size_of::<Control>() as _;
        header.msg_flags = 0;
    }

    /// Takes what the socket has, without waiting; returns how many messages.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub(crate) fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let filled = std::mem::take(&mut self.filled);
        (0..filled).for_each(|index| self.point_header(index));
        // SAFETY: each header points to buffers of this batch with their true sizes; they live and
        // stay where they are for the whole call.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                RECV_BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.filled = count as usize;
        self.read = Calendar::read();
        Ok(self.filled)
    }

    /// Messages of the last [`RecvBatch::recv`].
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Message `index` of the last [`RecvBatch::recv`]. `None`: there is none, or its source is no
    /// IP address.
    pub(crate) fn message(&self, index: usize) -> Option<Received<'_>> {
        let (source, bytes) = self.peek(index)?;
        let Controls { local, segment, arrived } = read_controls(&self.headers[index].msg_hdr);
        let segment = segment.filter(|segment| *segment > 0).unwrap_or(bytes.len());
        let arrived = arrived.map_or(self.read.now(), |stamp| self.read.at(stamp));
        Some(Received { source, local, bytes, segment, arrived })
    }

    /// Its source and its bytes.
    pub(crate) fn peek(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        if index >= self.filled {
            return None;
        }
        let start = index * MESSAGE_STRIDE;
        let length = (self.headers[index].msg_len as usize).min(MESSAGE_MAX);
        Some((read_name(&self.names[index])?, &self.bytes[start..start + length]))
    }
}

/// Asks for pages of the usual size, whatever the allocator wants; a kernel that knows no others refuses.
fn keep_small(bytes: &mut [u8]) {
    const PAGE: usize = 4_096;
    let before = bytes.as_ptr().align_offset(PAGE).min(bytes.len());
    let whole = (bytes.len() - before) / PAGE * PAGE;
    // SAFETY: the range is ours, of whole pages, and this advice changes nothing of what is in them.
    unsafe { libc::madvise(bytes[before..].as_mut_ptr().cast(), whole, libc::MADV_NOHUGEPAGE) };
}

/// The peer's address as the kernel wrote it.
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: sockaddr_storage is larger than and aligned for every socket address.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

/// What the kernel says beside a received message.
#[derive(Default)]
struct Controls {
    local: Option<IpAddr>,
    segment: Option<usize>,
    arrived: Option<Duration>,
}

fn read_controls(header: &libc::msghdr) -> Controls {
    let Controls { mut local, mut segment, mut arrived } = Controls::default();
    // SAFETY: the kernel has filled the control buffer of `header` and set its length; CMSG_NXTHDR
    // stays within it. Data is read without asking for alignment and has the size of its type.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = next.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    local = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    segment = usize::try_from(data.cast::<c_int>().read_unaligned()).ok();
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
                    arrived = u64::try_from(time.tv_sec).ok().map(|s| Duration::new(s, nanos));
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, control);
        }
    }
    Controls { local, segment, arrived }
}

/// Headers for one `sendmmsg` of up to [`SEND_BATCH`] trains.
pub(crate) struct SendBatch {
    v6: bool,
    names: Vec<SockAddr>,
    controls: Box<[Control]>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl SendBatch {
    /// `v6`: the socket is one of IPv6, then IPv4 travels as mapped addresses (RFC 4291 §2.5.5.2).
    pub(crate) fn new(v6: bool) -> Self {
        SendBatch {
            v6,
            names: Vec::with_capacity(SEND_BATCH),
            controls: vec![CONTROL_EMPTY; SEND_BATCH].into_boxed_slice(),
            iovecs: Vec::with_capacity(SEND_BATCH * TRAIN_SEGMENTS_MAX),
            headers: Vec::with_capacity(SEND_BATCH),
        }
    }

    /// Sends trains of `queue` without waiting; returns how many left. `source_of` names the local
    /// address to send from, or leaves it to the kernel.
    ///
    /// # Errors
    /// Why the first train did not leave. Later trains' errors come with the next call.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        queue: &VecDeque<Transmit>,
        trains: &[Train],
        source_of: impl Fn(SocketAddr) -> Option<IpAddr>,
    ) -> io::Result<usize> {
        self.names.clear();
        self.iovecs.clear();
        self.headers.clear();
        for (index, train) in trains.iter().take(SEND_BATCH).enumerate() {
            let datagrams = train.first..train.first + train.datagrams;
            for transmit in queue.range(datagrams) {
                self.iovecs.push(libc::iovec {
                    iov_base: transmit.bytes.as_ptr().cast_mut().cast::<c_void>(),
                    iov_len: transmit.bytes.len(),
                });
            }
            let first = &queue[train.first];
            self.names.push(SockAddr::from(self.as_sent(first.destination)));
            let segment = (train.datagrams > 1).then_some(train.segment);
            self.push_header(index, train.datagrams, source_of(first.local), segment);
        }
        self.point_headers();
        // SAFETY: each header points to a name, a control buffer and as many iovecs as it says, all
        // owned by this batch; the iovecs point to the queue's datagrams, which are only read. None
        // of them moves before the call returns.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    fn as_sent(&self, destination: SocketAddr) -> SocketAddr {
        match destination {
            SocketAddr::V4(v4) if self.v6 => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            other => other,
        }
    }

    /// A header whose pointers are still to be set; `msg_iovlen` tells them apart.
    fn push_header(
        &mut self,
        index: usize,
        datagrams: usize,
        source: Option<IpAddr>,
        segment: Option<u16>,
    ) {
        // SAFETY: zero is a valid value of this plain struct of integers and pointers.
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        header.msg_hdr.msg_iovlen = datagrams as _;
        header.msg_hdr.msg_controllen =
            write_controls(&mut self.controls[index], source, segment) as _;
        self.headers.push(header);
    }

    /// Done last, when nothing is pushed any more and thus nothing moves.
    fn point_headers(&mut self) {
        let mut iovecs = self.iovecs.as_mut_ptr();
        for (index, header) in self.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            let name = &self.names[index];
            header.msg_name = name.as_ptr().cast_mut().cast::<c_void>();
            header.msg_namelen = name.len();
            header.msg_iov = iovecs;
            // The lengths of all headers add up to that of `iovecs`.
            iovecs = iovecs.wrapping_add(header.msg_iovlen);
            if header.msg_controllen > 0 {
                header.msg_control = (&raw mut self.controls[index]).cast::<c_void>();
            }
        }
    }
}

/// Fills a control buffer; returns the bytes used.
///
/// A source of IPv4 is named as such to a socket of IPv6 too: what is longer than 36 bytes the kernel
/// copies to memory that it allocates for each datagram.
fn write_controls(control: &mut Control, source: Option<IpAddr>, segment: Option<u16>) -> usize {
    let mut used = 0;
    match source.map(|source| source.to_canonical()) {
        Some(IpAddr::V6(v6)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: v6.octets() },
                ipi6_ifindex: 0,
            };
            used += put(control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        Some(IpAddr::V4(v4)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(v4).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            used += put(control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        None => {}
    }
    if let Some(segment) = segment {
        used += put(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    used
}

/// Writes one control message at `at`; returns the room that it takes.
fn put<T: Copy>(control: &mut Control, at: usize, level: c_int, kind: c_int, value: T) -> usize {
    // SAFETY: these two only compute with the size.
    let (space, length) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
    assert!(at + space as usize <= size_of::<Control>(), "control messages fit their buffer");
    // SAFETY: the assertion above keeps header and data within the buffer; `at` is a sum of
    // CMSG_SPACEs, hence aligned; the data is written without asking for alignment.
    unsafe {
        let header = control.0.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    space as usize
}
