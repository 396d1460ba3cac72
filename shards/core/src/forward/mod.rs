//! Fan-out: from one packet of a track to a verdict for each of its hops.
//!
//! Pure decisions: nothing here knows of sessions' insides, sockets or rings. A [`Track`] holds its
//! hops in one contiguous table, each with the selector and rewriter of its viewer inline, so that
//! the loop over viewers touches one line of memory after another.

pub(crate) mod allocation;
mod cache;
mod fabric;
mod keyframes;
mod loudest;
mod microphones;
mod rates;
mod rewriter;
mod selector;
mod subscription;
#[cfg(test)]
pub(crate) mod testing;
mod track;

pub(crate) use fabric::{Fabric, Sink};
pub(crate) use keyframes::Ask;
pub(crate) use rewriter::{Rewrite, Rewriter, Shift};
pub(crate) use selector::Target;
pub(crate) use subscription::Subscription;
pub(crate) use track::{Hop, Origin, Remote, Track};
