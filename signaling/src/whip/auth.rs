//! Whose request it is: a token in the header, or in the query for players that cannot send headers.

use std::net::SocketAddr;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::actor::read_clocks;
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::{Address, Way};
use crate::token::{self, TokenError, Verified};

/// The room of a path that leaves it to the token.
const ROOM_OF_TOKEN: &str = "v1";

impl Shared {
    /// One refusal, counted.
    pub(super) fn deny(
        &self,
        reason: Refused,
        status: StatusCode,
        text: impl Into<String>,
    ) -> Problem {
        self.admission.refused.count(reason);
        Problem::new(status, text)
    }

    pub(super) fn check_rate(&self, peer: SocketAddr) -> Result<(), Problem> {
        self.admission.check_address(peer.ip()).map_err(|reason| {
            let text = "too many requests from this address: wait a moment";
            self.deny(reason, StatusCode::TOO_MANY_REQUESTS, text).later()
        })
    }

    /// Whoever wants a new resource in this room. Gives the token, whose room is the one meant.
    pub(super) fn newcomer(
        &self,
        way: Way,
        room: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Verified, Problem> {
        let now_s = read_clocks().unix_s();
        let verified =
            self.admit(bearer(headers, query), now_s).map_err(|error| self.unauthorized(error))?;
        let forbidden = |text: &str| self.deny(Refused::Permission, StatusCode::FORBIDDEN, text);
        if !verified.room_join || verified.room.is_empty() {
            return Err(forbidden("the access token does not grant video.roomJoin for a room"));
        }
        if room != verified.room && room != ROOM_OF_TOKEN {
            return Err(forbidden("the access token is for another room"));
        }
        match way {
            Way::Whip if !verified.permissions.publish => {
                Err(forbidden("the access token does not grant video.canPublish"))
            }
            Way::Whep if !verified.permissions.subscribe => {
                Err(forbidden("the access token does not grant video.canSubscribe"))
            }
            _ => Ok(verified),
        }
    }

    /// Whoever has a resource already. Its token's time may be over: that is asked at the door alone.
    pub(super) fn known(
        &self,
        way: Way,
        room: &str,
        id: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Address, Problem> {
        let verified = token::verify_known(&self.keys, bearer(headers, query))
            .map_err(|error| self.unauthorized(error))?;
        // A token for another room finds nothing in this one.
        let room = if room == verified.room { verified.room } else { String::new() };
        Ok(Address { way, room, id: id.to_owned(), identity: verified.identity.identity })
    }

    fn unauthorized(&self, error: TokenError) -> Problem {
        let challenge = match error {
            // RFC 6750 §3.1: no reason for one who did not try.
            TokenError::Missing => "Bearer realm=\"antipode\"".to_owned(),
            _ => format!(
                "Bearer realm=\"antipode\", error=\"invalid_token\", error_description=\"{error}\""
            ),
        };
        let problem = self.deny(Refused::Token, StatusCode::UNAUTHORIZED, error.to_string());
        problem.challenge(challenge)
    }
}

/// The header goes first: a URL is copied and kept more easily.
fn bearer<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> &'a str {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    // A token is made of characters that no URL escapes.
    let in_query = || super::query::value(query, "access_token");
    token.or_else(in_query).unwrap_or_default()
}
