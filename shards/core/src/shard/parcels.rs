//! What other shards say, and data packets, which go to every shard of their room.

use std::sync::Arc;
use std::time::Instant;

use antipode_base::ids::{MemberId, ShardId};
use antipode_base::notice::Notice;
use antipode_base::verdict::DropReason;
use antipode_relay::parcel::{DataParcel, Note, Parcel};

use super::Shard;
use crate::data;
use crate::forward::{Origin, Remote};

impl Shard {
    pub(super) fn parcel(&mut self, from: ShardId, parcel: Parcel, now: Instant) {
        self.counters.parcels_in += 1;
        match parcel {
            Parcel::Media(packet) => {
                let track = packet.track;
                if !self.forward(packet) {
                    // Our last viewer left while it was on its way, or an Unwatch was lost.
                    self.fx.drops.count(DropReason::ParcelUnwanted);
                    self.send_note(from, Note::Unwatch { track });
                }
            }
            Parcel::Stray(stray) => self.stray(&stray, now),
            Parcel::Data(data) => self.deliver(&data, None, now),
            Parcel::Note(note) => self.note(from, note, now),
        }
    }

    fn note(&mut self, from: ShardId, note: Note, now: Instant) {
        match note {
            Note::Watch { track, room, layer_max } => match self.fabric.get_mut(track) {
                Some(entry) if entry.room == room && is_home(entry.origin) => {
                    let added = entry.watch(Remote { shard: from, layer_max });
                    if added && !std::mem::replace(&mut entry.watched, true) {
                        self.fx.notices.push_back(Notice::TrackWatched { track });
                    }
                    self.demand_changed(track, now);
                }
                _ => self.send_note(from, Note::TrackEnded { track }),
            },
            Note::Unwatch { track } => {
                if let Some(entry) = self.fabric.get_mut(track) {
                    entry.unwatch(from);
                    self.demand_changed(track, now);
                }
            }
            Note::Keyframe { track, layer } => self.ask_keyframe(track, layer, now),
            Note::TrackEnded { track } => {
                let origin = self.fabric.get_mut(track).map(|entry| entry.origin);
                if origin == Some(Origin::Shard(from)) {
                    self.end_track(track);
                }
            }
            Note::Claim { address } => self.demux.claim(address, from),
            Note::Disclaim { address } => self.demux.disclaim(address, from),
        }
    }

    /// A data packet of one of our clients.
    pub(super) fn data_from(&mut self, key: usize, reliable: bool, bytes: &[u8], now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let (room, sender) = (session.room, session.member);
        let Some(entry) = self.rooms.get(&room) else { return };
        let stamped = entry
            .members
            .get(&sender)
            .filter(|member| member.grants.publish_data)
            .and_then(|member| data::stamp(bytes, &member.identity, &member.sid));
        let Some(stamped) = stamped else {
            return self.fx.drops.count(DropReason::DataRefused);
        };
        let parcel = DataParcel {
            room,
            reliable,
            bytes: stamped.bytes.into(),
            destinations: stamped.destinations.into(),
        };
        for shard in entry.shards.clone() {
            let parcel = DataParcel {
                bytes: Arc::clone(&parcel.bytes),
                destinations: Arc::clone(&parcel.destinations),
                ..parcel
            };
            self.send_parcel(shard, Parcel::Data(parcel));
        }
        self.deliver(&parcel, Some(sender), now);
    }

    /// To the members of the room on this shard that it is for.
    fn deliver(&mut self, data: &DataParcel, sender: Option<MemberId>, now: Instant) {
        let Some(room) = self.rooms.get(&data.room) else {
            return self.fx.drops.count(DropReason::ParcelUnwanted);
        };
        let mut receivers: Vec<usize> = room
            .members
            .iter()
            .filter(|(id, member)| {
                let meant =
                    data.destinations.is_empty() || data.destinations.contains(&member.identity);
                Some(**id) != sender && meant && member.grants.subscribe
            })
            .filter_map(|(_, member)| member.data_session)
            .collect();
        receivers.sort_unstable();
        for key in receivers {
            self.guarded(key, now, |session, _, fx| {
                if let Err(reason) = session.write_data(data.reliable, &data.bytes) {
                    fx.drops.count(reason);
                }
            });
        }
    }
}

fn is_home(origin: Origin) -> bool {
    matches!(origin, Origin::Session(_))
}
