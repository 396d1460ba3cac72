//! The server API that backends speak by the SDKs' server libraries: Twirp, one POST for each call, in
//! protobuf or JSON. It has one call so far.
//!
//! | call of `livekit.RoomService` | what |
//! | --- | --- |
//! | `RemoveParticipant` | ends all that a member has in a room, and revokes its tokens |
//!
//! What is revoked is known to this process alone and forgotten when it ends: a token that must never
//! open anything again is one whose key is taken out of the configuration.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_base::limits::{NAME_MAX, REVOCATIONS_MAX, SERVICE_BODY_MAX};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use livekit_protocol as proto;
use prost::Message;
use serde::Deserialize;
use serde_json::json;

use crate::actor::{Question, read_clocks};
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::Denied;
use crate::token::{self, LEEWAY_S, Verified};

const PROTOBUF: &str = "application/protobuf";
const JSON: &str = "application/json";

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/twirp/livekit.RoomService/RemoveParticipant", post(remove_participant))
        .layer(DefaultBodyLimit::max(SERVICE_BODY_MAX))
}

/// Members whose tokens from before some time open nothing any more.
#[derive(Debug, Default)]
pub(crate) struct Revocations(Mutex<Revoked>);

#[derive(Debug, Default)]
struct Revoked {
    /// By room and identity: in seconds since 1970.
    before_s: HashMap<(String, String), u64>,
    /// In the order in which they came.
    order: VecDeque<(String, String)>,
}

impl Revocations {
    fn add(&self, room: &str, identity: &str, before_s: u64) {
        let mut revoked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let who = (room.to_owned(), identity.to_owned());
        if let Some(known) = revoked.before_s.get_mut(&who) {
            *known = before_s.max(*known);
            return;
        }
        if revoked.order.len() == REVOCATIONS_MAX
            && let Some(first) = revoked.order.pop_front()
        {
            revoked.before_s.remove(&first);
        }
        revoked.order.push_back(who.clone());
        revoked.before_s.insert(who, before_s);
    }

    /// Whether the token is one of those.
    pub(crate) fn covers(&self, token: &Verified) -> bool {
        let revoked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Few are revoked at any time, and most requests need no copies of names.
        !revoked.before_s.is_empty()
            && revoked
                .before_s
                .get(&(token.room.clone(), token.identity.identity.clone()))
                .is_some_and(|before_s| token.not_before_s < *before_s)
    }
}

/// An error as Twirp has them.
struct Fault(StatusCode, &'static str, String);

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.1, "msg": self.2 }).to_string();
        (self.0, [(CONTENT_TYPE, JSON)], body).into_response()
    }
}

fn invalid(text: &str) -> Fault {
    Fault(StatusCode::BAD_REQUEST, "invalid_argument", text.to_owned())
}

/// Of whom a call speaks. JSON has 64-bit numbers as text (ProtoJSON), and both spellings of names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    room: String,
    identity: String,
    #[serde(alias = "revokeTokenTs")]
    revoke_token_ts: Seconds,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Text(String),
}

impl Default for Seconds {
    fn default() -> Self {
        Seconds::Number(0)
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<proto::RoomParticipantIdentity, Fault> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => proto::RoomParticipantIdentity::decode(body)
            .map_err(|_| invalid("the body is no such message"))?,
        JSON => {
            let named: Named = serde_json::from_slice(body)
                .map_err(|_| invalid("the body is no such message in JSON"))?;
            let revoke_token_ts = match named.revoke_token_ts {
                Seconds::Number(number) => number,
                Seconds::Text(text) => {
                    text.parse().map_err(|_| invalid("revoke_token_ts is no number"))?
                }
            };
            proto::RoomParticipantIdentity {
                room: named.room,
                identity: named.identity,
                revoke_token_ts,
            }
        }
        _ => {
            let text = format!("the body must be of type {JSON} or {PROTOBUF}");
            return Err(Fault(StatusCode::NOT_FOUND, "bad_route", text));
        }
    };
    let fits = |name: &str| (1..=NAME_MAX).contains(&name.len());
    if !fits(&named.room) || !fits(&named.identity) {
        return Err(invalid("room or identity is empty or too long"));
    }
    Ok(named)
}

async fn remove_participant(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fault> {
    let deny = |reason, status, code, text: String| {
        shared.admission.refused.count(reason);
        Fault(status, code, text)
    };
    shared.admission.check_address(peer.ip()).map_err(|reason| {
        let text = "too many requests from this address: wait a moment".to_owned();
        deny(reason, StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", text)
    })?;
    let now_s = read_clocks().unix_s();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let room = token::verify_backend(&shared.keys, bearer, now_s).map_err(|error| {
        deny(Refused::Token, StatusCode::UNAUTHORIZED, "unauthenticated", error.to_string())
    })?;
    let named = read(&headers, &body)?;
    if room.as_deref() != Some(named.room.as_str()) {
        let text = "the access token does not grant video.roomAdmin for this room".to_owned();
        return Err(deny(Refused::Permission, StatusCode::FORBIDDEN, "permission_denied", text));
    }
    // Before anybody goes: who is removed may come back at once. As the protocol has it, a token that
    // was signed by a clock a little ahead of ours is among them.
    let said = u64::try_from(named.revoke_token_ts).ok().filter(|seconds| *seconds > 0);
    shared.revocations.add(&named.room, &named.identity, said.unwrap_or(now_s + LEEWAY_S));
    let proto::RoomParticipantIdentity { room, identity, .. } = named;
    match shared.handle.call(Question::Remove { room, identity }).await {
        Ok(_) => Ok(answer(&headers)),
        Err(Denied::Unknown) => {
            let text = "there is no such participant".to_owned();
            Err(Fault(StatusCode::NOT_FOUND, "not_found", text))
        }
        Err(_) => {
            let text = "the server is about to stop".to_owned();
            Err(Fault(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text))
        }
    }
}

/// An empty message, in the words of the request.
fn answer(headers: &HeaderMap) -> Response {
    let binary = headers.get(CONTENT_TYPE).is_some_and(|value| value == PROTOBUF);
    if binary {
        ([(CONTENT_TYPE, PROTOBUF)], "").into_response()
    } else {
        ([(CONTENT_TYPE, JSON)], "{}").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn a_call_is_read_in_both_languages() {
        let message = proto::RoomParticipantIdentity {
            room: "lobby".into(),
            identity: "studio".into(),
            revoke_token_ts: 7,
        };
        assert_eq!(
            read(&headers(PROTOBUF), &message.encode_to_vec()).ok().as_ref(),
            Some(&message)
        );
        for json in [
            r#"{"room":"lobby","identity":"studio","revoke_token_ts":7}"#,
            r#"{"room":"lobby","identity":"studio","revokeTokenTs":"7","other":1}"#,
        ] {
            let read = read(&headers("application/json; charset=utf-8"), json.as_bytes());
            assert_eq!(read.ok().as_ref(), Some(&message), "{json}");
        }
        for (kind, body, code) in [
            (JSON, "{", "invalid_argument"),
            (JSON, r#"{"room":"lobby"}"#, "invalid_argument"),
            (JSON, r#"{"room":"a","identity":"b","revoke_token_ts":"x"}"#, "invalid_argument"),
            (PROTOBUF, "\u{ff}", "invalid_argument"),
            ("text/plain", "{}", "bad_route"),
        ] {
            let fault = read(&headers(kind), body.as_bytes()).unwrap_err();
            assert_eq!(fault.1, code, "{kind} {body}");
        }
    }

    #[test]
    fn revocations_are_bounded_and_never_go_back() {
        let revocations = Revocations::default();
        let before = |room: &str, identity: &str| {
            let who = (room.to_owned(), identity.to_owned());
            revocations.0.lock().unwrap().before_s.get(&who).copied()
        };
        revocations.add("r", "a", 100);
        revocations.add("r", "a", 50);
        assert_eq!((before("r", "a"), before("q", "a")), (Some(100), None));
        for n in 0..REVOCATIONS_MAX {
            revocations.add("r", &n.to_string(), 1);
        }
        assert_eq!(before("r", "a"), None, "the first one made room");
        assert_eq!(before("r", "0"), Some(1));
    }
}
