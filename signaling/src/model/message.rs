//! What goes between the model and whatever speaks a client's protocol.
//!
//! Plain words: nothing here knows of protobuf or of a WebSocket.

use std::collections::BTreeMap;
use std::sync::Arc;

use antipode_base::ids::NodeId;
use antipode_base::notice::Slot;

use super::member::{Audience, ClientTraits, Identity, Permissions, Phase, Wire};
use super::quality::Grade;
use super::track::{Track, TrackSpec, Viewing};
use crate::token::TokenRequest;

/// Someone wants to come in. The token is verified, the limits are kept.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Name of the room.
    pub room: String,
    /// Who.
    pub who: Identity,
    /// What it may do.
    pub permissions: Permissions,
    /// The key that signed the token.
    pub key: String,
    /// Until when the token is valid, in seconds since 1970.
    pub token_until_s: u64,
    /// Peer connections.
    pub wire: Wire,
    /// Wants every track.
    pub auto_subscribe: bool,
    /// Of its client.
    pub traits: ClientTraits,
    /// Tracks that are announced with the join.
    pub tracks: Vec<TrackSpec>,
    /// The first offer, when it comes with the join.
    pub offer: Option<Description>,
}

/// A client comes back to its member over a new WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Resume {
    /// Name of the room.
    pub room: String,
    /// The member's public id.
    pub sid: String,
    /// Whose token it is.
    pub identity: String,
    /// Until when the token is valid, in seconds since 1970.
    pub token_until_s: u64,
}

/// An offer or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The offerer's number.
    pub id: u32,
    /// The SDP.
    pub sdp: String,
}

/// What a client may ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Of its publishing (or only) peer connection.
    Offer(Description),
    /// To our offer.
    Answer(Description),
    /// Announces a track.
    Publish(TrackSpec),
    /// Of one's own track.
    Mute {
        /// Public id.
        track: String,
        /// The new state.
        muted: bool,
    },
    /// Wants tracks, or no longer.
    Subscribe {
        /// Public ids.
        tracks: Vec<String>,
        /// Yes or no.
        wanted: bool,
    },
    /// How tracks are to be received.
    Tune {
        /// Public ids.
        tracks: Vec<String>,
        /// The new wish.
        viewing: Viewing,
    },
    /// Who may receive one's tracks.
    Audience(Audience),
    /// New things to tell others of oneself.
    Profile {
        /// Echoed in the response.
        request_id: u32,
        /// Empty: as before.
        name: String,
        /// Empty: as before.
        metadata: String,
        /// Merged; an empty value removes.
        attributes: BTreeMap<String, String>,
    },
    /// What changed about one's own track.
    Retouch {
        /// Public id.
        track: String,
        /// What.
        change: Retouch,
    },
    /// The client's own view, after a resume.
    Sync {
        /// Public ids of tracks that deviate from `auto_subscribe`.
        tracks: Vec<String>,
        /// Which way they deviate.
        wanted: bool,
        /// Public ids of tracks that are paused.
        paused: Vec<String>,
        /// Public ids of the tracks that it publishes.
        published: Vec<String>,
    },
    /// A fault on order, for tests of clients.
    Simulate(Simulate),
    /// Goodbye.
    Leave,
}

/// A change of one's own track.
#[derive(Clone, Debug)]
pub enum Retouch {
    /// Audio processing that is on.
    AudioFeatures(Vec<i32>),
    /// Pixels.
    Size(u32, u32),
    /// Layers and their sizes.
    Layers(Vec<super::track::LayerSpec>),
}

/// A fault on order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simulate {
    /// The server says goodbye.
    Leave,
    /// The server asks to come back anew.
    FullReconnect,
    /// The server asks to resume.
    Resume,
    /// The WebSocket goes without a word.
    Drop,
}

/// Why a member is no more, or must come anew. What others are told too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It left.
    Left,
    /// Another client has its identity now.
    Replaced,
    /// An operator or an API removed it.
    Removed,
    /// Its client did not come back in time.
    Abandoned,
    /// Its media could not be set up.
    JoinFailed,
    /// Its media path broke.
    MediaFailed,
    /// Its node is no more.
    NodeLost,
    /// The two sides' views differ.
    StateMismatch,
}

/// What a client is to do after a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Stay away.
    Stop,
    /// Resume.
    Resume,
    /// Join anew.
    Rejoin,
}

/// A member as others see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberView {
    /// Public id.
    pub sid: String,
    /// Who; holds what we add ourselves.
    pub who: Identity,
    /// What it may do.
    pub permissions: Permissions,
    /// How far it has come; `None`: gone.
    pub phase: Option<Phase>,
    /// Why it is gone.
    pub gone: Option<Gone>,
    /// Those that others may know.
    pub tracks: Vec<Track>,
    /// Grows with every change.
    pub version: u32,
    /// In milliseconds since 1970.
    pub joined_ms: i64,
    /// Of its client.
    pub traits: ClientTraits,
}

/// A room as its members see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomView {
    /// Public id.
    pub sid: String,
    /// Its name.
    pub name: String,
    /// In milliseconds since 1970.
    pub created_ms: i64,
    /// Members that others see.
    pub members: u32,
    /// Of them, those with tracks.
    pub publishers: u32,
}

/// The first message to one who came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Joined {
    /// The room.
    pub room: RoomView,
    /// Oneself.
    pub me: MemberView,
    /// The others.
    pub others: Vec<MemberView>,
    /// Peer connections.
    pub wire: Wire,
    /// Where one's sessions live.
    pub node: NodeId,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Ok,
    /// There is no such thing.
    NotFound,
    /// The token does not grant it.
    NotAllowed,
    /// A limit is reached.
    LimitExceeded,
    /// It cannot be received here.
    Unsupported,
    /// It contradicts itself or what was before.
    Invalid,
}

/// One speaker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpeakerView {
    /// Public id of the member.
    pub sid: String,
    /// 0 to 1; 0: silent.
    pub level: f32,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToClient {
    /// The first message.
    Joined(Box<Joined>),
    /// The first message after a resume.
    Resumed {
        /// Where one's sessions live.
        node: NodeId,
        /// One's own.
        identity: String,
    },
    /// A token to come back with.
    Token {
        /// The key that is to sign.
        key: String,
        /// What.
        grant: Box<TokenRequest>,
    },
    /// Members that are new, changed or gone.
    Members(Arc<[MemberView]>),
    /// The room changed.
    Room(RoomView),
    /// To the client's offer.
    Answer {
        /// The answer.
        description: Description,
        /// Media section → public id of the track that it carries towards the client.
        tracks: Vec<(String, String)>,
    },
    /// Our offer.
    Offer {
        /// The offer.
        description: Description,
        /// As above.
        tracks: Vec<(String, String)>,
    },
    /// Offer again, with that many more receiving sections.
    NeedSections {
        /// More audio sections.
        audio: u16,
        /// More video sections.
        video: u16,
    },
    /// A track was announced.
    Published {
        /// The client's own id of it.
        client_id: String,
        /// What it is now called.
        track: Box<Track>,
    },
    /// A track of one's own was taken down.
    Unpublished {
        /// Public id.
        track: String,
    },
    /// The first viewer received one's track.
    Watched {
        /// Public id.
        track: String,
    },
    /// Which layers of one's track are wanted.
    LayersWanted {
        /// Public id.
        track: String,
        /// Lower-case name of the codec.
        codec: &'static str,
        /// Low, medium, high.
        qualities: [bool; 3],
    },
    /// A track that one receives stands still for want of bandwidth, or goes on.
    Delivery {
        /// Public id of the publisher.
        publisher: String,
        /// Public id of the track.
        track: String,
        /// It stands still.
        paused: bool,
    },
    /// Whether one may receive a track.
    Permission {
        /// Public id of the publisher.
        publisher: String,
        /// Public id of the track.
        track: String,
        /// Yes or no.
        allowed: bool,
    },
    /// A track cannot be received.
    SubscriptionFailed {
        /// Public id.
        track: String,
        /// It exists, but in a codec that the client lacks.
        unsupported: bool,
    },
    /// Who speaks, or no longer.
    Speakers(Arc<[SpeakerView]>),
    /// How good the members' paths are, by public id.
    Quality(Arc<[(String, Grade)]>),
    /// To a request.
    Response {
        /// The request's number, 0 when it had none.
        request_id: u32,
        /// How it went.
        outcome: Outcome,
        /// For the client's log.
        message: String,
        /// The announcement that is meant, by the client's own id of the track.
        publish: Option<String>,
    },
    /// Goodbye.
    Leave {
        /// Why.
        why: Gone,
        /// And now.
        then: Then,
    },
}

/// Media section → public id, for those tracks that are known.
pub(super) fn slot_names<'a>(
    slots: &'a [Slot],
    name: impl Fn(antipode_base::ids::TrackId) -> Option<&'a str>,
) -> Vec<(String, String)> {
    slots.iter().filter_map(|slot| Some((slot.mid.clone(), name(slot.track)?.to_owned()))).collect()
}
