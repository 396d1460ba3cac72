//! What publishers send: real codec headers around bodies that say when they were sent.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`mark`] | the body: source, layer, sequence, clock, check sum |
//! | [`codec`] | VP8, H264 and Opus headers around a body, and finding the body again |
//! | [`source`] | cameras and microphones: which packet is due when |

pub mod codec;
pub mod mark;
pub mod source;
