//! The words that every other crate of Antipode shares.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`ids`] | newtypes for nodes, shards, sessions, members, rooms and tracks |
//! | [`limits`] | the one file of maxima |
//! | [`media`] | kinds, codecs, layers, bitrates |
//! | [`sdp`] | the media sections of a session description |
//! | [`seq`] | arithmetic of wrapping wire numbers and their extended forms |
//! | [`command`] | what signaling tells a shard |
//! | [`notice`] | what a shard tells signaling |
//! | [`verdict`] | what was decided about one packet, and the named reasons of a drop |
//! | [`stats`] | the counters of a shard |
//! | [`delays`] | delays counted in buckets |
//! | [`control`] | the frames between a node and signaling |
//! | [`near`] | asking for memory before it is needed |
//!
//! It never waits, holds no state and depends on nothing of ours.
#![deny(unsafe_code)]

pub mod command;
pub mod control;
pub mod delays;
pub mod ids;
pub mod limits;
pub mod media;
pub mod near;
pub mod notice;
pub mod sdp;
pub mod seq;
pub mod stats;
pub mod verdict;
