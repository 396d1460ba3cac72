//! A track's life: announced, live, changed, ended.

use antipode_base::command::Command;
use antipode_base::ids::{MemberId, TrackId};
use antipode_base::limits::{LAYERS_MAX, NAME_MAX, TRACKS_PER_SESSION_MAX};
use antipode_base::media::{Codec, Kind, Layer};

use super::message::{Outcome, Retouch, ToClient};
use super::track::{Demand, Live, Track, TrackSpec};
use super::{Model, Now};

impl Model {
    /// A member announces a track.
    pub(super) fn publish(&mut self, id: MemberId, spec: TrackSpec, now: Now) {
        let Some(member) = self.members.get(&id) else { return };
        let refused = if !member.permissions.may_publish(spec.source) {
            Some((Outcome::NotAllowed, "the token does not let this source be published"))
        } else if member.tracks.len() >= TRACKS_PER_SESSION_MAX {
            Some((Outcome::LimitExceeded, "too many tracks are published already"))
        } else if spec.client_id.is_empty() || !is_within_limits(&spec) {
            Some((Outcome::Invalid, "the track's id is empty, or a text or list is too long"))
        } else if member.tracks.iter().any(|track| track.spec.client_id == spec.client_id) {
            Some((Outcome::Invalid, "a track with this id is published already"))
        } else {
            None
        };
        if let Some((outcome, why)) = refused {
            let message = ToClient::Response {
                request_id: 0,
                outcome,
                message: why.to_owned(),
                publish: Some(spec.client_id),
            };
            return self.tell_member(id, message);
        }
        self.announce(id, spec, now);
    }

    fn announce(&mut self, id: MemberId, spec: TrackSpec, now: Now) {
        let track = TrackId(self.fresh_id());
        let sid = crate::sid::track(&mut self.rng, spec.kind, spec.source);
        let Some(member) = self.members.get_mut(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.publish());
        let muted = spec.muted;
        let new = Track {
            id: track,
            sid: sid.clone(),
            spec,
            live: None,
            watched: false,
            demand: None,
            version_us: now.unix_us,
        };
        let published = ToClient::Published {
            client_id: new.spec.client_id.clone(),
            track: Box::new(new.clone()),
        };
        let publish = new.announcement(session);
        member.tracks.push(new);
        self.tracks.insert(track, id);
        self.tracks_by_sid.insert(sid, track);
        self.touch(id);
        self.command(seat, publish);
        if muted {
            self.command(seat, Command::Mute { session, track, muted });
        }
        self.tell_member(id, published);
    }

    /// A shard negotiated a track, or learned more of it.
    pub(super) fn track_live(&mut self, track: TrackId, live: Live, now: Now) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(found) = self.members.get_mut(&id).and_then(|m| m.track_mut(track)) else {
            return;
        };
        if found.live.as_ref() == Some(&live) {
            return;
        }
        let first = found.live.replace(live).is_none();
        found.version_us = now.unix_us;
        let demanded = found.demand.is_some();
        self.show(id);
        if first {
            self.refresh_viewers(id, track);
        }
        if first && demanded {
            self.tell_layers(id, track);
        }
    }

    /// A track is no more, on its publisher's or on the shard's word.
    pub(super) fn end_track(&mut self, track: TrackId) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(member) = self.members.get_mut(&id) else { return };
        let room = member.room;
        let Some(at) = member.tracks.iter().position(|t| t.id == track) else { return };
        let ended = member.tracks.remove(at);
        self.tracks.remove(&track);
        self.tracks_by_sid.remove(&ended.sid);
        self.unsubscribe_all(room, id, &[track]);
        if ended.live.is_some() {
            self.show(id);
        } else {
            self.touch(id);
        }
    }

    /// A shard cannot take an announced track. The rest of the member goes on.
    pub(super) fn refuse_track(&mut self, track: TrackId, reason: String) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(refused) = self.members.get(&id).and_then(|m| m.track(track)) else { return };
        let response = ToClient::Response {
            request_id: 0,
            outcome: Outcome::Unsupported,
            message: reason,
            publish: Some(refused.spec.client_id.clone()),
        };
        let unpublished = ToClient::Unpublished { track: refused.sid.clone() };
        self.tell_member(id, response);
        self.tell_member(id, unpublished);
        self.end_track(track);
    }

    /// The first viewer received a packet.
    pub(super) fn track_watched(&mut self, track: TrackId) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(found) = self.members.get_mut(&id).and_then(|m| m.track_mut(track)) else {
            return;
        };
        let (sid, unknown, first) = (found.sid.clone(), found.demand.is_none(), !found.watched);
        found.watched = true;
        if unknown {
            self.tell_layers(id, track);
        }
        if first {
            self.touch(id);
            self.tell_member(id, ToClient::Watched { track: sid });
        }
    }

    /// What the viewers of a track need changed.
    pub(super) fn track_demanded(&mut self, track: TrackId, layer_max: Option<Layer>) {
        let Some(&id) = self.tracks.get(&track) else { return };
        let Some(found) = self.members.get_mut(&id).and_then(|m| m.track_mut(track)) else {
            return;
        };
        let demand = Some(layer_max.map_or(Demand::Nothing, Demand::UpTo));
        let before = (found.demand.is_some(), found.qualities_wanted());
        if found.demand == demand {
            return;
        }
        found.demand = demand;
        let after = (true, found.qualities_wanted());
        self.touch(id);
        if before != after {
            self.tell_layers(id, track);
        }
    }

    /// Tells a publisher which layers of a video are wanted. Clients without dynacast do not
    /// listen; the others stop what nobody looks at.
    pub(super) fn tell_layers(&mut self, id: MemberId, track: TrackId) {
        let Some(found) = self.members.get(&id).and_then(|member| member.track(track)) else {
            return;
        };
        let Some(live) = found.live.as_ref().filter(|_| found.spec.kind == Kind::Video) else {
            return;
        };
        // The SDK looks for the codec that it announced; any other name would make it publish a
        // second stream (its backup codec).
        let codec = codec_name(found.spec.codec.unwrap_or(live.codec));
        let (track, qualities) = (found.sid.clone(), found.qualities_wanted());
        self.tell_member(id, ToClient::LayersWanted { track, codec, qualities });
    }

    pub(super) fn mute(&mut self, id: MemberId, sid: &str, muted: bool, now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (seat, session) = (member.seat, member.sessions.publish());
        let Some(track) = member.track_by_sid(sid).filter(|track| track.spec.muted != muted) else {
            return;
        };
        track.spec.muted = muted;
        track.version_us = now.unix_us;
        let (track, room) = (track.id, member.room);
        self.command(seat, Command::Mute { session, track, muted });
        self.stir(room);
        self.show(id);
    }

    pub(super) fn retouch(&mut self, id: MemberId, sid: &str, change: Retouch, now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(track) = member.track_by_sid(sid) else { return };
        let before = track.clone();
        match change {
            Retouch::AudioFeatures(features) => track.spec.marks.audio_features = features,
            Retouch::Size(width, height) => (track.spec.width, track.spec.height) = (width, height),
            Retouch::Layers(layers) => track.spec.layers = layers,
        }
        if !is_within_limits(&track.spec) {
            track.spec = before.spec;
        } else if track.spec != before.spec {
            track.version_us = now.unix_us;
            self.show(id);
            self.retune_viewers(id, &before);
        }
    }
}

/// Entries of a list of small marks.
const MARKS_MAX: usize = 32;

fn is_within_limits(spec: &TrackSpec) -> bool {
    [&spec.client_id, &spec.name, &spec.stream].iter().all(|text| text.len() <= NAME_MAX)
        && spec.layers.len() <= LAYERS_MAX
        && spec.marks.audio_features.len() <= MARKS_MAX
}

/// As the SDKs name codecs among themselves.
fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::Pcmu => "pcmu",
        Codec::Pcma => "pcma",
        Codec::Vp8 => "vp8",
        Codec::Vp9 => "vp9",
        Codec::H264 => "h264",
        Codec::H265 => "h265",
        Codec::Av1 => "av1",
    }
}
