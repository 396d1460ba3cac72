//! Which layers of a track one viewer gets.
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
//!
//! With simulcast each layer is a stream, and to change it needs a keyframe. With SVC the layers share
//! one stream: fewer of them is a matter of the next picture, more of them needs a keyframe. Temporal
//! layers are within each stream: fewer at any picture, more at one that says so. So within a stream:
//!
//! ```text
//!   picture     T0   T2   T1   T2   T0   T2   T1*  T2*       * needs lower layers alone
//!   target       2    0    0    0    2    2    2    2
//!   sent        T0    .    .    .   T0    .   T1   T2
//! ```

use antipode_base::media::Layer;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::Packet;

/// What a viewer should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Simulcast or highest spatial layer.
    pub(crate) layer: Layer,
    /// Highest temporal layer.
    pub(crate) temporal: u8,
}

impl Target {
    /// Whether this packet ends a picture of which the layers above are left out.
    pub(super) fn ends(self, packet: &Packet) -> bool {
        packet.mark.svc && packet.mark.ends && packet.layer == self.layer
    }
}

/// The state of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Nothing can be sent before a keyframe of the target.
    Waiting,
    /// This is sent.
    Locked(Sent),
    /// `from` is sent until a keyframe of `to` comes.
    Switching {
        /// What is sent.
        from: Sent,
        /// What is wanted.
        to: Layer,
    },
}

/// What is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Simulcast or highest spatial layer.
    pub(crate) layer: Layer,
    /// Highest temporal layer.
    pub(crate) temporal: u8,
    /// Timestamp of the picture for which that was decided: it stays so for all its packets.
    picture: u32,
}

/// What to do with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// It continues what was sent.
    Continue {
        /// It is the last packet of its picture that the viewer gets.
        marker: bool,
    },
    /// It is the first of another stream, or the first at all.
    Start {
        /// As in `Continue`.
        marker: bool,
    },
    /// It is of the stream that is sent, but of a layer that the viewer does not get.
    Skip {
        /// Nothing of its picture is sent.
        picture: bool,
    },
    /// It is not for this viewer.
    Drop(DropReason),
}

impl Selector {
    /// Takes note of the wished layer. Returns the layer whose keyframe is now needed, if any; `svc`
    /// says that the layers share one stream.
    pub(crate) fn aim(&mut self, target: Target, svc: bool) -> Option<Layer> {
        let stream = if svc { Layer::BASE } else { target.layer };
        let (next, need) = match *self {
            Selector::Waiting => (Selector::Waiting, Some(stream)),
            Selector::Locked(sent) | Selector::Switching { from: sent, .. }
                if sent.layer == target.layer || (svc && target.layer < sent.layer) =>
            {
                (Selector::Locked(sent), None)
            }
            Selector::Locked(from) | Selector::Switching { from, .. } => {
                (Selector::Switching { from, to: target.layer }, Some(stream))
            }
        };
        *self = next;
        need
    }

    /// Decides on one packet. `target` must be the one last given to [`Selector::aim`].
    pub(crate) fn pick(&mut self, packet: &Packet, target: Target) -> Pick {
        let (layer, svc) = (packet.layer, packet.mark.svc);
        // A decoder starts at the lowest spatial layer; simulcast at the layer itself.
        let begins = packet.keyframe && (svc || layer == target.layer);
        match *self {
            Selector::Waiting if layer != target.layer && !svc => {
                Pick::Drop(DropReason::OtherLayer)
            }
            Selector::Waiting if !begins => Pick::Drop(DropReason::AwaitingKeyframe),
            Selector::Waiting => {
                let sent = self.lock(packet, target);
                Pick::Start { marker: sent.ends(packet) }
            }
            Selector::Switching { .. } if begins && !svc => {
                let sent = self.lock(packet, target);
                Pick::Start { marker: sent.ends(packet) }
            }
            Selector::Locked(sent) | Selector::Switching { from: sent, .. } => {
                if layer != sent.layer && !svc {
                    return Pick::Drop(DropReason::OtherLayer);
                }
                let sent = if begins && svc {
                    self.lock(packet, target)
                } else {
                    // On the way down to a smaller stream, what can go at once goes at once.
                    let down = target.layer < sent.layer && !svc;
                    let temporal = if down { 0 } else { target.temporal };
                    self.keep(sent.at(packet, Target { temporal, ..target }))
                };
                if packet.mark.temporal > sent.temporal {
                    Pick::Skip { picture: true }
                } else if svc && layer > sent.layer {
                    Pick::Skip { picture: false }
                } else {
                    Pick::Continue { marker: sent.ends(packet) }
                }
            }
        }
    }

    /// Nothing more is sent.
    pub(crate) fn stop(&mut self) {
        *self = Selector::Waiting;
    }

    /// What is sent at the moment.
    pub(crate) fn sent(&self) -> Option<Sent> {
        match self {
            Selector::Waiting => None,
            Selector::Locked(sent) | Selector::Switching { from: sent, .. } => Some(*sent),
        }
    }

    fn lock(&mut self, packet: &Packet, target: Target) -> Sent {
        let Target { layer, temporal } = target;
        let sent = Sent { layer, temporal, picture: packet.timestamp };
        *self = Selector::Locked(sent);
        sent
    }

    fn keep(&mut self, sent: Sent) -> Sent {
        match self {
            Selector::Waiting => {}
            Selector::Locked(kept) | Selector::Switching { from: kept, .. } => *kept = sent,
        }
        sent
    }
}

impl Sent {
    /// What is sent from this packet on: the same within a picture, less of it at the next one.
    fn at(mut self, packet: &Packet, target: Target) -> Self {
        let newer = packet.timestamp.wrapping_sub(self.picture) as i32 > 0;
        if !newer {
            return self;
        }
        self.picture = packet.timestamp;
        self.temporal = self.temporal.min(target.temporal);
        if packet.mark.svc {
            self.layer = self.layer.min(target.layer);
        }
        let temporal = packet.mark.temporal;
        let more = temporal > self.temporal && temporal <= target.temporal;
        if more && packet.mark.begins && packet.mark.sync {
            self.temporal = temporal;
        }
        if packet.mark.begins && temporal <= self.temporal {
            self.temporal = self.temporal.max(packet.mark.opens.min(target.temporal));
        }
        self
    }

    /// Whether this packet ends what the viewer gets of its picture.
    fn ends(&self, packet: &Packet) -> bool {
        let Sent { layer, temporal, .. } = *self;
        packet.marker || Target { layer, temporal }.ends(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::packet;

    const KEY: bool = true;
    const DELTA: bool = false;

    fn sent(layer: Layer) -> Sent {
        Sent { layer, temporal: 0, picture: 0 }
    }

    #[test]
    fn the_state_diagram_row_by_row() {
        use Pick::Drop;
        use Selector::{Locked, Switching, Waiting};
        let (low, high) = (Layer(0), Layer(2));
        let (start, go_on) = (Pick::Start { marker: false }, Pick::Continue { marker: false });
        let locked = |layer| Locked(sent(layer));
        let switching = Switching { from: sent(low), to: high };
        for (state, target, need, layer, keyframe, pick, next) in [
            (Waiting, low, Some(low), low, DELTA, Drop(DropReason::AwaitingKeyframe), Waiting),
            (Waiting, low, Some(low), high, KEY, Drop(DropReason::OtherLayer), Waiting),
            (Waiting, low, Some(low), low, KEY, start, locked(low)),
            (locked(low), low, None, low, DELTA, go_on, locked(low)),
            (locked(low), low, None, high, KEY, Drop(DropReason::OtherLayer), locked(low)),
            (locked(low), high, Some(high), low, DELTA, go_on, switching),
            (locked(low), high, Some(high), high, DELTA, Drop(DropReason::OtherLayer), switching),
            (locked(low), high, Some(high), high, KEY, start, locked(high)),
            (switching, low, None, high, KEY, Drop(DropReason::OtherLayer), locked(low)),
            (
                switching,
                Layer(1),
                Some(Layer(1)),
                high,
                KEY,
                Drop(DropReason::OtherLayer),
                Switching { from: sent(low), to: Layer(1) },
            ),
        ] {
            let mut selector = state;
            let target = Target { layer: target, temporal: 0 };
            let mut packet = packet(1, 0);
            (packet.layer, packet.keyframe) = (layer, keyframe);
            assert_eq!(selector.aim(target, false), need, "{state:?} aims at {target:?}");
            assert_eq!(selector.pick(&packet, target), pick, "{state:?} {layer:?}");
            assert_eq!(selector, next, "{state:?} {layer:?}");
        }
    }

    /// One picture after another, of a spatial and a temporal layer; what was sent of them.
    fn run(pictures: &[(u8, u8, bool, Target)], svc: bool) -> Vec<bool> {
        let mut selector = Selector::Locked(Sent { layer: Layer(2), temporal: 2, picture: 0 });
        let mut timestamp = 1;
        let mut before = None;
        let look = |(layer, temporal, sync, target): &(u8, u8, bool, Target)| {
            // A lower or equal layer begins the next picture.
            if before.is_none_or(|before| *layer <= before) {
                timestamp += 3_000;
            }
            before = Some(*layer);
            let mut packet = packet(1, timestamp);
            packet.layer = Layer(*layer);
            packet.keyframe = false;
            packet.mark.temporal = *temporal;
            (packet.mark.begins, packet.mark.ends, packet.mark.sync) = (true, true, *sync);
            packet.mark.svc = svc;
            selector.aim(*target, svc);
            matches!(selector.pick(&packet, *target), Pick::Continue { .. })
        };
        pictures.iter().map(look).collect()
    }

    #[test]
    fn temporal_layers_go_at_once_and_come_where_it_is_safe() {
        let all = Target { layer: Layer(2), temporal: 2 };
        let few = Target { temporal: 0, ..all };
        let got = run(
            &[
                (2, 0, false, all),
                (2, 2, false, few),
                (2, 1, true, few),
                (2, 2, false, few),
                (2, 0, false, all),
                (2, 2, false, all),
                (2, 1, true, all),
                (2, 2, true, all),
                (2, 0, false, all),
                (2, 2, false, all),
            ],
            false,
        );
        let want = [true, false, false, false, true, false, true, true, true, true];
        assert_eq!(got, want);
    }

    #[test]
    fn spatial_layers_go_at_the_next_picture_and_come_with_a_keyframe() {
        let all = Target { layer: Layer(2), temporal: 2 };
        let low = Target { layer: Layer(0), ..all };
        let got = run(
            &[
                (0, 0, false, all),
                (1, 0, false, low),
                (2, 0, false, low),
                (0, 0, false, low),
                (1, 0, false, low),
                (2, 0, false, low),
                (0, 0, false, all),
                (1, 0, false, all),
            ],
            true,
        );
        // The picture that was begun is finished.
        assert_eq!(got, [true, true, true, true, false, false, true, false]);
        let mut selector = Selector::Locked(Sent { layer: Layer(0), temporal: 2, picture: 0 });
        assert_eq!(selector.aim(all, true), Some(Layer::BASE), "its keyframe is needed");
        let mut key = packet(2, 9_000);
        (key.layer, key.mark.svc) = (Layer(0), true);
        assert_eq!(selector.pick(&key, all), Pick::Continue { marker: false });
        assert_eq!(selector.sent().map(|sent| sent.layer), Some(Layer(2)));
    }

    #[test]
    fn the_last_layer_that_is_sent_ends_the_picture() {
        let low = Target { layer: Layer(1), temporal: 0 };
        let mut selector = Selector::Locked(Sent { layer: Layer(1), temporal: 0, picture: 0 });
        for (layer, want) in [(0, false), (1, true)] {
            let mut packet = packet(1, 3_000);
            packet.keyframe = false;
            (packet.layer, packet.mark.svc, packet.mark.ends) = (Layer(layer), true, true);
            assert_eq!(selector.pick(&packet, low), Pick::Continue { marker: want }, "{layer}");
        }
    }

    #[test]
    fn a_switch_indication_opens_what_is_above() {
        let all = Target { layer: Layer(0), temporal: 2 };
        let mut selector = Selector::Locked(Sent { layer: Layer(0), temporal: 0, picture: 0 });
        let rows = [
            (2, 0, false), // needs what the viewer has not
            (1, 2, false), // opens layer 2 for those who have layer 1
            (0, 1, true),
            (2, 0, false),
            (1, 2, true),
            (2, 0, true),
        ];
        for (at, (temporal, opens, sent)) in rows.into_iter().enumerate() {
            let mut packet = packet(1, 3_000 * (at as u32 + 1));
            packet.keyframe = false;
            (packet.mark.temporal, packet.mark.opens, packet.mark.begins) = (temporal, opens, true);
            let picked = matches!(selector.pick(&packet, all), Pick::Continue { .. });
            assert_eq!(picked, sent, "{at}");
        }
    }
}
