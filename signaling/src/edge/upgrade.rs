//! From an HTTP request to a WebSocket (RFC 6455 §4.2).
//!
//! axum's own upgrade hides the frames, and [`super::socket`] sends long messages in several.

use antipode_base::limits::{SIGNAL_ANSWERS_BUFFER, SIGNAL_MESSAGE_MAX, SIGNAL_READ_BUFFER};
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

/// The connection under a WebSocket, once HTTP has left it.
pub(crate) type Stream = TokioIo<Upgraded>;

/// A request that asks for a WebSocket, and may have one. Anything else is a bad request.
pub(crate) struct Upgrade {
    connection: OnUpgrade,
    accept: HeaderValue,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let accept = accept_of(parts);
        let connection = parts.extensions.remove::<OnUpgrade>();
        match (connection, accept) {
            (Some(connection), Some(accept)) => Ok(Self { connection, accept }),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }
}

/// What `Sec-WebSocket-Accept` says to a request that asks for a WebSocket in every header that it must
/// have; `None` for any other.
fn accept_of(parts: &Parts) -> Option<HeaderValue> {
    let asks = parts.method == Method::GET
        && names(parts, CONNECTION, "upgrade")
        && names(parts, UPGRADE, "websocket")
        && names(parts, SEC_WEBSOCKET_VERSION, "13");
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
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
        // Only answers to pings stand here for a moment: the buffer grows hardly longer than the longest
        // frame.
        .write_buffer_size(SIGNAL_ANSWERS_BUFFER)
        .max_message_size(Some(SIGNAL_MESSAGE_MAX))
        // Checked at the frame's head, before its body is read.
        .max_frame_size(Some(SIGNAL_MESSAGE_MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const ASKING: [(HeaderName, &str); 4] = [
        (CONNECTION, "Upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_VERSION, "13"),
        (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn answer(method: Method, headers: &[(HeaderName, &str)]) -> Option<HeaderValue> {
        let request = Request::builder().method(method);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        accept_of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_example_of_the_rfc_has_its_answer() {
        // RFC 6455 §1.3.
        assert_eq!(answer(Method::GET, &ASKING).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_word_may_stand_in_a_list() {
        // As Firefox says it, and as a proxy may split it.
        let mut headers = ASKING.to_vec();
        headers[0].1 = "keep-alive, UPGRADE";
        assert!(answer(Method::GET, &headers).is_some());
        headers[0].1 = "keep-alive";
        headers.push((CONNECTION, "upgrade"));
        assert!(answer(Method::GET, &headers).is_some());
    }

    #[test]
    fn nothing_less_becomes_a_websocket() {
        for left_out in 0..ASKING.len() {
            let mut headers = ASKING.to_vec();
            let (name, _) = headers.remove(left_out);
            assert_eq!(answer(Method::GET, &headers), None, "without {name}");
        }
        for (at, value) in [(0, "upgrades"), (1, "h2c"), (2, "8")] {
            let mut headers = ASKING.to_vec();
            headers[at].1 = value;
            assert_eq!(answer(Method::GET, &headers), None, "{value}");
        }
        // A route for GET is one for HEAD too.
        assert_eq!(answer(Method::HEAD, &ASKING), None);
    }
}
