//! Events of a player as they happen (draft-ietf-wish-whep, its events; WHATWG server-sent events).
//!
//! A player first posts which events it wants, and is told where they are. Those who read without asking get
//! all of them. Nothing is kept of either: what was chosen stands in the address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antipode_base::limits::{HTTP_CHOICE_MAX, PLAYER_EVENTS_MAX};
use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri, Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answer::EVENTS;
use super::endpoint::text;
use super::problem::Problem;
use super::{is_type, path, query};
use crate::actor::Question;
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::{Address, Ask, Way};
use crate::model::program::{PlayEvent, Rung};

type App = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// A comment in a silent stream, so that proxies and dead clients are noticed.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

fn check(
    shared: &Shared,
    place: &(String, String),
    peer: SocketAddr,
    headers: &HeaderMap,
    uri: &OriginalUri,
) -> Result<Address, Problem> {
    shared.check_rate(peer)?;
    shared.known(Way::Whep, &place.0, &place.1, headers, uri.query())
}

/// Says where the events are that somebody wants.
pub(super) async fn subscribe(
    State(shared): App,
    Path(place): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
    body: Body,
) -> Answer {
    let address = check(&shared, &place, peer, &headers, &uri)?;
    let body = text(&shared, &headers, body, HTTP_CHOICE_MAX).await?;
    let bad = |what: String| shared.deny(Refused::Request, StatusCode::BAD_REQUEST, what);
    let wanted: Vec<String> = if body.trim().is_empty() {
        EVENTS.map(str::to_owned).to_vec()
    } else if is_type(&headers, "application/json") {
        let list = serde_json::from_str(&body);
        list.map_err(|_| bad("the body must be a list of events' names".to_owned()))?
    } else {
        let text = "the body must be of type application/json";
        return Err(shared.deny(Refused::Type, StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    };
    if !wanted.iter().all(|name| EVENTS.contains(&name.as_str())) {
        return Err(bad(format!("the events are {}", EVENTS.join(", "))));
    }
    let at = path(Way::Whep, &address.room, &address.id);
    let reply = shared.handle.call(Question::Ask(address, Ask::Look)).await;
    reply.map_err(|denied| shared.denied(denied, Way::Whep, "", "").stay())?;
    let at = format!("{at}/events?events={}", wanted.join(","));
    let location = HeaderValue::try_from(at).map_err(|_| bad("no such events".to_owned()))?;
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// The events themselves.
pub(super) async fn listen(
    State(shared): App,
    Path(place): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
) -> Answer {
    let address = check(&shared, &place, peer, &headers, &uri)?;
    let wanted: Vec<String> = match query::value(uri.query(), "events") {
        Some(list) => list.split(',').map(str::to_owned).collect(),
        None => EVENTS.map(str::to_owned).to_vec(),
    };
    let (events_tx, events) = mpsc::channel(PLAYER_EVENTS_MAX);
    let before = shared.handle.listen(address, events_tx).await;
    let before = before.map_err(|denied| shared.denied(denied, Way::Whep, "", "").stay())?;
    let stream = stream(before, events, wanted, shared.stop.clone());
    let keep = KeepAlive::new().interval(COMMENT_EVERY);
    let mut response = Sse::new(stream).keep_alive(keep).into_response();
    // What happened is over for the next one who asks.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Nothing is kept of a stream: whoever closes it has ended it.
pub(super) async fn end(
    State(shared): App,
    Path(place): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
) -> Answer {
    let address = check(&shared, &place, peer, &headers, &uri)?;
    let reply = shared.handle.call(Question::Ask(address, Ask::Look)).await;
    reply.map_err(|denied| shared.denied(denied, Way::Whep, "", "").stay())?;
    Ok(StatusCode::OK.into_response())
}

fn stream(
    before: Vec<PlayEvent>,
    events: mpsc::Receiver<PlayEvent>,
    wanted: Vec<String>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (before.into_iter(), events, wanted, stop);
    stream::unfold(state, async |(mut before, mut events, wanted, stop)| {
        loop {
            let event = match before.next() {
                Some(event) => event,
                None => tokio::select! {
                    () = stop.cancelled() => return None,
                    event = events.recv() => event?,
                },
            };
            let (name, data) = encode(&event);
            if wanted.iter().any(|each| each == name) {
                let event = Event::default().event(name).data(data.to_string());
                return Some((Ok(event), (before, events, wanted, stop)));
            }
        }
    })
}

fn encode(event: &PlayEvent) -> (&'static str, Value) {
    match event {
        PlayEvent::Active => ("active", json!({})),
        PlayEvent::Inactive => ("inactive", json!({})),
        PlayEvent::Layers { line, rungs } => {
            let rungs: Vec<Value> = rungs.iter().map(layer).collect();
            let mut lines = serde_json::Map::new();
            lines.insert(line.to_string(), rungs.into());
            ("layers", lines.into())
        }
        PlayEvent::Viewers(count) => ("viewercount", json!({ "viewercount": count })),
    }
}

/// A layer has its publisher's name, under the draft's newer and its older word, or else a number.
fn layer(rung: &Rung) -> Value {
    let mut layer = if rung.rid.is_empty() {
        json!({ "spatialLayerId": rung.rung })
    } else {
        json!({ "rid": rung.rid, "encodingId": rung.rid })
    };
    if rung.width > 0 && rung.height > 0 {
        layer["width"] = rung.width.into();
        layer["height"] = rung.height.into();
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_the_draft_has_them() {
        let rung = |rid: &str, rung, width| Rung { rid: rid.into(), rung, width, height: width };
        for (event, name, data) in [
            (PlayEvent::Active, "active", "{}"),
            (PlayEvent::Inactive, "inactive", "{}"),
            (PlayEvent::Viewers(3), "viewercount", r#"{"viewercount":3}"#),
            (
                PlayEvent::Layers { line: 1, rungs: vec![rung("q", 0, 0), rung("f", 1, 9)] },
                "layers",
                r#"{"1":[{"encodingId":"q","rid":"q"},{"encodingId":"f","height":9,"rid":"f","width":9}]}"#,
            ),
            (
                PlayEvent::Layers { line: 0, rungs: vec![rung("", 0, 0)] },
                "layers",
                r#"{"0":[{"spatialLayerId":0}]}"#,
            ),
        ] {
            let (found, value) = encode(&event);
            assert_eq!((found, value.to_string().as_str()), (name, data));
            assert!(EVENTS.contains(&name));
        }
    }
}
