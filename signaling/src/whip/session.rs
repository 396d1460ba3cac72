//! What is there already: its ICE, its layer, its end.

use std::net::SocketAddr;
use std::sync::Arc;

use antipode_base::limits::{HTTP_CHOICE_MAX, HTTP_FRAGMENT_MAX};
use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri, Path, State};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::done;
use super::endpoint::text;
use super::problem::Problem;
use super::{FRAGMENT, fragment, is_type, query};
use crate::actor::Question;
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::{Address, Ask, Condition, Credentials, Reply, Way};
use crate::model::program::{Choice, LayerName};

type App = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;
type Place = Path<(String, String)>;
type Peer = ConnectInfo<SocketAddr>;

/// What every request on a resource has.
struct Head {
    way: Way,
    room: String,
    id: String,
    peer: SocketAddr,
    headers: HeaderMap,
    uri: OriginalUri,
}

impl Head {
    fn new(
        way: Way,
        place: (String, String),
        peer: SocketAddr,
        rest: (HeaderMap, OriginalUri),
    ) -> Self {
        let ((room, id), (headers, uri)) = (place, rest);
        Head { way, room, id, peer, headers, uri }
    }

    fn check(&self, shared: &Shared) -> Result<Address, Problem> {
        shared.check_rate(self.peer)?;
        shared.known(self.way, &self.room, &self.id, &self.headers, self.uri.query())
    }
}

async fn ask(shared: &Shared, address: Address, ask: Ask) -> Result<Reply, Problem> {
    let way = address.way;
    let reply = shared.handle.call(Question::Ask(address, ask)).await;
    // A resource is nowhere else: nobody is sent away.
    reply.map_err(|denied| shared.denied(denied, way, "", "").stay())
}

macro_rules! on_resource {
    ($($whip:ident, $whep:ident => $then:ident;)*) => {$(
        pub(super) async fn $whip(
            State(shared): App,
            Path(place): Place,
            ConnectInfo(peer): Peer,
            headers: HeaderMap,
            uri: OriginalUri,
            body: Body,
        ) -> Answer {
            $then(&shared, Head::new(Way::Whip, place, peer, (headers, uri)), body).await
        }

        pub(super) async fn $whep(
            State(shared): App,
            Path(place): Place,
            ConnectInfo(peer): Peer,
            headers: HeaderMap,
            uri: OriginalUri,
            body: Body,
        ) -> Answer {
            $then(&shared, Head::new(Way::Whep, place, peer, (headers, uri)), body).await
        }
    )*};
}

on_resource! {
    look_whip, look_whep => look;
    patch_whip, patch_whep => patch;
    close_whip, close_whep => close;
}

/// RFC 9725 §4.1: there is nothing to see of a session, but it is there.
async fn look(shared: &Shared, head: Head, _body: Body) -> Answer {
    let address = head.check(shared)?;
    ask(shared, address, Ask::Look).await.map(done)
}

/// Ends it. Conditions do not matter (RFC 9725 §4.3.1).
async fn close(shared: &Shared, head: Head, _body: Body) -> Answer {
    let address = head.check(shared)?;
    ask(shared, address, Ask::Close).await?;
    Ok(StatusCode::OK.into_response())
}

async fn patch(shared: &Shared, head: Head, body: Body) -> Answer {
    let address = head.check(shared)?;
    if !is_type(&head.headers, FRAGMENT) {
        let text = "the body must be a fragment, of type application/trickle-ice-sdpfrag";
        return Err(shared.deny(Refused::Type, StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = text(shared, &head.headers, body, HTTP_FRAGMENT_MAX).await?;
    let fragment = fragment::parse(&body).map_err(|error| {
        let problem = shared.deny(Refused::Offer, StatusCode::BAD_REQUEST, error.what);
        problem.at(error.line)
    })?;
    let credentials = fragment.credentials.map(|(ufrag, password)| Credentials { ufrag, password });
    let condition = condition(&head.headers);
    ask(shared, address, Ask::Patch(condition, credentials)).await.map(done)
}

/// Weak tags match nothing (RFC 9110 §13.1.1).
fn condition(headers: &HeaderMap) -> Condition {
    let values: Vec<&str> = headers
        .get_all(IF_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .collect();
    // RFC 9725 §4.3.3 shows the star in quotes, and so clients send it.
    if values.iter().any(|value| ["*", "\"*\""].contains(value)) {
        return Condition::Any;
    }
    if values.is_empty() {
        return Condition::None;
    }
    let tag = |value: &&str| Some(value.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    Condition::Tags(values.iter().filter_map(tag).collect())
}

/// The draft's words, old and new. What is not named is as the server chooses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    rid: Option<String>,
    encoding_id: Option<String>,
    spatial_layer_id: Option<u8>,
    max_spatial_layer_id: Option<u8>,
    temporal_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
}

impl Wanted {
    fn choice(self) -> Option<Choice> {
        let layer = match self.rid.or(self.encoding_id) {
            Some(rid) => Some(LayerName::Rid(match query::layer_name(&rid)? {
                // A rid may be a number.
                LayerName::Rung(_) => rid,
                LayerName::Rid(rid) => rid,
            })),
            None => self.spatial_layer_id.or(self.max_spatial_layer_id).map(LayerName::Rung),
        };
        Some(Choice { layer, temporal_max: self.temporal_layer_id.or(self.max_temporal_layer_id) })
    }
}

pub(super) async fn choose(
    State(shared): App,
    Path(place): Place,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    uri: OriginalUri,
    body: Body,
) -> Answer {
    let head = Head::new(Way::Whep, place, peer, (headers, uri));
    let address = head.check(&shared)?;
    if !is_type(&head.headers, "application/json") {
        let text = "the body must be of type application/json";
        return Err(shared.deny(Refused::Type, StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = text(&shared, &head.headers, body, HTTP_CHOICE_MAX).await?;
    let bad = |text: &str| shared.deny(Refused::Request, StatusCode::BAD_REQUEST, text);
    let wanted: Wanted = serde_json::from_str(&body)
        .map_err(|error| bad("no choice of a layer").at(error.line().max(1)))?;
    let choice = wanted.choice().ok_or_else(|| bad("no rid"))?;
    ask(&shared, address, Ask::Choose(choice)).await?;
    Ok(StatusCode::OK.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn conditions_table() {
        let tags = |tags: &[&str]| Condition::Tags(tags.iter().map(|t| (*t).to_owned()).collect());
        for (values, want) in [
            (&[][..], Condition::None),
            (&["*"], Condition::Any),
            (&["\"*\""], Condition::Any),
            (&["\"a\""], tags(&["a"])),
            (&["\"a\", \"b\"", "\"c\""], tags(&["a", "b", "c"])),
            (&["W/\"a\""], tags(&[])),
            (&["a"], tags(&[])),
            (&[""], Condition::None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(condition(&headers), want, "{values:?}");
        }
    }

    #[test]
    fn layers_have_old_and_new_names() {
        let rid = |text: &str| Some(LayerName::Rid(text.to_owned()));
        for (json, layer, temporal_max) in [
            ("{}", None, None),
            (r#"{"mediaId":"1","rid":"q"}"#, rid("q"), None),
            (r#"{"encodingId":"2"}"#, rid("2"), None),
            (
                r#"{"maxSpatialLayerId":1,"maxTemporalLayerId":0}"#,
                Some(LayerName::Rung(1)),
                Some(0),
            ),
        ] {
            let wanted: Wanted = serde_json::from_str(json).unwrap();
            assert_eq!(wanted.choice(), Some(Choice { layer, temporal_max }), "{json}");
        }
        assert!(serde_json::from_str::<Wanted>(r#"{"spatialLayerId":-1}"#).is_err());
        let odd: Wanted = serde_json::from_str(r#"{"rid":"a b"}"#).unwrap();
        assert_eq!(odd.choice(), None);
    }
}
