//! One peer connection: str0m and what it must remember beside it.
//!
//! Every method that changes str0m ends by draining it to its next timeout, or marks the session
//! dirty so that the end of the turn does; [`Session::drain`] is the one function that polls.

pub(crate) mod allocations;
pub(crate) mod channels;
pub(crate) mod checks;
pub(crate) mod codecs;
pub(crate) mod config;
mod deadline;
pub(crate) mod descriptors;
mod incoming;
mod negotiate;
mod outgoing;
pub(crate) mod publications;
pub(crate) mod slots;
mod sound;
mod ties;

use std::time::Instant;

use antipode_base::command::{Grants, OpenSession, Role};
use antipode_base::ids::{MemberId, RoomId, SessionId, TrackId};
use antipode_base::media::Layer;
use antipode_base::notice::{EndReason, Notice, Quality};
use antipode_base::verdict::DropReason;
use str0m::net::Receive;
use str0m::{Event, IceCreds, Input, Output, Rtc, RtcError};

use crate::effects::Effects;
use crate::egress::Egress;
use crate::egress::pacer::Pacer;
use crate::forward::allocation::Climb;
use crate::ingress::Ingress;
use crate::io::{Datagram, PeerAddress, Transmit, Transport};
use crate::srtp::keys;
use crate::timers::Armed;
use channels::Channels;
use checks::Checks;
use codecs::CodecTable;
use descriptors::Structures;
use negotiate::Negotiation;
use outgoing::Waiting;
use publications::Publications;
use slots::Slots;
use ties::Ties;

/// See the module's documentation.
pub(crate) struct Session {
    /// Public id.
    pub(crate) id: SessionId,
    /// Owner.
    pub(crate) member: MemberId,
    /// The owner's room.
    pub(crate) room: RoomId,
    /// Which ways media flows.
    pub(crate) role: Role,
    /// What the owner may do.
    pub(crate) grants: Grants,
    /// How many of the room's microphones it gets at once; 0: all of them.
    pub(crate) audio_top: u8,
    /// Credentials in force; the ufrag is the key of the demultiplexer.
    pub(crate) credentials: IceCreds,
    /// Keys that DTLS just agreed on, until the shard puts them in force.
    pub(crate) fresh_keys: Option<keys::Keys>,
    /// Credentials that were just replaced, for the demultiplexer to forget.
    pub(crate) retired: Option<Box<IceCreds>>,
    /// The peer's validated addresses, oldest first.
    pub(crate) addresses: Vec<PeerAddress>,
    /// Checks of its path.
    pub(crate) checks: Checks,
    /// When other shards were told of these addresses last.
    pub(crate) claimed: Instant,
    /// Since then something came that is no STUN: it finds its way.
    pub(crate) heard: bool,
    /// When str0m, or one of our own timeouts, wants to be called.
    pub(crate) deadline: Instant,
    /// When str0m does, as far as we let it.
    transport_at: Instant,
    /// When it said it does.
    transport_asked: Instant,
    /// It may wait for the next beat.
    transport_waits: bool,
    /// The shard's timers for it.
    pub(crate) armed: Armed,
    /// Whether str0m holds something that the end of the turn must drain.
    pub(crate) dirty: bool,
    /// Whether the shard knows that.
    pub(crate) queued: bool,
    /// ICE and DTLS are done.
    pub(crate) connected: bool,
    /// What the client receives.
    pub(crate) slots: Slots,
    /// What the client sends.
    pub(crate) publications: Publications,
    /// Data channels.
    pub(crate) channels: Channels,
    /// The way in of media.
    pub(crate) ingress: Ingress,
    /// The way out of media.
    pub(crate) egress: Egress,
    /// Pictures that wait for a narrow path.
    pub(crate) pacer: Pacer<Waiting>,
    /// When the next of them may leave.
    pace_at: Option<Instant>,
    /// When its bandwidth is to be shared out anew.
    pub(crate) allocate_at: Option<Instant>,
    /// When what it receives may become more.
    pub(crate) climb: Climb,
    negotiation: Box<Negotiation>,
    codecs: CodecTable,
    structures: Structures,
    ties: Ties,
    rtc: Box<Rtc>,
    opened: Instant,
    consented: Instant,
}

/// The allocator has blocks of 2 KiB and of 2.5, of 10 KiB and of 12. What media needs lies together, and
/// apart from str0m: half a page of memory for each viewer of a picture.
const _: () = assert!(size_of::<Session>() <= 2 * 1024 && size_of::<Rtc>() <= 10 * 1024);

impl Session {
    /// A session that waits for its first description.
    pub(crate) fn new(open: &OpenSession, rtc: Rtc, credentials: IceCreds, now: Instant) -> Self {
        Session {
            id: open.session,
            member: open.member,
            room: open.room,
            role: open.role,
            grants: open.grants,
            audio_top: open.audio_top,
            credentials,
            fresh_keys: None,
            retired: None,
            addresses: Vec::new(),
            checks: Checks::default(),
            claimed: now,
            heard: false,
            deadline: now,
            transport_at: now,
            transport_asked: now,
            transport_waits: false,
            armed: Armed::default(),
            dirty: true,
            queued: false,
            connected: false,
            slots: Slots::default(),
            publications: Publications::default(),
            channels: Channels::default(),
            ingress: Ingress::default(),
            egress: Egress::new(open.role == Role::Play),
            pacer: Pacer::default(),
            pace_at: None,
            allocate_at: None,
            climb: Climb::default(),
            negotiation: Box::new(Negotiation::new(open.role)),
            codecs: CodecTable::default(),
            structures: Structures::default(),
            ties: Ties::default(),
            rtc: Box::new(rtc),
            opened: now,
            consented: now,
        }
    }

    /// Whether a STUN request is the peer's own: its name and its MESSAGE-INTEGRITY are right.
    pub(crate) fn recognizes(&self, receive: Receive<'_>, now: Instant) -> bool {
        self.rtc.accepts(&Input::Receive(now, receive))
    }

    /// The peer proved that it is still there (RFC 7675). Its media and its reports prove it as well, with
    /// keys instead of a password: there are peers that check once and never again.
    pub(crate) fn consent(&mut self, now: Instant) {
        self.consented = now;
    }

    /// Takes in a datagram of this peer, and drains where it is str0m's.
    pub(crate) fn receive(&mut self, datagram: &Datagram<'_>, now: Instant, fx: &mut Effects) {
        if datagram.is_rtcp() {
            return self.hear_report(datagram, now, fx);
        }
        if datagram.is_rtp() {
            return self.take_in(datagram, now, fx);
        }
        let protocol = datagram.transport.protocol();
        let parsed = Receive::new(protocol, datagram.source, datagram.local, datagram.bytes);
        let Ok(receive) = parsed else { return fx.drops.count(DropReason::NotOurs) };
        let at = datagram.at.min(now);
        if let Err(error) = self.rtc.handle_input(Input::Receive(at, receive)) {
            tracing::debug!(session = %self.id, %error, "datagram refused");
            fx.drops.count(DropReason::SessionRefused);
        }
        self.drain(now, fx);
    }

    /// Lets time pass and drains. Also ends a session whose peer never came or went silent.
    pub(crate) fn turn(&mut self, now: Instant, fx: &mut Effects) {
        if self.patience().is_some_and(|patience| now >= patience) {
            fx.ended = Some(EndReason::TimedOut);
            return;
        }
        // Our own timeouts come more often, each millisecond where pictures are paced.
        if self.dirty || self.transport_at <= now {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                fx.ended = Some(end_reason(&error));
                return;
            }
            self.drain(now, fx);
        }
        self.report_arrivals(now, fx);
        self.egress.reports(now, |report| fx.send(report));
        if self.egress.probe_at().is_some_and(|at| at <= now) {
            self.egress.probe(now, |padding| fx.send(padding));
        }
        self.set_deadline(fx);
    }

    /// Polls str0m until it hands back its timeout. The only place that does.
    fn drain(&mut self, now: Instant, fx: &mut Effects) {
        self.dirty = false;
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.set_transport_deadline(at, now);
                    self.set_deadline(fx);
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    let mut transmit = Transmit {
                        transport: Transport::of(transmit.proto),
                        local: transmit.source,
                        destination: transmit.destination,
                        bytes: transmit.contents.into(),
                    };
                    self.egress.redirect(&mut transmit);
                    fx.send(transmit);
                }
                Ok(Output::Event(event)) => self.event(event, now, fx),
                Err(error) => {
                    fx.ended = Some(end_reason(&error));
                    return;
                }
            }
        }
        if let Some(keys) = keys::take() {
            self.fresh_keys = Some(keys);
        }
        if !self.rtc.is_alive() {
            fx.ended.get_or_insert(EndReason::PeerClosed);
        }
    }

    fn event(&mut self, event: Event, now: Instant, fx: &mut Effects) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.consented = now;
                fx.connected = true;
                fx.notices.push_back(Notice::Connected { session: self.id });
            }
            Event::ChannelOpen(id, label) => self.channels.opened(id, &label),
            Event::ChannelClose(id) => self.channels.closed(id),
            Event::ChannelData(data) => {
                if let Some(reliable) = self.channels.reliable(data.id) {
                    fx.data.push((reliable, data.data));
                }
            }
            Event::PeerStats(_) => fx.notices.push_back(Notice::Quality(Quality {
                session: self.id,
                loss_in: self.ingress.take_loss(),
                loss_out: self.egress.take_loss(),
                rtt_ms: self
                    .egress
                    .rtt()
                    .or_else(|| self.ingress.rtt())
                    .map_or(0.0, |rtt| rtt.as_secs_f32() * 1_000.0),
            })),
            Event::Closed => fx.ended = Some(EndReason::PeerClosed),
            _ => {}
        }
    }

    /// Its bandwidth is to be shared out anew, soon.
    pub(crate) fn want_allocation(&mut self, at: Instant) {
        let at = self.allocate_at.map_or(at, |before| before.min(at));
        self.allocate_at = Some(at);
        self.deadline = self.deadline.min(at);
    }

    /// Asks the client for a keyframe of one layer of what it publishes.
    pub(crate) fn request_keyframe(&mut self, track: TrackId, layer: Layer) -> bool {
        let Some(ssrc) = self.publications.ssrc_of(track, layer) else { return false };
        self.ingress.request_keyframe(ssrc);
        self.dirty = true;
        true
    }

    /// Sends a data packet.
    pub(crate) fn write_data(&mut self, reliable: bool, bytes: &[u8]) -> Result<(), DropReason> {
        let id = self.channels.id(reliable).ok_or(DropReason::NotConnected)?;
        let mut channel = self.rtc.channel(id).ok_or(DropReason::NotConnected)?;
        self.dirty = true;
        match channel.write(true, bytes) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(DropReason::DataBacklog),
        }
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify) and drains.
    pub(crate) fn close(&mut self, now: Instant, fx: &mut Effects) {
        if self.rtc.close().is_ok() {
            self.drain(now, fx);
        }
    }
}

fn end_reason(error: &RtcError) -> EndReason {
    match error {
        RtcError::RemoteSdp(text) if text.contains("fingerprint") => EndReason::WrongFingerprint,
        _ => EndReason::PeerMisbehaved,
    }
}
