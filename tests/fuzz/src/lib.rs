//! What the fuzz targets share.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`feed`] | a fuzzer's bytes, read as choices and pieces |
//! | [`panics`] | telling a caught panic from one that fails, and keeping both |
//! | [`plain`] | a cipher library that seals nothing, for targets that work behind the seal |
//! | [`client`] | a browser's side of one peer connection |
//! | [`stage`] | a shard with a publisher and a viewer that are connected, in virtual time |
//!
//! A target's property is checked after each input, so that what a peer can break without a panic
//! (a session that ends, a packet that no longer arrives) is found as well.
#![forbid(unsafe_code)]

pub mod client;
pub mod feed;
pub mod panics;
pub mod plain;
pub mod stage;
