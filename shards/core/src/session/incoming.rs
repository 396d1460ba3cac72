//! What the client publishes, as it comes in: from a datagram to a packet, and from reports to what they say.

use std::time::Instant;

use antipode_base::limits::RTP_MAX;
use antipode_base::media::{Codec, Layer};
use antipode_base::near;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::{Extensions, Packet};

use super::publications::{Incoming, NotLearned};
use super::{Session, allocations};
use crate::effects::Effects;
use crate::ingress::{Arrived, SenderTime};
use crate::io::Datagram;
use crate::payload;
use crate::rtcp::{self, Feedback};

impl Session {
    /// Takes in a datagram of RTP.
    pub(super) fn take_in(&mut self, datagram: &Datagram<'_>, now: Instant, fx: &mut Effects) {
        // A publisher's estimate is made of the times in our feedback: packets of one turn that all came
        // `now` are no measure of its path, and libwebrtc throws away probes that came so. What is taken in
        // the midst of a turn came after `now`.
        let at = datagram.at;
        let mut plain = std::mem::take(&mut fx.plain);
        let opened = self.ingress.open(datagram.bytes, at, &mut plain).and_then(|opened| {
            self.consented = now;
            self.ingress.place(opened, &self.codecs)
        });
        match opened.and_then(|arrived| self.take(&arrived, now, fx)) {
            Ok(packet) => fx.packets.push(packet),
            Err(reason) => fx.drops.count(reason),
        }
        fx.plain = plain;
        let due = [self.ingress.due(), self.ingress.report_at()];
        self.deadline = due.into_iter().flatten().fold(self.deadline, Instant::min);
    }

    /// From a packet of the client's to one of ours: parsed here once, for every viewer on every core.
    fn take(
        &mut self,
        arrived: &Arrived<'_>,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<Packet, DropReason> {
        let packet = self.parse(arrived, now, fx)?;
        if packet.codec == Codec::Opus { self.hear(packet, arrived.blocks, fx) } else { Ok(packet) }
    }

    fn parse(
        &mut self,
        arrived: &Arrived<'_>,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<Packet, DropReason> {
        let Arrived { numbers, codec, fields, payload, .. } = *arrived;
        if !self.grants.publish {
            return Err(DropReason::NotPermitted);
        }
        if payload.len() > RTP_MAX {
            return Err(DropReason::Oversized);
        }
        let incoming = match self.publications.incoming(numbers.ssrc) {
            Some(incoming) => incoming,
            None => self.learn(arrived, fx)?,
        };
        let mut glance = payload::glance(codec, payload)
            .map_err(|payload::Malformed| DropReason::PayloadMalformed)?;
        // VP8 and VP9 say it all in their payloads, and senders have them say less beside a descriptor.
        let mut descriptor =
            fields.descriptor.filter(|_| codec == Codec::Av1).map(<std::sync::Arc<[u8]>>::from);
        if let Some(bytes) = &mut descriptor {
            let placed = self.structures.place(numbers, bytes, glance);
            glance = placed.map_err(|_| DropReason::DescriptorUnread)?;
        }
        let layer = match glance.layer.filter(|_| incoming.alone) {
            Some(spatial) if spatial > Layer::TOP.0 => return Err(DropReason::NoLayer),
            Some(spatial) => Layer(spatial),
            None => incoming.layer,
        };
        // The streams of a simulcast have numberings of their own, whatever is in each.
        glance.mark.svc &= incoming.alone;
        let mut payload = payload.into();
        if codec == Codec::Vp9 && glance.mark.svc {
            self.ties.tie(numbers, layer.0, &mut payload);
        }
        Ok(Packet {
            track: incoming.track,
            layer,
            codec,
            ext_seq: numbers.ext_seq,
            timestamp: numbers.timestamp,
            marker: numbers.marker,
            keyframe: glance.keyframe,
            shape: glance.shape,
            mark: glance.mark,
            descriptor,
            extensions: Extensions {
                audio_level: fields.audio_level,
                voice_activity: fields.voice_activity,
                orientation: fields.orientation,
            },
            announced: fields.allocation.and_then(|bytes| allocations::of(bytes, &incoming)),
            sender_clock: arrived.sender_clock,
            microphone: incoming.microphone.then_some(self.member),
            arrival: now,
            payload,
        })
    }

    /// The first packet of a stream: which track and rung is it?
    fn learn(&mut self, arrived: &Arrived<'_>, fx: &mut Effects) -> Result<Incoming, DropReason> {
        let (mid, rid, repair) = arrived.place;
        let learned = self.publications.learn(arrived.numbers.ssrc, repair, mid, rid);
        let incoming = learned.map_err(|why| match why {
            NotLearned::NoTrack => DropReason::NoTrack,
            NotLearned::NoLayer => DropReason::NoLayer,
        })?;
        self.report_live(incoming.track, arrived.codec, fx);
        Ok(incoming)
    }

    /// Brings near what a report of this client needs.
    pub(crate) fn fetch_report(&self) {
        near::fetch(&self.egress);
        near::fetch(&self.deadline);
    }

    /// And what lies behind that.
    pub(crate) fn fetch_reported(&self) {
        self.egress.fetch_reported();
    }

    /// Takes in a compound packet of RTCP.
    pub(super) fn hear_report(&mut self, datagram: &Datagram<'_>, now: Instant, fx: &mut Effects) {
        let at = datagram.at.min(now);
        let Effects { plain, heard, .. } = fx;
        let Some(compound) = self.egress.open(datagram.bytes, plain) else { return };
        self.consented = now;
        heard.missed = 0;
        rtcp::read(compound, |feedback| match feedback {
            Feedback::Sender { ssrc, ntp, timestamp } => {
                self.ingress.sender(ssrc, SenderTime { ntp, timestamp, at });
            }
            Feedback::TimeHeard { told, delay } => self.ingress.answered(told, delay, at),
            feedback => self.egress.hear(feedback, at, now, heard),
        });
    }

    /// Tells the client what came of it, and what did not.
    pub(super) fn report_arrivals(&mut self, now: Instant, fx: &mut Effects) {
        let egress = &mut self.egress;
        self.ingress.report(now, |compound| {
            if let Some(transmit) = egress.seal(compound) {
                fx.send(transmit);
            }
        });
    }
}
