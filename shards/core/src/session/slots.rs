//! What one session receives: its wishes, and the media sections ("slots") that carry them.
//!
//! A slot is an m-line on which we send, with its own SSRC and its own numbering. Who is in it
//! changes; SSRC, sequence and time go on, because a browser plays only the SSRC that its remote
//! description names.

use antipode_base::command::{Subscribe, Tune};
use antipode_base::ids::TrackId;
use antipode_base::media::Kind;
use antipode_base::notice::Slot as SlotNotice;
use std::cell::Cell;
use std::time::Instant;

use str0m::media::Mid;

use crate::forward::Rewriter;
use crate::sdp::SectionDress;

/// The stream of a client whose sections are labelled alike.
const PLAYED: &str = "antipode";

/// A media section towards the client.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The section.
    pub(crate) mid: Mid,
    /// What fits.
    pub(crate) kind: Kind,
    /// Whether the client can still receive on it.
    pub(crate) usable: bool,
    /// Who is in it.
    pub(crate) occupant: Option<TrackId>,
    /// Whom the last description that we wrote has in it, and the last one that the client took. A
    /// browser that finds another track under the same SSRC may not tell its page, and goes on to keep
    /// the new picture in step with the sound of the old one: it must see the section empty in between.
    written: Option<TrackId>,
    told: Option<TrackId>,
    /// The numbering, while no subscription has it.
    pub(crate) rewriter: Option<Rewriter>,
}

impl Slot {
    /// Nobody is in it, as far as the client knows either.
    fn is_empty(&self) -> bool {
        [self.occupant, self.written, self.told].iter().all(Option::is_none)
    }
}

/// A track that the client shall receive.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Which, and how it is labelled.
    pub(crate) subscribe: Subscribe,
    /// How it is wanted.
    pub(crate) tune: Tune,
    /// Where it lies, by its place among the slots.
    pub(crate) slot: Option<usize>,
    /// When the client was told: packets may flow soon after.
    pub(crate) announced: Option<Instant>,
    /// Where the track had its hop to us when it was last looked for: it seldom moves.
    pub(crate) hop: Cell<usize>,
}

/// All slots and wishes of a session.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    wishes: Vec<Wish>,
}

impl Slots {
    /// The slot at that place.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots.get_mut(slot)
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    /// The track in a slot.
    pub(crate) fn occupant(&self, slot: usize) -> Option<TrackId> {
        self.slots.get(slot)?.occupant
    }

    /// How many wishes there are.
    pub(crate) fn wishes(&self) -> &[Wish] {
        &self.wishes
    }

    /// Where the hop of a track to us was seen last; `None` when nobody wishes it.
    pub(crate) fn hop(&self, track: TrackId) -> Option<&Cell<usize>> {
        self.wishes.iter().find(|wish| wish.subscribe.track == track).map(|wish| &wish.hop)
    }

    /// Adds a wish. `false` when it was there already.
    pub(crate) fn wish(&mut self, subscribe: Subscribe) -> bool {
        if self.wishes.iter().any(|wish| wish.subscribe.track == subscribe.track) {
            return false;
        }
        let tune = Tune::default();
        self.wishes.push(Wish { subscribe, tune, slot: None, announced: None, hop: Cell::new(0) });
        true
    }

    /// Remembers how a track is wanted. `false` when nobody wishes it.
    pub(crate) fn tune(&mut self, track: TrackId, tune: Tune) -> bool {
        match self.wishes.iter_mut().find(|wish| wish.subscribe.track == track) {
            Some(wish) => {
                wish.tune = tune;
                true
            }
            None => false,
        }
    }

    /// Takes a wish away and empties its slot.
    pub(crate) fn forget(&mut self, track: TrackId) -> Option<Wish> {
        let at = self.wishes.iter().position(|wish| wish.subscribe.track == track)?;
        let wish = self.wishes.remove(at);
        if let Some(slot) = wish.slot.and_then(|slot| self.slots.get_mut(slot)) {
            slot.occupant = None;
        }
        Some(wish)
    }

    /// Puts a section on the table, if it is not there. Sections never leave it: m-lines only grow.
    pub(crate) fn offer_section(
        &mut self,
        mid: Mid,
        kind: Kind,
        usable: bool,
        rewriter: impl FnOnce() -> Rewriter,
    ) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.mid == mid) {
            slot.usable = usable;
        } else if usable {
            let rewriter = Some(rewriter());
            let (occupant, written, told) = (None, None, None);
            self.slots.push(Slot { mid, kind, usable, occupant, written, told, rewriter });
        }
    }

    /// Puts waiting wishes into free slots. Returns how many audio and video wishes find none.
    pub(crate) fn assign(&mut self) -> (u16, u16) {
        let (mut audio, mut video) = (0, 0);
        for wish in self.wishes.iter_mut().filter(|wish| wish.slot.is_none()) {
            let kind = wish.subscribe.kind;
            let fits = |slot: &Slot| slot.usable && slot.kind == kind && slot.is_empty();
            match self.slots.iter().position(fits) {
                Some(at) => {
                    self.slots[at].occupant = Some(wish.subscribe.track);
                    wish.slot = Some(at);
                }
                None => match kind {
                    Kind::Audio => audio += 1,
                    Kind::Video => video += 1,
                },
            }
        }
        (audio, video)
    }

    /// Wishes that the client does not know of yet but has a slot for; they are announced now.
    pub(crate) fn announce(&mut self, now: Instant) -> Vec<Wish> {
        let fresh =
            self.wishes.iter_mut().filter(|wish| wish.slot.is_some() && wish.announced.is_none());
        fresh
            .map(|wish| {
                wish.announced = Some(now);
                wish.clone()
            })
            .collect()
    }

    /// Which section carries what, for the client.
    pub(crate) fn notice(&self) -> Vec<SlotNotice> {
        let occupied = |slot: &Slot| Some((slot.mid, slot.occupant?));
        self.slots
            .iter()
            .filter_map(occupied)
            .map(|(mid, track)| SlotNotice { mid: mid.to_string(), track })
            .collect()
    }

    /// The client took the last description that we wrote.
    pub(crate) fn taken(&mut self) {
        for slot in &mut self.slots {
            slot.told = slot.written;
        }
    }

    /// How the sections are written for the client.
    pub(crate) fn dress(&mut self) -> Vec<SectionDress> {
        for slot in &mut self.slots {
            slot.written = slot.occupant;
        }
        let label = |track: TrackId| {
            let wish = self.wishes.iter().find(|wish| wish.subscribe.track == track)?;
            Some((wish.subscribe.stream_label.clone(), wish.subscribe.track_label.clone()))
        };
        self.slots
            .iter()
            .map(|slot| SectionDress {
                mid: slot.mid.to_string(),
                labels: slot.occupant.and_then(label),
                ..SectionDress::default()
            })
            .collect()
    }

    /// The same for a client that hears of no change: one stream, and a track for each section,
    /// whoever is in it.
    pub(crate) fn dress_alike(&self) -> Vec<SectionDress> {
        self.slots
            .iter()
            .map(|slot| SectionDress {
                mid: slot.mid.to_string(),
                labels: Some((PLAYED.to_owned(), format!("{PLAYED}-{}", slot.mid))),
                ..SectionDress::default()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_base::ids::{SessionId, ShardId};

    fn subscribe(track: u64, kind: Kind) -> Subscribe {
        Subscribe {
            session: SessionId(1),
            track: TrackId(track),
            home: ShardId(0),
            kind,
            stream_label: format!("PA|{track}"),
            track_label: format!("TR{track}"),
        }
    }

    fn section(slots: &mut Slots, mid: &str, kind: Kind) {
        slots.offer_section(mid.into(), kind, true, || Rewriter::new(1));
    }

    #[test]
    fn wishes_take_free_slots_of_their_kind_and_say_what_is_missing() {
        let mut slots = Slots::default();
        section(&mut slots, "0", Kind::Audio);
        section(&mut slots, "1", Kind::Video);
        for (track, kind) in [(1, Kind::Video), (2, Kind::Video), (3, Kind::Audio)] {
            assert!(slots.wish(subscribe(track, kind)));
        }
        assert!(!slots.wish(subscribe(1, Kind::Video)), "idempotent");
        assert_eq!(slots.assign(), (0, 1));
        let told: Vec<_> =
            slots.announce(Instant::now()).iter().map(|w| w.subscribe.track.0).collect();
        assert_eq!(told, [1, 3]);
        assert!(slots.announce(Instant::now()).is_empty(), "once");
        // The slot of a track that is gone is free again, once the client knows.
        slots.dress();
        slots.taken();
        assert!(slots.forget(TrackId(1)).is_some());
        assert!(slots.forget(TrackId(1)).is_none());
        assert_eq!(slots.assign(), (0, 1));
        slots.dress();
        assert_eq!(slots.assign(), (0, 1), "it is only written");
        slots.taken();
        assert_eq!(slots.assign(), (0, 0));
        assert_eq!(slots.occupant(1), Some(TrackId(2)));
        assert_eq!(slots.notice().len(), 2);
    }
}
