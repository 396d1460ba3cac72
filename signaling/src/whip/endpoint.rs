//! Where publishers and players come in: one POST with an offer, answered by 201 and an answer.

use std::net::SocketAddr;
use std::sync::Arc;

use antipode_base::limits::{HTTP_HEAD_TIMEOUT, HTTP_OFFER_MAX};
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, OriginalUri, Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::answer::created;
use super::offer::{Fault, Offer};
use super::problem::Problem;
use super::{SDP, is_type, mend, query};
use crate::actor::{Question, read_clocks};
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::{Open, Way};
use crate::model::member::{ClientTraits, Wire};
use crate::model::message::{Description, Join};
use crate::token::Verified;

type App = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// What every request has.
pub(super) struct Head {
    pub peer: SocketAddr,
    pub headers: HeaderMap,
    pub uri: OriginalUri,
}

impl Head {
    fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Path and query, to be asked elsewhere.
    fn here(&self) -> &str {
        self.uri.path_and_query().map_or("/", |here| here.as_str())
    }
}

pub(super) async fn whip(
    State(shared): App,
    Path(room): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
    body: Body,
) -> Answer {
    open(&shared, Way::Whip, &room, None, Head { peer, headers, uri }, body).await
}

pub(super) async fn whep(
    State(shared): App,
    Path(room): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
    body: Body,
) -> Answer {
    open(&shared, Way::Whep, &room, None, Head { peer, headers, uri }, body).await
}

pub(super) async fn whep_one(
    State(shared): App,
    Path((room, participant)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: OriginalUri,
    body: Body,
) -> Answer {
    open(&shared, Way::Whep, &room, Some(participant), Head { peer, headers, uri }, body).await
}

/// Cheap checks first: address, token, type, size; then what the offer says; then the model.
async fn open(
    shared: &Shared,
    way: Way,
    room: &str,
    of: Option<String>,
    head: Head,
    body: Body,
) -> Answer {
    shared.check_rate(head.peer)?;
    let token = shared.newcomer(way, room, &head.headers, head.query())?;
    if !is_type(&head.headers, SDP) {
        let text = "the body must be an offer, of type application/sdp";
        return Err(shared.deny(Refused::Type, StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if shared.stop.is_cancelled() {
        return Err(shared.away(Refused::NoNode, "the server is about to stop", head.here()));
    }
    let offer = text(shared, &head.headers, body, HTTP_OFFER_MAX).await?;
    let offer = mend::offer(offer, &head.headers);
    let room = token.room.clone();
    let servers = shared.ice.of(&token.identity.identity, read_clocks().unix_s());
    let open = read(shared, way, of, head.query(), token, &offer)?;
    let reply = shared.handle.call(Question::Open(Box::new(open))).await;
    let reply = reply.map_err(|denied| shared.denied(denied, way, &offer, head.here()))?;
    created(way, &room, reply, &servers)
}

fn read(
    shared: &Shared,
    way: Way,
    of: Option<String>,
    asked: Option<&str>,
    token: Verified,
    text: &str,
) -> Result<Open, Problem> {
    let bad = |what: &str| shared.deny(Refused::Request, StatusCode::BAD_REQUEST, what);
    let fault = |fault| match fault {
        Fault::Bad(line, what) => {
            shared.deny(Refused::Offer, StatusCode::BAD_REQUEST, what).at(line)
        }
        Fault::Codec(line, all) => shared.no_codec(way, line, all),
        Fault::Forbidden(what) => shared.deny(Refused::Permission, StatusCode::FORBIDDEN, what),
    };
    let offer = Offer::read(text, way).map_err(fault)?;
    let (tracks, program) = match way {
        Way::Whip => {
            let screen = query::is_screen(asked).map_err(bad)?;
            (offer.tracks(screen, &token.permissions).map_err(fault)?, None)
        }
        Way::Whep => {
            let (sound, layer) =
                (query::sound(asked).map_err(bad)?, query::layer(asked).map_err(bad)?);
            (Vec::new(), Some(offer.program(of, sound, layer)))
        }
    };
    let join = Join {
        room: token.room,
        who: token.identity,
        permissions: token.permissions,
        key: token.key,
        token_until_s: token.expires_s,
        wire: Wire::One,
        auto_subscribe: false,
        traits: ClientTraits::default(),
        tracks,
        offer: Some(Description { id: 1, sdp: text.to_owned() }),
    };
    Ok(Open { join, way, program })
}

/// The body, if it is text and no longer than that.
pub(super) async fn text(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<String, Problem> {
    let too_long = || {
        let text = format!("the body is longer than {max} bytes");
        shared.deny(Refused::MessageTooLong, StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if said.is_some_and(|length: usize| length > max) {
        return Err(too_long());
    }
    let read = tokio::time::timeout(HTTP_HEAD_TIMEOUT, to_bytes(body, max)).await;
    let bytes = read
        .map_err(|_| {
            let text = "the body did not come in time";
            shared.deny(Refused::Silent, StatusCode::REQUEST_TIMEOUT, text)
        })?
        .map_err(|_| too_long())?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter();
        let line = line.filter(|byte| **byte == b'\n').count() + 1;
        shared.deny(Refused::Offer, StatusCode::BAD_REQUEST, "no text of UTF-8").at(line)
    })
}
