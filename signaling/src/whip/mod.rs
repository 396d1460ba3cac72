//! Publishing and playing over plain HTTP: WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep), with its
//! extensions for events and layers.
//!
//! | path | method | what |
//! | --- | --- | --- |
//! | `/whip/{room}` | POST | publishes into a room |
//! | `/whep/{room}` | POST | plays a room |
//! | `/whep/{room}/{participant}` | POST | plays one of its participants |
//! | `/whip/{room}/{id}`, `/whep/{room}/{id}` | PATCH, DELETE | candidates and restarts; the end |
//! | `/whep/{room}/{id}/layers` | POST | chooses a layer |
//! | `/whep/{room}/{id}/events` | POST, GET | events as they happen |
//!
//! `v1` stands for the room of the token. Like the edge of the WebSockets this is an edge alone: what a
//! publisher or player is, the model knows (`model/http.rs`). Nothing here is kept between two
//! requests, so that a resource outlives this process.

mod answer;
mod auth;
mod endpoint;
mod events;
pub mod fragment;
mod mend;
mod offer;
mod problem;
mod query;
mod session;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, body::Body};

use crate::http::Shared;
use crate::model::http::Way;

/// Media type of a description.
pub(crate) const SDP: &str = "application/sdp";
/// Media type of a fragment of one (RFC 8840 §10.1).
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Which media types may be posted (Linked Data Platform 1.0 §7.1).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// Which ones may be patched with (RFC 5789 §3.1).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// What a page of another origin may read.
const EXPOSED: &str = "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, Allow";
/// What it may send.
const ALLOWED: &str = "Authorization, Content-Type, If-Match";
/// How long it may remember that, in seconds: browsers take no longer.
const REMEMBERED_S: &str = "7200";

const OF_ENDPOINT: &str = "GET, HEAD, OPTIONS, POST";
const OF_SESSION: &str = "DELETE, GET, HEAD, OPTIONS, PATCH";
/// The path of a player is that of a participant too.
const OF_EITHER: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST";

/// The routes.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/whip/{room}", methods(OF_ENDPOINT, get(no_content).post(endpoint::whip)))
        .route("/whep/{room}", methods(OF_ENDPOINT, get(plays_here).post(endpoint::whep)))
        .route(
            "/whip/{room}/{id}",
            methods(
                OF_SESSION,
                get(session::look_whip).patch(session::patch_whip).delete(session::close_whip),
            ),
        )
        .route(
            "/whep/{room}/{id}",
            methods(
                OF_EITHER,
                get(session::look_whep)
                    .patch(session::patch_whep)
                    .delete(session::close_whep)
                    .post(endpoint::whep_one),
            ),
        )
        .route(
            "/whep/{room}/{id}/layers",
            methods("OPTIONS, POST", MethodRouter::new().post(session::choose)),
        )
        .route(
            "/whep/{room}/{id}/events",
            methods(
                "DELETE, GET, HEAD, OPTIONS, POST",
                get(events::listen).post(events::subscribe).delete(events::end),
            ),
        )
        .layer(from_fn(across_origins))
}

type Methods = MethodRouter<Arc<Shared>>;

/// Adds what all paths have: OPTIONS, and a refusal of the rest that names what there is.
fn methods(allow: &'static str, methods: Methods) -> Methods {
    methods.options(move || async move { options(allow) }).fallback(move || async move {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut response =
            problem::Problem::new(status, "the path has no such method").into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        response
    })
}

/// Both for a browser that asks before it posts (Fetch §3.2.2), and for whoever wants to know what may be
/// posted (RFC 9725 §4.2). ICE servers are not told here: their credentials are for those with a token.
fn options(allow: &'static str) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED_S));
    if allow.contains("POST") {
        headers.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
    }
    if allow.contains("PATCH") {
        headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    }
    response
}

/// RFC 9725 §4.1: an endpoint has no representation, so there is nothing to see.
async fn no_content() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The same for players, who look here for the media type (draft-ietf-wish-whep, discovery).
async fn plays_here() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(SDP))], Body::empty()).into_response()
}

/// Nothing here goes by cookies, so that every origin may ask and read.
async fn across_origins(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if !preflight {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

/// Whether the request says that its body is of this type; parameters do not matter.
fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or("").trim();
    essence.eq_ignore_ascii_case(wanted)
}

/// The path of a resource.
fn path(way: Way, room: &str, id: &str) -> String {
    let way = match way {
        Way::Whip => "whip",
        Way::Whep => "whep",
    };
    format!("/{way}/{}/{id}", escape(room))
}

/// One segment of a path (RFC 3986 §3.3), with everything escaped that could be taken for more.
fn escape(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_any_room() {
        for (room, want) in [
            ("lobby", "/whip/lobby/x"),
            ("a/b?c#d e", "/whip/a%2Fb%3Fc%23d%20e/x"),
            ("\u{e9}", "/whip/%C3%A9/x"),
        ] {
            assert_eq!(path(Way::Whip, room, "x"), want);
        }
        assert_eq!(path(Way::Whep, "lobby", "x"), "/whep/lobby/x");
    }

    #[test]
    fn media_types_are_compared_without_their_parameters() {
        for (value, fits) in [
            ("application/sdp", true),
            ("Application/SDP; charset=utf-8", true),
            ("application/sdp-extra", false),
            ("text/plain", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_type(&headers, SDP), fits, "{value}");
        }
        assert!(!is_type(&HeaderMap::new(), SDP));
    }
}
