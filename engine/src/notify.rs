//! Says that a process is ready to whoever started it, in the way of systemd's `sd_notify`:
//! one datagram of `NAME=value` lines to the Unix socket in `NOTIFY_SOCKET`.
//!
//! `dev` listens in the same way for its children, so that a unit of `Type=notify` and `dev` see the
//! same thing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names the socket.
pub(crate) const SOCKET_ENV: &str = "NOTIFY_SOCKET";
/// A line of our own: where HTTP is served, as bound.
pub(crate) const HTTP_LINE: &str = "X_ANTIPODE_HTTP=";

/// Says that this process is ready. Nobody listening is no error: most often nobody asked.
pub(crate) fn ready(status: &str, http: Option<std::net::SocketAddr>) {
    let Some(path) = std::env::var_os(SOCKET_ENV) else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let mut text = format!("READY=1\nSTATUS={status}\n");
    if let Some(http) = http {
        text += &format!("{HTTP_LINE}{http}\n");
    }
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot tell {SOCKET_ENV} that we are ready");
    }
}
