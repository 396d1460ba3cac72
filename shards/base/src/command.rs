//! What signaling tells a shard. The inner model: nothing here knows of any client protocol.

use serde::{Deserialize, Serialize};

use crate::ids::{MemberId, RoomId, SessionId, ShardId, TrackId};
use crate::media::{Codec, Kind, Layer, Source};

/// What a session carries, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// One peer connection for both ways; the client offers.
    Both,
    /// The client publishes and offers.
    Publish,
    /// The client receives; we offer.
    Subscribe,
    /// The client receives and offers, once: what its sections carry changes without another
    /// description, so they are labelled alike whatever is in them. A player that speaks WHEP.
    Play,
}

/// What a member may do. Checked by signaling before a command is sent and by the shard where the
/// client reaches it past signaling (data packets, media of unannounced tracks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// May send media.
    pub publish: bool,
    /// May receive media.
    pub subscribe: bool,
    /// May send data packets.
    pub publish_data: bool,
}

/// A new session of a member. The member and its room come into being with their first session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The session.
    pub session: SessionId,
    /// Its owner.
    pub member: MemberId,
    /// The member's room.
    pub room: RoomId,
    /// Which ways media flows.
    pub role: Role,
    /// What the member may do.
    pub grants: Grants,
    /// The member's name towards others: stamped on data packets, matched by their destinations.
    /// At most [`crate::limits::NAME_MAX`] bytes.
    pub identity: String,
    /// The member's public id, stamped on data packets. At most [`crate::limits::NAME_MAX`] bytes.
    pub sid: String,
    /// How many of the room's microphones reach this session at once: the loudest that are not its
    /// own. 0: all of them. On each shard the room's first session that names a number names it for
    /// all that do, so signaling names one for a room.
    pub audio_top: u8,
    /// The client's certificate may have an RSA key. Its DTLS then keeps time by the clock of the
    /// operating system, and costs more memory.
    pub rsa: bool,
}

/// A track as one session is to receive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The receiving session.
    pub session: SessionId,
    /// The track.
    pub track: TrackId,
    /// The shard of the track's publisher.
    pub home: ShardId,
    /// Audio or video: decides which media sections fit.
    pub kind: Kind,
    /// First part of the section's `a=msid` (RFC 8830); at most [`crate::limits::NAME_MAX`] bytes.
    pub stream_label: String,
    /// Second part of the section's `a=msid`.
    pub track_label: String,
}

/// What is served first when the bandwidth towards a viewer does not suffice for all that it wants;
/// the least comes first here.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Shown small, or named as less important by the viewer.
    Thumbnail,
    /// Nothing special: most cameras.
    #[default]
    Camera,
    /// Its member speaks. Never set by signaling: a shard hears it first.
    Speaker,
    /// Named as the most important by the viewer.
    Pinned,
    /// A shared screen: unreadable when it is not sharp.
    Screen,
}

/// How a viewer wants one track at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tune {
    /// Nothing is sent while paused; the slot stays.
    pub paused: bool,
    /// The highest layer that the viewer can use.
    pub layer_max: Layer,
    /// The highest temporal layer that the viewer can use, counted from 0; [`Tune::TEMPORAL_ALL`]:
    /// every frame.
    pub temporal_max: u8,
    /// Before or after the viewer's other tracks.
    pub priority: Priority,
}

impl Tune {
    /// Every temporal layer, however many there are.
    pub const TEMPORAL_ALL: u8 = u8::MAX;
}

/// Everything: how a track is sent until the viewer says otherwise.
impl Default for Tune {
    fn default() -> Self {
        Tune {
            paused: false,
            layer_max: Layer::TOP,
            temporal_max: Tune::TEMPORAL_ALL,
            priority: Priority::default(),
        }
    }
}

/// Why a session is closed by signaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// The client said so.
    Left,
    /// The WebSocket went and did not come back in time.
    Abandoned,
    /// Another client joined under the same identity.
    Replaced,
    /// An operator or a server API removed the member.
    Removed,
    /// The client broke the protocol.
    Misbehaved,
}

/// Signaling → shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a session. Answered by [`crate::notice::Notice::SessionEnded`] when it is refused.
    OpenSession(OpenSession),
    /// Ends a session, its tracks and its subscriptions. Idempotent.
    CloseSession {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// New grants of a session.
    Permit {
        /// The session.
        session: SessionId,
        /// They replace the old ones.
        grants: Grants,
    },
    /// The client's offer. Answered by `Answer` or `NegotiationFailed`.
    Offer {
        /// The session.
        session: SessionId,
        /// The client's number of the offer, echoed.
        id: u32,
        /// At most [`crate::limits::SDP_MAX`] bytes.
        sdp: String,
    },
    /// The client's answer to our offer `id`.
    Answer {
        /// The session.
        session: SessionId,
        /// Our number of the offer.
        id: u32,
        /// At most [`crate::limits::SDP_MAX`] bytes.
        sdp: String,
    },
    /// Announces a track: the next offer's section whose `a=msid` names `client_id`, or else the
    /// first unbound section of that kind, is this track. Idempotent: of a track that is live
    /// already, what notices told is told again.
    Publish {
        /// The publishing session.
        session: SessionId,
        /// The new track.
        track: TrackId,
        /// Audio or video.
        kind: Kind,
        /// The client's own id of the track. At most [`crate::limits::NAME_MAX`] bytes.
        client_id: String,
        /// What the client wants to send; the answer puts it first when the offer has it.
        codec: Option<Codec>,
        /// What the track shows or tells.
        source: Source,
        /// Redundant audio (RFC 2198) is welcome; the answer prefers it when the offer has it, and viewers
        /// may get it. Never so where the clients encrypt.
        red: bool,
        /// Two channels: the answer asks the encoder for them (`stereo=1`, RFC 7587 §6.1).
        stereo: bool,
    },
    /// Ends a track and every subscription to it.
    Unpublish {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
    },
    /// The publisher muted or unmuted; a muted track makes no speaker and asks no keyframes.
    Mute {
        /// The publishing session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// Sends a track to a session. Idempotent.
    Subscribe(Subscribe),
    /// Takes it back. Idempotent.
    Unsubscribe {
        /// The receiving session.
        session: SessionId,
        /// The track.
        track: TrackId,
    },
    /// Changes how a session receives a track.
    Tune {
        /// The receiving session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The new wish.
        tune: Tune,
    },
    /// Makes our next offer of a session of role `Subscribe` an ICE restart, and sends it now. Clients
    /// that offer themselves restart by their own offer.
    RestartIce {
        /// The session.
        session: SessionId,
    },
    /// Names all shards that hold members of a room, so that data packets reach them.
    SpanRoom {
        /// The room.
        room: RoomId,
        /// All of them, the receiver too.
        shards: Vec<ShardId>,
    },
}

impl Command {
    /// The session that is meant, if one is.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Command::OpenSession(open) => Some(open.session),
            Command::Subscribe(subscribe) => Some(subscribe.session),
            Command::CloseSession { session, .. }
            | Command::Permit { session, .. }
            | Command::Offer { session, .. }
            | Command::Answer { session, .. }
            | Command::Publish { session, .. }
            | Command::Unpublish { session, .. }
            | Command::Mute { session, .. }
            | Command::Unsubscribe { session, .. }
            | Command::RestartIce { session }
            | Command::Tune { session, .. } => Some(*session),
            Command::SpanRoom { .. } => None,
        }
    }
}
