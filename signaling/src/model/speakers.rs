//! Who speaks in a room: smooths the shards' levels and says what changed.
//!
//! Levels are told in steps of an eighth, so that a steady voice makes no messages. Who fell
//! silent is told once, as inactive.

use std::collections::BTreeMap;
use std::time::Instant;

use antipode_base::ids::MemberId;
use antipode_base::limits::LEVEL_INTERVAL;

/// Steps of the told level.
const STEPS: f32 = 8.0;
/// Share of the new level in the smoothed one.
const SMOOTHING: f32 = 0.6;

/// What others are told of one speaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Told {
    /// Who.
    pub member: MemberId,
    /// 0 to 1, in eighths; 0: silent.
    pub level: f32,
}

#[derive(Debug)]
struct Voice {
    /// The loudest since the last turn.
    heard: f32,
    heard_at: Instant,
    smoothed: f32,
    told: u8,
}

/// The voices of one room.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    voices: BTreeMap<MemberId, Voice>,
}

impl Speakers {
    /// Nobody spoke lately: no need to call [`Speakers::changes`].
    pub(super) fn is_empty(&self) -> bool {
        self.voices.is_empty()
    }

    /// Takes in one level, 0 to 1.
    pub(super) fn hear(&mut self, member: MemberId, level: f32, now: Instant) {
        let level = if level.is_finite() { level.clamp(0.0, 1.0) } else { 0.0 };
        let voice = self.voices.entry(member).or_insert(Voice {
            heard: 0.0,
            heard_at: now,
            smoothed: 0.0,
            told: 0,
        });
        // A member with two microphones counts as the louder one.
        let fresh = voice.heard_at == now;
        voice.heard = if fresh { voice.heard.max(level) } else { level };
        voice.heard_at = now;
    }

    /// Someone left.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.voices.remove(&member);
    }

    /// Whether someone was audible when changes were last told.
    pub(super) fn speaks(&self, member: MemberId) -> bool {
        self.voices.get(&member).is_some_and(|voice| voice.told > 0)
    }

    /// What to tell, loudest first. To be called once per [`LEVEL_INTERVAL`].
    pub(super) fn changes(&mut self, now: Instant) -> Vec<Told> {
        let mut changes = Vec::new();
        self.voices.retain(|&member, voice| {
            // A shard reports only who is audible; a report may come a little late.
            let silent = now.duration_since(voice.heard_at) > LEVEL_INTERVAL * 3 / 2;
            let level = if silent { 0.0 } else { voice.heard };
            voice.smoothed += (level - voice.smoothed) * SMOOTHING;
            let step = if silent { 0 } else { (voice.smoothed * STEPS).ceil() as u8 };
            if step != voice.told {
                voice.told = step;
                changes.push(Told { member, level: f32::from(step) / STEPS });
            }
            !silent
        });
        changes.sort_by(|a, b| b.level.total_cmp(&a.level));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    #[test]
    fn tells_changes_alone_and_the_end_once() {
        let mut speakers = Speakers::default();
        let mut now = Instant::now();
        speakers.hear(A, 0.1, now);
        speakers.hear(B, 0.9, now);
        let told = speakers.changes(now);
        assert_eq!(told[0].member, B, "the loudest is first: {told:?}");
        assert!(told[0].level > told[1].level && told[1].level == 0.125, "{told:?}");

        now += LEVEL_INTERVAL;
        speakers.hear(A, 0.1, now);
        speakers.hear(B, 0.9, now);
        let told = speakers.changes(now);
        assert_eq!(told.len(), 1, "a steady voice is not told again: {told:?}");

        now += LEVEL_INTERVAL * 2;
        speakers.hear(B, 0.9, now);
        let told = speakers.changes(now);
        assert!(told.contains(&Told { member: A, level: 0.0 }), "{told:?}");
        now += LEVEL_INTERVAL * 2;
        assert_eq!(speakers.changes(now), [Told { member: B, level: 0.0 }]);
        assert!(speakers.is_empty());
    }

    #[test]
    fn levels_are_eighths_whatever_a_shard_says() {
        let mut speakers = Speakers::default();
        let now = Instant::now();
        for (id, level) in [(1, f32::NAN), (2, 7.0), (3, -1.0), (4, 0.001)] {
            speakers.hear(MemberId(id), level, now);
        }
        for told in speakers.changes(now) {
            assert_eq!(told.level * 8.0, (told.level * 8.0).round());
            assert!((0.0..=1.0).contains(&told.level), "{told:?}");
        }
    }
}
