//! The only crate that waits, reads a clock and opens a media socket: it runs the shards of a node.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`run`] (`node`) | a node: sockets, rings and threads, put together and taken apart |
//! | [`host`] | what the host grants; shared by the doctor and the start |
//! | `shard_thread` | one shard's turn, the same under all drivers |
//! | `driver` | how a shard waits: glommio or epoll |
//! | `patience` | what need not wake it |
//! | `net` | the media socket: steering, batches, trains; all unsafe code is in `net/sys` |
//! | `tcp` | the thread with the TCP connections (ICE-TCP) |
//! | `control` | the thread that talks with signaling |
//! | `memos` | what signaling wants to find again |
//! | `report` | what a shard tells the control thread |
//! | `wake` | waking and stopping threads |
#![deny(unsafe_code)]

#[doc(hidden)]
pub mod bench;
mod config;
mod control;
mod driver;
mod error;
pub mod host;
mod memos;
mod net;
mod node;
mod patience;
mod report;
mod shard_thread;
mod tcp;
#[cfg(test)]
mod testing;
pub mod udp;
mod wake;

pub use config::{ControlAddress, DriverChoice, MEDIA_PORT, NodeConfig, TCP_PORT};
pub use error::NodeError;
pub use node::run;
pub use wake::StopToken;
