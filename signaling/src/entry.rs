//! What a client's first request asks for: the query of the WebSocket's address, and the token.

use std::collections::BTreeMap;

use antipode_base::limits::{ATTRIBUTES_MAX, METADATA_MAX, NAME_MAX, TRACKS_PER_SESSION_MAX};
use livekit_protocol as proto;
use serde::Deserialize;

use crate::edge::decode::{self, DecodeError};
use crate::model::member::{ClientTraits, Identity, Naming, Wire};
use crate::model::message::{Join, Resume};
use crate::token::Verified;

/// The query. The SDKs send more; it is of no use here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    pub access_token: Option<String>,
    /// `/rtc/v1`.
    pub join_request: Option<String>,
    /// Only of old clients; must be the token's.
    pub room: Option<String>,
    /// `/rtc`, as all that follow.
    pub auto_subscribe: Option<String>,
    pub reconnect: Option<String>,
    pub sid: Option<String>,
    pub client_protocol: Option<String>,
    pub sdk: Option<String>,
    pub version: Option<String>,
}

/// What a client wants.
#[derive(Debug)]
pub(crate) enum Entry {
    /// To come in.
    Join(Box<Join>),
    /// To come back.
    Resume(Resume),
}

/// Why a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("the access token is for another room")]
    ForeignRoom,
    #[error("the access token does not grant video.roomJoin for a room")]
    NoGrant,
    #[error("join_request is missing")]
    NoJoinRequest,
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("a reconnect needs the participant's sid")]
    NoSid,
    #[error("join_request holds a text or list that is too long")]
    TooLong,
}

/// Reads the request of a client whose token is valid.
pub(crate) fn read(wire: Wire, params: Params, token: Verified) -> Result<Entry, EntryError> {
    if params.room.as_ref().is_some_and(|room| *room != token.room) {
        return Err(EntryError::ForeignRoom);
    }
    if !token.room_join || token.room.is_empty() {
        return Err(EntryError::NoGrant);
    }
    match wire {
        Wire::One => {
            let packed = params.join_request.ok_or(EntryError::NoJoinRequest)?;
            read_join_request(decode::join_request(&packed)?, token)
        }
        Wire::Two => read_query(params, token),
    }
}

fn read_query(params: Params, token: Verified) -> Result<Entry, EntryError> {
    let yes = |value: &Option<String>| {
        value.as_ref().map(|value| matches!(value.as_str(), "1" | "true" | "TRUE" | "True"))
    };
    if yes(&params.reconnect).unwrap_or(false) {
        return resume(params.sid.unwrap_or_default(), token);
    }
    let traits = ClientTraits {
        protocol: params.client_protocol.and_then(|text| text.parse().ok()).unwrap_or(0),
        capabilities: Vec::new(),
        naming: naming(params.sdk.as_deref(), params.version.as_deref()),
    };
    let auto_subscribe = yes(&params.auto_subscribe).unwrap_or(true);
    Ok(Entry::Join(Box::new(join(Wire::Two, token, auto_subscribe, traits))))
}

/// Of a client with two connections. The JavaScript SDK reads `mid_to_track_id` of an offer from 2.16 on.
fn naming(sdk: Option<&str>, version: Option<&str>) -> Naming {
    let mut parts = version.unwrap_or_default().split('.').map(|part| part.parse::<u32>().ok());
    let version = (parts.next().flatten(), parts.next().flatten());
    if sdk == Some("js") && version >= (Some(2), Some(16)) {
        Naming::SectionUnlessSid
    } else {
        Naming::Stream
    }
}

fn read_join_request(request: proto::JoinRequest, token: Verified) -> Result<Entry, EntryError> {
    if request.reconnect {
        return resume(request.participant_sid, token);
    }
    let attributes: BTreeMap<String, String> = request.participant_attributes.into_iter().collect();
    let attributes_bytes: usize = attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    if request.metadata.len() > METADATA_MAX
        || attributes_bytes > ATTRIBUTES_MAX
        || request.add_track_requests.len() > TRACKS_PER_SESSION_MAX
    {
        return Err(EntryError::TooLong);
    }
    let info = request.client_info.unwrap_or_default();
    let capabilities = info.capabilities.into_iter().take(CAPABILITIES_MAX).collect();
    // On this connection all SDKs go by sections.
    let naming = Naming::Section;
    let traits = ClientTraits { protocol: info.client_protocol, capabilities, naming };
    let auto_subscribe = request.connection_settings.is_none_or(|settings| settings.auto_subscribe);
    let mut join = join(Wire::One, token, auto_subscribe, traits);
    if join.permissions.update_own {
        introduce(&mut join.who, request.metadata, attributes);
    }
    join.tracks = request.add_track_requests.into_iter().map(decode::track_spec).collect();
    join.offer = request.publisher_offer.map(decode::description);
    Ok(Entry::Join(Box::new(join)))
}

/// Kinds of things that a client can do.
const CAPABILITIES_MAX: usize = 32;

/// A client that may describe itself does so.
fn introduce(who: &mut Identity, metadata: String, attributes: BTreeMap<String, String>) {
    if !metadata.is_empty() {
        who.metadata = metadata;
    }
    if !attributes.is_empty() {
        who.attributes = attributes;
    }
}

fn resume(sid: String, token: Verified) -> Result<Entry, EntryError> {
    if sid.is_empty() || sid.len() > NAME_MAX {
        return Err(EntryError::NoSid);
    }
    Ok(Entry::Resume(Resume {
        room: token.room,
        sid,
        identity: token.identity.identity,
        token_until_s: token.expires_s,
    }))
}

fn join(wire: Wire, token: Verified, auto_subscribe: bool, traits: ClientTraits) -> Join {
    Join {
        room: token.room,
        who: token.identity,
        permissions: token.permissions,
        key: token.key,
        token_until_s: token.expires_s,
        wire,
        auto_subscribe,
        traits,
        tracks: Vec::new(),
        offer: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdks_that_go_by_sections_table() {
        for (sdk, version, want) in [
            (Some("js"), Some("2.23.0"), Naming::SectionUnlessSid),
            (Some("js"), Some("2.16.0"), Naming::SectionUnlessSid),
            (Some("js"), Some("3.0.0-rc1"), Naming::SectionUnlessSid),
            (Some("js"), Some("2.15.7"), Naming::Stream),
            (Some("js"), Some("2"), Naming::Stream),
            (Some("js"), Some("new"), Naming::Stream),
            (Some("js"), None, Naming::Stream),
            (Some("python"), Some("9.9.9"), Naming::Stream),
            (None, None, Naming::Stream),
        ] {
            assert_eq!(naming(sdk, version), want, "{sdk:?} {version:?}");
        }
    }
}
