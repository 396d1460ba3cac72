//! Which layer of a track one viewer gets.
//!
//! ```text
//!                  keyframe of target                another target
//!    +--------+  ---------------------->  +--------+ --------------> +-----------+
//!    | Waiting|                           | Locked |                 | Switching |
//!    +--------+  <----------------------  +--------+ <-------------- +-----------+
//!        ^            pause, silence            keyframe of target, or back    |
//!        |                                                                     |
//!        +---------------------------------------------------------------------+
//!                                     pause
//! ```
//!
//! Nothing is sent in `Waiting`. In `Switching` the old layer goes on until the new one can start.

use antipode_base::media::Layer;
use antipode_base::verdict::DropReason;

/// The state of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Nothing can be sent before a keyframe of the target.
    Waiting,
    /// This layer is sent.
    Locked(Layer),
    /// `from` is sent until a keyframe of `to` comes.
    Switching {
        /// What is sent.
        from: Layer,
        /// What is wanted.
        to: Layer,
    },
}

/// What to do with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// It continues what was sent.
    Continue,
    /// It is the first of another layer, or the first at all.
    Start,
    /// It is not for this viewer.
    Drop(DropReason),
}

impl Selector {
    /// Takes note of the wished layer. Returns the layer whose keyframe is now needed, if any.
    pub(crate) fn aim(&mut self, target: Layer) -> Option<Layer> {
        let (next, need) = match *self {
            Selector::Waiting => (Selector::Waiting, Some(target)),
            Selector::Locked(current) | Selector::Switching { from: current, .. }
                if current == target =>
            {
                (Selector::Locked(current), None)
            }
            Selector::Locked(from) | Selector::Switching { from, .. } => {
                (Selector::Switching { from, to: target }, Some(target))
            }
        };
        *self = next;
        need
    }

    /// Decides on one packet. `target` must be the one last given to [`Selector::aim`].
    pub(crate) fn pick(&mut self, layer: Layer, keyframe: bool, target: Layer) -> Pick {
        match *self {
            Selector::Waiting if layer != target => Pick::Drop(DropReason::OtherLayer),
            Selector::Waiting if !keyframe => Pick::Drop(DropReason::AwaitingKeyframe),
            Selector::Waiting => {
                *self = Selector::Locked(layer);
                Pick::Start
            }
            Selector::Switching { to, .. } if layer == to && keyframe => {
                *self = Selector::Locked(to);
                Pick::Start
            }
            Selector::Locked(current) | Selector::Switching { from: current, .. } => {
                if layer == current { Pick::Continue } else { Pick::Drop(DropReason::OtherLayer) }
            }
        }
    }

    /// Nothing is sent until the next keyframe.
    pub(crate) fn stop(&mut self) {
        *self = Selector::Waiting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: bool = true;
    const DELTA: bool = false;

    #[test]
    fn the_state_diagram_row_by_row() {
        use Pick::{Continue, Drop, Start};
        use Selector::{Locked, Switching, Waiting};
        let (low, high) = (Layer(0), Layer(2));
        let switching = Switching { from: low, to: high };
        for (state, target, need, layer, keyframe, pick, next) in [
            (Waiting, low, Some(low), low, DELTA, Drop(DropReason::AwaitingKeyframe), Waiting),
            (Waiting, low, Some(low), high, KEY, Drop(DropReason::OtherLayer), Waiting),
            (Waiting, low, Some(low), low, KEY, Start, Locked(low)),
            (Locked(low), low, None, low, DELTA, Continue, Locked(low)),
            (Locked(low), low, None, high, KEY, Drop(DropReason::OtherLayer), Locked(low)),
            (Locked(low), high, Some(high), low, DELTA, Continue, switching),
            (Locked(low), high, Some(high), high, DELTA, Drop(DropReason::OtherLayer), switching),
            (Locked(low), high, Some(high), high, KEY, Start, Locked(high)),
            (switching, low, None, high, KEY, Drop(DropReason::OtherLayer), Locked(low)),
            (
                switching,
                Layer(1),
                Some(Layer(1)),
                high,
                KEY,
                Drop(DropReason::OtherLayer),
                Switching { from: low, to: Layer(1) },
            ),
        ] {
            let mut selector = state;
            assert_eq!(selector.aim(target), need, "{state:?} aims at {target:?}");
            assert_eq!(selector.pick(layer, keyframe, target), pick, "{state:?} {layer:?}");
            assert_eq!(selector, next, "{state:?} {layer:?}");
        }
    }
}
