//! The only crate that waits.
#![deny(unsafe_code)]

mod config;
mod error;
mod net;

pub use config::{ControlAddress, DriverChoice, MEDIA_PORT, NodeConfig};
pub use error::NodeError;
pub use net::steer::Steering;
