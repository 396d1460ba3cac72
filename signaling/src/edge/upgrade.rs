//! From an HTTP request to a WebSocket (RFC 6455 §4.2).
//!
//! axum's own upgrade hides the frames, and [`super::socket`] sends long messages in several.

use antipode_base::limits::{SIGNAL_MESSAGE_MAX, SIGNAL_READ_BUFFER};
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// What the browser's connection becomes.
pub(crate) type Stream = TokioIo<Upgraded>;

/// A request that asks for a WebSocket, and may have one. Anything else is a bad request.
pub(crate) struct Upgrade {
    connection: OnUpgrade,
    accept: HeaderValue,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let asks = parts.method == Method::GET
            && names(parts, CONNECTION, "upgrade")
            && names(parts, UPGRADE, "websocket")
            && names(parts, SEC_WEBSOCKET_VERSION, "13");
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks);
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
        let connection = parts.extensions.remove::<OnUpgrade>();
        match (connection, accept) {
            (Some(connection), Some(accept)) => Ok(Self { connection, accept }),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }
}

/// Whether a header's list has this word, in any case (RFC 9110 §5.6.1).
fn names(parts: &Parts, header: HeaderName, word: &str) -> bool {
    let values = parts.headers.get_all(header);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(word))
}

impl Upgrade {
    /// The answer to the request; `serve` begins once it is written, and not at all when the
    /// connection breaks before.
    pub(crate) fn accept<F>(
        self,
        serve: impl FnOnce(WebSocketStream<Stream>) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        tokio::spawn(async move {
            if let Ok(upgraded) = self.connection.await {
                let (io, config) = (TokioIo::new(upgraded), Some(config()));
                serve(WebSocketStream::from_raw_socket(io, Role::Server, config).await).await;
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        response
    }
}

/// The limits of a client's WebSocket.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(SIGNAL_READ_BUFFER)
        // Each frame is written at once: the buffer grows no longer than the longest.
        .write_buffer_size(0)
        .max_message_size(Some(SIGNAL_MESSAGE_MAX))
        // Checked at the frame's head, before its body is read.
        .max_frame_size(Some(SIGNAL_MESSAGE_MAX))
}
