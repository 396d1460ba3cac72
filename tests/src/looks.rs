//! What a scene may ask of a world, and what the world writes into its trace.

use std::collections::BTreeSet;

use antipode_base::ids::{SessionId, TrackId};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::verdict::DropReason;
use str0m::media::Mid;

use crate::path::Micros;
use crate::peer::{News, Peer};
use crate::world::World;

impl World {
    /// The peer with which a member receives, or publishes, by its place; also when it has ended.
    ///
    /// # Panics
    /// When the member never had one.
    pub fn peer(&self, member: usize, publishes: bool) -> usize {
        use antipode_base::command::Role;
        let not = if publishes { Role::Subscribe } else { Role::Publish };
        let is = |peer: &Peer| peer.id.member == member && peer.id.role != not;
        self.peers.iter().position(is).expect("a member has a peer for what the scene asks")
    }

    /// Whole frames of a track that a member got since some time; of one layer if it is named.
    pub fn frames(&self, member: usize, track: TrackId, layer: Option<u8>, since: Micros) -> usize {
        let peer = self.peer(member, false);
        self.oracle
            .slots
            .iter()
            .filter(|((place, _), _)| *place == peer)
            .map(|(_, slot)| slot.frames(track.0, layer, since).len())
            .sum()
    }

    /// How long a track's picture stood still for a member since some time, in all: every wait for a
    /// whole frame that was longer than `patience`.
    pub fn frozen(&self, member: usize, track: TrackId, since: Micros, patience: Micros) -> Micros {
        let peer = self.peer(member, false);
        let of_peer = self.oracle.slots.iter().filter(|((place, _), _)| *place == peer);
        let frames = of_peer.flat_map(|(_, slot)| slot.frames(track.0, None, since));
        let mut came: Vec<Micros> = frames.chain([since, self.now]).collect();
        came.sort_unstable();
        let waits = came.windows(2).map(|pair| pair[1] - pair[0]);
        waits.filter(|wait| *wait > patience).sum()
    }

    /// Tracks of which a member got anything since some time.
    pub fn heard(&self, member: usize, since: Micros) -> BTreeSet<TrackId> {
        let peer = self.peer(member, false);
        let of_peer = self.oracle.slots.iter().filter(|((place, _), _)| *place == peer);
        let packets = of_peer.flat_map(|(_, slot)| slot.packets.values());
        packets.filter(|kept| kept.at >= since).map(|kept| TrackId(kept.tag.track)).collect()
    }

    /// The layer of the newest packet of a track that a member got.
    pub fn layer(&self, member: usize, track: TrackId) -> Option<u8> {
        let peer = self.peer(member, false);
        let of_peer = self.oracle.slots.iter().filter(|((place, _), _)| *place == peer);
        let packets = of_peer.flat_map(|(_, slot)| slot.packets.values());
        let of_track = packets.filter(|kept| kept.tag.track == track.0);
        of_track.max_by_key(|kept| (kept.at, kept.timestamp)).map(|kept| kept.tag.layer)
    }

    /// The section and SSRC on which a member receives a track, as it was last told.
    pub fn slot(&self, member: usize, track: TrackId) -> Option<(String, Option<u32>)> {
        let peer = self.peer(member, false);
        let slot = self.peers[peer].talks.slots.iter().find(|slot| slot.track == track)?;
        let received = self.oracle.slots.get(&(peer, Mid::from(slot.mid.as_str())));
        Some((slot.mid.clone(), received.map(|received| received.ssrc)))
    }

    /// How a member's sessions ended, those that did.
    pub fn endings(&self, member: usize) -> Vec<EndReason> {
        let of = |peer: &&Peer| peer.id.member == member;
        let sessions = self.peers.iter().filter(of).map(|peer| peer.id.session);
        sessions.filter_map(|session| self.signal.ended.get(&session).copied()).collect()
    }

    /// Drops of all shards for one reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.stats().iter().map(|stats| stats.drops.get(reason)).sum()
    }

    /// Whether all peers of a member are connected.
    pub fn connected(&self, member: usize) -> bool {
        self.peers.iter().filter(|peer| peer.id.member == member).all(|peer| peer.connected)
    }

    /// Messages that a member got.
    pub fn messages(&self, member: usize) -> &[crate::peer::Delivery] {
        &self.peers[self.peer(member, false)].deliveries
    }

    fn called(&self, session: SessionId) -> &str {
        let of = |peer: &&Peer| peer.id.session == session;
        self.peers.iter().find(of).map_or("?", |peer| &peer.id.name)
    }

    fn label(&self, track: TrackId) -> &str {
        self.labels.get(&track).map_or("?", String::as_str)
    }

    pub(crate) fn trace_notice(&mut self, shard: usize, notice: &Notice) {
        let who = notice.session().map_or("", |session| self.called(session)).to_owned();
        let slots = |slots: &[antipode_base::notice::Slot]| {
            slots.iter().map(|slot| self.label(slot.track)).collect::<Vec<_>>().join(",")
        };
        let what = match notice {
            Notice::Answer { id, slots: told, .. } => format!("answer {id} [{}]", slots(told)),
            Notice::Offer { id, slots: told, .. } => format!("offer {id} [{}]", slots(told)),
            Notice::NegotiationFailed { id, reason, .. } => format!("failed {id}: {reason}"),
            Notice::NeedSections { audio, video, .. } => format!("needs {audio} {video}"),
            Notice::Connected { .. } => "connected".to_owned(),
            Notice::TrackLive { track, codec, layers, .. } => {
                let seen = layers.iter().filter(|layer| layer.ssrc != 0).count();
                format!("live {} {codec:?} {seen}/{}", self.label(*track), layers.len())
            }
            Notice::TrackRefused { track, reason, .. } => {
                format!("refused {}: {reason}", self.label(*track))
            }
            Notice::SubscriptionRefused { track, reason, .. } => {
                format!("not sent {}: {reason}", self.label(*track))
            }
            Notice::TrackEnded { track, .. } => format!("over {}", self.label(*track)),
            Notice::TrackWatched { track } => format!("watched {}", self.label(*track)),
            Notice::Delivery { track, paused, .. } => {
                format!("{} {}", if *paused { "starves" } else { "feeds" }, self.label(*track))
            }
            Notice::Demand { track, layer_max, .. } => {
                format!("demand {} {layer_max:?}", self.label(*track))
            }
            Notice::Levels { levels, .. } => {
                let level = |level: &antipode_base::notice::Level| {
                    format!("{}={:.3}", self.label(level.track), level.level)
                };
                format!("levels {}", levels.iter().map(level).collect::<Vec<_>>().join(" "))
            }
            // Its figures hang on how two clocks are rounded against each other.
            Notice::Quality(_) => "quality".to_owned(),
            Notice::SessionEnded { reason, .. } => format!("ended {reason:?}"),
        };
        self.trace.add(self.now, format!("s{shard} {who} {what}"));
    }

    /// Before the oracle takes the packets, so that a breach shows what led to it.
    pub(crate) fn trace_news(&mut self, place: usize, news: &News) {
        let peer = &self.peers[place];
        let name = peer.id.name.clone();
        for packet in &news.arrived {
            let section = peer.talks.mids.iter().position(|mid| *mid == *packet.mid);
            let first = self.oracle.slots.get(&(place, packet.mid)).and_then(|slot| slot.first);
            let of_batch = || news.arrived.iter().find(|other| other.mid == packet.mid);
            let first = first.or_else(|| of_batch().map(|other| (other.ext_seq, other.timestamp)));
            let (seq, timestamp) = first.unwrap_or_default();
            let tag = packet.tag;
            let line = format!(
                "{name} m{} {} L{} f{}.{}{} {:+} t{:+} {}",
                section.map_or(-1, |at| at as i64),
                self.label(TrackId(tag.track)),
                tag.layer,
                tag.frame,
                tag.index,
                if tag.keyframe { "k" } else { "" },
                packet.ext_seq as i64 - seq as i64,
                packet.timestamp.wrapping_sub(timestamp) as i32,
                packet.vp8.map_or(String::new(), |vp8| format!("p{} z{}", vp8.picture_id, vp8.tl0)),
            );
            self.trace.add(self.now, line);
        }
        for asked in &news.asked {
            let section = peer.talks.mids.iter().position(|mid| *mid == *asked.mid);
            let rid = asked.rid.as_ref().map_or("", |rid| &**rid);
            let line = format!("{name} asked m{} {rid}", section.map_or(-1, |at| at as i64));
            self.trace.add(self.now, line);
        }
        for data in &news.deliveries {
            let line = format!("{name} data {} {}", data.reliable, data.bytes.len());
            self.trace.add(self.now, line);
        }
    }

    /// The counters, at the end. Not those that count handshakes, reports and messages.
    pub(crate) fn trace_stats(&mut self) {
        for (shard, stats) in self.stats().into_iter().enumerate() {
            let mut line = format!(
                "s{shard} in {} out {} keyframes {}",
                stats.packets_in, stats.packets_out, stats.keyframe_requests,
            );
            let media = |reason: &DropReason| {
                !matches!(
                    reason,
                    DropReason::UnknownAddress
                        | DropReason::SessionRefused
                        | DropReason::StunUnknownUfrag
                        | DropReason::SessionGone
                )
            };
            for (reason, count) in stats.drops.iter().filter(|(why, n)| *n > 0 && media(why)) {
                line += &format!(" {}={count}", reason.as_str());
            }
            self.trace.add(self.now, line);
        }
    }
}
