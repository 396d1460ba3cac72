//! SRTP past str0m (RFC 3711, RFC 7714): for what viewers get, and for the load harness, which is one.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `keys` | how DTLS's keys reach us |
//! | `cipher` | key derivation, and the provider's ciphers |
//! | `seal` | sealing RTP and RTCP, opening RTCP |
//! | `opener` | opening RTP |

mod cipher;
pub mod keys;
mod opener;
mod seal;

pub use opener::Opener;
pub use seal::Seal;
