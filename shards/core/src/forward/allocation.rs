//! Who gets what of a viewer's bandwidth: a pure function.
//!
//! Sound is taken off before. What is left goes to the pictures in three rounds:
//!
//! 1. By priority, each gets its smallest rung, or nothing when that does not fit.
//! 2. By priority, the highest class first, all of one class climb together, the one with the least
//!    first, until nothing fits or each has what its viewer can use.
//! 3. What does not fit is told, with what it would take, so that a probe can look for it.
//!
//! A rung above the one that is sent must fit with some room to spare, and one that is sent may
//! overdraw a little: without that, an estimate that breathes would switch layers with each breath.

use std::time::{Duration, Instant};

use antipode_base::command::Priority;
use antipode_base::media::{Bitrate, Layer};

use super::rates::Rates;
use super::subscription::LayerSet;

/// What is sent may cost this much more than there is: an estimate that was lowered stays a tenth below what
/// the path carries, and is lowered again while that is too much.
const OVERDRAFT: f64 = 1.1;
/// What would be more than is sent must cost this much less than there is.
const HEADROOM: f64 = 1.10;
/// A climb that is taken back within this time was too early.
const TOO_EARLY: Duration = Duration::from_secs(5);
/// How long a viewer waits after it got less, at first and at most.
const WAIT_MIN: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(16);
/// How long a viewer keeps what a step down left it, though it be dearer than the estimate says, and by how
/// much: the estimate has just been lowered below what the path carries, and a second step would come in the
/// middle of the keyframe of the first.
const SETTLES: Duration = Duration::from_millis(1_500);
const SETTLING: f64 = 1.35;
/// So much more than the next step needs is plenty.
const PLENTY: f64 = 1.2;
/// A rung whose cost nobody has measured yet: a small picture. It is corrected within a second.
const UNKNOWN: u64 = 150_000;

/// What one subscription wants, and could get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// Who comes first.
    pub(crate) priority: Priority,
    /// The highest layer that the viewer can use.
    pub(crate) layer_max: Layer,
    /// The highest temporal layer that it can use.
    pub(crate) temporal_max: u8,
    /// Layers that the publisher sends at the moment.
    pub(crate) active: LayerSet,
    /// What they cost.
    pub(crate) rates: Rates,
    /// They share one stream.
    pub(crate) svc: bool,
    /// What the viewer has now.
    pub(crate) now: Grant,
}

impl Want {
    /// The same, if nobody may have more than now; what starves may have the smallest rung.
    pub(crate) fn held(&self) -> Want {
        let (layer, temporal) = match self.now {
            Grant::Paused => (Layer::BASE, 0),
            Grant::Rung { layer, temporal } => (layer, temporal),
        };
        Want {
            layer_max: self.layer_max.min(layer),
            temporal_max: self.temporal_max.min(temporal),
            ..*self
        }
    }

    /// Whether it gets less than it had, and less than it could use.
    pub(crate) fn is_short_of(&self, grant: Grant) -> bool {
        grant < self.now && self.now != Grant::ALL && rungs(self).any(|rung| rung > grant)
    }
}

/// What one subscription gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// Not even the smallest rung fits.
    Paused,
    /// Up to this.
    Rung {
        /// Simulcast or highest spatial layer.
        layer: Layer,
        /// Highest temporal layer; 255: all.
        temporal: u8,
    },
}

impl Grant {
    /// Everything.
    pub(crate) const ALL: Grant = Grant::Rung { layer: Layer::TOP, temporal: u8::MAX };
}

/// How the whole came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocated {
    /// What the granted rungs cost.
    pub(crate) used: Bitrate,
    /// What the next step of the first that did not get all would bring the total to; `None` when
    /// everybody is served.
    pub(crate) next: Option<Bitrate>,
}

/// The possible rungs of a want, cheapest first: every temporal layer of the lowest layer, then whole
/// layers, since fewer pictures of a larger size look worse than more of a smaller one. The last step
/// down within a layer, its lowest temporal layer alone, is for what has a single layer.
fn rungs(want: &Want) -> impl Iterator<Item = Grant> + use<> {
    let top = want.active.best_below(want.layer_max).unwrap_or(want.layer_max);
    let lowest = want.active.iter().next().unwrap_or(top).min(top);
    let temporal_top = want.rates.temporal_top(lowest).min(want.temporal_max);
    let full = want.temporal_max;
    let within = (0..temporal_top).map(move |temporal| Grant::Rung { layer: lowest, temporal });
    let layers = want.active.iter().filter(move |layer| (lowest..=top).contains(layer));
    let whole = layers.map(move |layer| Grant::Rung { layer, temporal: full });
    // A track of which nothing came yet: everything, as soon as it comes.
    let silent = want.active == LayerSet::default();
    let any = silent.then_some(Grant::Rung { layer: want.layer_max, temporal: full });
    within.chain(whole).chain(any)
}

/// What a rung costs, as measured.
fn cost(want: &Want, grant: Grant) -> u64 {
    match grant {
        Grant::Paused => 0,
        Grant::Rung { .. } if want.active == LayerSet::default() => 0,
        Grant::Rung { layer, temporal } => match want.rates.of(layer, temporal, want.svc).0 {
            0 => UNKNOWN,
            rate => rate,
        },
    }
}

/// What a rung must be thought to cost when it is compared with what there is.
fn weighed(want: &Want, grant: Grant) -> u64 {
    let cost = cost(want, grant) as f64;
    (if grant <= want.now { cost / OVERDRAFT } else { cost * HEADROOM }) as u64
}

/// When a viewer may get more. What was given too early and taken back costs two keyframes and a pause,
/// so each time that this happens it takes longer until the next try; a probe that found plenty ends the
/// waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Climb {
    climbed: Option<Instant>,
    not_before: Option<Instant>,
    lowered: Option<Instant>,
    wait: Duration,
}

impl Climb {
    /// Whether more may be given, when the estimate is that and the next step would bring the total to
    /// `next`.
    pub(crate) fn may(&self, estimate: Bitrate, next: Option<Bitrate>, now: Instant) -> bool {
        let plenty = next.is_none_or(|next| estimate.0 as f64 >= next.0 as f64 * PLENTY);
        plenty || self.not_before.is_none_or(|at| now >= at)
    }

    /// What there is to share of `budget`. More must be asked of the budget itself: see [`Climb::may`].
    pub(crate) fn share(&self, budget: Bitrate, now: Instant) -> Bitrate {
        let settles = self.lowered.is_some_and(|at| now < at + SETTLES);
        Bitrate(if settles { (budget.0 as f64 * SETTLING) as u64 } else { budget.0 })
    }

    /// Somebody got more, or less, than before.
    pub(crate) fn note(&mut self, more: bool, less: bool, now: Instant) {
        if less {
            let early = self.climbed.take().is_some_and(|at| now < at + TOO_EARLY);
            let longer = if early { self.wait * 2 } else { WAIT_MIN };
            self.wait = longer.clamp(WAIT_MIN, WAIT_MAX);
            self.not_before = Some(now + self.wait);
            self.lowered = Some(now);
        } else if more {
            self.climbed = Some(now);
        }
    }
}

/// Shares `budget` among `wants`; `grants` is emptied and gets one for each, in their order.
pub(crate) fn allocate(budget: Bitrate, wants: &[Want], grants: &mut Vec<Grant>) -> Allocated {
    grants.clear();
    grants.resize(wants.len(), Grant::Paused);
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(wants[*at].priority));
    let mut left = budget.0;
    let mut next = None;
    let mut refuse = |used: u64, more: u64| {
        next.get_or_insert(Bitrate(used + more));
    };
    for at in order.iter().copied() {
        let Some(first) = rungs(&wants[at]).next() else { continue };
        let price = weighed(&wants[at], first);
        if price <= left {
            grants[at] = first;
            left -= price;
        }
    }
    for class in order.chunk_by(|a, b| wants[*a].priority == wants[*b].priority) {
        climb(class, wants, grants, &mut left);
    }
    let used = grants.iter().zip(wants).map(|(grant, want)| cost(want, *grant)).sum();
    for at in order {
        let (want, got) = (&wants[at], grants[at]);
        if let Some(more) = rungs(want).find(|rung| *rung > got) {
            refuse(used, cost(want, more).saturating_sub(cost(want, got)));
        }
    }
    Allocated { used: Bitrate(used), next }
}

/// All of one class climb a rung at a time, the one that has the least first.
fn climb(class: &[usize], wants: &[Want], grants: &mut [Grant], left: &mut u64) {
    let mut open: Vec<usize> = class.to_vec();
    while let Some(place) = (0..open.len()).min_by_key(|place| grants[open[*place]]) {
        let at = open[place];
        let (want, got) = (&wants[at], grants[at]);
        // A rung may be dearer than the one above it, where a publisher starves its small layers.
        let more = rungs(want).filter(|rung| *rung > got).find_map(|rung| {
            let extra = weighed(want, rung).saturating_sub(weighed(want, got));
            (extra <= *left).then_some((rung, extra))
        });
        match more {
            Some((rung, extra)) => {
                grants[at] = rung;
                *left -= extra;
            }
            None => {
                open.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::rates::RateMeter;
    use crate::forward::testing::packet;
    use std::time::Duration;

    /// Three layers of 100, 300 and 800 kbit/s with two temporal layers of half each.
    fn rates() -> Rates {
        let mut meter = RateMeter::default();
        let start = std::time::Instant::now();
        for n in 0..61u32 {
            for (layer, kbps) in [(0u8, 100), (1, 300), (2, 800)] {
                let mut packet = packet(u64::from(n), n);
                packet.arrival = start + Duration::from_millis(10) * n;
                packet.layer = Layer(layer);
                packet.mark.temporal = (n % 2) as u8;
                packet.keyframe = false;
                packet.payload = vec![0; kbps * 10 / 8 - 42].into();
                meter.note(&packet);
            }
        }
        *meter.rates()
    }

    fn want(priority: Priority, layer_max: u8, now: Grant) -> Want {
        Want {
            priority,
            layer_max: Layer(layer_max),
            temporal_max: 255,
            active: LayerSet(0b111),
            rates: rates(),
            svc: false,
            now,
        }
    }

    fn rung(layer: u8) -> Grant {
        Grant::Rung { layer: Layer(layer), temporal: 255 }
    }

    fn share(kbps: u64, wants: &[Want]) -> (Vec<Grant>, Option<u64>) {
        let mut grants = Vec::new();
        let allocated = allocate(Bitrate(kbps * 1_000), wants, &mut grants);
        (grants, allocated.next.map(|rate| rate.0 / 1_000))
    }

    const HALF: Grant = Grant::Rung { layer: Layer(0), temporal: 0 };

    #[test]
    fn one_camera() {
        let all = |now| [want(Priority::Camera, 2, now)];
        for (kbps, now, got) in [
            (2_000, Grant::Paused, rung(2)),
            (500, rung(2), rung(1)),
            (200, rung(2), rung(0)),
            (60, rung(2), HALF),
            (30, rung(2), Grant::Paused),
            // Up needs room to spare, what is there may overdraw.
            (820, rung(1), rung(1)),
            (820, rung(2), rung(2)),
            (790, rung(2), rung(2)),
            (720, rung(2), rung(1)),
            (900, rung(1), rung(2)),
        ] {
            assert_eq!(share(kbps, &all(now)).0, [got], "{kbps} {now:?}");
        }
        let (_, next) = share(500, &all(rung(1)));
        assert!((780..840).contains(&next.unwrap()), "the top layer instead: {next:?}");
        assert_eq!(share(2_000, &all(rung(1))).1, None);
    }

    #[test]
    fn the_screen_and_the_speaker_stay_sharp() {
        let mut wants = vec![want(Priority::Camera, 2, rung(0)); 8];
        wants.push(want(Priority::Speaker, 2, rung(0)));
        wants.push(want(Priority::Screen, 2, rung(0)));
        let (grants, _) = share(3_000, &wants);
        assert_eq!(grants[8..], [rung(2), rung(2)]);
        assert!(grants[..8].iter().all(|grant| *grant >= rung(0)), "{grants:?}");
        // Equals climb together: nobody has the top while another has a thumbnail.
        assert!(!grants[..8].contains(&rung(2)), "{grants:?}");
        // With little, the least important are left out first.
        let (grants, next) = share(300, &wants);
        assert!(grants[8] >= HALF && grants[9] >= HALF);
        assert!(grants[..8].contains(&Grant::Paused) && next.is_some());
    }

    #[test]
    fn a_climb_that_was_too_early_is_not_tried_again_soon() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut climb = Climb::default();
        let tight = |climb: &Climb, now| climb.may(Bitrate(400), Some(Bitrate(380)), now);
        assert!(tight(&climb, at(0)));
        climb.note(false, true, at(0));
        assert!(!tight(&climb, at(1_900)) && tight(&climb, at(2_000)));
        climb.note(true, false, at(2_000));
        climb.note(false, true, at(4_000));
        assert!(!tight(&climb, at(7_900)) && tight(&climb, at(8_000)));
        assert!(climb.may(Bitrate(500), Some(Bitrate(380)), at(4_100)), "plenty");
        climb.note(true, false, at(8_000));
        climb.note(false, true, at(20_000));
        assert!(tight(&climb, at(22_000)), "it held for long: the patience is new");
    }

    #[test]
    fn what_a_step_down_left_is_kept_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut climb = Climb::default();
        assert_eq!(climb.share(Bitrate(100), at(0)), Bitrate(100));
        climb.note(false, true, at(0));
        assert_eq!(climb.share(Bitrate(100), at(1_400)), Bitrate(135));
        assert_eq!(climb.share(Bitrate(100), at(1_500)), Bitrate(100));
    }

    #[test]
    fn what_nobody_can_use_is_not_asked_for() {
        let small = want(Priority::Camera, 0, rung(0));
        assert_eq!(share(5_000, &[small]), (vec![rung(0)], None));
        // Nothing came yet: whatever comes may pass.
        let silent = Want { active: LayerSet(0), ..small };
        assert_eq!(share(0, &[silent]), (vec![rung(0)], None));
        // The top layer stopped: what there is suffices.
        let active = LayerSet(0b011);
        let stopped = Want { active, ..want(Priority::Camera, 2, rung(1)) };
        assert_eq!(share(5_000, &[stopped]), (vec![rung(1)], None));
        // All that is wanted is small, and only the large is sent.
        let large = Want { active: LayerSet(0b100), ..small };
        assert_eq!(share(5_000, &[large]).0, [rung(2)]);
    }
}
