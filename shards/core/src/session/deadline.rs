//! When a session wants to be called next.
//!
//! str0m asks for it more often than there is something to do. To look after a thousand sessions in which
//! nothing happens should cost next to nothing, so what it asks for then is put off.

use std::time::{Duration, Instant};

use antipode_base::command::Role;
use antipode_base::limits::{CONNECT_TIMEOUT, QUALITY_INTERVAL};
use str0m::Reason;

use super::Session;
use crate::effects::Effects;
use crate::timers::FAR;

/// RFC 7675 §5.1: consent expires 30 s after the last check that was answered.
const CONSENT: Duration = Duration::from_secs(30);
/// Three seconds after the last datagram, an agent that checks nothing itself looks at its pairs. What it
/// finds ends no session of ours, and can wait until the statistics are due.
const PAIRS_WAIT: Duration = QUALITY_INTERVAL.saturating_sub(Duration::from_secs(3));

impl Session {
    /// str0m wants to be called at `asked`.
    pub(super) fn set_transport_deadline(&mut self, asked: Instant, now: Instant) {
        // It names the same time until that has come: then it is near and was far all the same.
        if asked != self.transport_asked {
            self.transport_asked = asked;
            self.transport_waits = asked >= now + FAR;
            let idle = self.transport_waits && self.connected;
            self.transport_at = if idle { asked + self.put_off() } else { asked };
        }
    }

    /// How much later than it wants to str0m is called. It hears of checks meanwhile, and then does all
    /// that is due.
    fn put_off(&mut self) -> Duration {
        let reason = self.rtc.last_timeout_reason();
        let wait = if reason == Reason::Ice { PAIRS_WAIT } else { Duration::ZERO };
        let looks = matches!(reason, Reason::Ice | Reason::Stats);
        if looks && self.is_quiet() { wait + QUALITY_INTERVAL } else { wait }
    }

    /// Nothing is published, nothing is sent, and all that was said has arrived.
    fn is_quiet(&mut self) -> bool {
        self.publications.is_empty()
            && self.egress.reports_at().is_none()
            && [true, false].into_iter().all(|reliable| {
                let channel = self.channels.id(reliable).and_then(|id| self.rtc.channel(id));
                channel.is_none_or(|mut channel| channel.buffered_amount() == 0)
            })
    }

    /// Puts together what all want.
    pub(super) fn set_deadline(&mut self, fx: &mut Effects) {
        let transport = Some(self.transport_at);
        let prompt = [
            transport.filter(|_| !self.transport_waits),
            self.ingress.due(),
            self.egress.probe_at(),
            self.allocate_at,
            self.pace_at,
        ];
        let waiting = [
            transport.filter(|_| self.transport_waits),
            self.ingress.report_at(),
            self.egress.reports_at(),
            self.patience(),
        ];
        let waiting = waiting.into_iter().flatten().min().map(|due| fx.beats.after(due));
        let all = prompt.into_iter().flatten().chain(waiting);
        self.deadline = all.min().unwrap_or(self.transport_at);
    }

    /// When a peer that stays silent is given up. One of two connections waits for ever for its first
    /// offer, since who only watches never makes one: the other connection shows that it lives.
    pub(super) fn patience(&self) -> Option<Instant> {
        if self.connected {
            Some(self.consented + CONSENT)
        } else if self.role == Role::Publish && !self.negotiation.has_offer() {
            None
        } else {
            Some(self.opened + CONNECT_TIMEOUT)
        }
    }
}
