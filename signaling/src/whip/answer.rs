//! What the model's answers become: statuses, headers, descriptions.

use axum::http::header::{CONTENT_TYPE, ETAG, LINK, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use livekit_protocol as proto;

use super::offer::line_of;
use super::problem::Problem;
use super::{ACCEPT_PATCH, FRAGMENT, SDP, fragment, path};
use crate::admission::Refused;
use crate::http::Shared;
use crate::model::http::{Denied, Reply, Way};

/// The events that there are; also what a listener may choose from.
pub(super) const EVENTS: [&str; 4] = ["active", "inactive", "layers", "viewercount"];

/// A new resource.
pub(super) fn created(
    way: Way,
    room: &str,
    reply: Reply,
    servers: &[proto::IceServer],
) -> Result<Response, Problem> {
    let Reply::Opened { id, tag, sdp } = reply else { return Ok(done(reply)) };
    let at = path(way, room, &id);
    let mut response = (StatusCode::CREATED, dress(&sdp)).into_response();
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, SDP);
    set(headers, ACCEPT_PATCH, FRAGMENT);
    set(headers, LOCATION, &at);
    set(headers, ETAG, &format!("\"{tag}\""));
    for link in servers.iter().flat_map(links) {
        add_link(headers, &link);
    }
    if way == Way::Whep {
        let extension = "urn:ietf:params:whep:ext:core";
        let events = EVENTS.join(",");
        add_link(headers, &format!("<{at}/layers>; rel=\"{extension}:layer\""));
        let listen = format!("<{at}/events>; rel=\"{extension}:server-sent-events\"");
        add_link(headers, &format!("{listen}; events=\"{events}\""));
    }
    Ok(response)
}

/// To all that is not an offer.
pub(super) fn done(reply: Reply) -> Response {
    match reply {
        Reply::Restarted { tag, sdp } => {
            let mut response = (StatusCode::OK, fragment::of_answer(&sdp)).into_response();
            set(response.headers_mut(), CONTENT_TYPE, FRAGMENT);
            set(response.headers_mut(), ETAG, &format!("\"{tag}\""));
            response
        }
        Reply::Opened { .. } | Reply::Done => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Writes a header, instead of what the library put there; one that cannot be written is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The same beside those of that name.
fn add_link(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(LINK, value);
    }
}

/// One link for each address (RFC 9725 §4.6).
fn links(server: &proto::IceServer) -> Vec<String> {
    let credentials = if server.credential.is_empty() {
        String::new()
    } else {
        // Both are made of characters that need no escape.
        let (name, word) = (&server.username, &server.credential);
        format!("; username=\"{name}\"; credential=\"{word}\"; credential-type=\"password\"")
    };
    let link = |url: &String| format!("<{url}>; rel=\"ice-server\"{credentials}");
    server.urls.iter().map(link).collect()
}

/// RFC 9725 §4.4.1: RTP and RTCP go one way in every section of the bundle, and the answer says so.
fn dress(sdp: &str) -> String {
    sdp.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
}

impl Shared {
    /// Why the model does not. `offer`: what was sent, to name its lines.
    pub(super) fn denied(&self, denied: Denied, way: Way, offer: &str, here: &str) -> Problem {
        let deny = |reason, status, text: &str| self.deny(reason, status, text);
        match denied {
            Denied::NoNode => self.away(Refused::NoNode, "no media node is connected", here),
            Denied::Ended => self.away(Refused::ShardsFull, "the session ended at once", here),
            Denied::Full => self.away(Refused::ShardsFull, "all places are taken", here),
            Denied::Unknown => {
                deny(Refused::Resource, StatusCode::NOT_FOUND, "there is no such resource")
            }
            Denied::Unconditional => deny(
                Refused::Condition,
                StatusCode::PRECONDITION_REQUIRED,
                "If-Match must name the ICE session by its entity-tag, or be * for a restart",
            ),
            Denied::Stale => deny(
                Refused::Condition,
                StatusCode::PRECONDITION_FAILED,
                "the entity-tag names an ICE session that is over",
            ),
            Denied::Overtaken => {
                let text = "a newer request restarted ICE meanwhile";
                deny(Refused::Condition, StatusCode::CONFLICT, text)
            }
            Denied::Offer(reason) => self.deny(Refused::Offer, StatusCode::BAD_REQUEST, reason),
            Denied::Codec { sections, all } => {
                let line = sections.first().map_or(1, |place| line_of(offer, *place));
                self.no_codec(way, line, all)
            }
            Denied::Layer => {
                let text = "the publisher sends no such layer";
                deny(Refused::Request, StatusCode::UNPROCESSABLE_ENTITY, text)
            }
            Denied::TooMany => {
                let text = "too many changes to this resource: wait a moment";
                deny(Refused::TooManyMessages, StatusCode::TOO_MANY_REQUESTS, text).later()
            }
        }
    }

    /// To players 406 would promise a counter-offer, and a publisher that sends half is misled (RFC 9725
    /// §4.4.3).
    pub(super) fn no_codec(&self, way: Way, line: usize, all: bool) -> Problem {
        let status = match way {
            Way::Whip if all => StatusCode::NOT_ACCEPTABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let text = "the section has no codec that this server forwards: \
                    Opus, G.711, VP8, VP9, H264, H265, AV1";
        self.deny(Refused::Codec, status, text).at(line)
    }

    /// Not here, not now: elsewhere, if there is such a place (RFC 9725 §4.5), or a little later.
    pub(super) fn away(&self, reason: Refused, text: &str, here: &str) -> Problem {
        let problem = self.deny(reason, StatusCode::SERVICE_UNAVAILABLE, text).later();
        match &self.redirect {
            Some(base) => problem.elsewhere(format!("{base}{here}")),
            None => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_servers_become_links() {
        let stun = proto::IceServer { urls: vec!["stun:a".into()], ..Default::default() };
        assert_eq!(links(&stun), ["<stun:a>; rel=\"ice-server\""]);
        let turn = proto::IceServer {
            urls: vec!["turn:b?transport=udp".into(), "turns:b".into()],
            username: "7:x".into(),
            credential: "pA+/=".into(),
        };
        let links = links(&turn);
        assert_eq!(links.len(), 2);
        assert_eq!(
            links[0],
            "<turn:b?transport=udp>; rel=\"ice-server\"; username=\"7:x\"; credential=\"pA+/=\"; \
             credential-type=\"password\""
        );
    }

    #[test]
    fn every_bundled_section_multiplexes_only() {
        let sdp = "m=audio 9 X 1\r\na=rtcp-mux\r\na=mid:0\r\nm=video 0 X 0\r\na=mid:1\r\n";
        assert_eq!(dress(sdp), sdp.replace("mux\r\n", "mux\r\na=rtcp-mux-only\r\n"));
    }
}
