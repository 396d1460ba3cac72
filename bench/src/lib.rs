//! The load harness, `antipode bench`: real WebRTC clients that measure a server, ours or another.
//!
//! ```text
//!   run: joins, waits, counts ---- signal: one task a client (LiveKit, WHIP/WHEP, Janus)
//!     |                               | offers, answers, candidates
//!     |                            client: worker threads with str0m peers, a socket each
//!     |                               | packets out          | packets in
//!     |                            media: sources            sink: counts, latency
//!   proc: CPU and memory of the server and of ourselves
//!   report: table, JSON, HTML; merge adds up several
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`scenario`] | from flags to who joins, publishes and watches |
//! | [`run`] | one run from the first join to the report |
//! | [`signal`] | the protocols that servers speak |
//! | [`client`] | peers, and the threads that run them |
//! | [`media`] | what is sent |
//! | [`sink`] | what was received |
//! | [`hosted`] | servers that the harness starts, pins and ends |
//! | [`proc`] | what processes used, from `/proc` |
//! | [`scrape`] | what a server says of itself at `/metrics` |
//! | [`report`] | the result, and its forms |
//! | [`floor`] | what kernel and cipher alone cost |
//! | [`path`] | what the microbenches share |
//! | [`clock`], [`error`] | time, and why a run fails |
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod clock;
pub mod error;
pub mod floor;
pub mod hosted;
pub mod media;
pub mod path;
pub mod proc;
pub mod report;
pub mod run;
pub mod scenario;
pub mod scrape;
pub mod signal;
pub mod sink;

pub use path::{PAYLOAD, VP8_KEYFRAME, packet, ports};
