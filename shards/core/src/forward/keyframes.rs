//! Merging and throttling keyframe requests towards a publisher.
//!
//! Any number of viewers may ask; per layer at most one request passes in
//! [`KEYFRAME_INTERVAL`]. A request that comes too early is not lost: it is due when the interval is
//! over, unless a keyframe has come by then.
//!
//! ```text
//!   ask            ask  ask                 due
//!    |              |    |                   |
//!    v              v    v                   v
//!   pass -- 1 s ---------------------------> pass (both askers at once)
//! ```

use std::time::Instant;

use antipode_base::limits::{KEYFRAME_INTERVAL, LAYERS_MAX};
use antipode_base::media::Layer;

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Pass it on now.
    Now,
    /// It is kept; call [`KeyframeGate::take_due`] then.
    Later(Instant),
    /// One is kept already.
    Merged,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    passed: Option<Instant>,
    waiting: bool,
}

/// The gates of one track's layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyframeGate([Gate; LAYERS_MAX]);

impl KeyframeGate {
    /// A viewer needs a keyframe of this layer.
    pub(crate) fn ask(&mut self, layer: Layer, now: Instant) -> Ask {
        let gate = &mut self.0[layer.index()];
        match gate.passed {
            Some(passed) if now < passed + KEYFRAME_INTERVAL => {
                if std::mem::replace(&mut gate.waiting, true) {
                    Ask::Merged
                } else {
                    Ask::Later(passed + KEYFRAME_INTERVAL)
                }
            }
            _ => {
                *gate = Gate { passed: Some(now), waiting: false };
                Ask::Now
            }
        }
    }

    /// A request that was to pass found nobody to ask: it is kept for the layer's first packet.
    pub(crate) fn keep(&mut self, layer: Layer) {
        self.0[layer.index()] = Gate { passed: None, waiting: true };
    }

    /// Whether a request waits for a first packet.
    pub(crate) fn kept(&self, layer: Layer) -> bool {
        let gate = &self.0[layer.index()];
        gate.waiting && gate.passed.is_none()
    }

    /// A keyframe of this layer went by: whoever waited has it.
    pub(crate) fn satisfied(&mut self, layer: Layer) {
        self.0[layer.index()].waiting = false;
    }

    /// Whether a kept request is to be passed on now.
    pub(crate) fn take_due(&mut self, layer: Layer, now: Instant) -> bool {
        let gate = &mut self.0[layer.index()];
        let due =
            gate.waiting && gate.passed.is_none_or(|passed| now >= passed + KEYFRAME_INTERVAL);
        if due {
            *gate = Gate { passed: Some(now), waiting: false };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_passes_once_an_interval() {
        let start = Instant::now();
        let mut gate = KeyframeGate::default();
        let mut passed = Vec::new();
        // 100 requests a second for 5.5 s, from as many viewers as one likes.
        for step in 0..550u32 {
            let now = start + Duration::from_millis(10) * step;
            if gate.take_due(Layer::BASE, now) || gate.ask(Layer::BASE, now) == Ask::Now {
                passed.push(step);
            }
        }
        assert_eq!(passed, [0, 100, 200, 300, 400, 500]);
    }

    #[test]
    fn a_keyframe_answers_those_who_wait() {
        let start = Instant::now();
        let mut gate = KeyframeGate::default();
        assert_eq!(gate.ask(Layer::BASE, start), Ask::Now);
        assert_eq!(gate.ask(Layer::BASE, start), Ask::Later(start + KEYFRAME_INTERVAL));
        assert_eq!(gate.ask(Layer::BASE, start), Ask::Merged);
        gate.satisfied(Layer::BASE);
        assert!(!gate.take_due(Layer::BASE, start + KEYFRAME_INTERVAL));
        // One that reached nobody does not count, and is not forgotten.
        gate.keep(Layer::BASE);
        assert!(gate.kept(Layer::BASE));
        assert_eq!(gate.ask(Layer::BASE, start), Ask::Now);
        assert!(!gate.kept(Layer::BASE));
        // Layers do not share a gate.
        assert_eq!(gate.ask(Layer(1), start), Ask::Now);
    }
}
