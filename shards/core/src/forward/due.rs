//! Which tracks have packets that not all viewers have been offered, and which of them goes next.
//!
//! Sound goes before pictures, and in the midst of them. A picture of which more is on its way waits for its
//! last packet, at most [`REST_MAX`] from its first: nobody can show a part of it, and what a viewer gets
//! of it at once leaves in one train.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antipode_base::ids::TrackId;
use antipode_base::limits::SEND_AT;
use antipode_base::media::Kind;

use super::fresh::Fresh;

/// How long a picture waits for its rest. A sender that leaves more time between two packets of one picture
/// spreads them, and that of the next is not waited for.
pub(super) const REST_MAX: Duration = Duration::from_micros(250);
/// So many packets are worth a train of their own and wait for no more.
const PART_MAX: usize = SEND_AT;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Due {
    sound: VecDeque<TrackId>,
    pictures: VecDeque<TrackId>,
    /// Pictures that wait for their rest, and until when, in the order in which they came.
    parts: VecDeque<(TrackId, Instant)>,
}

impl Due {
    /// A track has packets, the first of which nobody has been offered yet.
    pub(super) fn push(&mut self, kind: Kind, id: TrackId, fresh: &[Fresh]) {
        match fresh {
            _ if kind == Kind::Audio => self.sound.push_back(id),
            [first, ..] if is_part(fresh) => {
                self.parts.push_back((id, first.packet.arrival + REST_MAX));
            }
            _ => self.pictures.push_back(id),
        }
    }

    /// One more packet of a picture that was pushed before.
    pub(super) fn more(&mut self, id: TrackId, fresh: &[Fresh]) {
        if !is_part(fresh)
            && let Some(place) = self.parts.iter().rposition(|(part, _)| *part == id)
        {
            self.parts.remove(place);
            self.pictures.push_back(id);
        }
    }

    /// Parts that have waited long enough wait no longer; all of them without `now`. Returns whether there
    /// were any.
    pub(super) fn release(&mut self, now: Option<Instant>) -> bool {
        let before = self.parts.len();
        while let Some((id, until)) = self.parts.front()
            && now.is_none_or(|now| *until <= now)
        {
            self.pictures.push_back(*id);
            self.parts.pop_front();
        }
        self.parts.len() < before
    }

    /// When the next part has waited long enough.
    pub(super) fn release_at(&self) -> Option<Instant> {
        self.parts.front().map(|(_, until)| *until)
    }

    /// Since when the first of them waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.release_at().map(|until| until - REST_MAX)
    }

    /// The next track; parts that wait are left out.
    pub(super) fn first(&self) -> Option<TrackId> {
        self.sound.front().or(self.pictures.front()).copied()
    }

    /// Takes that one away.
    pub(super) fn pop(&mut self) {
        if self.sound.pop_front().is_none() {
            self.pictures.pop_front();
        }
    }

    pub(super) fn has_sound(&self) -> bool {
        !self.sound.is_empty()
    }
}

/// Whether more is to come, and worth waiting for.
fn is_part(fresh: &[Fresh]) -> bool {
    fresh.len() < PART_MAX && fresh.last().is_some_and(|last| last.part)
}
