//! One shard of the media plane as a state machine that never waits.
//!
//! ```text
//!            Input                          Output
//!   datagrams ----\                    /---- datagrams
//!   parcels   ----- Shard::handle ----- ---- parcels
//!   commands  ----/  flush, poll      \---- notices
//! ```
//!
//! One turn of whoever drives it: one reading of the clock; [`Shard::handle`] for every input at
//! hand; [`Shard::flush`] once; [`Shard::poll`] until it returns `None`; then wait for the next
//! input or for [`Shard::deadline`]. It reads no clock and opens no socket.
#![forbid(unsafe_code)]

mod io;
mod shard;

pub use io::{Datagram, Input, Output, Transmit};
pub use shard::{Shard, ShardConfig};
