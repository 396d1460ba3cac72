//! How members, rooms and tracks look on the wire.

use antipode_base::ids::NodeId;
use antipode_base::media::Kind;
use livekit_protocol as proto;

use crate::model::member::{Permissions, Phase};
use crate::model::message::{Gone, MemberView, RoomView};
use crate::model::quality::Level;
use crate::model::track::{Source, Track};

/// The version of the protocol that we speak.
const PROTOCOL: i32 = 17;
/// What publishers may send, as the SDKs look for it.
const CODECS: [&str; 9] = [
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
];

/// Ourselves. The version is our own: whoever reads it shall not take us for another server.
pub(crate) fn server(node: NodeId) -> proto::ServerInfo {
    proto::ServerInfo {
        edition: proto::server_info::Edition::Standard as i32,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        node_id: format!("ND_{:016x}", node.0),
        debug_info: "antipode".to_owned(),
        ..Default::default()
    }
}

/// Codecs of [`CODECS`].
pub(crate) fn codecs() -> Vec<proto::Codec> {
    let codec = |mime: &&str| proto::Codec { mime: (*mime).to_owned(), ..Default::default() };
    CODECS.iter().map(codec).collect()
}

/// A room.
pub(crate) fn room(room: &RoomView) -> proto::Room {
    proto::Room {
        sid: room.sid.clone(),
        name: room.name.clone(),
        creation_time: room.created_ms / 1_000,
        creation_time_ms: room.created_ms,
        enabled_codecs: codecs(),
        num_participants: room.members,
        num_publishers: room.publishers,
        ..Default::default()
    }
}

/// A member.
pub(crate) fn member(member: &MemberView) -> proto::ParticipantInfo {
    use proto::participant_info::{Kind, State};
    let state = match member.phase {
        Some(Phase::Joined) => State::Joined,
        Some(Phase::Active) => State::Active,
        None => State::Disconnected,
    };
    let kind = if member.permissions.agent { Kind::Agent } else { Kind::Standard };
    proto::ParticipantInfo {
        sid: member.sid.clone(),
        identity: member.who.identity.clone(),
        state: state as i32,
        tracks: member.tracks.iter().map(track).collect(),
        metadata: member.who.metadata.clone(),
        joined_at: member.joined_ms / 1_000,
        joined_at_ms: member.joined_ms,
        name: member.who.name.clone(),
        version: member.version,
        permission: Some(permission(&member.permissions)),
        is_publisher: !member.tracks.is_empty(),
        kind: kind as i32,
        attributes: member.who.attributes.clone().into_iter().collect(),
        disconnect_reason: member.gone.map_or(0, |gone| reason(gone) as i32),
        client_protocol: member.traits.protocol,
        capabilities: member.traits.capabilities.clone(),
        ..Default::default()
    }
}

fn permission(permissions: &Permissions) -> proto::ParticipantPermission {
    #[allow(deprecated)]
    proto::ParticipantPermission {
        can_subscribe: permissions.subscribe,
        can_publish: permissions.publish,
        can_publish_data: permissions.publish_data,
        can_publish_sources: permissions.sources.iter().map(|s| source(*s) as i32).collect(),
        hidden: permissions.hidden,
        recorder: permissions.recorder,
        can_update_metadata: permissions.update_own,
        agent: permissions.agent,
        ..Default::default()
    }
}

fn source(source: Source) -> proto::TrackSource {
    match source {
        Source::Unknown => proto::TrackSource::Unknown,
        Source::Camera => proto::TrackSource::Camera,
        Source::Microphone => proto::TrackSource::Microphone,
        Source::ScreenShare => proto::TrackSource::ScreenShare,
        Source::ScreenShareAudio => proto::TrackSource::ScreenShareAudio,
    }
}

/// A track, announced or live.
pub(crate) fn track(track: &Track) -> proto::TrackInfo {
    let spec = &track.spec;
    let marks = &spec.marks;
    let kind = match spec.kind {
        Kind::Audio => proto::TrackType::Audio,
        Kind::Video => proto::TrackType::Video,
    };
    let layers = layers(track);
    let (mime_type, mid) = match &track.live {
        Some(live) => (live.codec.mime().to_owned(), live.mid.clone()),
        None => (String::new(), String::new()),
    };
    let announced = spec.codec.map_or_else(String::new, |codec| codec.mime().to_owned());
    let codec = proto::SimulcastCodecInfo {
        mime_type: if mime_type.is_empty() { announced } else { mime_type.clone() },
        mid: mid.clone(),
        cid: spec.client_id.clone(),
        layers: layers.clone(),
        video_layer_mode: match marks.layer_mode {
            0 => proto::video_layer::Mode::OneSpatialLayerPerStream as i32,
            mode => mode,
        },
        ..Default::default()
    };
    let unix_micro = track.version_us;
    #[allow(deprecated)]
    proto::TrackInfo {
        sid: track.sid.clone(),
        r#type: kind as i32,
        name: spec.name.clone(),
        muted: spec.muted,
        width: spec.width,
        height: spec.height,
        simulcast: layers.len() > 1,
        disable_dtx: marks.disable_dtx,
        source: source(spec.source) as i32,
        layers,
        mime_type,
        mid,
        codecs: vec![codec],
        stereo: marks.stereo,
        disable_red: marks.disable_red,
        encryption: marks.encryption,
        stream: if spec.stream.is_empty() { stream(spec.source) } else { spec.stream.clone() },
        version: Some(proto::TimedVersion { unix_micro, ticks: 0 }),
        audio_features: marks.audio_features.clone(),
        backup_codec_policy: marks.backup_codec_policy,
        ..Default::default()
    }
}

/// Tracks of one stream are played in step: a camera goes with its microphone.
fn stream(source: Source) -> String {
    match source {
        Source::ScreenShare | Source::ScreenShareAudio => "screen_share",
        Source::Unknown | Source::Camera | Source::Microphone => "camera",
    }
    .to_owned()
}

/// The announced layers, with what negotiation and the first packets added.
fn layers(track: &Track) -> Vec<proto::VideoLayer> {
    let layer = |(index, spec): (usize, &crate::model::track::LayerSpec)| {
        let live = track
            .live
            .as_ref()
            .and_then(|live| live.layers.iter().find(|layer| layer.layer.index() == index));
        proto::VideoLayer {
            quality: i32::from(spec.quality),
            width: spec.width,
            height: spec.height,
            bitrate: spec.bitrate,
            ssrc: live.map_or(0, |layer| layer.ssrc),
            spatial_layer: index as i32,
            rid: live.map_or_else(String::new, |layer| layer.rid.clone()),
            repair_ssrc: live.map_or(0, |layer| layer.repair_ssrc),
        }
    };
    track.spec.layers.iter().enumerate().map(layer).collect()
}

/// What clients are told of an end.
pub(crate) fn reason(gone: Gone) -> proto::DisconnectReason {
    match gone {
        Gone::Left => proto::DisconnectReason::ClientInitiated,
        Gone::Replaced => proto::DisconnectReason::DuplicateIdentity,
        Gone::Removed => proto::DisconnectReason::ParticipantRemoved,
        Gone::Abandoned => proto::DisconnectReason::ConnectionTimeout,
        Gone::JoinFailed => proto::DisconnectReason::JoinFailure,
        Gone::MediaFailed => proto::DisconnectReason::MediaFailure,
        Gone::NodeLost => proto::DisconnectReason::ServerShutdown,
        Gone::StateMismatch => proto::DisconnectReason::StateMismatch,
    }
}

/// A grade's word.
pub(crate) fn quality(level: Level) -> proto::ConnectionQuality {
    match level {
        Level::Lost => proto::ConnectionQuality::Lost,
        Level::Poor => proto::ConnectionQuality::Poor,
        Level::Good => proto::ConnectionQuality::Good,
        Level::Excellent => proto::ConnectionQuality::Excellent,
    }
}
