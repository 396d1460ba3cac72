//! What crosses a border between cores (and later nodes), and the rings that carry it.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`packet`] | one RTP packet, parsed once, its payload shared |
//! | [`parcel`] | a packet or a small note on its way to another shard |
//! | [`mesh`] | the single-producer single-consumer rings between shards |
//! | [`doorbell`] | waking a shard that sleeps, and only then |
//!
//! Sans-I/O but for the ring itself.
#![forbid(unsafe_code)]

pub mod doorbell;
pub mod mesh;
pub mod packet;
pub mod parcel;
