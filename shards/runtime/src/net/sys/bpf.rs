//! bpf(2): maps, loading a program, and attaching one to a reuseport group.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

const BPF_MAP_CREATE: c_int = 0;
const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_MAP_UPDATE_ELEM: c_int = 2;
const BPF_MAP_DELETE_ELEM: c_int = 3;
const BPF_PROG_LOAD: c_int = 5;

/// `BPF_MAP_TYPE_LRU_HASH`.
pub(crate) const MAP_LRU_HASH: u32 = 9;
/// `BPF_MAP_TYPE_REUSEPORT_SOCKARRAY`.
pub(crate) const MAP_REUSEPORT_SOCKARRAY: u32 = 20;
const PROG_TYPE_SK_REUSEPORT: u32 = 21;
/// Room for the verifier's words.
const LOG_BYTES: usize = 64 * 1024;
/// `asm-generic/socket.h`; the libc crate does not have them for Linux.
const SO_ATTACH_REUSEPORT_CBPF: c_int = 51;
const SO_ATTACH_REUSEPORT_EBPF: c_int = 52;

/// One instruction of eBPF, `struct bpf_insn`: `registers` holds the source in its high half.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// The part of `union bpf_attr` that BPF_MAP_CREATE reads.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that the element commands read.
#[repr(C)]
#[derive(Default)]
struct MapElement {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// # Safety
/// `A` is laid out as `union bpf_attr` for `command`, and every address in it is valid for what the
/// command does with it.
unsafe fn bpf<A>(command: c_int, attributes: &A) -> io::Result<c_int> {
    // SAFETY: the size is that of `attributes`; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<A>() as u32)
    };
    check(result as c_int)?;
    Ok(result as c_int)
}

/// A map of the kernel.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    key_bytes: usize,
    value_bytes: usize,
}

impl Map {
    /// # Errors
    /// `PermissionDenied` where the process may not use bpf(2).
    pub(crate) fn create(
        kind: u32,
        key_bytes: usize,
        value_bytes: usize,
        entries: usize,
    ) -> io::Result<Map> {
        let attributes = MapCreate {
            kind,
            key_bytes: key_bytes as u32,
            value_bytes: value_bytes as u32,
            entries: entries as u32,
            flags: 0,
        };
        // SAFETY: the layout is BPF_MAP_CREATE's; it holds no address.
        let fd = unsafe { bpf(BPF_MAP_CREATE, &attributes) }?;
        // SAFETY: the descriptor was made for us just now.
        Ok(Map { fd: unsafe { OwnedFd::from_raw_fd(fd) }, key_bytes, value_bytes })
    }

    /// The descriptor, as programs name their maps.
    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Reads an entry into `value`.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn get(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        assert!(key.len() == self.key_bytes && value.len() == self.value_bytes, "sizes of the map");
        let attributes = self.element(key, value.as_mut_ptr() as u64);
        // SAFETY: as below, but that the value is written: it is borrowed for that until the call returns.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &attributes) }.map(drop)
    }

    /// Adds or replaces.
    pub(crate) fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert!(key.len() == self.key_bytes && value.len() == self.value_bytes, "sizes of the map");
        let attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: the layout is that of the element commands; the kernel reads as many bytes of key
        // and value as the map was made with, which the assertion compared.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }

    /// Removes.
    pub(crate) fn remove(&self, key: &[u8]) -> io::Result<()> {
        assert!(key.len() == self.key_bytes, "size of the map's key");
        let attributes = self.element(key, 0);
        // SAFETY: as above; the command reads no value.
        unsafe { bpf(BPF_MAP_DELETE_ELEM, &attributes) }.map(drop)
    }

    fn element(&self, key: &[u8], value: u64) -> MapElement {
        MapElement { map: self.raw() as u32, key: key.as_ptr() as u64, value, ..Default::default() }
    }
}

/// Loads a program that selects a socket of a reuseport group.
///
/// # Errors
/// `PermissionDenied` where the process may not; else the verifier's words in the error's text.
pub(crate) fn load_reuseport(code: &[Insn]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attributes = ProgLoad {
        kind: PROG_TYPE_SK_REUSEPORT,
        instructions: code.len() as u32,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Default::default()
    };
    // SAFETY: the layout is BPF_PROG_LOAD's; code and license are read only and outlive the call.
    let loaded = match unsafe { bpf(BPF_PROG_LOAD, &attributes) } {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            let mut log = vec![0u8; LOG_BYTES];
            attributes.log_level = 1;
            attributes.log_bytes = LOG_BYTES as u32;
            attributes.log = log.as_mut_ptr() as u64;
            // SAFETY: as above; the log is written within its size.
            unsafe { bpf(BPF_PROG_LOAD, &attributes) }.map_err(|error| explain(&error, &log))
        }
        other => other,
    }?;
    // SAFETY: the descriptor was made for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
}

fn explain(error: &io::Error, log: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
    let tail: Vec<&str> = text.lines().rev().take(3).collect();
    io::Error::new(error.kind(), format!("{error}: {}", tail.join(" | ")))
}

/// Attaches an eBPF program to the group of `socket`.
pub(crate) fn attach_ebpf(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    super::set_int(socket, libc::SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program.as_raw_fd())
}

/// Attaches a classic program to the group of `socket`.
pub(crate) fn attach_cbpf(
    socket: BorrowedFd<'_>,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the pointer and the length describe `filter`, whose own pointer and length describe
    // `program`; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast::<c_void>(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    check(result)
}
