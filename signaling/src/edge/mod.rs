//! The edge: the client protocol of the public SDKs, and nothing of the model's decisions.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`decode`] | binary frames and the join request in the URL → the model's words |
//! | [`encode`] | the model's words → binary frames |
//! | [`infos`] | how members, rooms and tracks look on the wire |
//! | `ice` | the STUN and TURN servers, with credentials of each member's own |
//! | [`socket`] | one WebSocket: limits, pings, queue, the reason of its end |
//! | `upgrade` | the HTTP request that becomes one |
//!
//! Frames are protobuf `SignalRequest` and `SignalResponse`. Two paths differ in the number of peer
//! connections: `/rtc/v1` has one and the client offers, `/rtc` has two and we offer the one towards
//! the client.

pub mod decode;
pub(crate) mod encode;
pub(crate) mod ice;
mod infos;
pub(crate) mod socket;
pub(crate) mod upgrade;
