//! The media socket: opening its group, steering within it, receiving and sending in batches.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`socket`] | the SO_REUSEPORT group on the node's one media port, and the addresses seen through it |
//! | [`steer`] | which shard the kernel gives a datagram to |
//! | [`bpf_asm`] | programs as data, with labels instead of counted jumps |
//! | [`trains`] | cutting a turn's datagrams into segmented sends |
//! | [`locals`] | our addresses as clients know them and as the kernel does |
//! | [`calendar`] | when the kernel had a datagram, as an instant |
//! | [`outbox`] | what still has to be sent |
//! | [`stun`] | asking a STUN server for our public address, before the shards start |
//! | [`sys`] | the unsafe part: batched socket calls, socket options, bpf(2) |

pub(crate) mod bpf_asm;
pub(crate) mod calendar;
pub(crate) mod locals;
pub(crate) mod outbox;
pub(crate) mod socket;
pub(crate) mod steer;
pub(crate) mod stun;
pub(crate) mod sys;
pub(crate) mod trains;
