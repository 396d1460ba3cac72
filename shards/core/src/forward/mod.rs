//! Fan-out: from a turn's packets of a track to a verdict for each of its hops.
//!
//! Pure decisions: nothing here knows of sessions' insides, sockets or rings. A [`Track`] holds its
//! viewers in one contiguous table, each with its selector and rewriter inline, so that
//! the loop over viewers touches one line of memory after another.

pub(crate) mod allocation;
mod cache;
mod due;
mod fabric;
mod fresh;
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

pub(crate) use fabric::{Fabric, Sink, Step};
pub(crate) use keyframes::Ask;
pub(crate) use rewriter::{Rewrite, Rewriter, Shift};
pub(crate) use selector::Target;
pub(crate) use subscription::Subscription;
pub(crate) use track::{Origin, Remote, Track};
