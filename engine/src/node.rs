//! `antipode node`: the media plane.

use std::net::SocketAddr;
use std::thread;

use antipode_runtime::{
    ControlAddress as NodeControl, DriverChoice, NodeConfig, NodeError, StopToken, TCP_PORT,
};

use crate::config::{Config, ControlAddress, MediaTcp, Runtime};
use crate::control;
use crate::ending::Ending;
use crate::process;
use crate::stop;

/// Runs until a signal ends it.
///
/// # Errors
/// What the operator must mend, or what broke.
pub(crate) fn run(config: &Config) -> Result<(), Ending> {
    let secret = control::secret(config)?.reveal().as_bytes().to_vec();
    let config = compose(config, secret);
    let stop = StopToken::new();
    stop_on_signal(stop.clone())?;
    antipode_runtime::run(config, stop).map_err(|error| match error {
        NodeError::System { .. } | NodeError::ThreadEnded { .. } => Ending::failed(error),
        _ => Ending::Refused(error.to_string()),
    })
}

/// Catches signals from now on, on a thread of its own: the shards' threads wait for packets alone.
fn stop_on_signal(stop: StopToken) -> Result<(), Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(Ending::failed)?;
    let mut signals =
        runtime.block_on(async { stop::Signals::listen() }).map_err(Ending::failed)?;
    let wait = move || {
        runtime.block_on(signals.recv());
        stop.stop();
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(Ending::failed)?;
    Ok(())
}

/// What the runtime must be told.
pub(crate) fn compose(config: &Config, secret: Vec<u8>) -> NodeConfig {
    let control = match &config.control.address {
        ControlAddress::Unix(path) => NodeControl::Unix(path.clone()),
        address => {
            let text = address.to_string();
            NodeControl::Tcp(text.strip_prefix("tcp:").unwrap_or(&text).to_owned())
        }
    };
    let (media, node) = (&config.media, &config.node);
    NodeConfig {
        shards: node.shards,
        cores: (!node.cores.is_empty()).then(|| node.cores.clone()),
        pin: node.pin,
        media: SocketAddr::new(media.bind, media.port),
        tcp: match media.tcp {
            MediaTcp::Beside if media.port == 0 => Some(SocketAddr::new(media.bind, 0)),
            MediaTcp::Beside => Some(SocketAddr::new(media.bind, TCP_PORT)),
            MediaTcp::At(address) => Some(address),
            MediaTcp::Off => None,
        },
        advertise: media.advertise.clone(),
        include_loopback: media.loopback,
        stun_discover: media.stun_discover.clone(),
        driver: match node.runtime {
            Runtime::Auto => DriverChoice::Auto,
            Runtime::Glommio => DriverChoice::Glommio,
            Runtime::Epoll => DriverChoice::Epoll,
        },
        process: Some(process::stats),
        ..NodeConfig::new(control, secret)
    }
}
