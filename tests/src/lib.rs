//! The world: shards, links and clients in virtual time under one seed.
//!
//! ```text
//!   scene --drives--> World --one clock--+-- Signal   (a tiny signaling process)
//!                       |                +-- Shard*   (the product, unchanged)
//!                       |                +-- Links    (parcels between shards)
//!                       |                +-- Net      (paths with faults, datagrams in flight)
//!                       |                +-- Peer*    (clients: whole ICE, DTLS and SDP)
//!                       +--tells--> Oracle (judges), Trace (remembers)
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`world`] | the clock and the loop over events |
//! | [`acts`] | what a scene may do: join, publish, tune, leave, attack |
//! | [`looks`] | what a scene may ask |
//! | [`peer`], [`talks`] | one client: its transport, its offers and answers |
//! | [`source`], [`payload`] | synthetic media that says of itself what it is |
//! | [`signal`] | notices into commands, the way that signaling does |
//! | [`net`], [`path`], [`links`] | what carries bytes, and faults as wrappers round it |
//! | [`oracle`], [`received`] | what must never happen |
//! | [`trace`], [`seeds`], [`seed`] | byte-equal memory, running many seeds, chance without state |
//! | [`packet`] | data packets and hostile datagrams |
//! | [`meter`] | allocations of the shards |
//! | `tidy` | the rules of STYLE.md that a test can read |
//!
//! Promises: after its start the world reads no clock; the same scene with the same seed writes the
//! same trace. It is no benchmark, and its clients decode nothing.
#![forbid(unsafe_code)]

pub mod acts;
pub mod links;
pub mod looks;
pub mod meter;
pub mod net;
pub mod oracle;
pub mod packet;
pub mod path;
pub mod payload;
pub mod peer;
pub mod received;
pub mod seed;
pub mod seeds;
pub mod signal;
pub mod source;
pub mod talks;
#[cfg(test)]
mod tidy;
pub mod trace;
pub mod world;
