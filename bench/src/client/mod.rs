//! The clients' media: whole WebRTC peers, many to a thread.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`peer`] | one peer connection as a state machine without I/O |
//! | [`ear`] | the media that it receives, and what it says about it |
//! | [`worker`] | one thread: sockets, timers, and its peers |
//! | [`crew`] | all workers, and handles to their peers |

pub mod crew;
pub mod ear;
pub mod peer;
pub mod worker;
