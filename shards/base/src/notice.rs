//! What a shard tells signaling.

use serde::{Deserialize, Serialize};

use crate::ids::{RoomId, SessionId, TrackId};
use crate::media::{Codec, Layer};

/// Which media section of a peer connection carries which track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The section's `a=mid`.
    pub mid: String,
    /// What it carries towards the client.
    pub track: TrackId,
}

/// One rung of a published track, as it was negotiated or first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The rung.
    pub layer: Layer,
    /// `a=rid` (RFC 8851), empty without simulcast.
    pub rid: String,
    /// 0 until seen.
    pub ssrc: u32,
    /// 0 without retransmission stream.
    pub repair_ssrc: u32,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// Signaling closed it.
    Closed,
    /// The peer closed DTLS.
    PeerClosed,
    /// No consent for too long (RFC 7675), or never connected.
    TimedOut,
    /// The peer sent something that breaks the protocol.
    PeerMisbehaved,
    /// The certificate is not the one whose fingerprint was signaled.
    WrongFingerprint,
    /// The shard is full, or the session exists already.
    Refused,
    /// A defect of ours; the session was sacrificed for the rest.
    Fault,
    /// The shard restarted.
    ShardRestarted,
}

/// Quality of one session's network path over the last [`crate::limits::QUALITY_INTERVAL`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The session.
    pub session: SessionId,
    /// Fraction of packets lost from the client to us, 0..=1.
    pub loss_in: f32,
    /// Fraction of packets lost from us to the client, 0..=1.
    pub loss_out: f32,
    /// Round-trip time in milliseconds; 0 when unknown.
    pub rtt_ms: f32,
}

/// Loudness of one microphone over the last [`crate::limits::LEVEL_INTERVAL`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The track.
    pub track: TrackId,
    /// 0 is silence, 1 full scale; linear in amplitude (RFC 6464 levels are -dBov).
    pub level: f32,
}

/// Shard → signaling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// To an `Offer` of the client.
    Answer {
        /// The session.
        session: SessionId,
        /// The client's number of the offer.
        id: u32,
        /// The SDP, candidates included.
        sdp: String,
        /// All sections that carry a track towards the client.
        slots: Vec<Slot>,
    },
    /// Our offer to a session of role `Subscribe`.
    Offer {
        /// The session.
        session: SessionId,
        /// Our number of the offer.
        id: u32,
        /// The SDP, candidates included.
        sdp: String,
        /// All sections that carry a track towards the client.
        slots: Vec<Slot>,
    },
    /// An offer or answer could not be applied; the session goes on as before.
    NegotiationFailed {
        /// The session.
        session: SessionId,
        /// Number of the offer.
        id: u32,
        /// For the client's log; holds nothing secret.
        reason: String,
    },
    /// The client must offer again, with that many more receiving sections (0 and 0: just again).
    /// Only to sessions of role `Both`.
    NeedSections {
        /// The session.
        session: SessionId,
        /// More audio sections.
        audio: u16,
        /// More video sections.
        video: u16,
    },
    /// ICE and DTLS are done.
    Connected {
        /// The session.
        session: SessionId,
    },
    /// An announced track has its media section, codec and layers. Sent again when an SSRC of a
    /// layer becomes known.
    TrackLive {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The section's `a=mid`.
        mid: String,
        /// What will be sent.
        codec: Codec,
        /// Lowest first.
        layers: Vec<LayerInfo>,
    },
    /// An announced track cannot be received.
    TrackRefused {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// For the client's log.
        reason: String,
    },
    /// A track's media section stopped sending: the client unpublished it by renegotiating.
    TrackEnded {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
    },
    /// A subscription cannot be served.
    SubscriptionRefused {
        /// The receiving session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// For the client's log.
        reason: String,
    },
    /// The first packet of a track went to a first viewer.
    TrackWatched {
        /// The track.
        track: TrackId,
    },
    /// A subscription was paused for want of bandwidth, or goes on. Only changes are told; what the
    /// viewer paused itself is none.
    Delivery {
        /// The receiving session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The new state.
        paused: bool,
    },
    /// What all viewers of a track together need, on whatever shard: the publisher may stop the
    /// rest. Only changes are told.
    Demand {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The highest layer that anybody uses; `None`: nobody watches.
        layer_max: Option<Layer>,
    },
    /// Levels of a room's microphones on this shard; only those that are audible.
    Levels {
        /// The room.
        room: RoomId,
        /// Loudest first.
        levels: Vec<Level>,
    },
    /// One per connected session and [`crate::limits::QUALITY_INTERVAL`].
    Quality(Quality),
    /// The session is gone, with its tracks and subscriptions.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
}

impl Notice {
    /// The session that is meant, if one is.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Notice::Answer { session, .. }
            | Notice::Offer { session, .. }
            | Notice::NegotiationFailed { session, .. }
            | Notice::NeedSections { session, .. }
            | Notice::Connected { session }
            | Notice::TrackLive { session, .. }
            | Notice::TrackRefused { session, .. }
            | Notice::TrackEnded { session, .. }
            | Notice::SubscriptionRefused { session, .. }
            | Notice::Delivery { session, .. }
            | Notice::Demand { session, .. }
            | Notice::SessionEnded { session, .. } => Some(*session),
            Notice::Quality(quality) => Some(quality.session),
            Notice::TrackWatched { .. } | Notice::Levels { .. } => None,
        }
    }
}
