//! What must never happen, judged after every event.
//!
//! A scene only drives; it cannot switch an oracle off. Each breach is one line of text, and the
//! world stops there.

use std::collections::BTreeMap;

use antipode_base::ids::TrackId;
use antipode_base::limits::KEYFRAME_INTERVAL;
use antipode_base::stats::ShardStats;
use str0m::media::Mid;

use crate::path::{Faults, Micros};
use crate::peer::{Arrived, Asked, News, Peer};
use crate::received::Received;
use crate::signal::Signal;

/// See the module's documentation.
#[derive(Default)]
pub struct Oracle {
    /// What came on each section of each peer.
    pub slots: BTreeMap<(usize, Mid), Received>,
    asked: BTreeMap<(usize, Mid, String), Micros>,
}

/// What the paths from the node do to the distance of two datagrams, at most, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slack {
    /// They push two together by this.
    pub wobble: Micros,
    /// A double comes within this.
    pub echo: Micros,
}

impl Slack {
    /// Of paths with these faults, too.
    pub fn widen(&mut self, faults: &Faults) {
        self.wobble = self.wobble.max(faults.wobble());
        self.echo = self.echo.max(faults.echo());
    }
}

impl Oracle {
    /// Judges what a peer got since the last time.
    ///
    /// # Errors
    /// The first breach.
    pub fn judge(
        &mut self,
        place: usize,
        peer: &Peer,
        news: &News,
        signal: &Signal,
        now: Micros,
        slack: Slack,
    ) -> Result<(), String> {
        let name = &peer.id.name;
        for packet in &news.arrived {
            belongs(peer, packet, signal).map_err(|breach| format!("{name}: {breach}"))?;
            let slot = self.slots.entry((place, packet.mid));
            let slot = slot.or_insert_with(|| Received::new(packet.ssrc));
            slot.take(now, packet).map_err(|breach| format!("{name}: {breach}"))?;
        }
        if peer.foreign > 0 {
            return Err(format!("{name} received media that no client of this world sent"));
        }
        for asked in &news.asked {
            self.asked(place, asked, slack).map_err(|breach| format!("{name}: {breach}"))?;
        }
        Ok(())
    }

    /// At most one keyframe request a layer and [`KEYFRAME_INTERVAL`].
    fn asked(&mut self, place: usize, asked: &Asked, slack: Slack) -> Result<(), String> {
        let rid = asked.rid.as_ref().map_or(String::new(), |rid| rid.to_string());
        let key = (place, asked.mid, rid);
        let before = self.asked.get(&key).copied();
        let gap = before.map_or(u64::MAX, |before| asked.at - before);
        if gap < slack.echo {
            // str0m keeps no replay list for RTCP: this is the same one, delivered twice.
            return Ok(());
        }
        self.asked.insert(key, asked.at);
        // 1 ms: requests leave with a turn, and a turn may come that much late.
        let least = KEYFRAME_INTERVAL.as_micros() as Micros - 1_000;
        if gap < least.saturating_sub(slack.wobble) {
            return Err(format!("two keyframe requests of one layer within {gap} µs"));
        }
        Ok(())
    }

    /// With paths that lose nothing and keep the order, the first packet of a slot begins a keyframe.
    ///
    /// # Errors
    /// The first slot where it does not.
    pub fn judge_beginnings(&self, peers: &[Peer]) -> Result<(), String> {
        for ((place, mid), slot) in &self.slots {
            if let Some((seq, first)) = slot.packets.first_key_value()
                && !first.tag.starts()
            {
                let name = &peers[*place].id.name;
                return Err(format!("{name}: section {mid} begins at {seq} with {first:?}"));
            }
        }
        Ok(())
    }

    /// Who has left leaves nothing behind.
    ///
    /// # Errors
    /// The gauge that is not zero.
    pub fn judge_empty(stats: &[ShardStats]) -> Result<(), String> {
        for (shard, stats) in stats.iter().enumerate() {
            let gauges = [stats.sessions, stats.rooms, stats.tracks, stats.subscriptions];
            if gauges != [0; 4] {
                return Err(format!(
                    "everyone left, but shard {shard} holds {gauges:?} \
                     (sessions, rooms, tracks, subscriptions)"
                ));
            }
        }
        Ok(())
    }

    /// No session was sacrificed to a defect.
    ///
    /// # Errors
    /// The shard where one was.
    pub fn judge_faults(stats: &[ShardStats]) -> Result<(), String> {
        match stats.iter().position(|stats| stats.session_faults > 0) {
            Some(shard) => Err(format!("a session of shard {shard} ended by a defect of ours")),
            None => Ok(()),
        }
    }
}

/// A packet is of the receiver's room, of another member, and of a track that it once wanted.
fn belongs(peer: &Peer, packet: &Arrived, signal: &Signal) -> Result<(), String> {
    let id = TrackId(packet.tag.track);
    let member = &signal.members[peer.id.member];
    let Some(track) = signal.tracks.get(&id) else {
        return Err(format!("{id} was never announced"));
    };
    if track.room != member.room {
        return Err(format!("{id} is of {}, the receiver of {}", track.room, member.room));
    }
    if track.owner == peer.id.member {
        return Err(format!("{id} comes back to its publisher"));
    }
    if !track.wanted.contains(&peer.id.member) {
        return Err(format!("{id} was never subscribed"));
    }
    if !track.layers.is_empty() && usize::from(packet.tag.layer) >= track.layers.len() {
        return Err(format!("{id} has no layer {}", packet.tag.layer));
    }
    Ok(())
}
