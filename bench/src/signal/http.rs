//! One request over HTTP/1.1, and the address of a server.

use std::net::SocketAddr;
use std::time::Duration;

use antipode_base::limits::{BENCH_HTTP_MAX, BENCH_STEP_TIMEOUT};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::BenchError;

/// Characters of a server's words that an error repeats.
const REASON_CHARS: usize = 200;

/// Where a server is.
#[derive(Clone, Debug)]
pub struct Server {
    /// `host:port`, as the Host header has it.
    pub authority: String,
    /// Its first address.
    pub address: SocketAddr,
    /// The path in front of the protocol's own, without a slash at its end.
    pub prefix: String,
}

impl Server {
    /// Takes apart `ws://`, `http://`; asks the resolver.
    ///
    /// # Errors
    /// It is no such URL, or nobody knows the name.
    pub async fn resolve(url: &str) -> Result<Self, BenchError> {
        let flaw =
            |fault: &str| BenchError::Flag { flag: "--url", fault: format!("{url}: {fault}") };
        let uri: Uri = url.parse().map_err(|_| flaw("it is no URL"))?;
        let port = match uri.scheme_str() {
            Some("ws" | "http") => 80,
            Some("wss" | "https") => {
                return Err(flaw("the harness speaks no TLS; give ws:// or http://"));
            }
            _ => return Err(flaw("give one that begins with ws:// or http://")),
        };
        let host = uri.host().ok_or_else(|| flaw("it names no host"))?;
        let port = uri.port_u16().unwrap_or(port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await;
        let address = found.ok().and_then(|mut found| found.next());
        let address = address.ok_or_else(|| BenchError::Unreachable {
            url: url.to_owned(),
            error: format!("nobody knows the name {host}"),
        })?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Server { authority: format!("{host}:{port}"), address, prefix })
    }

    /// A URL on this server, for requests and for errors.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.authority, self.prefix)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody listens, or no way leads there.
    pub async fn connect(&self, url: &str) -> Result<TcpStream, BenchError> {
        let gone = |error: String| BenchError::Unreachable { url: url.to_owned(), error };
        match timeout(BENCH_STEP_TIMEOUT, TcpStream::connect(self.address)).await {
            Err(_) => Err(gone("no answer".into())),
            Ok(Err(error)) => Err(gone(error.to_string())),
            Ok(Ok(stream)) => {
                // Requests are small and wait for their answer.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
        }
    }
}

/// Sends one request to `server` on a connection of its own. The URI is a path; Host is added.
///
/// # Errors
/// Unreachable, or no HTTP.
pub async fn send(
    server: &Server,
    mut request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Response<Bytes>, BenchError> {
    let url = format!("http://{}{}", server.authority, request.uri().path());
    let foreign = |fault: String| BenchError::Foreign { url: url.clone(), wanted: "HTTP", fault };
    let host = server.authority.parse().map_err(|_| foreign("its name is no host".into()))?;
    request.headers_mut().insert(HOST, host);
    let stream = server.connect(&url).await?;
    let exchange = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the connection, whose errors the request sees as well.
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let answer = timeout(patience, exchange).await.map_err(|_| foreign("no answer".into()))?;
    let (head, body) = answer.map_err(|error| foreign(error.to_string()))?.into_parts();
    let body = Limited::new(body, BENCH_HTTP_MAX).collect();
    let body = timeout(patience, body).await.map_err(|_| foreign("half an answer".into()))?;
    let body = body.map_err(|error| foreign(error.to_string()))?.to_bytes();
    Ok(Response::from_parts(head, body))
}

/// A server's words as an error may repeat them: the start, on one line.
pub fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.take(REASON_CHARS).collect();
    if short.trim().is_empty() { "it says nothing".into() } else { short.trim().to_owned() }
}

/// Adds what an answer's status means.
///
/// # Errors
/// Any status but one of success.
pub fn expect_success(
    url: &str,
    wanted: &'static str,
    status: u16,
    body: &[u8],
) -> Result<(), BenchError> {
    let (url, reason) = (url.to_owned(), reason(body));
    match status {
        200..=299 => Ok(()),
        401 | 403 => Err(BenchError::Unauthorized { url, status, reason }),
        _ => Err(BenchError::Http { url, status, wanted, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls() {
        let rows = [
            ("ws://127.0.0.1:7880", Some(("127.0.0.1:7880", ""))),
            ("http://127.0.0.1/prefix/", Some(("127.0.0.1:80", "/prefix"))),
            ("ws://[::1]:7880/", Some(("[::1]:7880", ""))),
            ("wss://127.0.0.1", None),
            ("127.0.0.1:7880", None),
            ("ftp://127.0.0.1", None),
            ("", None),
            ("ws://", None),
        ];
        for (url, want) in rows {
            let got = Server::resolve(url).await.ok();
            let got = got.as_ref().map(|server| (&*server.authority, &*server.prefix));
            assert_eq!(got, want, "{url}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason(b"no\r\nsuch room\n"), "no  such room");
        assert_eq!(reason(b" \n"), "it says nothing");
        assert_eq!(reason(&[b'x'; 1_000]).len(), REASON_CHARS);
    }
}
