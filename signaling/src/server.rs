//! Puts the parts together and keeps the HTTP connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antipode_base::limits::HTTP_HEAD_TIMEOUT;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor;
use crate::admission::Admission;
use crate::config::{ControlListen, SignalConfig, SignalError};
use crate::edge::encode::Encoder;
use crate::edge::ice::IceServers;
use crate::http::{self, Shared};
use crate::model::Options;
use crate::nodes;
use crate::service::Revocations;

/// Connections beside those of clients: scrapers, the page's files, keep-alives.
const SPARE_CONNECTIONS: usize = 4_096;
/// How long the WebSockets may take to say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_millis(700);

/// Runs the control plane until `stop` is done. `ready` gets the bound HTTP address once both
/// sockets listen.
///
/// # Errors
/// [`SignalError`]: a value that cannot work, or an address that cannot be bound.
pub async fn serve(
    config: SignalConfig,
    ready: oneshot::Sender<SocketAddr>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), SignalError> {
    config.check()?;
    let http = bind(config.bind).await?;
    let control = nodes::Listener::bind(&config.control).await?;
    let tasks = TaskTracker::new();
    let stop = until(stop, &tasks);
    let options = Options {
        spread: config.spread,
        one_node: matches!(config.control, ControlListen::Unix(_)),
        simulate: config.dev_page,
        audio_top: config.audio_top,
    };
    let encoder = Encoder::new(config.keys.clone(), &config.ice);
    let (actor, handle) = actor::new(options, encoder);
    let shared = Arc::new(Shared {
        keys: config.keys.clone(),
        dev_page: config.dev_page,
        admission: Admission::new(&config.admission),
        ice: IceServers::new(&config.ice),
        redirect: config.whip_redirect.clone(),
        revocations: Revocations::default(),
        process: config.process,
        handle: handle.clone(),
        stop: stop.clone(),
    });
    let router = http::router(shared);
    let connections_max = config.admission.clients_max.saturating_add(SPARE_CONNECTIONS);

    tasks.spawn(actor.run(stop.clone()));
    tasks.spawn(nodes::serve(control, config.control_secret.clone(), handle, stop.clone()));
    if let Ok(address) = http.local_addr() {
        tracing::info!(%address, "signaling listens");
        // Whoever started us may not care.
        let _ = ready.send(address);
    }
    accept(http, router, connections_max, &tasks, &stop).await;
    tasks.close();
    if tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::debug!("some connections were cut");
    }
    if let ControlListen::Unix(path) = &config.control {
        // The next process would take it away itself; a tidy end leaves nothing.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// A token that is cancelled when `stop` is done.
fn until(
    stop: impl Future<Output = ()> + Send + 'static,
    tasks: &TaskTracker,
) -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tasks.spawn(async move {
        stop.await;
        cancelled.cancel();
    });
    token
}

async fn bind(address: SocketAddr) -> Result<TcpListener, SignalError> {
    TcpListener::bind(address).await.map_err(|error| SignalError::Listen {
        field: "bind",
        address: address.to_string(),
        error,
        mend: "stop the process that holds the address, or choose another",
    })
}

async fn accept(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Without a pause a lack of descriptors would keep this loop spinning.
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // One too many is closed at once: it is not even read.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let router = router.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            serve_connection(stream, peer, router, stop).await;
            drop(place);
        });
    }
}

/// One connection. A client that sends its head slowly is cut off; `axum::serve` would let it be.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    // Small messages must not wait for one another (RFC 896); failing this is no harm.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router.layer(axum::Extension(ConnectInfo(peer))));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
