//! The microphones of each room on this shard, and which viewers are due a packet of one.
//!
//! A shard counts those that one of its own viewers takes: no place is held by a voice that nobody
//! here could hear. The ranking is [`Loudest`]; rooms in which no session asked for it have none, and
//! everything of theirs passes.

use antipode_base::ids::{IdMap, RoomId, TrackId};
use antipode_relay::packet::Packet;

use super::loudest::{Decision, Heard, Loudest};
use super::track::Track;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Microphones {
    /// Rooms with a limit, at most as many as the shard has rooms.
    rooms: IdMap<RoomId, Loudest>,
}

impl Microphones {
    /// A session of the room takes so many microphones at once; 0: it takes all. The first number
    /// above 0 holds until [`Microphones::close`].
    pub(crate) fn limit(&mut self, room: RoomId, places: u8) {
        if places > 0 {
            self.rooms.entry(room).or_insert_with(|| Loudest::new(places.into()));
        }
    }

    /// The room is no more.
    pub(crate) fn close(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    /// Who is due a packet; `None`: whoever views its track.
    pub(super) fn choose(&mut self, track: &Track, packet: &Packet) -> Option<Decision> {
        let owner = packet.microphone?;
        let loudest = self.rooms.get_mut(&track.room)?;
        let heard = Heard {
            track: packet.track,
            owner,
            level: packet.extensions.audio_level,
            voice: packet.extensions.voice_activity,
            arrival: packet.arrival,
        };
        track.has_viewers().then(|| loudest.hear(&heard))
    }

    /// The track is no more, or its last viewer on this shard.
    pub(super) fn end(&mut self, room: RoomId, track: TrackId) {
        if let Some(loudest) = self.rooms.get_mut(&room) {
            loudest.end(track);
        }
    }
}
