//! The pages at `/`, `/whip` and `/whep`: files that the build put into the binary, served from memory.
//!
//! Promises that the page reaches nothing but this server: the Content-Security-Policy forbids
//! every other origin, inline script and framing. Not here: tokens for the page, which are
//! `/dev/token`.

use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HOST, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// One file of the page.
struct File {
    /// Path below `/`.
    name: &'static str,
    content_type: &'static str,
    /// Quoted, as `ETag` wants it (RFC 9110 §8.8.3).
    tag: &'static str,
    body: &'static [u8],
    /// The same, compressed with gzip.
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// All but the WebSocket's own origin, which is added per request: not every browser lets `'self'`
/// of an `http:` page stand for `ws:` of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; connect-src 'self'";

/// The page's routes, to be merged into the router of the signaling port.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for file in FILES {
        // Pages go by their names alone.
        let path = match file.name {
            "index.html" => "/",
            name => name.strip_suffix(".html").unwrap_or(name),
        };
        let handler = get(move |headers: HeaderMap| async move { serve(file, &headers) });
        router = router.route(&format!("/{}", path.trim_start_matches('/')), handler);
    }
    router
}

fn serve(file: &'static File, request: &HeaderMap) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(ETAG, HeaderValue::from_static(file.tag));
    // Ask each time: a page of one version with a script of another is worse than a short answer.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A link may carry a token.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, policy(request));
    if request.get(IF_NONE_MATCH).is_some_and(|seen| seen == file.tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if accepts_gzip(request) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (headers, file.packed).into_response();
    }
    (headers, file.body).into_response()
}

/// Whether a browser named gzip; one that forbids it by `q=0` (RFC 9110 §12.4.2) gets plain bytes.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let Some(accepted) = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
    })
}

/// [`POLICY`] plus the WebSocket of the host that was asked for.
fn policy(request: &HeaderMap) -> HeaderValue {
    let host = request.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    let whole = host.map(|host| format!("{POLICY} ws://{host} wss://{host}"));
    whole
        .and_then(|whole| HeaderValue::from_str(&whole).ok())
        .unwrap_or_else(|| HeaderValue::from_static(POLICY))
}

/// A host with nothing in it that could end or widen the policy.
fn is_plain(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> &'static File {
        let file = FILES.iter().find(|file| file.name == name);
        file.unwrap_or_else(|| panic!("{name} is not embedded"))
    }

    fn request(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        let text = |name: &str| String::from_utf8(find(name).body.to_vec()).unwrap();
        for name in ["style.css", "app.js", "icon.svg", "icons.svg"] {
            assert!(text("index.html").contains(name), "index.html does not use {name}");
            text(name);
        }
        for page in ["whip", "whep"] {
            let html = text(&format!("{page}.html"));
            for name in ["style.css", &format!("{page}.js"), "icon.svg", "icons.svg"] {
                assert!(html.contains(name), "{page} does not use {name}");
            }
        }
        for name in ["call.js", "grid.js", "meter.js", "chat.js", "stream.js"] {
            find(name);
        }
    }

    #[test]
    fn the_page_names_no_other_origin() {
        for file in FILES.iter().filter(|file| !file.name.starts_with("dist/")) {
            let text = String::from_utf8(file.body.to_vec()).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "").replace("/^http/", "");
            assert!(!text.contains("http:") && !text.contains("https:"), "{}", file.name);
            assert!(!text.contains(" style=") && !text.contains("onclick="), "{}", file.name);
        }
    }

    #[test]
    fn a_known_tag_is_answered_without_a_body() {
        let first = serve(find("index.html"), &request(&[]));
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].clone();
        let mut again = request(&[]);
        again.insert(IF_NONE_MATCH, tag);
        assert_eq!(serve(find("index.html"), &again).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(serve(find("app.js"), &again).status(), StatusCode::OK);
    }

    #[test]
    fn gzip_goes_only_to_those_who_take_it() {
        let rows = [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("br", false),
            ("xgzip", false),
        ];
        for (accepted, packed) in rows {
            let answer = serve(find("app.js"), &request(&[("accept-encoding", accepted)]));
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), packed, "{accepted}");
        }
    }

    #[test]
    fn a_strange_host_cannot_widen_the_policy() {
        let rows = [
            ("127.0.0.1:7880", "connect-src 'self' ws://127.0.0.1:7880 wss://127.0.0.1:7880"),
            ("[::1]:7880", "connect-src 'self' ws://[::1]:7880 wss://[::1]:7880"),
            ("a; script-src *", "connect-src 'self'"),
            ("evil *", "connect-src 'self'"),
        ];
        for (host, end) in rows {
            let answer = serve(find("index.html"), &request(&[("host", host)]));
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.ends_with(end), "{policy}");
        }
    }
}
