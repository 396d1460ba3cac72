//! The control plane: who is in which room, on which shard, and what they are told.
//!
//! ```text
//!   client --- WebSocket --- edge --- actor: model --- control link --- node
//!                                       |
//!             http (tokens, admission) -+
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`config`] | what it must be told at its start |
//! | [`token`] | access tokens |
//! | `model` | rooms, members, tracks, subscriptions as a state machine without I/O |
//! | [`edge`] | the public SDKs' client protocol |
//! | [`whip`] | publishing and playing over plain HTTP |
//! | `actor` | the one task that owns the model |
//! | `nodes` | the control links of the nodes |
//! | `placement` | which shard a new member goes to |
//! | `admission` | limits before any work |
//! | `entry` | what a client's first request asks for |
//! | `http` | the routes |
//! | `metrics` | the text of `/metrics` |
//! | `memo` | what is left with the nodes, so that a successor finds every member |
//! | `variant` | names for the log |
//! | `assets` | the page |
//!
//! It may die at any time: media flows on, the node keeps the memos, and the next process takes
//! the members over when their clients come back.
#![forbid(unsafe_code)]

mod actor;
mod admission;
mod assets;
pub mod config;
pub mod edge;
mod entry;
mod http;
mod memo;
mod metrics;
mod model;
mod nodes;
mod placement;
mod server;
mod service;
mod sid;
pub mod token;
mod variant;
pub mod whip;

pub use config::{AdmissionLimits, ApiKey, ControlListen, IceConfig, SignalConfig, SignalError};
pub use model::member::Permissions;
pub use model::track::Source;
pub use server::serve;
