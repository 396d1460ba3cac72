//! The routes of the signaling port.
//!
//! | path | what |
//! | --- | --- |
//! | `/rtc`, `/rtc/v1` | the WebSocket of clients |
//! | `/rtc/validate`, `/rtc/v1/validate` | why that WebSocket would be refused, as plain text |
//! | `/livez`, `/readyz`, `/metrics` | for whoever runs it |
//! | `/dev/token` | a token for the page, in development alone |
//! | `/whip/…`, `/whep/…` | publishing and playing without a WebSocket, see [`crate::whip`] |
//! | `/twirp/…` | the server API of backends, see [`crate::service`] |
//! | `/` | the page |
//!
//! Whatever is refused is refused before any work is done for it, and no answer repeats a token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antipode_base::limits::NAME_MAX;
use antipode_base::stats::ReadProcess;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::actor::{Arrival, Handle, read_clocks};
use crate::admission::{Admission, Refused};
use crate::assets;
use crate::config::ApiKey;
use crate::edge::ice::IceServers;
use crate::edge::socket;
use crate::edge::upgrade::Upgrade;
use crate::entry::{self, Entry, EntryError, Params};
use crate::metrics;
use crate::model::Refusal;
use crate::model::member::Wire;
use crate::service::{self, Revocations};
use crate::token::{self, TokenError, TokenRequest, Verified};
use crate::whip;

/// How long a look at the actor may take before it counts as stuck.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a token of the page lives.
const DEV_TOKEN_TTL_S: u64 = 6 * 3_600;
/// The body of a request for one.
const DEV_BODY_MAX: usize = 4 * 1024;

/// What every request needs.
pub(crate) struct Shared {
    pub keys: Vec<ApiKey>,
    pub dev_page: bool,
    pub admission: Admission,
    /// What those without a WebSocket are told of.
    pub ice: IceServers,
    /// Where those are sent for whom there is no room here: the other server's base address.
    pub redirect: Option<String>,
    pub revocations: Revocations,
    /// Reads this process's figures.
    pub process: Option<ReadProcess>,
    pub handle: Handle,
    pub stop: CancellationToken,
}

type App = State<Arc<Shared>>;

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let dev = shared.dev_page;
    let mut router = Router::new()
        .route("/rtc", get(rtc_v0))
        .route("/rtc/v1", get(rtc_v1))
        .route("/rtc/validate", get(validate_v0))
        .route("/rtc/v1/validate", get(validate_v1))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    if dev {
        let limit = axum::extract::DefaultBodyLimit::max(DEV_BODY_MAX);
        router = router.route("/dev/token", post(dev_token).layer(limit));
    }
    router = router.merge(whip::router()).merge(service::router());
    router.with_state(shared).merge(assets::router()).layer(axum::middleware::from_fn(log_request))
}

/// One line per request. The query is left out: it holds the token.
async fn log_request(request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, ms = started.elapsed().as_millis() as u64, "request");
    response
}

/// A refusal of a client: plain text, which the SDKs show.
struct Refuse(StatusCode, String);

impl IntoResponse for Refuse {
    fn into_response(self) -> Response {
        plain(self.0, self.1)
    }
}

/// The SDK in a page of another origin asks `validate` by `fetch` and must be able to read the
/// answer. Nothing here goes by cookies, so every origin may.
fn plain(status: StatusCode, text: String) -> Response {
    let any = HeaderValue::from_static("*");
    (status, [(ACCESS_CONTROL_ALLOW_ORIGIN, any)], text).into_response()
}

impl Shared {
    fn refuse(&self, reason: Refused, status: StatusCode, text: impl ToString) -> Refuse {
        self.admission.refused.count(reason);
        Refuse(status, text.to_string())
    }

    /// Who bears this token, unless it was revoked.
    pub(crate) fn admit(&self, token: &str, now_s: u64) -> Result<Verified, TokenError> {
        let verified = token::verify(&self.keys, token, now_s)?;
        if self.revocations.covers(&verified) {
            return Err(TokenError::Revoked);
        }
        Ok(verified)
    }

    /// Address, token, request: everything that needs no state.
    fn check(
        &self,
        wire: Wire,
        peer: SocketAddr,
        headers: &HeaderMap,
        params: Params,
    ) -> Result<Entry, Refuse> {
        if let Err(reason) = self.admission.check_address(peer.ip()) {
            let text = "too many new connections from this address: wait a moment";
            return Err(self.refuse(reason, StatusCode::TOO_MANY_REQUESTS, text));
        }
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = params.access_token.as_deref().or(bearer).unwrap_or_default();
        let now_s = u64::try_from(read_clocks().unix_us / 1_000_000).unwrap_or(0);
        let verified = self
            .admit(token, now_s)
            .map_err(|error| self.refuse(Refused::Token, StatusCode::UNAUTHORIZED, error))?;
        entry::read(wire, params, verified).map_err(|error| {
            let (reason, status) = match error {
                EntryError::ForeignRoom => (Refused::Token, StatusCode::UNAUTHORIZED),
                EntryError::NoGrant => (Refused::Permission, StatusCode::FORBIDDEN),
                _ => (Refused::Request, StatusCode::BAD_REQUEST),
            };
            self.refuse(reason, status, error)
        })
    }
}

type Parameters = Result<Query<Params>, axum::extract::rejection::QueryRejection>;

fn params(shared: &Shared, parameters: Parameters) -> Result<Params, Refuse> {
    // The library's own text might repeat a part of the query.
    parameters.map(|Query(params)| params).map_err(|_| {
        shared.refuse(Refused::Request, StatusCode::BAD_REQUEST, "the query does not parse")
    })
}

async fn validate_v0(
    State(shared): App,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Refuse> {
    shared.check(Wire::Two, peer, &headers, params(&shared, parameters)?)?;
    Ok(plain(StatusCode::OK, "success".to_owned()))
}

async fn validate_v1(
    State(shared): App,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Refuse> {
    let params = params(&shared, parameters)?;
    // Whoever only asks about a token need not bring a join request; one that is there is checked.
    let wire = if params.join_request.is_some() { Wire::One } else { Wire::Two };
    shared.check(wire, peer, &headers, params)?;
    Ok(plain(StatusCode::OK, "success".to_owned()))
}

type MayUpgrade = Result<Upgrade, StatusCode>;

async fn rtc_v0(
    State(shared): App,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    parameters: Parameters,
    upgrade: MayUpgrade,
) -> Result<Response, Refuse> {
    let entry = shared.check(Wire::Two, peer, &headers, params(&shared, parameters)?)?;
    enter(shared, entry, upgrade).await
}

async fn rtc_v1(
    State(shared): App,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    parameters: Parameters,
    upgrade: MayUpgrade,
) -> Result<Response, Refuse> {
    let entry = shared.check(Wire::One, peer, &headers, params(&shared, parameters)?)?;
    enter(shared, entry, upgrade).await
}

/// Knocks at the actor, and upgrades when it lets the client in.
async fn enter(shared: Arc<Shared>, entry: Entry, upgrade: MayUpgrade) -> Result<Response, Refuse> {
    let upgrade = upgrade.map_err(|_| {
        let text = "this is the address of a WebSocket";
        shared.refuse(Refused::Request, StatusCode::BAD_REQUEST, text)
    })?;
    let place = shared.admission.take_place().map_err(|reason| {
        shared.refuse(reason, StatusCode::SERVICE_UNAVAILABLE, "all places are taken")
    })?;
    let arrival = match entry {
        Entry::Join(join) => Arrival::Join(join),
        Entry::Resume(resume) => Arrival::Resume(resume),
    };
    let ticket = shared.handle.arrive(arrival).await.map_err(|refusal| {
        let (reason, text) = match refusal {
            Refusal::NoNode => (Refused::NoNode, "no media node is connected: try again"),
            Refusal::Full => (Refused::ShardsFull, "all shards are full"),
        };
        shared.refuse(reason, StatusCode::SERVICE_UNAVAILABLE, text)
    })?;
    Ok(upgrade.accept(async move |websocket| {
        if let Some(reason) = socket::serve(websocket, ticket, shared.stop.clone()).await {
            shared.admission.refused.count(reason);
        }
        drop(place);
    }))
}

async fn look(shared: &Shared) -> Option<crate::actor::Inspection> {
    tokio::time::timeout(INSPECT_TIMEOUT, shared.handle.inspect()).await.ok().flatten()
}

async fn readyz(State(shared): App) -> Response {
    let (status, text) = match look(&shared).await {
        None => (StatusCode::SERVICE_UNAVAILABLE, "the control plane does not answer\n"),
        Some(seen) if seen.nodes == 0 => {
            (StatusCode::SERVICE_UNAVAILABLE, "no media node is connected\n")
        }
        Some(_) => (StatusCode::OK, "ready\n"),
    };
    (status, text).into_response()
}

async fn metrics(State(shared): App) -> Response {
    match look(&shared).await {
        Some(seen) => {
            let text = metrics::text(&seen, &shared.admission, shared.process.map(|read| read()));
            ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DevTokenRequest {
    room: String,
    name: String,
}

#[derive(Serialize)]
struct DevTokenResponse {
    token: String,
}

/// A token for whoever asks: development alone. A page of another origin cannot ask, because JSON
/// makes its browser ask for permission first, which is not given; and its `Origin` tells.
async fn dev_token(
    State(shared): App,
    headers: HeaderMap,
    Json(wanted): Json<DevTokenRequest>,
) -> Result<Json<DevTokenResponse>, Refuse> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, rest)| rest == host);
    if !text(ORIGIN).is_none_or(own) {
        return Err(Refuse(StatusCode::FORBIDDEN, "another page's origin".to_owned()));
    }
    let fits = |text: &str| !text.is_empty() && text.len() < NAME_MAX / 2;
    if !fits(&wanted.room) || !fits(&wanted.name) {
        let text = "room and name must be there, and shorter than 128 bytes";
        return Err(Refuse(StatusCode::BAD_REQUEST, text.to_owned()));
    }
    let now_s = u64::try_from(read_clocks().unix_us / 1_000_000).unwrap_or(0);
    // Two tabs may give the same name.
    let identity = format!("{}-{}", wanted.name, crate::sid::random(&mut rand::rng(), 6));
    let mut grant = TokenRequest::new(&wanted.room, &identity, now_s, DEV_TOKEN_TTL_S);
    grant.name = wanted.name;
    grant.permissions.update_own = true;
    let token = token::mint(&shared.keys[0], &grant);
    Ok(Json(DevTokenResponse { token }))
}
