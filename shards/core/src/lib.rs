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
//! input or for [`Shard::deadline`]. What cannot wait may be handed in between two polls, and asks for
//! another flush. It reads no clock and opens no socket.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `shard` | the turn, and all that the others own |
//! | `demux` | from a datagram to its session |
//! | `session` | one peer connection: str0m, descriptions, slots, publications |
//! | `forward` | tracks, hops, the fan-out loop, layer choice, renumbering |
//! | `ingress` | our own way in: opening, numbering, asking for repeats, reporting |
//! | `egress` | our own way out: sealing, repeating, reporting, measuring |
//! | `rtcp` | reading what peers report, writing sender reports |
//! | `payload` | keyframes, picture numbers and layers, in payloads and header extensions |
//! | `red` | redundant sound: taking RFC 2198 apart, making it, mending losses with it |
//! | `sdp` | what str0m does not read or write of a description |
//! | `dtls` | DTLS with peers whose certificate has an RSA key |
//! | `srtp` | its keys, for those who open and seal past str0m |
//! | `stun` | what a shard reads of STUN itself |
//! | `data` | who a data packet is from and for |
//! | `outbox` | what is sealed, and what that is written into |
//! | `levels`, `room`, `timers`, `effects`, `io` | small tables |
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod bench;
mod data;
mod demux;
pub mod dtls;
mod effects;
mod egress;
mod forward;
#[doc(hidden)]
pub mod fuzz;
pub mod ingress;
mod io;
mod levels;
mod outbox;
mod payload;
mod red;
mod room;
mod rtcp;
mod sdp;
mod session;
mod shard;
pub mod srtp;
mod stun;
mod timers;

pub use io::{Datagram, Input, Output, Standing, Transmit, Transport};
pub use shard::{Shard, ShardConfig};
pub use stun::shard_in_stun;
