//! Scenes: peers, paths, virtual time, a seed. A scene drives; the world's oracles judge.
#![forbid(unsafe_code)]

mod calls;
