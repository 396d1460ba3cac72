//! From bytes to the model's words. Nothing that comes in is believed: every length is bounded
//! before it is copied.

use std::io::Read;

use antipode_base::limits::{JOIN_REQUEST_MAX, JOIN_REQUEST_PACKED_MAX, LAYERS_MAX};
use antipode_base::media::{Codec, Kind};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message;

use crate::model::member::{Audience, AudienceRule};
use crate::model::message::{Description, Request, Retouch, Simulate};
use crate::model::track::{LayerSpec, Marks, Source, TrackSpec, Viewing, Wish};

/// One frame of a client.
#[derive(Debug)]
pub enum Inbound {
    /// For the model.
    Request(Request),
    /// To be answered at once: the client's clock in milliseconds, in the old form.
    Ping(i64),
    /// The same in the new form.
    PingReq(i64),
    /// Known, and of no use here.
    Nothing(&'static str),
}

/// Why bytes are not what they should be. The texts may be shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is no `SignalRequest`.
    #[error("a message that does not parse")]
    Message,
    /// The parameter is too long.
    #[error("join_request is longer than {JOIN_REQUEST_PACKED_MAX} bytes")]
    PackedTooLong,
    /// It unpacks to too much.
    #[error("join_request unpacks to more than {JOIN_REQUEST_MAX} bytes")]
    UnpackedTooLong,
    /// It is not base64url.
    #[error("join_request is not base64url")]
    Base64,
    /// It is not the protobuf that it should be.
    #[error("join_request does not parse")]
    JoinRequest,
    /// Neither plain nor gzip.
    #[error("join_request is compressed in an unknown way")]
    Compression,
    /// The gzip stream is broken.
    #[error("join_request is not gzip")]
    Gzip,
}

/// `-` and `_` as in a URL; the padding is there or not, as the SDK likes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The `join_request` parameter of `/rtc/v1`.
///
/// # Errors
/// [`DecodeError`]. A bomb is refused after at most [`JOIN_REQUEST_MAX`] bytes.
pub fn join_request(parameter: &str) -> Result<proto::JoinRequest, DecodeError> {
    if parameter.len() > JOIN_REQUEST_PACKED_MAX {
        return Err(DecodeError::PackedTooLong);
    }
    let bytes = BASE64.decode(parameter).map_err(|_| DecodeError::Base64)?;
    let wrapped = proto::WrappedJoinRequest::decode(bytes.as_slice())
        .map_err(|_| DecodeError::JoinRequest)?;
    let inner = match proto::wrapped_join_request::Compression::try_from(wrapped.compression) {
        Ok(proto::wrapped_join_request::Compression::None) => wrapped.join_request,
        Ok(proto::wrapped_join_request::Compression::Gzip) => gunzip(&wrapped.join_request)?,
        Err(_) => return Err(DecodeError::Compression),
    };
    proto::JoinRequest::decode(inner.as_slice()).map_err(|_| DecodeError::JoinRequest)
}

fn gunzip(packed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    // One byte more than allowed is read, which tells "just fits" from "too long".
    flate2::read::GzDecoder::new(packed)
        .take(JOIN_REQUEST_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| DecodeError::Gzip)?;
    if bytes.len() > JOIN_REQUEST_MAX { Err(DecodeError::UnpackedTooLong) } else { Ok(bytes) }
}

/// One binary frame. A message that this version does not know is `Nothing`.
///
/// # Errors
/// [`DecodeError::Message`].
pub fn frame(bytes: &[u8]) -> Result<Inbound, DecodeError> {
    let request = proto::SignalRequest::decode(bytes).map_err(|_| DecodeError::Message)?;
    let Some(message) = request.message else { return Ok(Inbound::Nothing("unknown")) };
    Ok(inbound(message))
}

fn inbound(message: Message) -> Inbound {
    let request = match message {
        Message::Ping(at) => return Inbound::Ping(at),
        Message::PingReq(ping) => return Inbound::PingReq(ping.timestamp),
        Message::Offer(offer) => Request::Offer(description(offer)),
        Message::Answer(answer) => Request::Answer(description(answer)),
        // A second codec of a track that is published already is not taken.
        Message::AddTrack(add) if !add.sid.is_empty() => return Inbound::Nothing("backup codec"),
        Message::AddTrack(add) => Request::Publish(track_spec(add)),
        Message::Mute(mute) => Request::Mute { track: mute.sid, muted: mute.muted },
        Message::Subscription(update) => {
            Request::Subscribe { wanted: update.subscribe, tracks: subscription_tracks(update) }
        }
        Message::TrackSetting(settings) => {
            Request::Tune { viewing: viewing(&settings), tracks: settings.track_sids }
        }
        Message::Leave(_) => Request::Leave,
        #[allow(deprecated)]
        Message::UpdateLayers(update) => {
            let change = Retouch::Layers(layer_specs(&update.layers));
            Request::Retouch { track: update.track_sid, change }
        }
        Message::SubscriptionPermission(permission) => Request::Audience(audience(permission)),
        Message::SyncState(state) => sync(state),
        Message::Simulate(scenario) => match simulate(&scenario) {
            Some(fault) => Request::Simulate(fault),
            None => return Inbound::Nothing("simulate"),
        },
        Message::UpdateMetadata(update) => Request::Profile {
            request_id: update.request_id,
            name: update.name,
            metadata: update.metadata,
            attributes: update.attributes.into_iter().collect(),
        },
        Message::UpdateAudioTrack(update) => {
            let change = Retouch::AudioFeatures(update.features);
            Request::Retouch { track: update.track_sid, change }
        }
        Message::UpdateVideoTrack(update) => {
            let change = Retouch::Size(update.width, update.height);
            Request::Retouch { track: update.track_sid, change }
        }
        // Our SDP has the host candidates, and we are ICE-lite (RFC 8445 §2.5): the client's own
        // candidates show themselves in its checks.
        Message::Trickle(_) => return Inbound::Nothing("trickle"),
        _ => return Inbound::Nothing("not supported"),
    };
    Inbound::Request(request)
}

/// Offer or answer.
pub(crate) fn description(description: proto::SessionDescription) -> Description {
    Description { id: description.id, sdp: description.sdp }
}

fn subscription_tracks(update: proto::UpdateSubscription) -> Vec<String> {
    let mut tracks = update.track_sids;
    tracks.extend(update.participant_tracks.into_iter().flat_map(|member| member.track_sids));
    tracks
}

/// Sizes, rates and ranks that no screen has are cut to the largest that is told apart.
fn viewing(settings: &proto::UpdateTrackSettings) -> Viewing {
    let pixels = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    let byte = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
    let sized = settings.width > 0 && settings.height > 0;
    let off = settings.quality == proto::VideoQuality::Off as i32;
    Viewing {
        paused: settings.disabled || (off && !sized),
        wish: if sized {
            Wish::Size(pixels(settings.width), pixels(settings.height))
        } else {
            Wish::Quality(settings.quality.clamp(0, 2) as u8)
        },
        fps: byte(settings.fps),
        rank: byte(settings.priority),
    }
}

fn audience(permission: proto::SubscriptionPermission) -> Audience {
    if permission.all_participants {
        return Audience::All;
    }
    let rules = permission.track_permissions.into_iter().map(|rule| AudienceRule {
        sid: rule.participant_sid,
        identity: rule.participant_identity,
        tracks: (!rule.all_tracks).then_some(rule.track_sids),
    });
    Audience::Listed(rules.collect())
}

fn sync(state: proto::SyncState) -> Request {
    let subscription = state.subscription.unwrap_or_default();
    let published = state.publish_tracks.into_iter().filter_map(|published| published.track);
    Request::Sync {
        wanted: subscription.subscribe,
        tracks: subscription_tracks(subscription),
        paused: state.track_sids_disabled,
        published: published.map(|track| track.sid).collect(),
    }
}

fn simulate(scenario: &proto::SimulateScenario) -> Option<Simulate> {
    use proto::simulate_scenario::Scenario;
    match scenario.scenario? {
        Scenario::ServerLeave(true) => Some(Simulate::Leave),
        Scenario::NodeFailure(true) | Scenario::LeaveRequestFullReconnect(true) => {
            Some(Simulate::FullReconnect)
        }
        Scenario::Migration(true) => Some(Simulate::Resume),
        Scenario::DisconnectSignalOnResume(true)
        | Scenario::DisconnectSignalOnResumeNoMessages(true) => Some(Simulate::Drop),
        _ => None,
    }
}

/// An announced track.
#[allow(deprecated)]
pub(crate) fn track_spec(add: proto::AddTrackRequest) -> TrackSpec {
    let video = add.r#type == proto::TrackType::Video as i32;
    let first = add.simulcast_codecs.into_iter().next();
    let layer_mode = first.as_ref().map_or(0, |codec| codec.video_layer_mode);
    let layers = match &first {
        Some(codec) if !codec.layers.is_empty() => layer_specs(&codec.layers),
        _ => layer_specs(&add.layers),
    };
    TrackSpec {
        client_id: add.cid,
        kind: if video { Kind::Video } else { Kind::Audio },
        source: source(add.source),
        name: add.name,
        stream: add.stream,
        width: add.width,
        height: add.height,
        layers,
        codec: first.and_then(|codec| codec_named(&codec.codec)),
        muted: add.muted,
        marks: Marks {
            stereo: add.stereo,
            disable_red: add.disable_red,
            disable_dtx: add.disable_dtx,
            encryption: add.encryption,
            audio_features: add.audio_features,
            backup_codec_policy: add.backup_codec_policy,
            layer_mode,
        },
    }
}

/// Smallest first, whatever the order of the client.
fn layer_specs(layers: &[proto::VideoLayer]) -> Vec<LayerSpec> {
    let mut specs: Vec<LayerSpec> = layers
        .iter()
        // One too many stays visible to the check of the limit.
        .take(LAYERS_MAX + 1)
        .map(|layer| LayerSpec {
            quality: layer.quality.clamp(0, 2) as u8,
            width: layer.width,
            height: layer.height,
            bitrate: layer.bitrate,
        })
        .collect();
    specs.sort_by_key(|layer| layer.quality);
    specs
}

fn source(number: i32) -> Source {
    match proto::TrackSource::try_from(number) {
        Ok(proto::TrackSource::Camera) => Source::Camera,
        Ok(proto::TrackSource::Microphone) => Source::Microphone,
        Ok(proto::TrackSource::ScreenShare) => Source::ScreenShare,
        Ok(proto::TrackSource::ScreenShareAudio) => Source::ScreenShareAudio,
        Ok(proto::TrackSource::Unknown) | Err(_) => Source::Unknown,
    }
}

fn codec_named(name: &str) -> Option<Codec> {
    let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    Some(match name.as_str() {
        "opus" => Codec::Opus,
        "pcmu" => Codec::Pcmu,
        "pcma" => Codec::Pcma,
        "vp8" => Codec::Vp8,
        "vp9" => Codec::Vp9,
        "h264" => Codec::H264,
        "h265" => Codec::H265,
        "av1" => Codec::Av1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
