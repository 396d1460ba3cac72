//! Which microphones of a room go on: the N loudest, as each viewer counts them.
//!
//! Every shard with viewers hears every packet of the room's microphones, whose arrival was read
//! where the packet came in; so each shard ranks alike, with nothing said between them. What this
//! module promises: while no more than N speak at once, nobody's first syllable loses more than 60 ms,
//! the [`LookBack`] included; a louder speaker is in within 200 ms however many speak; a noise of one
//! packet moves nobody; who falls silent keeps a place only until another speaks; in a room of N
//! microphones nothing is ever cut.
//!
//! ```text
//!   ranking    0 1 2 | 3 | 4       N = 3, then the spares, best first
//!              \___/   |   \---->  to members with two or more microphones among the first three
//!            everyone  \-------->  to members with one: their own voice is not counted
//! ```
//!
//! The peak of a microphone follows its level in three stages. Only what two packets in a row
//! confirm raises it, so that a cough or a click does not.
//!
//! ```text
//!   dBov      ________                 up: most of the way with each packet
//!            /        \                HOLD: the dip between two syllables
//!      _____/          \______         RELEASE: quickly down to silence
//! ```
//!
//! It is no list of speakers to show (that is `levels`), and it holds no packets: the caller does.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::time::{Duration, Instant};

use antipode_base::ids::{IdMap, MemberId, TrackId};
use antipode_base::limits::{LOOK_BACK, LOOK_BACK_PACKETS, LOUDEST_MAX, MICROPHONES_PER_ROOM_MAX};

#[cfg(test)]
mod tests;

/// Levels in dBov: 0 is full scale, lower is quieter.
type Dbov = f32;

/// As quiet as counts; whatever is below is the same silence.
const SILENCE: Dbov = -60.0;
/// From here on a packet is voice. Soft speech is near -45, a muted or well gated microphone below.
const VOICE: Dbov = -55.0;
/// What a packet without a level counts as: it may take a place that nobody louder wants.
const UNKNOWN: Dbov = -50.0;
/// What a cleared V bit (RFC 6464 §3) costs. A hint and no veto: some senders never set the bit.
const NO_VOICE: Dbov = 12.0;
/// How much louder than a holder a challenger must be.
const MARGIN: Dbov = 6.0;
/// The part of the way up to a louder level that one packet goes.
const ATTACK: f32 = 0.7;
/// How long a peak stands before it falls; longer than dips between syllables.
const HOLD: Duration = Duration::from_millis(100);
/// How fast it falls then, in dB a second: one as loud takes over after `HOLD + MARGIN / RELEASE`,
/// which is 150 ms and below the 200 that a change of speakers may take.
const RELEASE: f32 = 120.0;
/// Packets further apart than this do not confirm one another.
const CONFIRM_GAP_MAX: Duration = Duration::from_millis(150);
/// Silence of this length ends a phrase; shorter ones part words.
const PAUSE: Duration = Duration::from_millis(300);
/// How long one who begins is a newcomer: longer than it takes to get a place.
const NEWCOMER: Duration = Duration::from_millis(200);
/// Time constant of the [`Envelope::habit`].
const HABIT: Duration = Duration::from_millis(1_000);
/// One who gets so much louder than is the habit counts as one who begins. Stress within speech stays
/// below: at 12 dB, fifty who talk at once changed places half as often again.
const RISE: Dbov = 15.0;
/// How long nobody gets a place for another's short silence after somebody spoke on in vain: then
/// more speak than there are places, and each breath would hand one over in mid-sentence.
const CROWDED: Duration = Duration::from_millis(500);
/// The silence after which a place can be had by one who begins, unless it is [`CROWDED`]. With
/// [`LOOK_BACK`] it keeps the first syllable whole: in made-up meetings where the next always begins
/// as another ends, 70 ms cut nothing of 99 in 100 beginnings and 60 ms at worst, 90 ms up to 120.
const YIELD: Duration = Duration::from_millis(70);
/// Unless it is crowded, one who begins takes nobody's place by being louder before this: who made
/// room for it may have fallen silent just now, and is to be told from who speaks on.
const SETTLE: Duration = Duration::from_millis(60);
/// Nor while someone has been silent for this long, who will be so for [`YIELD`] in a moment.
const LULL: Duration = Duration::from_millis(40);
/// Places behind the first N, for members who hold some of those themselves. With two microphones
/// there a member still hears N others; with more, fewer.
const SPARES: usize = 2;

/// One packet of a microphone, as far as this module looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// The microphone.
    pub(crate) track: TrackId,
    /// Whose it is.
    pub(crate) owner: MemberId,
    /// RFC 6464 level in dBov, 0 down to -127.
    pub(crate) level: Option<i8>,
    /// RFC 6464 V bit.
    pub(crate) voice: Option<bool>,
    /// When the packet came in, on the node's monotonic clock.
    pub(crate) arrival: Instant,
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Who gets it.
    pub(crate) audience: Audience,
    /// The ranking changed since the track's last packet: a viewer may get it now that did not get
    /// the last one, and is due the [`LookBack`]. Never `false` when some viewer is.
    pub(crate) moved: bool,
}

/// Who of a room gets a packet. That nobody gets his own is for the caller's table of hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Among the first N, or nothing is selected at all.
    Everyone,
    /// A spare: those alone whose own microphones stand before it.
    Members(Members),
    /// Neither.
    Nobody,
}

/// Up to [`LOUDEST_MAX`] members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    ids: [MemberId; LOUDEST_MAX],
    len: usize,
}

impl Audience {
    /// Whether this viewer gets the packet.
    pub(crate) fn includes(&self, viewer: MemberId) -> bool {
        match self {
            Audience::Everyone => true,
            Audience::Members(members) => members.ids[..members.len].contains(&viewer),
            Audience::Nobody => false,
        }
    }
}

/// The loudness of one microphone over time.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    /// As of `raised`; see [`Envelope::peak_after`].
    peak: Dbov,
    raised: Instant,
    /// What its voice was like in the last second or so; silence does not count.
    habit: Dbov,
    /// The last packet with voice.
    spoke: Option<Instant>,
}

impl Envelope {
    fn peak_after(&self, hold: Duration, now: Instant) -> Dbov {
        let fall = now.saturating_duration_since(self.raised).saturating_sub(hold);
        (self.peak - RELEASE * fall.as_secs_f32()).max(SILENCE)
    }

    fn silent_for(&self, least: Duration, now: Instant) -> bool {
        self.spoke.is_none_or(|spoke| now.saturating_duration_since(spoke) >= least)
    }
}

/// What is known of one microphone, with a place or without.
#[derive(Clone, Copy, Debug)]
struct Voice {
    envelope: Envelope,
    /// The packet before this one.
    last: Dbov,
    last_arrival: Instant,
    /// When it last began to speak, or to be loud.
    began: Instant,
    /// When it last spoke again, be it after a gap between words.
    resumed: Instant,
    /// Of the ranking, at its last packet.
    generation: Option<u64>,
}

impl Voice {
    fn new(now: Instant) -> Self {
        let envelope = Envelope { peak: SILENCE, raised: now, habit: SILENCE, spoke: None };
        Voice {
            envelope,
            last: SILENCE,
            last_arrival: now,
            began: now,
            resumed: now,
            generation: None,
        }
    }

    /// Takes one packet in. How it may challenge, if it is voice that the one before it confirms.
    fn hear(&mut self, level: Dbov, now: Instant) -> Option<Claim> {
        let gap = now.saturating_duration_since(self.last_arrival);
        let before = if gap > CONFIRM_GAP_MAX { SILENCE } else { self.last };
        (self.last, self.last_arrival) = (level, now);
        let confirmed = level.min(before);
        let envelope = &mut self.envelope;
        let peak = envelope.peak_after(HOLD, now);
        if confirmed > peak {
            envelope.peak = peak + ATTACK * (confirmed - peak);
            envelope.raised = now;
        }
        if level < VOICE {
            return None;
        }
        if envelope.silent_for(YIELD, now) {
            self.resumed = now;
        }
        if envelope.silent_for(PAUSE, now) {
            self.began = now;
            envelope.habit = level;
        }
        envelope.spoke = Some(now);
        if confirmed < VOICE {
            return None;
        }
        let lately = |at| now.saturating_duration_since(at) <= NEWCOMER;
        if !lately(self.began) && envelope.peak_after(HOLD, now) >= envelope.habit + RISE {
            self.began = now;
        }
        envelope.habit += gap.div_duration_f32(HABIT + gap) * (confirmed - envelope.habit);
        Some(match (lately(self.began), lately(self.resumed)) {
            (true, _) => Claim::Newcomer(self.began),
            (false, true) => Claim::Returner(self.resumed),
            (false, false) => Claim::Talker,
        })
    }
}

/// How one who speaks without a place may come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It just began: by being louder than someone is at the moment, or by someone's silence, short
    /// as it may be, unless it is [`CROWDED`].
    Newcomer(Instant),
    /// It speaks on after a gap between words, in which another may have taken its place: by such a
    /// silence too, or as a talker.
    Returner(Instant),
    /// It has been speaking on: by a habit louder than the peak that someone had before a [`PAUSE`].
    Talker,
}

fn level(heard: &Heard) -> Dbov {
    let level = heard.level.map_or(UNKNOWN, |level| f32::from(level.min(0)));
    let hint = if heard.voice == Some(false) { NO_VOICE } else { 0.0 };
    (level - hint).max(SILENCE)
}

/// One row of the ranking.
#[derive(Clone, Copy, Debug)]
struct Place {
    track: TrackId,
    owner: MemberId,
    envelope: Envelope,
}

impl Place {
    /// Less is the first to go: who has been silent for longest, then who is quietest. The id decides
    /// what is equal, alike on all shards.
    fn order(&self, other: &Place, now: Instant) -> Ordering {
        let silent = |place: &Place| place.envelope.silent_for(YIELD, now);
        let rest = || match (silent(self), silent(other)) {
            (true, true) => self.envelope.spoke.cmp(&other.envelope.spoke),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                self.envelope.peak_after(HOLD, now).total_cmp(&other.envelope.peak_after(HOLD, now))
            }
        };
        rest().then_with(|| self.track.cmp(&other.track))
    }
}

/// The microphones of one room, as one shard hears them.
#[derive(Clone, Debug)]
pub(crate) struct Loudest {
    /// N; 0 selects nothing and lets everything pass.
    places: usize,
    /// Every microphone heard so far; ids are ours, so the fast hash is safe.
    voices: IdMap<TrackId, Voice>,
    /// Best first in three tiers: N places whose order means nothing, then each spare. No gaps.
    ranking: Vec<Place>,
    /// Counts the changes of the ranking.
    generation: u64,
    /// When somebody last spoke on without a place and got none.
    crowded: Option<Instant>,
}

impl Loudest {
    /// Forwards the `places` loudest to each viewer, [`LOUDEST_MAX`] at most; 0 forwards all.
    pub(crate) fn new(places: usize) -> Self {
        let places = places.min(LOUDEST_MAX);
        let ranking = Vec::with_capacity(places + SPARES);
        Loudest { places, voices: IdMap::default(), ranking, generation: 0, crowded: None }
    }

    /// Takes one packet of a microphone in and decides on it. The cost does not depend on the number
    /// of microphones.
    pub(crate) fn hear(&mut self, heard: &Heard) -> Decision {
        if self.places == 0 {
            return Decision { audience: Audience::Everyone, moved: false };
        }
        let now = heard.arrival;
        let full = self.voices.len() >= MICROPHONES_PER_ROOM_MAX;
        let voice = match self.voices.entry(heard.track) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                return Decision { audience: Audience::Nobody, moved: false };
            }
            Entry::Vacant(entry) => entry.insert(Voice::new(now)),
        };
        let claim = voice.hear(level(heard), now);
        let seen = voice.generation;
        let place = Place { track: heard.track, owner: heard.owner, envelope: voice.envelope };
        let mut at = self.enter(place);
        if let Some(claim) = claim {
            at = self.challenge(at, place, claim, now);
        }
        let moved = seen != Some(self.generation);
        if moved && let Some(voice) = self.voices.get_mut(&heard.track) {
            voice.generation = Some(self.generation);
        }
        Decision { audience: self.audience(at), moved }
    }

    /// Forgets a microphone that is no more; the next in the ranking moves up.
    pub(crate) fn end(&mut self, track: TrackId) {
        self.voices.remove(&track);
        if let Some(at) = self.position(track) {
            self.ranking.remove(at);
            self.generation += 1;
        }
    }

    /// The first N, in no order that means anything.
    #[cfg(test)]
    pub(crate) fn selected(&self) -> impl Iterator<Item = TrackId> + '_ {
        self.ranking.iter().take(self.places).map(|place| place.track)
    }

    fn position(&self, track: TrackId) -> Option<usize> {
        self.ranking.iter().position(|place| place.track == track)
    }

    /// Brings the track's row up to date, or gives it one that is free: nobody wants that, so it may
    /// be silent.
    fn enter(&mut self, place: Place) -> Option<usize> {
        match self.position(place.track) {
            Some(at) => {
                self.ranking[at] = place;
                Some(at)
            }
            None if self.ranking.len() < self.places + SPARES => {
                self.ranking.push(place);
                self.generation += 1;
                Some(self.ranking.len() - 1)
            }
            None => None,
        }
    }

    /// Lets one who speaks try the tiers above, from the top. Returns where it is then.
    fn challenge(
        &mut self,
        at: Option<usize>,
        place: Place,
        claim: Claim,
        now: Instant,
    ) -> Option<usize> {
        let spares = (self.places..self.places + SPARES).map(|spare| spare..spare + 1);
        let tiers = std::iter::once(0..self.places).chain(spares);
        let mut above = tiers.take_while(|tier| at.is_none_or(|at| tier.end <= at));
        let won = above.find_map(|tier| self.beaten(tier, &place, claim, now));
        match (at, won) {
            (Some(at), Some(won)) => self.ranking.swap(at, won),
            (None, Some(won)) => self.displace(won, place, now),
            (_, None) => {
                let without = at.is_none_or(|at| at >= self.places);
                if without && claim == Claim::Talker && self.is_rival(&place.envelope) {
                    self.crowded = Some(now);
                }
                return at;
            }
        }
        self.generation += 1;
        won
    }

    /// The first to go of those in a tier whom the challenger beats.
    fn beaten(&self, tier: Range<usize>, by: &Place, claim: Claim, now: Instant) -> Option<usize> {
        let peak = by.envelope.peak_after(HOLD, now);
        let (hold, loudness, since) = match claim {
            Claim::Newcomer(since) => (HOLD, peak, Some(since)),
            Claim::Returner(since) => (PAUSE, peak.min(by.envelope.habit), Some(since)),
            Claim::Talker => (PAUSE, peak.min(by.envelope.habit), None),
        };
        let over = |since, least| now.saturating_duration_since(since) > least;
        let roomy = since.filter(|_| self.crowded.is_none_or(|at| over(at, CROWDED)));
        let lull =
            || self.ranking[tier.clone()].iter().any(|held| held.envelope.silent_for(LULL, now));
        let wait = roomy.is_some_and(|since| !over(since, SETTLE) || lull());
        let loses = |held: &Envelope| {
            let silent = roomy.is_some() && held.silent_for(YIELD, now);
            silent || !wait && held.peak_after(hold, now) + MARGIN <= loudness
        };
        tier.filter(|at| loses(&self.ranking[*at].envelope))
            .min_by(|a, b| self.ranking[*a].order(&self.ranking[*b], now))
    }

    /// Whether it matters that this one speaks in vain: the noise of a fan beside speech does not.
    fn is_rival(&self, envelope: &Envelope) -> bool {
        let mut first = self.ranking.iter().take(self.places);
        first.any(|held| held.envelope.habit <= envelope.habit + RISE)
    }

    /// Puts a newcomer into a row. Who stood there falls to the spare where it outranks the holder.
    fn displace(&mut self, at: usize, place: Place, now: Instant) {
        let mut falling = std::mem::replace(&mut self.ranking[at], place);
        for spare in self.ranking.iter_mut().skip(self.places.max(at + 1)) {
            if falling.order(spare, now) == Ordering::Greater {
                std::mem::swap(&mut falling, spare);
            }
        }
    }

    fn audience(&self, at: Option<usize>) -> Audience {
        let Some(at) = at else { return Audience::Nobody };
        let Some(spare) = at.checked_sub(self.places) else { return Audience::Everyone };
        let mut members = Members { ids: [MemberId(0); LOUDEST_MAX], len: 0 };
        let first = &self.ranking[..self.places];
        for (row, place) in first.iter().enumerate() {
            // Each member once, at the one of its microphones that makes this spare its due.
            let before = first[..row].iter().filter(|other| other.owner == place.owner).count();
            if before == spare {
                members.ids[members.len] = place.owner;
                members.len += 1;
            }
        }
        Audience::Members(members)
    }
}

/// The last packets of a microphone, for a viewer that begins to hear it: [`LOOK_BACK_PACKETS`] at
/// most, none older than [`LOOK_BACK`].
///
/// It is kept for each microphone whether or not it goes on, as viewers differ in what they got. The
/// caller sends what is [`LookBack::since`] before it gives and sends the packet at hand.
#[derive(Clone, Debug)]
pub(crate) struct LookBack<T> {
    ring: [Option<Kept<T>>; LOOK_BACK_PACKETS],
    /// Where the next one goes, over the oldest.
    next: usize,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    ext_seq: u64,
    arrival: Instant,
    item: T,
}

impl<T> Kept<T> {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.arrival) > LOOK_BACK
    }
}

impl<T> Default for LookBack<T> {
    fn default() -> Self {
        LookBack { ring: [const { None }; LOOK_BACK_PACKETS], next: 0 }
    }
}

impl<T> LookBack<T> {
    /// Keeps one more, and lets go of what is too old by now.
    pub(crate) fn give(&mut self, ext_seq: u64, arrival: Instant, item: T) {
        for kept in &mut self.ring {
            kept.take_if(|kept| kept.is_old(arrival));
        }
        self.ring[self.next] = Some(Kept { ext_seq, arrival, item });
        self.next = (self.next + 1) % LOOK_BACK_PACKETS;
    }

    /// What a viewer has missed, in the order of arrival. `got` is the number of the last packet that
    /// it did get: the time of that would not do, as packets of one batch share theirs.
    pub(crate) fn since(&self, got: Option<u64>, now: Instant) -> impl Iterator<Item = &T> {
        let (newer, older) = self.ring.split_at(self.next);
        let kept = older.iter().chain(newer).flatten();
        let due =
            move |kept: &&Kept<T>| !kept.is_old(now) && got.is_none_or(|got| kept.ext_seq > got);
        kept.filter(due).map(|kept| &kept.item)
    }
}
