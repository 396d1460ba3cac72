//! DTLS, of which str0m takes any kind.
//!
//! | file | whose certificates it knows |
//! | --- | --- |
//! | `curves` | those of elliptic curves, which are browsers' |
//! | `rsa` | those of RSA too, which are GStreamer's and some cameras' |

pub mod curves;
#[cfg(feature = "rsa")]
pub(crate) mod rsa;
