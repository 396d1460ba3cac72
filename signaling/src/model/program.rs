//! What a player of WHEP sees and hears: it named a room or one of its members, and never says a word
//! again, so tracks are put into its sections for it.
//!
//! Pictures stay as long as they can: a screen goes before a camera, but no camera gives way to another.
//! Sound follows who speaks. All of it is decided anew whenever the room changed, at the turn's end.

use antipode_base::ids::{MemberId, RoomId, TrackId};
use antipode_base::media::{Codec, Kind};
use serde::{Deserialize, Serialize};

use super::http::{Denied, Reply};
use super::member::{Member, Subscription};
use super::track::{Source, Track, Viewing, Wish};
use super::{Effect, Model};

/// Which sound a player wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sound {
    /// The one that counts most.
    #[default]
    Top,
    /// As much as its offer has sections for.
    All,
    /// None.
    None,
}

/// A layer by either of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LayerName {
    /// 0 is the smallest.
    Rung(u8),
    /// `a=rid` of its publisher.
    Rid(String),
}

/// Which layer a player wants; by default what its path carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The highest.
    pub layer: Option<LayerName>,
    /// The highest temporal layer, counted from 0.
    pub temporal_max: Option<u8>,
}

/// What a player asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// One member's tracks; `None`: the room's.
    pub of: Option<String>,
    /// Which sound.
    pub sound: Sound,
    /// Its sections for sound.
    pub audio_sections: u8,
    /// Its sections for pictures.
    pub video_sections: u8,
    /// Place of the first section for pictures among all: events name it.
    pub video_line: u8,
    /// What it can decode.
    pub codecs: Vec<Codec>,
    /// Which layer.
    pub choice: Choice,
}

/// One layer that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rung {
    /// `a=rid`; empty when there is but one.
    pub rid: String,
    /// 0 is the smallest.
    pub rung: u8,
    /// Pixels; 0 when the publisher did not say.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What happened to a player's programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlayEvent {
    /// There is something to see or hear.
    Active,
    /// There is nothing any more.
    Inactive,
    /// These layers can be chosen.
    Layers {
        /// Place of the section.
        line: u8,
        /// Lowest first.
        rungs: Vec<Rung>,
    },
    /// So many watch the same.
    Viewers(u32),
}

/// What was last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    active: bool,
    rungs: Vec<Rung>,
    viewers: u32,
}

impl Choice {
    /// How the track is to be received; `None`: no wish.
    fn viewing(&self, track: &Track) -> Option<Viewing> {
        if track.spec.kind == Kind::Audio {
            return None;
        }
        let rung = self.layer.as_ref().and_then(|name| rung_of(track, name));
        if rung.is_none() && self.temporal_max.is_none() {
            return None;
        }
        let default = Viewing::default();
        let wish = rung.map_or(default.wish, Wish::Layer);
        // The frame rates that a shard reads as one and two temporal layers.
        let fps = match self.temporal_max {
            Some(0) => 7,
            Some(1) => 15,
            _ => 0,
        };
        Some(Viewing { wish, fps, ..default })
    }
}

fn rung_of(track: &Track, name: &LayerName) -> Option<u8> {
    match name {
        LayerName::Rung(rung) => Some(*rung),
        LayerName::Rid(rid) => {
            let layers = track.live.as_ref().map_or(&[][..], |live| &live.layers);
            layers.iter().find(|layer| layer.rid == *rid).map(|layer| layer.layer.0)
        }
    }
}

fn rungs(track: &Track) -> Vec<Rung> {
    let layers = track.live.as_ref().map_or(&[][..], |live| &live.layers);
    let rung = |layer: &antipode_base::notice::LayerInfo| {
        let size = track.spec.layers.get(layer.layer.index());
        Rung {
            rid: layer.rid.clone(),
            rung: layer.layer.0,
            width: size.map_or(0, |size| size.width),
            height: size.map_or(0, |size| size.height),
        }
    };
    layers.iter().map(rung).collect()
}

impl Model {
    /// Something changed in a room: its players may have to see something else.
    pub(super) fn stir(&mut self, room: RoomId) {
        if self.rooms.get(&room).is_some_and(|room| room.players > 0) {
            self.stirred.insert(room);
        }
    }

    /// Done at the turn's end.
    pub(super) fn direct(&mut self) {
        for room in std::mem::take(&mut self.stirred) {
            for player in self.players_of(room) {
                self.put_on(player);
                self.tell_player(player);
            }
        }
    }

    /// Now and then: how many watch.
    pub(super) fn count_viewers(&mut self, room: RoomId) {
        for player in self.players_of(room) {
            self.tell_player(player);
        }
    }

    fn players_of(&self, room: RoomId) -> Vec<MemberId> {
        let Some(room) = self.rooms.get(&room).filter(|room| room.players > 0) else {
            return Vec::new();
        };
        let plays = |id: &&MemberId| self.program(**id).is_some();
        room.members.iter().filter(plays).copied().collect()
    }

    fn program(&self, id: MemberId) -> Option<&Program> {
        self.members.get(&id)?.http.as_ref()?.program.as_ref()
    }

    /// Puts the right tracks into a player's sections.
    fn put_on(&mut self, player: MemberId) {
        let Some(program) = self.program(player).cloned() else { return };
        let mut chosen = self.pictures(player, &program);
        chosen.extend(self.sounds(player, &program));
        let Some(member) = self.members.get(&player) else { return };
        let over: Vec<TrackId> = member
            .subscriptions
            .iter()
            .filter(|(track, found)| {
                found.wanted == Some(true) && chosen.iter().all(|(_, new)| new != *track)
            })
            .map(|(track, _)| *track)
            .collect();
        // First, so that what comes finds their sections free.
        for track in over {
            self.take_off(player, track);
        }
        for (publisher, track) in chosen {
            let source = self.members.get(&publisher).and_then(|member| member.track(track));
            let viewing = source.and_then(|track| program.choice.viewing(track));
            let Some(member) = self.members.get_mut(&player) else { return };
            if member.subscriptions.contains_key(&track) {
                continue;
            }
            let new = Subscription { wanted: Some(true), viewing, ..Default::default() };
            member.subscriptions.insert(track, new);
            self.refresh_subscription(player, publisher, track);
        }
    }

    fn take_off(&mut self, player: MemberId, track: TrackId) {
        let Some(member) = self.members.get_mut(&player) else { return };
        let active = member.subscriptions.remove(&track).is_some_and(|found| found.active);
        self.touch(player);
        if active {
            self.send_unsubscribe(player, track);
        }
    }

    /// Tracks of that kind that a player could have, with their publishers, in the room's order.
    fn candidates(
        &self,
        player: MemberId,
        program: &Program,
        kind: Kind,
    ) -> Vec<(&Member, &Track, bool)> {
        let Some(member) = self.members.get(&player) else { return Vec::new() };
        let fits = |publisher: &Member, track: &Track| {
            let found = member.subscriptions.get(&track.id).and_then(|found| found.wanted);
            let codec = track.live.as_ref().map(|live| live.codec);
            track.spec.kind == kind
                && codec.is_some_and(|codec| program.codecs.contains(&codec))
                // One that its shard refused.
                && found != Some(false)
                && program.of.as_ref().is_none_or(|of| publisher.who.identity == *of)
                && self.may_receive(player, publisher.id, track.id)
        };
        self.live_tracks_for(player)
            .into_iter()
            .filter_map(|(publisher, track)| {
                let publisher = self.members.get(&publisher)?;
                let track = publisher.track(track)?;
                let shown = member.subscriptions.contains_key(&track.id);
                fits(publisher, track).then_some((publisher, track, shown))
            })
            .collect()
    }

    fn pictures(&self, player: MemberId, program: &Program) -> Vec<(MemberId, TrackId)> {
        let mut found = self.candidates(player, program, Kind::Video);
        found.sort_by_key(|(publisher, track, shown)| {
            let screen = track.spec.source == Source::ScreenShare;
            (!screen, track.spec.muted, !shown, !self.speaks(publisher))
        });
        found.truncate(usize::from(program.video_sections));
        found.into_iter().map(|(publisher, track, _)| (publisher.id, track.id)).collect()
    }

    fn sounds(&self, player: MemberId, program: &Program) -> Vec<(MemberId, TrackId)> {
        let sections = match program.sound {
            Sound::None => 0,
            Sound::Top => program.audio_sections.min(1),
            Sound::All => program.audio_sections,
        };
        let mut found = self.candidates(player, program, Kind::Audio);
        found.sort_by_key(|(publisher, track, shown)| {
            let voice = track.spec.source != Source::ScreenShareAudio;
            (track.spec.muted, !(voice && self.speaks(publisher)), !shown, !voice)
        });
        found.truncate(usize::from(sections));
        found.into_iter().map(|(publisher, track, _)| (publisher.id, track.id)).collect()
    }

    fn speaks(&self, member: &Member) -> bool {
        self.rooms.get(&member.room).is_some_and(|room| room.speakers.speaks(member.id))
    }

    /// A player's word on its layer.
    pub(super) fn choose_layer(&mut self, id: MemberId, choice: Choice) -> Result<Reply, Denied> {
        let shown = self.shown_picture(id).map(|(publisher, track)| (publisher, track.clone()));
        if let (Some((_, track)), Some(name)) = (&shown, &choice.layer) {
            let known = match name {
                LayerName::Rung(_) => true,
                LayerName::Rid(_) => rung_of(track, name).is_some(),
            };
            if !known {
                return Err(Denied::Layer);
            }
        }
        let member = self.members.get_mut(&id).and_then(|member| member.http.as_mut());
        let Some(program) = member.and_then(|resource| resource.program.as_mut()) else {
            return Err(Denied::Unknown);
        };
        program.choice = choice.clone();
        self.touch(id);
        if let Some((publisher, track)) = shown {
            let viewing = choice.viewing(&track).unwrap_or_default();
            self.set_viewing(id, publisher, track.id, viewing);
        }
        Ok(Reply::Done)
    }

    /// The picture in a player's first section.
    fn shown_picture(&self, player: MemberId) -> Option<(MemberId, &Track)> {
        let subscriptions = &self.members.get(&player)?.subscriptions;
        let active = subscriptions.iter().filter(|(_, found)| found.active);
        active
            .filter_map(|(track, _)| {
                let publisher = self.members.get(self.tracks.get(track)?)?;
                Some((publisher.id, publisher.track(*track)?))
            })
            .find(|(_, track)| track.spec.kind == Kind::Video)
    }

    /// What a player's listener hears first, and what it would be told now.
    pub(crate) fn play_events(&self, player: MemberId) -> Vec<PlayEvent> {
        let Some(line) = self.program(player).map(|program| program.video_line) else {
            return Vec::new();
        };
        let now = self.playing(player);
        let mut events = Vec::new();
        // A player that waits is not told that it does.
        if now.active {
            events.push(PlayEvent::Active);
        }
        events.push(PlayEvent::Layers { line, rungs: now.rungs });
        events.push(PlayEvent::Viewers(now.viewers));
        events
    }

    fn playing(&self, player: MemberId) -> Told {
        let Some(member) = self.members.get(&player) else { return Told::default() };
        let active = member.subscriptions.values().any(|found| found.active);
        let picture = self.shown_picture(player).map(|(_, track)| track);
        let Some(room) = self.rooms.get(&member.room) else { return Told::default() };
        let watches = |id: &&MemberId| {
            let subscriptions = self.members.get(*id).map(|viewer| &viewer.subscriptions);
            let found = picture.and_then(|track| subscriptions?.get(&track.id));
            found.is_some_and(|found| found.active)
        };
        let viewers = room.members.iter().filter(watches).count();
        Told {
            active,
            rungs: picture.map(rungs).unwrap_or_default(),
            viewers: u32::try_from(viewers).unwrap_or(u32::MAX),
        }
    }

    fn tell_player(&mut self, player: MemberId) {
        let now = self.playing(player);
        let member = self.members.get_mut(&player);
        let Some(resource) = member.and_then(|member| member.http.as_mut()) else { return };
        let Some(line) = resource.program.as_ref().map(|program| program.video_line) else {
            return;
        };
        let before = std::mem::replace(&mut resource.told, now.clone());
        let mut events = Vec::new();
        if before.active != now.active {
            events.push(if now.active { PlayEvent::Active } else { PlayEvent::Inactive });
        }
        if before.rungs != now.rungs {
            events.push(PlayEvent::Layers { line, rungs: now.rungs });
        }
        if before.viewers != now.viewers {
            events.push(PlayEvent::Viewers(now.viewers));
        }
        let effect = |event| Effect::Play { player, event };
        self.effects.extend(events.into_iter().map(effect));
    }
}
