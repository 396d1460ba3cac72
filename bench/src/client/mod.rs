//! The clients' media: whole WebRTC peers, many to a thread.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`peer`] | one peer connection as a state machine without I/O |
//! | [`ear`] | the media that it receives, and what it says about it |
//! | [`door`] | sockets, and the addresses of peers behind them |
//! | [`worker`] | one thread: timers, and its peers |
//! | [`crew`] | all workers, and handles to their peers |

pub mod crew;
pub mod door;
pub mod ear;
pub mod peer;
pub mod worker;
