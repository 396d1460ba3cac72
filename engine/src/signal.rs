//! `antipode signal`: the control plane.

use std::net::SocketAddr;
use std::time::Duration;

use antipode_signaling::{
    AdmissionLimits, ApiKey, ControlListen, IceConfig, SignalConfig, SignalError, serve,
};
use tokio::sync::oneshot;

use crate::config::{Config, ControlAddress, DEV_SECRET, Refusal};
use crate::control;
use crate::ending::Ending;
use crate::notify;
use crate::process;
use crate::rlimits;
use crate::stop;

/// Serves until a signal ends it.
///
/// # Errors
/// What the operator must mend, or what broke.
pub(crate) fn run(config: &Config) -> Result<(), Ending> {
    let config = compose(config)?;
    rlimits::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Ending::failed)?;
    let served = runtime.block_on(async {
        let mut signals = stop::Signals::listen().map_err(Ending::failed)?;
        let (ready_tx, ready_rx) = oneshot::channel();
        tokio::spawn(tell(ready_rx));
        serve(config, ready_tx, async move { signals.recv().await }).await.map_err(refused)
    });
    // Whatever still runs belongs to clients that have been told; waiting for it helps nobody.
    runtime.shutdown_background();
    served
}

/// That crate knows neither our sections nor our flags.
fn refused(error: SignalError) -> Ending {
    let SignalError::Listen { field, address, error, mend } = error else {
        return Ending::Refused(error.to_string());
    };
    let field = match field {
        "bind" => "signal.bind (--bind)",
        "control" => "control.address (--control)",
        other => other,
    };
    Ending::Refused(format!("{field}: cannot listen on {address}: {error}; {mend}"))
}

/// Tells whoever started us that HTTP is served, once it is.
async fn tell(ready_rx: oneshot::Receiver<SocketAddr>) {
    if let Ok(http) = ready_rx.await {
        notify::ready("signaling is served", Some(http));
    }
}

fn compose(config: &Config) -> Result<SignalConfig, Refusal> {
    let signal = &config.signal;
    if signal.keys.is_empty() {
        return Err(Refusal::new(
            "signal.keys",
            "not set, and nobody could sign an access token",
            "Set ANTIPODE_KEYS=\"key: secret\", or key = \"secret\" under [signal.keys] in the file, \
             with a secret such as `openssl rand -hex 32` makes",
        ));
    }
    let known = signal.keys.iter().any(|(_, secret)| secret.reveal() == DEV_SECRET);
    if known && !signal.bind.ip().is_loopback() {
        tracing::warn!("signal.keys holds the secret of development, which everybody knows");
    }
    if signal.dev_page && !signal.bind.ip().is_loopback() {
        tracing::warn!("signal.dev_page lets whoever reaches {} join any room", signal.bind);
    }
    let key = |(key, secret): &(String, _)| api_key(key, secret);
    Ok(SignalConfig {
        bind: signal.bind,
        control: listen(config)?,
        control_secret: control::secret(config)?.reveal().as_bytes().to_vec(),
        keys: signal.keys.iter().map(key).collect(),
        spread: signal.spread,
        dev_page: signal.dev_page,
        ice: ice(config),
        audio_top: config.room.audio_top,
        whip_redirect: config.whip.redirect.clone(),
        admission: AdmissionLimits {
            connects_per_s: signal.connects_per_s,
            ..AdmissionLimits::default()
        },
        process: Some(process::stats),
    })
}

fn ice(config: &Config) -> IceConfig {
    let ice = &config.ice;
    let secret = ice.turn_secret.as_ref().map(crate::config::Secret::reveal);
    IceConfig {
        stun: ice.stun.clone(),
        turn: ice.turn.clone(),
        turn_secret: secret.unwrap_or_default().as_bytes().to_vec(),
        turn_ttl: Duration::from_secs(ice.turn_ttl_s.into()),
    }
}

fn api_key(key: &str, secret: &crate::config::Secret) -> ApiKey {
    ApiKey { key: key.to_owned(), secret: secret.reveal().to_owned() }
}

fn listen(config: &Config) -> Result<ControlListen, Refusal> {
    match &config.control.address {
        ControlAddress::Unix(path) => Ok(ControlListen::Unix(path.clone())),
        ControlAddress::Tcp { host, port } => match host.parse() {
            Ok(ip) => Ok(ControlListen::Tcp(SocketAddr::new(ip, *port))),
            Err(_) => Err(Refusal::new(
                "control.address",
                format!("\"{host}\" is no IP address of this host to listen on"),
                "Give tcp:ADDRESS:PORT with an address of this host, or 0.0.0.0 for all",
            )),
        },
        ControlAddress::Private => Err(control::private_is_of_dev()),
    }
}
