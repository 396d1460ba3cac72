//! How good a member's network path is, as a score people know.
//!
//! The E-model (ITU-T G.107) cut down to what a shard can see: delay and loss lower a rating R
//! from 100, and R maps to a mean opinion score of 1 to 4.5.

use std::time::{Duration, Instant};

use antipode_base::ids::SessionId;
use antipode_base::notice::Quality;

/// A member's path in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing arrives.
    Lost,
    /// Many users are dissatisfied.
    Poor,
    /// Some users notice.
    Good,
    /// Nobody notices.
    Excellent,
}

/// A level and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grade {
    /// In one word.
    pub level: Level,
    /// 1 to 4.5.
    pub score: f32,
}

impl Grade {
    /// Without any report.
    pub(crate) const LOST: Grade = Grade { level: Level::Lost, score: 1.0 };

    /// Of one report.
    pub(crate) fn of(quality: &Quality) -> Self {
        // A shard's arithmetic on an odd report may give a NaN; that is no reason to show one.
        let clean = |loss: f32| if loss.is_finite() { loss.clamp(0.0, 1.0) } else { 1.0 };
        let score = score(clean(quality.loss_in).max(clean(quality.loss_out)), quality.rtt_ms);
        // The bounds are those of G.107 Annex B: "satisfied" from R 80 on, "many dissatisfied"
        // below 60.
        let level = match score {
            s if s >= 4.0 => Level::Excellent,
            s if s >= 3.1 => Level::Good,
            _ => Level::Poor,
        };
        Grade { level, score }
    }

    /// Whether nobody would see a difference.
    pub(crate) fn is_like(self, other: Grade) -> bool {
        self.level == other.level && (self.score - other.score).abs() < SCORE_STEP
    }

    /// The worse of two sessions of one member.
    pub(crate) fn worse(self, other: Grade) -> Grade {
        if other.score < self.score { other } else { self }
    }
}

/// What each of a member's sessions said last, and when. They speak at times of their own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Grades([Option<(SessionId, Grade, Instant)>; 2]);

impl Grades {
    /// A session said something. A third one takes the place of the one that has been silent for longest.
    pub(crate) fn note(&mut self, session: SessionId, grade: Grade, at: Instant) {
        let known = self.0.iter().position(|said| said.is_some_and(|(of, ..)| of == session));
        let oldest = || usize::from(self.0[0].map(|said| said.2) > self.0[1].map(|said| said.2));
        let place = known.unwrap_or_else(oldest);
        self.0[place] = Some((session, grade, at));
    }

    /// The worst that was said within `patience`; lost when that is nothing, and `None` before anything was.
    pub(crate) fn worst(&self, patience: Duration, now: Instant) -> Option<Grade> {
        let said = self.0.iter().flatten();
        let fresh = said.filter(|(.., at)| now.saturating_duration_since(*at) <= patience);
        let worst = fresh.map(|(_, grade, _)| *grade).reduce(Grade::worse);
        worst.or_else(|| self.0.iter().any(Option::is_some).then_some(Grade::LOST))
    }
}

/// A difference of scores that is worth a message. Judgements of people differ by more.
const SCORE_STEP: f32 = 0.1;

/// Opus with its in-band redundancy stands about this much loss (in percent) at half the harm;
/// G.113 Appendix I calls it Bpl.
const LOSS_ROBUSTNESS_PERCENT: f32 = 20.0;

fn score(loss: f32, rtt_ms: f32) -> f32 {
    let loss_percent = loss * 100.0;
    let delay_ms = if rtt_ms.is_finite() { rtt_ms.max(0.0) / 2.0 } else { 0.0 };
    let delay_harm = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let loss_harm = 95.0 * loss_percent / (loss_percent + LOSS_ROBUSTNESS_PERCENT);
    let r = (100.0 - delay_harm - loss_harm).clamp(0.0, 100.0);
    // G.107 (B-4); the cubic dips below 1 for a small R.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades() {
        for (loss_in, loss_out, rtt_ms, want) in [
            (0.0, 0.0, 0.0, Level::Excellent),
            (0.0, 0.0, 100.0, Level::Excellent),
            (0.01, 0.0, 40.0, Level::Excellent),
            (0.05, 0.0, 40.0, Level::Excellent),
            (0.1, 0.0, 40.0, Level::Good),
            (0.0, 0.1, 40.0, Level::Good),
            (0.0, 0.0, 600.0, Level::Good),
            (0.3, 0.0, 40.0, Level::Poor),
            (0.0, 1.0, 40.0, Level::Poor),
            (f32::NAN, 0.0, f32::NAN, Level::Poor),
        ] {
            let quality = Quality { session: SessionId(1), loss_in, loss_out, rtt_ms };
            let grade = Grade::of(&quality);
            assert_eq!(grade.level, want, "{quality:?} scored {}", grade.score);
            assert!((1.0..=4.5).contains(&grade.score), "{quality:?} scored {}", grade.score);
        }
    }

    #[test]
    fn the_worse_of_two_sessions_counts_whenever_they_speak() {
        let (start, patience) = (Instant::now(), Duration::from_secs(15));
        let at = |s| start + Duration::from_secs(s);
        let of = |loss_in| {
            Grade::of(&Quality { session: SessionId(1), loss_in, loss_out: 0.0, rtt_ms: 0.0 })
        };
        let (fine, poor) = (of(0.0), of(0.5));
        let mut grades = Grades::default();
        assert_eq!(grades.worst(patience, start), None);
        grades.note(SessionId(1), poor, at(0));
        grades.note(SessionId(2), fine, at(3));
        assert_eq!(grades.worst(patience, at(3)), Some(poor));
        grades.note(SessionId(1), fine, at(5));
        assert_eq!(grades.worst(patience, at(8)), Some(fine));
        grades.note(SessionId(1), poor, at(10));
        assert_eq!(grades.worst(patience, at(18)), Some(poor), "one is silent");
        assert_eq!(grades.worst(patience, at(26)), Some(Grade::LOST), "both are");
        grades.note(SessionId(3), fine, at(26));
        assert_eq!(grades.worst(patience, at(26)), Some(fine), "in the place of the second");
        assert_eq!(grades.0[0].map(|said| said.0), Some(SessionId(1)));
    }

    #[test]
    fn a_perfect_path_scores_as_on_the_wire() {
        let perfect = Quality { session: SessionId(1), loss_in: 0.0, loss_out: 0.0, rtt_ms: 0.0 };
        assert_eq!(Grade::of(&perfect).score, 4.5);
    }
}
