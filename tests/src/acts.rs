//! What a scene may do in a world.

use std::net::SocketAddr;

use antipode_base::command::{CloseReason, Grants, Role, Tune};
use antipode_base::ids::{RoomId, SessionId, ShardId, TrackId};
use antipode_base::media::Layer;

use crate::net::Datagram;
use crate::oracle::Oracle;
use crate::path::{Faults, Micros};
use crate::peer::{Identity, Peer};
use crate::seed::mix;
use crate::signal::ALL_GRANTS;
use crate::source::{Media, Source};
use crate::talks::Want;
use crate::world::{World, node_address};

/// How a member connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One peer connection, the client offers.
    One,
    /// Two: the client offers what it publishes, the server what it receives.
    Two,
}

impl World {
    /// Someone joins a room on a shard; its place among the members.
    pub fn join(&mut self, name: &str, room: u64, shard: u16) -> usize {
        self.join_as(name, room, shard, Way::One, ALL_GRANTS)
    }

    /// The same, another way or with fewer grants.
    pub fn join_as(
        &mut self,
        name: &str,
        room: u64,
        shard: u16,
        way: Way,
        grants: Grants,
    ) -> usize {
        let roles: &[Role] = match way {
            Way::One => &[Role::Both],
            Way::Two => &[Role::Publish, Role::Subscribe],
        };
        let member = self.signal.join(name, RoomId(room), ShardId(shard), roles, grants);
        self.speak();
        for (session, role) in self.signal.members[member].sessions.clone() {
            self.add_peer(name, member, session, role);
        }
        let now = self.now;
        let (audio, video) = self.setup.sections;
        let publisher = self.peer(member, true);
        let peer = &mut self.peers[publisher];
        peer.talks.wants.push(Want::Channels);
        if way == Way::One && (audio, video) != (0, 0) {
            peer.talks.wants.push(Want::Receive { audio, video });
        }
        peer.want(now, Want::Again);
        member
    }

    fn add_peer(&mut self, name: &str, member: usize, session: SessionId, role: Role) {
        let place = self.peers.len() as u16;
        let [high, low] = place.to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 40_000 + place % 20_000));
        let salt = |way: u64| mix(&[self.seed, 0xaa, u64::from(place), way]);
        let up = self.setup.up.wrap(self.setup.delay, salt(0));
        let down = self.setup.down.wrap(self.setup.delay, salt(1));
        let lanes = [self.net.lane(up), self.net.lane(down)];
        let suffix = if role == Role::Publish { "^" } else { "" };
        let name = format!("{name}{suffix}");
        let id = Identity { name, member, session, role, address, lanes };
        let mut peer = Peer::new(id, self.start, self.now);
        peer.talks.forge_fingerprint = self.forging;
        self.awake.push(self.peers.len());
        self.addresses.insert(address, self.peers.len());
        self.peers.push(peer);
    }

    /// A member publishes; the track.
    ///
    /// # Panics
    /// When the member has no session to publish on.
    pub fn publish(&mut self, member: usize, media: Media) -> TrackId {
        let peer = self.peer(member, true);
        let number = self.peers[peer].sources.len();
        let client_id = format!("cid-{number}");
        let track = self.signal.publish(member, media.kind, &client_id);
        let track = track.expect("the scene publishes while its member is there");
        self.speak();
        let name = &self.signal.members[member].name;
        self.labels.insert(track, format!("{name}/{number}"));
        let now = self.now;
        let source = Source::new(track.0, client_id, media, self.seed);
        self.peers[peer].sources.push(source);
        self.peers[peer].want(now, Want::Publish(track.0));
        track
    }

    /// A publisher's client stops a track by renegotiating, without a word to signaling.
    pub fn stop_section(&mut self, track: TrackId) {
        let now = self.now;
        if let Some(peer) = self.source(track, |source| source.stopped = true) {
            self.peers[peer].want(now, Want::Unpublish(track.0));
        }
    }

    /// A publisher takes a track back through signaling, and its client stops sending.
    pub fn unpublish(&mut self, track: TrackId) {
        self.signal.unpublish(track);
        self.speak();
        self.stop_section(track);
    }

    /// Changes a source; the place of its peer.
    pub fn source(&mut self, track: TrackId, change: impl FnOnce(&mut Source)) -> Option<usize> {
        let of = |source: &Source| source.track == track.0;
        let peer = self.peers.iter().position(|peer| peer.sources.iter().any(of))?;
        self.peers[peer].sources.iter_mut().find(|source| of(source)).map(change)?;
        Some(peer)
    }

    /// A publisher mutes or unmutes.
    pub fn mute(&mut self, track: TrackId, muted: bool) {
        self.signal.mute(track, muted);
        self.speak();
        self.source(track, |source| source.muted = muted);
    }

    /// Someone speaks as loud as that from now on, in dBov, or falls silent.
    pub fn speak_at(&mut self, track: TrackId, level: i8) {
        self.source(track, |source| source.media.level = level);
    }

    /// A viewer wants a track otherwise.
    pub fn tune(&mut self, member: usize, track: TrackId, paused: bool, layer_max: u8) {
        let tune = Tune { paused, layer_max: Layer(layer_max), ..Tune::default() };
        self.signal.tune(member, track, tune);
        self.speak();
    }

    /// A viewer wants a track.
    pub fn subscribe(&mut self, member: usize, track: TrackId) {
        self.signal.subscribe(member, track);
        self.speak();
    }

    /// It no longer does.
    pub fn unsubscribe(&mut self, member: usize, track: TrackId) {
        self.signal.unsubscribe(member, track);
        self.speak();
    }

    /// A member leaves. Some clients close before signaling says so, some wait to be closed.
    pub fn leave(&mut self, member: usize) {
        self.signal.leave(member, CloseReason::Left);
        self.speak();
        if mix(&[self.seed, 0x1e, member as u64]).is_multiple_of(2) {
            self.hang_up(member);
        }
    }

    /// A member's client closes its peer connections, without a word to signaling.
    pub fn hang_up(&mut self, member: usize) {
        let now = self.now;
        for place in self.awake.clone() {
            let peer = &mut self.peers[place];
            if peer.id.member == member && !peer.vanished {
                peer.close(now);
            }
        }
        self.collect();
    }

    /// Someone joins whose descriptions name another certificate than its own.
    pub fn join_forged(&mut self, name: &str, room: u64, shard: u16) -> usize {
        self.forging = true;
        let member = self.join(name, room, shard);
        self.forging = false;
        member
    }

    /// The client of a member restarts ICE by its own offer.
    pub fn restart_ice(&mut self, member: usize) {
        let (peer, now) = (self.peer(member, true), self.now);
        self.peers[peer].want(now, Want::RestartIce);
    }

    /// A member's client is switched off without a word.
    pub fn vanish(&mut self, member: usize) {
        let of = |peer: &&mut Peer| peer.id.member == member;
        self.peers.iter_mut().filter(of).for_each(|peer| peer.vanished = true);
    }

    /// Sends a message of a member, on the peer that publishes.
    pub fn send(&mut self, member: usize, reliable: bool, bytes: &[u8]) -> bool {
        let (peer, now) = (self.peer(member, true), self.now);
        self.peers[peer].send(now, reliable, bytes)
    }

    /// A viewer's decoder lost the picture.
    pub fn lose_picture(&mut self, member: usize, track: TrackId) -> bool {
        let Some((_, Some(ssrc))) = self.slot(member, track) else { return false };
        let (peer, now) = (self.peer(member, false), self.now);
        self.peers[peer].lose_picture(now, ssrc)
    }

    /// Other faults for one member's paths from now on.
    pub fn reroute(&mut self, member: usize, up: Faults, down: Faults) {
        self.faithful &= up.faithful() && down.faithful();
        self.slack.widen(&down);
        for place in 0..self.peers.len() {
            let id = &self.peers[place].id;
            if id.member == member {
                let lanes = id.lanes;
                let salt = mix(&[self.seed, self.now, place as u64]);
                self.net.replace(lanes[0], up.wrap(self.setup.delay, salt));
                self.net.replace(lanes[1], down.wrap(self.setup.delay, mix(&[salt])));
            }
        }
    }

    /// Keeps a copy of all that clients send from now on, for those who would misuse it.
    pub fn listen(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// A datagram from anywhere, to the node, `later` from now.
    pub fn attack(&mut self, source: SocketAddr, bytes: Vec<u8>, later: Micros) {
        let destination = node_address();
        self.net.inject(self.now + later, Datagram { source, destination, bytes });
    }

    /// Everyone leaves; then nothing may be left, and no first packet may have been undecodable.
    ///
    /// # Panics
    /// With the breach.
    pub fn finish(&mut self) {
        for member in 0..self.signal.members.len() {
            if !self.signal.members[member].gone {
                self.leave(member);
            }
        }
        self.run(1_000_000);
        let stats = self.stats();
        let verdict = Oracle::judge_empty(&stats)
            .and_then(|()| Oracle::judge_faults(&stats))
            .and_then(|()| match self.faithful {
                true => self.oracle.judge_beginnings(&self.peers),
                false => Ok(()),
            });
        if let Err(breach) = verdict {
            self.breach(&breach);
        }
    }
}

impl World {
    /// Whether each announced track is live, and a whole frame of it has come to each who wants it
    /// since some time.
    pub fn all_flow(&self, since: Micros) -> bool {
        let mut tracks = self.signal.tracks.values();
        tracks.all(|track| track.live || track.ended) && self.silences(since).is_empty()
    }

    /// Who does not get what, although it is sent and wanted: names of viewers and tracks.
    pub fn silences(&self, since: Micros) -> Vec<(String, String)> {
        let live = self.signal.tracks.iter().filter(|(_, track)| track.live && !track.ended);
        let pairs = live.flat_map(|(id, track)| track.viewers.iter().map(|viewer| (*id, *viewer)));
        pairs
            .filter(|(track, viewer)| {
                let paused = self.signal.paused.contains(&(*viewer, *track));
                !paused && self.is_sent(*track) && self.frames(*viewer, *track, None, since) == 0
            })
            .map(|(track, viewer)| {
                let label = self.labels.get(&track).cloned().unwrap_or_default();
                (self.signal.members[viewer].name.clone(), label)
            })
            .collect()
    }

    fn is_sent(&self, track: TrackId) -> bool {
        let peers = self.peers.iter().filter(|peer| !peer.vanished && !peer.closed);
        let mut sources = peers.flat_map(|peer| &peer.sources);
        sources.any(|source| source.track == track.0 && source.sends())
    }
}
