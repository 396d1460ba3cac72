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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use antipode_base::command::Tune;
    use antipode_base::ids::{MemberId, ShardId};
    use antipode_base::media::{Codec, Kind};
    use antipode_base::verdict::{DropReason, Drops};

    use super::*;
    use crate::forward::testing::packet;
    use crate::forward::{Fabric, Origin, Remote, Rewrite, Rewriter, Sink, Subscription};

    const ROOM: RoomId = RoomId(1);
    const LOUD: i8 = -15;
    const SOFT: i8 = -35;
    const SILENT: i8 = -90;

    /// Who got which packet of which track, under which number and at which time.
    #[derive(Default)]
    struct Heap {
        sent: Vec<(usize, u64, u64, Rewrite)>,
        to_shards: usize,
    }

    impl Sink for Heap {
        fn to_session(
            &mut self,
            session: usize,
            _: usize,
            rewrite: Rewrite,
            packet: &Packet,
            _: u8,
        ) -> Result<(), DropReason> {
            self.sent.push((session, packet.track.0, packet.ext_seq, rewrite));
            Ok(())
        }
    }

    /// Tracks 1 to 4 are the microphones of members 1 to 4, whose sessions are 1 to 4 too. Sessions 5
    /// and 6 are of members without one; 6 takes all.
    struct Hall {
        fabric: Fabric,
        heap: Heap,
        drops: Drops,
        start: Instant,
        tick: u64,
    }

    impl Hall {
        fn new(places: u8) -> Self {
            let mut fabric = Fabric::default();
            fabric.microphones.limit(ROOM, places);
            for id in 1..=4 {
                let make = || Track::new(Kind::Audio, Origin::Session(id), ROOM);
                let track = fabric.get_or_make(TrackId(id as u64), make);
                for session in (1..=6).filter(|session| *session != id) {
                    let rewriter = Rewriter::new(0);
                    let mut viewer = Subscription::new(session, id, Tune::default(), rewriter);
                    viewer.ready = true;
                    viewer.listener = (session < 6).then_some(MemberId(session as u64));
                    track.add_viewer(viewer);
                }
            }
            let (heap, drops) = (Heap::default(), Drops::default());
            Hall { fabric, heap, drops, start: Instant::now(), tick: 0 }
        }

        fn packet(&self, track: u64, level: i8) -> Packet {
            let mut packet = packet(self.tick, self.tick as u32 * 960);
            packet.track = TrackId(track);
            packet.codec = Codec::Opus;
            packet.microphone = Some(MemberId(track));
            packet.extensions.audio_level = Some(level);
            packet.arrival = self.start + Duration::from_millis(20) * self.tick as u32;
            packet
        }

        fn forward(&mut self, packet: Packet) {
            let Hall { fabric, heap, drops, .. } = self;
            assert!(fabric.take_in(packet, |_, _| heap.to_shards += 1));
            while fabric.fan_out(drops, heap).is_some() {}
        }

        /// All four send for so many packets, each at its level.
        fn talk(&mut self, packets: u64, levels: [i8; 4]) {
            for _ in 0..packets {
                for (track, level) in (1..).zip(levels) {
                    let packet = self.packet(track, level);
                    self.forward(packet);
                }
                self.tick += 1;
            }
        }

        /// Whom a session hears in the last packets.
        fn heard(&mut self, packets: u64, levels: [i8; 4], session: usize) -> Vec<u64> {
            self.heap.sent.clear();
            self.talk(packets, levels);
            let of = self.heap.sent.iter().filter(|(whose, ..)| *whose == session);
            let mut tracks: Vec<u64> = of.map(|(_, track, ..)| *track).collect();
            tracks.sort_unstable();
            tracks.dedup();
            tracks
        }
    }

    #[test]
    fn each_viewer_hears_the_loudest_but_himself() {
        let levels = [LOUD, LOUD, SOFT, SILENT];
        for (session, want) in [
            (1, vec![2, 3]),
            (2, vec![1, 3]),
            (3, vec![1, 2]),
            (4, vec![1, 2]),
            (5, vec![1, 2]),
            (6, vec![1, 2, 3, 4]),
        ] {
            let mut hall = Hall::new(2);
            hall.talk(50, levels);
            assert_eq!(hall.heard(10, levels, session), want, "{session}");
            // Of 20 a packet's time, 5 who choose hear two each and one all four, each not himself.
            assert_eq!(hall.heap.sent.len(), 10 * (5 * 2 + 4));
        }
        let mut hall = Hall::new(2);
        hall.talk(50, levels);
        let before = hall.drops.get(DropReason::NotLoudest);
        hall.talk(10, levels);
        assert_eq!(hall.drops.get(DropReason::NotLoudest) - before, 10 * (20 - 14));
    }

    #[test]
    fn who_begins_to_be_heard_is_heard_from_a_moment_before_and_without_a_gap() {
        let mut hall = Hall::new(1);
        hall.talk(50, [LOUD, SOFT, SOFT, SOFT]);
        hall.talk(20, [SILENT, LOUD, SOFT, SOFT]);
        hall.talk(20, [LOUD, SILENT, SOFT, SOFT]);
        let of = |track| {
            let of = move |sent: &&(usize, u64, u64, Rewrite)| (sent.0, sent.1) == (5, track);
            hall.heap.sent.iter().filter(of)
        };
        let second: Vec<u64> = of(2).map(|(_, _, ext_seq, _)| *ext_seq).collect();
        // They begin with 50 and 70; it took some packets until that was clear.
        assert!((46..=50).contains(&second[0]), "{second:?}");
        // The first goes away and comes back: 70 on are its second time.
        let again: Vec<_> = of(1).filter(|(_, _, ext_seq, _)| *ext_seq >= 66).collect();
        assert!((66..=70).contains(&again[0].2), "{again:?}");
        assert!(again[0].3.marker && !again[1].3.marker, "one begins to speak: RFC 3551");
        for track in [1, 2] {
            let numbers: Vec<_> = of(track).map(|(.., rewrite)| rewrite.ext_seq).collect();
            let want: Vec<_> = (numbers[0]..).take(numbers.len()).collect();
            assert_eq!(numbers, want);
            let mut times =
                of(track).map(|(_, _, ext_seq, to)| to.timestamp - *ext_seq as u32 * 960);
            let first = times.next().unwrap();
            assert!(times.all(|time| time == first), "the stream keeps its own time");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_ranked_nor_kept() {
        let mut hall = Hall::new(0);
        let levels = [LOUD, SOFT, SOFT, SILENT];
        assert_eq!(hall.heard(100, levels, 5), [1, 2, 3, 4]);
        assert_eq!(hall.heap.sent.len(), 100 * 20);
        assert!(hall.fabric.microphones.rooms.is_empty());
        // Nor is sound that is nobody's voice.
        let mut hall = Hall::new(1);
        hall.talk(50, levels);
        hall.heap.sent.clear();
        let mut shared = hall.packet(4, SILENT);
        shared.microphone = None;
        hall.forward(shared);
        assert_eq!(hall.heap.sent.len(), 5);
    }

    #[test]
    fn a_microphone_without_viewers_holds_no_place() {
        let mut hall = Hall::new(1);
        let levels = [LOUD, SOFT, SILENT, SILENT];
        hall.talk(50, levels);
        assert_eq!(hall.heard(10, levels, 5), [1]);
        // Another shard still takes it, and hears it for itself.
        let remote =
            Remote { shard: ShardId(1), layer_max: Some(antipode_base::media::Layer::TOP) };
        hall.fabric.get_mut(TrackId(1)).unwrap().watch(remote);
        for session in 2..=6 {
            assert!(hall.fabric.remove_viewer(TrackId(1), session).is_some());
        }
        assert_eq!(hall.heard(10, levels, 5), [2]);
        assert_eq!(hall.heap.to_shards, 10);
        // The same goes for one that ends.
        hall.fabric.remove(TrackId(2)).unwrap();
        hall.fabric.get_or_make(TrackId(2), || Track::new(Kind::Audio, Origin::Session(2), ROOM));
        assert!(hall.heard(10, [LOUD, LOUD, SOFT, SILENT], 5).contains(&3));
        hall.fabric.microphones.close(ROOM);
        assert_eq!(hall.heard(10, levels, 5), [3, 4]);
    }
}
