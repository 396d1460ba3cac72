//! A member of a room as the control plane knows it.

use std::collections::BTreeMap;
use std::time::Instant;

use antipode_base::command::Grants;
use antipode_base::ids::{MemberId, NodeId, RoomId, SessionId, ShardId, TrackId};
use serde::{Deserialize, Serialize};

use super::ClientId;
use super::http::Resource;
use super::quality::{Grade, Grades};
use super::track::{Source, Track, Viewing};

/// Who someone is towards others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Unique within a room.
    pub identity: String,
    /// For people to read.
    pub name: String,
    /// Free text.
    pub metadata: String,
    /// Free pairs.
    pub attributes: BTreeMap<String, String>,
}

/// What someone may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Send media.
    pub publish: bool,
    /// Receive media.
    pub subscribe: bool,
    /// Send data packets.
    pub publish_data: bool,
    /// Only from these; empty: from all.
    pub sources: Vec<Source>,
    /// Change one's own name, metadata and attributes.
    pub update_own: bool,
    /// Others do not see the member.
    pub hidden: bool,
    /// The member records.
    pub recorder: bool,
    /// The member is a program.
    pub agent: bool,
    /// May use the server API for this room.
    pub admin: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Permissions {
            publish: true,
            subscribe: true,
            publish_data: true,
            sources: Vec::new(),
            update_own: false,
            hidden: false,
            recorder: false,
            agent: false,
            admin: false,
        }
    }
}

impl Permissions {
    /// Whether a track of that source may be sent.
    pub fn may_publish(&self, source: Source) -> bool {
        let listed = source != Source::Unknown && self.sources.contains(&source);
        self.publish && (self.sources.is_empty() || listed)
    }

    /// The part that a shard enforces.
    pub fn grants(&self) -> Grants {
        Grants { publish: self.publish, subscribe: self.subscribe, publish_data: self.publish_data }
    }
}

/// How many peer connections the client keeps, and who offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wire {
    /// One for both ways; the client offers.
    One,
    /// One for each way; we offer the one towards the client.
    Two,
}

/// The member's sessions on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sessions {
    /// [`Wire::One`].
    Both(SessionId),
    /// [`Wire::Two`].
    Pair {
        /// Client to us.
        publish: SessionId,
        /// Us to client.
        subscribe: SessionId,
    },
}

impl Sessions {
    /// The one that carries the client's tracks to us.
    pub(crate) fn publish(self) -> SessionId {
        match self {
            Sessions::Both(session) => session,
            Sessions::Pair { publish, .. } => publish,
        }
    }

    /// The one that carries others' tracks to the client.
    pub(crate) fn subscribe(self) -> SessionId {
        match self {
            Sessions::Both(session) => session,
            Sessions::Pair { subscribe, .. } => subscribe,
        }
    }

    /// Each once.
    pub(crate) fn all(self) -> Vec<SessionId> {
        match self {
            Sessions::Both(session) => vec![session],
            Sessions::Pair { publish, subscribe } => vec![publish, subscribe],
        }
    }
}

/// Where a member's sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// Node.
    pub node: NodeId,
    /// Shard of it.
    pub shard: ShardId,
}

/// How far a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Let in; media is being set up.
    Joined,
    /// Its media path works.
    Active,
}

/// What the client told of itself; handed on to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientTraits {
    /// Version of the protocol among clients.
    pub protocol: i32,
    /// What it can do towards other clients.
    pub capabilities: Vec<i32>,
    /// How its SDK finds out whose track it received.
    pub naming: Naming,
}

/// How an SDK finds out which track a received one is. A section keeps the id of the first track that was
/// in it for as long as the browser lives, so an id says nothing once a section was used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Naming {
    /// By the stream, which must hold the track's sid: no two tracks share one.
    #[default]
    Stream,
    /// By the section.
    Section,
    /// By the section, unless the track's id looks like a sid.
    SectionUnlessSid,
}

/// One track towards one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// The client's own word; `None`: as the member's `auto_subscribe` says.
    pub wanted: Option<bool>,
    /// The shard was told to send it.
    pub active: bool,
    /// `None`: everything.
    pub viewing: Option<Viewing>,
    /// The shard holds it back for want of bandwidth.
    pub starved: bool,
}

/// Whom a publisher lets receive its tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Everybody.
    #[default]
    All,
    /// These alone.
    Listed(Vec<AudienceRule>),
}

/// One line of an [`Audience`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudienceRule {
    /// Public id of the viewer, or empty.
    pub sid: String,
    /// Identity of the viewer, or empty.
    pub identity: String,
    /// `None`: all tracks; else these public ids.
    pub tracks: Option<Vec<String>>,
}

/// A member. What is serialized goes into the memo and survives signaling's own death; what is
/// skipped is made anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Inner id.
    pub id: MemberId,
    /// Its room.
    pub room: RoomId,
    /// Public id.
    pub sid: String,
    /// Who.
    pub who: Identity,
    /// What it may do.
    pub permissions: Permissions,
    /// Which key signed its token, to renew it.
    pub key: String,
    /// Until when the newest token is valid, in seconds since 1970.
    pub token_until_s: u64,
    /// Peer connections.
    pub wire: Wire,
    /// Every new track is sent unless unwanted.
    pub auto_subscribe: bool,
    /// Of its client.
    pub traits: ClientTraits,
    /// In milliseconds since 1970.
    pub joined_ms: i64,
    /// Grows with each change that others see.
    pub version: u32,
    /// How far it has come.
    pub phase: Phase,
    /// Where its sessions live.
    pub seat: Seat,
    /// Its sessions.
    pub sessions: Sessions,
    /// What it publishes, in the order of announcement.
    pub tracks: Vec<Track>,
    /// What it receives, or would rather not.
    pub subscriptions: BTreeMap<TrackId, Subscription>,
    /// Who may receive what it publishes.
    pub audience: Audience,
    /// What it has instead of a WebSocket, if it came by WHIP or WHEP.
    pub http: Option<Resource>,

    /// Its WebSocket, while there is one.
    #[serde(skip)]
    pub client: Option<ClientId>,
    /// Since when there is none.
    #[serde(skip)]
    pub away_since: Option<Instant>,
    /// Its media paths, when last reported.
    #[serde(skip)]
    pub grades: Grades,
    /// What was told of it last, and whether to all.
    #[serde(skip)]
    pub told_quality: Option<(Grade, bool)>,
    /// It was told of the others' before.
    #[serde(skip)]
    pub knows_qualities: bool,
    /// Its media is gone though its client still speaks; the client gets a moment to say goodbye.
    #[serde(skip)]
    pub media_lost: bool,
    /// Found in a snapshot; its client has not told its own view yet. The tracks were live by the
    /// memo.
    #[serde(skip)]
    pub rebuilt: Option<Vec<TrackId>>,
    /// The memo is behind.
    #[serde(skip)]
    pub dirty: bool,
}

impl Member {
    /// A track by inner id.
    pub(crate) fn track(&self, id: TrackId) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// A track by inner id.
    pub(crate) fn track_mut(&mut self, id: TrackId) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.id == id)
    }

    /// A track by public id.
    pub(crate) fn track_by_sid(&mut self, sid: &str) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.sid == sid)
    }

    /// The identity in its token.
    pub(crate) fn known_as(&self) -> &str {
        self.http.as_ref().map_or(&self.who.identity, |resource| &resource.identity)
    }

    /// Whether it is a player, which nobody hears of.
    pub(crate) fn plays(&self) -> bool {
        self.http.as_ref().is_some_and(|resource| resource.program.is_some())
    }

    /// Whether others see at least one of its tracks.
    pub(crate) fn publishes(&self) -> bool {
        self.tracks.iter().any(|track| track.live.is_some())
    }

    /// Whether `viewer` may receive the track with that public id.
    pub(crate) fn lets(&self, viewer: &Member, track_sid: &str) -> bool {
        let Audience::Listed(rules) = &self.audience else { return true };
        rules.iter().any(|rule| {
            let meant = if rule.sid.is_empty() {
                rule.identity == viewer.known_as()
            } else {
                rule.sid == viewer.sid
            };
            meant && rule.tracks.as_ref().is_none_or(|sids| sids.iter().any(|s| s == track_sid))
        })
    }
}
