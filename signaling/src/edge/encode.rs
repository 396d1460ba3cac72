//! From the model's words to binary frames.

use std::collections::HashMap;

use antipode_base::limits::{SIGNAL_PING_INTERVAL, SIGNAL_PING_TIMEOUT};
use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message;

use super::ice::IceServers;
use super::infos;
use crate::config::{ApiKey, IceConfig};
use crate::model::member::Wire;
use crate::model::message::{Description, Gone, Joined, Outcome, Then, ToClient};
use crate::token;

/// What the messages need beside the model's words.
pub(crate) struct Encoder {
    keys: Vec<ApiKey>,
    ice: IceServers,
}

impl Encoder {
    pub(crate) fn new(keys: Vec<ApiKey>, ice: &IceConfig) -> Self {
        Encoder { keys, ice: IceServers::new(ice) }
    }

    /// The frame, or `None` when there is nothing to say. `now_s`: seconds since 1970.
    pub(crate) fn encode(&self, message: ToClient, now_s: u64) -> Option<Bytes> {
        self.message(message, now_s).map(frame)
    }

    fn message(&self, message: ToClient, now_s: u64) -> Option<Message> {
        Some(match message {
            ToClient::Joined(joined) => Message::Join(self.join(&joined, now_s)),
            ToClient::Resumed { node, identity } => Message::Reconnect(proto::ReconnectResponse {
                ice_servers: self.ice.of(&identity, now_s),
                server_info: Some(infos::server(node)),
                ..Default::default()
            }),
            ToClient::Token { key, grant } => {
                let key = self.keys.iter().find(|known| known.key == key)?;
                Message::RefreshToken(token::mint(key, &grant))
            }
            ToClient::Answer { description, tracks } => {
                Message::Answer(session_description("answer", description, tracks))
            }
            ToClient::Offer { description, tracks } => {
                Message::Offer(session_description("offer", description, tracks))
            }
            ToClient::LayersWanted { track, codec, qualities } => {
                Message::SubscribedQualityUpdate(layers_wanted(track, codec, qualities))
            }
            ToClient::Response { request_id, outcome, message, publish } => {
                Message::RequestResponse(response(request_id, outcome, message, publish))
            }
            ToClient::Leave { why, then } => Message::Leave(leave(why, then)),
            other => return plain(other),
        })
    }

    fn join(&self, joined: &Joined, now_s: u64) -> proto::JoinResponse {
        proto::JoinResponse {
            room: Some(infos::room(&joined.room)),
            participant: Some(infos::member(&joined.me)),
            other_participants: joined.others.iter().map(infos::member).collect(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            ice_servers: self.ice.of(&joined.me.who.identity, now_s),
            subscriber_primary: joined.wire == Wire::Two,
            ping_interval: SIGNAL_PING_INTERVAL.as_secs() as i32,
            ping_timeout: SIGNAL_PING_TIMEOUT.as_secs() as i32,
            server_info: Some(infos::server(joined.node)),
            enabled_publish_codecs: infos::codecs(),
            // The client need not wait for the first media before it publishes.
            fast_publish: true,
            ..Default::default()
        }
    }
}

/// Messages that are but another spelling.
fn plain(message: ToClient) -> Option<Message> {
    Some(match message {
        ToClient::Members(members) => Message::Update(proto::ParticipantUpdate {
            participants: members.iter().map(infos::member).collect(),
        }),
        ToClient::Room(room) => {
            Message::RoomUpdate(proto::RoomUpdate { room: Some(infos::room(&room)) })
        }
        ToClient::NeedSections { audio, video } => {
            Message::MediaSectionsRequirement(proto::MediaSectionsRequirement {
                num_audios: u32::from(audio),
                num_videos: u32::from(video),
            })
        }
        ToClient::Published { client_id, track } => {
            let track = Some(infos::track(&track));
            Message::TrackPublished(proto::TrackPublishedResponse { cid: client_id, track })
        }
        ToClient::Unpublished { track } => {
            Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid: track })
        }
        ToClient::Watched { track } => {
            Message::TrackSubscribed(proto::TrackSubscribed { track_sid: track })
        }
        ToClient::Delivery { publisher, track, paused } => {
            Message::StreamStateUpdate(stream_state(publisher, track, paused))
        }
        ToClient::Permission { publisher, track, allowed } => {
            Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
                participant_sid: publisher,
                track_sid: track,
                allowed,
            })
        }
        ToClient::SubscriptionFailed { track, unsupported } => {
            let err = if unsupported {
                proto::SubscriptionError::SeCodecUnsupported
            } else {
                proto::SubscriptionError::SeTrackNotfound
            };
            Message::SubscriptionResponse(proto::SubscriptionResponse {
                track_sid: track,
                err: err as i32,
            })
        }
        ToClient::Speakers(speakers) => {
            let speakers = speakers.iter().map(|speaker| proto::SpeakerInfo {
                sid: speaker.sid.clone(),
                level: speaker.level,
                active: speaker.level > 0.0,
            });
            Message::SpeakersChanged(proto::SpeakersChanged { speakers: speakers.collect() })
        }
        ToClient::Quality(grades) => {
            let updates = grades.iter().map(|(sid, grade)| proto::ConnectionQualityInfo {
                participant_sid: sid.clone(),
                quality: infos::quality(grade.level) as i32,
                score: grade.score,
            });
            let updates = updates.collect();
            Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates })
        }
        _ => return None,
    })
}

fn frame(message: Message) -> Bytes {
    proto::SignalResponse { message: Some(message) }.encode_to_vec().into()
}

/// The answers to a ping, in both forms, as the client asked.
pub(crate) fn pong(now_ms: i64) -> Bytes {
    frame(Message::Pong(now_ms))
}

/// See [`pong`].
pub(crate) fn pong_response(client_ms: i64, now_ms: i64) -> Bytes {
    frame(Message::PongResp(proto::Pong { last_ping_timestamp: client_ms, timestamp: now_ms }))
}

fn session_description(
    kind: &str,
    description: Description,
    tracks: Vec<(String, String)>,
) -> proto::SessionDescription {
    proto::SessionDescription {
        r#type: kind.to_owned(),
        sdp: description.sdp,
        id: description.id,
        mid_to_track_id: tracks.into_iter().collect::<HashMap<_, _>>(),
    }
}

fn stream_state(
    participant_sid: String,
    track_sid: String,
    paused: bool,
) -> proto::StreamStateUpdate {
    let state = if paused { proto::StreamState::Paused } else { proto::StreamState::Active } as i32;
    let info = proto::StreamStateInfo { participant_sid, track_sid, state };
    proto::StreamStateUpdate { stream_states: vec![info] }
}

/// Both forms: the first for clients that know of one codec, the second for the others.
fn layers_wanted(
    track_sid: String,
    codec: &str,
    qualities: [bool; 3],
) -> proto::SubscribedQualityUpdate {
    let qualities: Vec<_> = (0..)
        .zip(qualities)
        .map(|(quality, enabled)| proto::SubscribedQuality { quality, enabled })
        .collect();
    #[allow(deprecated)]
    proto::SubscribedQualityUpdate {
        track_sid,
        subscribed_qualities: qualities.clone(),
        subscribed_codecs: vec![proto::SubscribedCodec { codec: codec.to_owned(), qualities }],
    }
}

fn response(
    request_id: u32,
    outcome: Outcome,
    message: String,
    publish: Option<String>,
) -> proto::RequestResponse {
    use proto::request_response::{Reason, Request};
    let reason = match outcome {
        Outcome::Ok => Reason::Ok,
        Outcome::NotFound => Reason::NotFound,
        Outcome::NotAllowed => Reason::NotAllowed,
        Outcome::LimitExceeded => Reason::LimitExceeded,
        Outcome::Unsupported => Reason::UnsupportedType,
        Outcome::Invalid => Reason::InvalidRequest,
    };
    let request =
        publish.map(|cid| Request::AddTrack(proto::AddTrackRequest { cid, ..Default::default() }));
    proto::RequestResponse { request_id, reason: reason as i32, message, request }
}

fn leave(why: Gone, then: Then) -> proto::LeaveRequest {
    use proto::leave_request::Action;
    let action = match then {
        Then::Stop => Action::Disconnect,
        Then::Resume => Action::Resume,
        Then::Rejoin => Action::Reconnect,
    };
    proto::LeaveRequest {
        // What protocol versions before 13 look at.
        can_reconnect: then != Then::Stop,
        reason: infos::reason(why) as i32,
        action: action as i32,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
