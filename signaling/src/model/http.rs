//! Members that came by one HTTP request: publishers that speak WHIP (RFC 9725) and players that
//! speak WHEP (draft-ietf-wish-whep).
//!
//! They are members as others are, but for this: they have no WebSocket to be told anything by. Their
//! seat is an HTTP resource, which lives as long as the member does, in its memo too. A player is
//! hidden, and what it receives is chosen for it (`program.rs`).

use std::time::Instant;

use antipode_base::command::Command;
use antipode_base::ids::MemberId;
use antipode_base::limits::{HTTP_PATCHES_BURST, HTTP_PATCHES_PER_S, HTTP_RESOURCES_MAX};
use antipode_base::sdp::{self, Section};
use serde::{Deserialize, Serialize};

use super::member::Member;
use super::message::{Gone, Join, Then};
use super::program::{Choice, Program, Told};
use super::resume::Arrival;
use super::{ClientId, Effect, Model, Now, Refusal};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// Publishes.
    Whip,
    /// Plays.
    Whep,
}

/// What a member has that came this way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resource {
    /// Last part of its path. Nobody guesses one.
    pub id: String,
    /// How it came.
    pub way: Way,
    /// Whose token made it; a player's own identity is another, since it may come twice.
    pub identity: String,
    /// The client's offer as it was last answered.
    pub offer: String,
    /// Names the ICE session, as an entity-tag does; empty until the first answer.
    pub tag: String,
    /// Number of its last offer.
    pub offers: u32,
    /// What it plays.
    pub program: Option<Program>,
    /// A request that waits for a shard.
    #[serde(skip)]
    pub pending: Option<Pending>,
    /// What its listeners heard last.
    #[serde(skip)]
    pub told: Told,
    /// How fast it is changed.
    #[serde(skip)]
    pub pace: Pace,
}

/// A bucket that fills with time, and of which each change takes one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    taken: u32,
    since: Option<Instant>,
}

impl Pace {
    /// Whether one more is still fine.
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let back = now.duration_since(since).as_millis() * u128::from(HTTP_PATCHES_PER_S) / 1_000;
        if back > 0 {
            self.taken = self.taken.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        let fits = self.taken < HTTP_PATCHES_BURST;
        self.taken += u32::from(fits);
        fits
    }
}

/// A request that waits for a shard's answer.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    call: ClientId,
    /// Of a restart: the offer with its new credentials.
    restart: Option<String>,
}

/// Somebody wants in.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// As the others' joins. Its offer is there.
    pub join: Join,
    /// How.
    pub way: Way,
    /// What it is to play.
    pub program: Option<Program>,
}

/// Which resource a request means, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// How it was made.
    pub way: Way,
    /// Name of its room.
    pub room: String,
    /// Its id.
    pub id: String,
    /// Whose token the request bears.
    pub identity: String,
}

/// `If-Match` (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Not said.
    None,
    /// `*`.
    Any,
    /// One of these tags, without their quotes.
    Tags(Vec<String>),
}

/// A username fragment and its password (RFC 8839 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub ufrag: String,
    pub password: String,
}

/// What one asks of a resource.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Whether it is there.
    Look,
    /// Its end.
    Close,
    /// New candidates, or other credentials.
    Patch(Condition, Option<Credentials>),
    /// Which layer to play.
    Choose(Choice),
}

/// A request that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A new resource.
    Opened {
        /// Its id.
        id: String,
        /// Its first tag.
        tag: String,
        /// The answer.
        sdp: String,
    },
    /// A new ICE session.
    Restarted {
        /// Its tag.
        tag: String,
        /// The answer that holds its credentials.
        sdp: String,
    },
    /// Done.
    Done,
}

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No node came in time.
    NoNode,
    /// The session ended before it was answered: its shard refused it or died, or somebody else came
    /// with its identity.
    Ended,
    /// All shards, or all resources, are taken.
    Full,
    /// There is no such resource, or it is somebody else's.
    Unknown,
    /// The request must name an ICE session.
    Unconditional,
    /// It names another ICE session.
    Stale,
    /// A newer request of the same kind took its place.
    Overtaken,
    /// The offer cannot be taken. The reason may be shown.
    Offer(String),
    /// No codec of these sections is known, by their place; the others may be fine.
    Codec {
        /// Which.
        sections: Vec<usize>,
        /// There is none beside them.
        all: bool,
    },
    /// There is no such layer.
    Layer,
    /// Too many changes in too short a time.
    TooMany,
}

impl Resource {
    /// The sections by which media is to go.
    fn carries(&self, section: &Section<'_>) -> bool {
        let wanted = match self.way {
            Way::Whip => section.sends,
            Way::Whep => section.receives,
        };
        wanted && !section.stopped && section.kind.is_some()
    }

    /// Places of the offer's sections that the answer refuses, and whether there are no others.
    fn refused(&self, answer: &str) -> (Vec<usize>, bool) {
        let answered = sdp::scan(answer);
        let wanted: Vec<(usize, Section<'_>)> = sdp::scan(&self.offer)
            .into_iter()
            .enumerate()
            .filter(|(_, section)| self.carries(section))
            .collect();
        let taken = |mid: &str| answered.iter().any(|own| own.mid == mid && !own.stopped);
        let refused: Vec<usize> = wanted
            .iter()
            .filter(|(_, section)| !taken(section.mid))
            .map(|(place, _)| *place)
            .collect();
        let all = refused.len() == wanted.len();
        (refused, all)
    }
}

/// The first credentials of a description; a bundle has one pair (RFC 9143 §9.4).
pub(crate) fn credentials(sdp: &str) -> Option<Credentials> {
    let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name));
    let (ufrag, password) = (value("a=ice-ufrag:")?, value("a=ice-pwd:")?);
    Some(Credentials { ufrag: ufrag.trim().to_owned(), password: password.trim().to_owned() })
}

/// The offer with other credentials, and without the candidates of the old ones.
fn with_credentials(offer: &str, new: &Credentials) -> String {
    let mut out = String::with_capacity(offer.len());
    for line in offer.lines() {
        if line.starts_with("a=ice-ufrag:") {
            out.push_str(&format!("a=ice-ufrag:{}\r\n", new.ufrag));
        } else if line.starts_with("a=ice-pwd:") {
            out.push_str(&format!("a=ice-pwd:{}\r\n", new.password));
        } else if !line.starts_with("a=candidate:") && line != "a=end-of-candidates" {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out
}

impl Model {
    /// Lets a publisher or player in, at once or when a node comes. Answered by [`Effect::Reply`].
    pub(crate) fn open(&mut self, call: ClientId, open: Open, now: Now) {
        self.arrive(call, Arrival::Open(Box::new(open)), now);
    }

    /// Gives the request back when it must wait.
    pub(super) fn try_open(
        &mut self,
        call: ClientId,
        open: Box<Open>,
        now: Now,
    ) -> Option<Box<Open>> {
        let seat = match self.place(&open.join.room) {
            super::join::Place::Wait => return Some(open),
            super::join::Place::Seat(seat) if self.resources.len() < HTTP_RESOURCES_MAX => seat,
            _ => {
                self.effects.push_back(Effect::Refuse(call, Refusal::Full));
                return None;
            }
        };
        let Open { mut join, way, program } = *open;
        let identity = join.who.identity.clone();
        match way {
            Way::Whip => self.displace(&join.room, &identity, now),
            Way::Whep => {
                join.who.identity = crate::sid::player(&mut self.rng);
                join.permissions.hidden = true;
            }
        }
        self.counters.joins += 1;
        let resource = Resource {
            id: crate::sid::resource(&mut self.rng),
            way,
            identity,
            offer: String::new(),
            tag: String::new(),
            offers: 0,
            program,
            pending: Some(Pending { call, restart: None }),
            told: Told::default(),
            pace: Pace::default(),
        };
        self.admit_resource(join, seat, resource, now);
        None
    }

    /// One request on a resource. Answered by [`Effect::Reply`].
    pub(crate) fn ask(&mut self, call: ClientId, address: &Address, ask: Ask, now: Now) {
        let Some(id) = self.find_resource(address) else {
            return self.reply(call, Err(Denied::Unknown));
        };
        let changes = matches!(ask, Ask::Patch(..) | Ask::Choose(_));
        if changes && !self.is_in_pace(id, now) {
            return self.reply(call, Err(Denied::TooMany));
        }
        let answer = match ask {
            Ask::Look => Ok(Reply::Done),
            Ask::Close => {
                self.remove(id, Gone::Left, None, now);
                Ok(Reply::Done)
            }
            Ask::Patch(condition, credentials) => {
                match self.patch(id, call, &condition, credentials) {
                    // The shard's answer is ours.
                    None => return,
                    Some(answer) => answer,
                }
            }
            Ask::Choose(choice) => self.choose_layer(id, choice),
        };
        self.reply(call, answer);
    }

    fn is_in_pace(&mut self, id: MemberId, now: Now) -> bool {
        let resource = self.members.get_mut(&id).and_then(|member| member.http.as_mut());
        resource.is_some_and(|resource| resource.pace.take(now.at))
    }

    /// The member behind a resource, if it is whom the request comes from.
    pub(crate) fn find_resource(&self, address: &Address) -> Option<MemberId> {
        let id = *self.resources.get(&address.id)?;
        let member = self.members.get(&id)?;
        let resource = member.http.as_ref()?;
        let room = &self.rooms.get(&member.room)?.record.name;
        let same = resource.way == address.way
            && resource.identity == address.identity
            && *room == address.room;
        same.then_some(id)
    }

    /// Somebody must go: a member of that identity, and all players whose tokens bear it.
    pub(crate) fn expel(&mut self, call: ClientId, room: &str, identity: &str, now: Now) {
        let is = |member: &&Member| {
            let known = member.http.as_ref().map(|resource| resource.identity.as_str());
            let named = known.unwrap_or(&member.who.identity) == identity;
            named && self.rooms.get(&member.room).is_some_and(|known| known.record.name == room)
        };
        let found: Vec<MemberId> = self.members.values().filter(is).map(|m| m.id).collect();
        for id in &found {
            self.remove(*id, Gone::Removed, Some(Then::Stop), now);
        }
        let reply = if found.is_empty() { Err(Denied::Unknown) } else { Ok(Reply::Done) };
        self.reply(call, reply);
    }

    /// Whoever asked for it is gone before it could be told of it.
    pub(crate) fn abandon(&mut self, resource: &str, now: Now) {
        if let Some(&id) = self.resources.get(resource) {
            self.remove(id, Gone::Abandoned, None, now);
        }
    }

    /// Publishers and players at the moment.
    pub(crate) fn resource_counts(&self) -> (usize, usize) {
        let of = |id: &MemberId| self.members.get(id)?.http.as_ref().map(|resource| resource.way);
        let all = self.resources.len();
        let whip = self.resources.values().filter(|id| of(id) == Some(Way::Whip)).count();
        (whip, all - whip)
    }

    fn patch(
        &mut self,
        id: MemberId,
        call: ClientId,
        condition: &Condition,
        credentials: Option<Credentials>,
    ) -> Option<Result<Reply, Denied>> {
        let resource = self.members.get_mut(&id)?.http.as_mut()?;
        match condition {
            Condition::None => return Some(Err(Denied::Unconditional)),
            Condition::Tags(tags) if !tags.contains(&resource.tag) => {
                return Some(Err(Denied::Stale));
            }
            Condition::Tags(_) | Condition::Any => {}
        }
        // RFC 9725 §4.3.3: other credentials than those of now are what makes a restart. Candidates
        // alone are of no use to us: the client's own checks tell where it is (RFC 8445 §2.5).
        let new =
            credentials.filter(|new| self::credentials(&resource.offer).as_ref() != Some(new));
        let Some(new) = new else { return Some(Ok(Reply::Done)) };
        let offer = with_credentials(&resource.offer, &new);
        let restart = Some(offer.clone());
        let before = resource.pending.replace(Pending { call, restart });
        self.send_offer(id, offer);
        if let Some(before) = before {
            self.reply(before.call, Err(Denied::Overtaken));
        }
        None
    }

    /// Has a shard answer an offer.
    pub(super) fn send_offer(&mut self, id: MemberId, sdp: String) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.publish());
        let Some(resource) = member.http.as_mut() else { return };
        resource.offers += 1;
        let id = resource.offers;
        self.command(seat, Command::Offer { session, id, sdp });
    }

    /// A shard answered.
    pub(super) fn answered(&mut self, id: MemberId, number: u32, sdp: String, now: Now) {
        let Some(resource) = self.members.get_mut(&id).and_then(|m| m.http.as_mut()) else {
            return;
        };
        // An older one is of a request that was overtaken.
        if number != resource.offers {
            return;
        }
        let Some(Pending { call, restart }) = resource.pending.take() else { return };
        let (refused, all) = resource.refused(&sdp);
        let partly = resource.way == Way::Whip && !refused.is_empty();
        if restart.is_none() && (all || partly) {
            self.remove(id, Gone::JoinFailed, None, now);
            return self.reply(call, Err(Denied::Codec { sections: refused, all }));
        }
        resource.tag = credentials(&sdp).map(|own| own.ufrag).unwrap_or_default();
        let tag = resource.tag.clone();
        let reply = match restart {
            Some(offer) => {
                resource.offer = offer;
                Reply::Restarted { tag, sdp }
            }
            None => Reply::Opened { id: resource.id.clone(), tag, sdp },
        };
        self.touch(id);
        self.reply(call, Ok(reply));
    }

    /// A shard could not. A restart that fails leaves everything as it was (RFC 9725 §4.3.3). Says
    /// whether the member is to go.
    pub(super) fn offer_failed(&mut self, id: MemberId, number: u32, reason: String) -> bool {
        let Some(resource) = self.members.get_mut(&id).and_then(|m| m.http.as_mut()) else {
            return true;
        };
        if number != resource.offers {
            return false;
        }
        let Some(pending) = resource.pending.take() else { return false };
        self.reply(pending.call, Err(Denied::Offer(reason)));
        pending.restart.is_none()
    }

    /// A member is gone, and its resource with it.
    pub(super) fn forget_resource(&mut self, member: &Member) {
        let Some(resource) = &member.http else { return };
        self.resources.remove(&resource.id);
        if let Some(pending) = &resource.pending {
            self.reply(pending.call, Err(Denied::Ended));
        }
        self.effects.push_back(Effect::Over(member.id));
    }

    pub(super) fn reply(&mut self, call: ClientId, reply: Result<Reply, Denied>) {
        self.effects.push_back(Effect::Reply { call, reply });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=ice-ufrag:old\r\na=ice-pwd:secret\r\nm=audio 9 X 111\r\na=mid:0\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\na=ice-ufrag:old\r\n";

    #[test]
    fn credentials_are_exchanged_wherever_they_stand() {
        let new = Credentials { ufrag: "new".into(), password: "word".into() };
        let out = with_credentials(OFFER, &new);
        assert_eq!(credentials(&out), Some(new));
        assert!(!out.contains("old") && !out.contains("candidate"), "{out}");
        assert!(out.starts_with("v=0\r\n") && out.contains("m=audio 9 X 111\r\na=mid:0\r\n"));
        assert_eq!(credentials("v=0\r\na=ice-ufrag:x\r\n"), None);
    }
}
