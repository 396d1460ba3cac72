//! One track as sent to one session.

use std::time::{Duration, Instant};

use antipode_base::command::Tune;
use antipode_base::ids::MemberId;
use antipode_base::media::Layer;
use antipode_base::verdict::{DropReason, Verdict};
use antipode_relay::packet::Packet;

use super::allocation::Grant;
use super::rewriter::{Rewrite, Rewriter};
use super::selector::{Pick, Selector, Target};

/// How long a viewer waits for a keyframe before it asks once more.
const ASK_AGAIN: Duration = Duration::from_millis(1_000);

/// The viewer's side of a hop: what it wants, what it gets, how it is numbered.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The session's place in its shard's table.
    pub(crate) session: usize,
    /// The slot of that session.
    pub(crate) slot: usize,
    /// The viewer's wish.
    pub(crate) tune: Tune,
    /// Whether the session is connected.
    pub(crate) ready: bool,
    /// What its bandwidth allows.
    pub(crate) grant: Grant,
    /// The session's owner, if of microphones the loudest alone are for it, its own not counted.
    pub(crate) listener: Option<MemberId>,
    /// Packets were left out since the last one that was sent, as others are louder.
    cut: bool,
    selector: Selector,
    rewriter: Rewriter,
    asked: Option<Instant>,
}

/// A verdict, and the layer whose keyframe the viewer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    /// What becomes of the packet.
    pub(crate) verdict: Verdict<Rewrite>,
    /// To be asked of the publisher.
    pub(crate) need_keyframe: Option<Layer>,
}

/// What a new grant led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The viewer starves, or has ceased to.
    pub(crate) turned: bool,
    /// What is sent is too large; a smaller stream is to take its place soon.
    pub(crate) too_large: bool,
}

impl Subscription {
    /// A subscription that waits for its first keyframe.
    pub(crate) fn new(session: usize, slot: usize, tune: Tune, rewriter: Rewriter) -> Self {
        Subscription {
            session,
            slot,
            tune,
            ready: false,
            grant: Grant::ALL,
            listener: None,
            cut: false,
            selector: Selector::Waiting,
            rewriter,
            asked: None,
        }
    }

    /// Decides on one packet. `active` says which layers the publisher sends at the moment.
    pub(crate) fn offer(&mut self, packet: &Packet, active: LayerSet) -> Offered {
        let drop = |reason| Offered { verdict: Verdict::Drop(reason), need_keyframe: None };
        if !self.ready {
            return drop(DropReason::NotConnected);
        }
        if self.tune.paused {
            return drop(DropReason::Paused);
        }
        let Grant::Rung { layer, temporal } = self.grant else {
            return drop(DropReason::Starved);
        };
        let most = self.tune.layer_max.min(layer);
        let layer = if packet.mark.svc {
            // A keyframe opens all layers of its stream, also those of which nothing came yet.
            most
        } else {
            active.best_below(most).unwrap_or(packet.layer)
        };
        let target = Target { layer, temporal: self.tune.temporal_max.min(temporal) };
        let need = self.selector.aim(target, packet.mark.svc);
        let pick = self.selector.pick(packet, target);
        let started = matches!(pick, Pick::Start { .. });
        let need_keyframe = match need {
            Some(layer) if !started => self.may_ask(packet.arrival).then_some(layer),
            _ => {
                self.asked = None;
                None
            }
        };
        Offered { verdict: self.number(packet, pick), need_keyframe }
    }

    fn number(&mut self, packet: &Packet, pick: Pick) -> Verdict<Rewrite> {
        match pick {
            Pick::Start { marker } => {
                self.cut = false;
                let within = self.within(packet);
                Verdict::Forward(Rewrite { within, ..self.rewriter.start(packet, marker) })
            }
            Pick::Continue { marker } => {
                let numbers = if self.cut {
                    self.rewriter.resume(packet)
                } else {
                    self.rewriter.go_on(packet, marker)
                };
                self.cut &= numbers.is_none();
                let within = self.within(packet);
                let numbers = numbers.map(|rewrite| Rewrite { within, ..rewrite });
                numbers.map_or(Verdict::Drop(DropReason::TooOld), Verdict::Forward)
            }
            Pick::Skip { picture } => {
                self.rewriter.skip(packet, picture);
                Verdict::Drop(DropReason::OtherLayer)
            }
            Pick::Drop(reason) => Verdict::Drop(reason),
        }
    }

    /// Leaves out a packet of a microphone that is not among the loudest. A later one may bring it
    /// back ([`Subscription::got`]), so its number is not closed up yet.
    pub(crate) fn leave_out(&mut self) -> DropReason {
        self.cut = true;
        DropReason::NotLoudest
    }

    /// The number of the newest packet that the viewer got of the track, if it got any.
    pub(crate) fn got(&self) -> Option<u64> {
        (!self.waits()).then(|| self.rewriter.newest())
    }

    /// What the viewer gets of a stream in which it could get less than all.
    fn within(&self, packet: &Packet) -> Option<Target> {
        if packet.descriptor.is_none() && !packet.mark.svc {
            return None;
        }
        let sent = self.selector.sent()?;
        // Of a simulcast the viewer gets the whole of one stream, whatever is in it.
        let layer = if packet.mark.svc { sent.layer } else { Layer(u8::MAX) };
        Some(Target { layer, temporal: sent.temporal })
    }

    /// A viewer asks when it begins to wait, and once in [`ASK_AGAIN`] while it does.
    fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.asked.is_none_or(|asked| now >= asked + ASK_AGAIN);
        if may {
            self.asked = Some(now);
        }
        may
    }

    /// Whether nothing is sent before a keyframe.
    pub(crate) fn waits(&self) -> bool {
        self.selector == Selector::Waiting
    }

    /// The layer on its way to the viewer, or the one that it waits for.
    pub(crate) fn wanted(&self, active: LayerSet) -> Layer {
        let granted = match self.grant {
            Grant::Rung { layer, .. } => layer,
            Grant::Paused => Layer::BASE,
        };
        active.best_below(self.tune.layer_max.min(granted)).unwrap_or(Layer::BASE)
    }

    /// The highest layer that the viewer would take, whatever its bandwidth; `None` while it pauses.
    pub(crate) fn demand(&self) -> Option<Layer> {
        (!self.tune.paused).then_some(self.tune.layer_max)
    }

    /// Takes over a new wish; a paused viewer starts again at a keyframe.
    pub(crate) fn tune(&mut self, tune: Tune) {
        if tune.paused && !self.tune.paused {
            self.restart();
        }
        self.tune = tune;
    }

    /// Takes over what the bandwidth allows. What starved starts again at a keyframe. A stream that is
    /// too large goes on, thinned ([`Selector`]), until the smaller one begins. `svc` says that the
    /// layers share one stream.
    pub(crate) fn grant(&mut self, grant: Grant, svc: bool) -> Granted {
        let before = std::mem::replace(&mut self.grant, grant);
        let turned = (before == Grant::Paused) != (grant == Grant::Paused);
        let too_large = match grant {
            Grant::Rung { layer, .. } => self.selector.sent().is_some_and(|s| s.layer > layer),
            Grant::Paused => false,
        };
        if turned {
            self.restart();
        }
        Granted { turned, too_large: too_large && !svc }
    }

    /// Nothing more is sent before a keyframe.
    pub(crate) fn restart(&mut self) {
        self.selector.stop();
        self.asked = None;
    }

    /// The slot's numbering, to go on with whoever comes next.
    pub(crate) fn into_rewriter(self) -> Rewriter {
        self.rewriter
    }
}

/// Which layers of a track are being sent: bit n is layer n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerSet(pub(crate) u8);

impl LayerSet {
    /// Its layers, lowest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = Layer> {
        (0..8).filter(move |layer| self.0 & 1 << layer != 0).map(Layer)
    }

    /// The highest layer up to `max`, or else the lowest above it; `None` when there is none.
    pub(crate) fn best_below(self, max: Layer) -> Option<Layer> {
        let below = self.0 & ((1u16 << (max.0.min(7) + 1)) - 1) as u8;
        if below != 0 {
            Some(Layer(7 - below.leading_zeros() as u8))
        } else if self.0 != 0 {
            Some(Layer(self.0.trailing_zeros() as u8))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_layer_table() {
        for (set, max, want) in [
            (0b000, 2, None),
            (0b001, 2, Some(0)),
            (0b111, 2, Some(2)),
            (0b111, 1, Some(1)),
            (0b101, 1, Some(0)),
            (0b100, 0, Some(2)),
            (0b110, 0, Some(1)),
            // Signaling names no such layer; a shard does not rely on it.
            (0b111, 255, Some(2)),
        ] {
            assert_eq!(LayerSet(set).best_below(Layer(max)), want.map(Layer), "{set:b} {max}");
        }
    }
}
