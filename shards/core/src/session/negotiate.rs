//! Offers and answers of one session.
//!
//! str0m negotiates codecs, extensions and transports. What is ours: which section carries which
//! track, both ways; labels; refusals; and credentials whose ufrag names the shard, also after an
//! ICE restart, for which str0m would choose its own.

use std::time::Instant;

use antipode_base::command::Role;
use antipode_base::ids::TrackId;
use antipode_base::media::{Codec, Kind};
use antipode_base::notice::Notice;
use str0m::IceCreds;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec as Format;
use str0m::media::{Direction, MediaKind, Mid};

use super::Session;
use super::channels;
use super::codecs::CodecTable;
use super::config::SessionSetup;
use super::descriptors;
use super::publications::Bound;
use crate::effects::Effects;
use crate::egress::lane::Lane;
use crate::egress::wire::ExtensionIds;
use crate::sdp::check::{self, Formats};
use crate::sdp::{self, Dress, Section, SectionDress};

/// Where the exchange of descriptions stands.
pub(crate) struct Negotiation {
    /// Something changed that the client must be told by a description.
    pub(crate) wanted: bool,
    /// What the client's payload types mean.
    formats: Formats,
    /// Offers of the client so far.
    offers: u64,
    /// We asked the client to offer again and wait for it.
    asked: bool,
    /// Our offer that waits for its answer.
    pending: Option<Pending>,
    /// It is to be said again.
    repeat: bool,
    /// Number of our last offer.
    last_id: u32,
    /// The next offer of ours restarts ICE.
    restart: bool,
    /// Credentials that take force with the answer to a restart.
    next_credentials: Option<IceCreds>,
}

/// An offer of ours that is not answered.
struct Pending {
    id: u32,
    offer: SdpPendingOffer,
    /// As it was told.
    notice: Notice,
}

impl Negotiation {
    pub(crate) fn new(role: Role) -> Self {
        Negotiation {
            wanted: role == Role::Subscribe,
            formats: Formats::default(),
            offers: 0,
            asked: false,
            pending: None,
            repeat: false,
            last_id: 0,
            restart: false,
            next_credentials: None,
        }
    }

    /// Whether the client has offered anything.
    pub(crate) fn has_offer(&self) -> bool {
        self.offers > 0
    }
}

impl Session {
    /// Something changed that the client must be told by a description; done at the turn's end.
    pub(crate) fn want_negotiation(&mut self) {
        self.negotiation.wanted = true;
        self.dirty = true;
    }

    /// The next offer of ours restarts ICE. One that waits for its answer is said again first, since it or
    /// its answer may be lost. It cannot be given up: a client that took it has its sections, and another
    /// offer could not name them, as str0m chooses their names.
    pub(crate) fn want_ice_restart(&mut self) {
        if self.role == Role::Subscribe {
            self.negotiation.repeat = self.negotiation.pending.is_some();
            self.negotiation.restart = true;
            self.want_negotiation();
        }
    }

    /// Starts what [`Session::want_negotiation`] asked for, if nothing is under way.
    pub(crate) fn negotiate(&mut self, setup: &mut SessionSetup, now: Instant, fx: &mut Effects) {
        if !self.negotiation.wanted {
            return;
        }
        match self.role {
            Role::Publish => self.negotiation.wanted = false,
            Role::Subscribe if self.negotiation.pending.is_none() => {
                self.make_offer(setup, fx);
            }
            Role::Subscribe => {
                if let Some(pending) = self.negotiation.pending.as_ref()
                    && std::mem::take(&mut self.negotiation.repeat)
                {
                    fx.notices.push_back(pending.notice.clone());
                }
            }
            Role::Both if self.negotiation.offers > 0 && !self.negotiation.asked => {
                let (audio, video) = self.slots.assign();
                self.negotiation.wanted = false;
                self.negotiation.asked = true;
                fx.notices.push_back(Notice::NeedSections { session: self.id, audio, video });
            }
            // The client knows its sections already. What finds none waits for one.
            Role::Play if self.negotiation.offers > 0 => {
                self.negotiation.wanted = false;
                self.slots.assign();
                fx.announced.extend(self.slots.announce(now));
            }
            Role::Both | Role::Play => {}
        }
    }

    /// Answers the client's offer.
    pub(crate) fn offered(
        &mut self,
        id: u32,
        text: &str,
        setup: &mut SessionSetup,
        now: Instant,
        fx: &mut Effects,
    ) {
        if let Err(reason) = self.answer_offer(id, text, setup, now, fx) {
            let session = self.id;
            fx.notices.push_back(Notice::NegotiationFailed { session, id, reason });
        }
        self.drain(now, fx);
    }

    fn answer_offer(
        &mut self,
        id: u32,
        text: &str,
        setup: &mut SessionSetup,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), String> {
        if self.role == Role::Subscribe {
            return Err("the server offers on this connection".to_owned());
        }
        let sections = self.negotiation.formats.check(text)?;
        let mixed = sdp::allows_mixed(&sections);
        let offer = SdpOffer::from_sdp_string(text).map_err(|error| error.to_string())?;
        check::read_whole(&offer.to_sdp_string(), &sections)?;
        self.lend_streams();
        let answer = self.rtc.sdp_api().accept_offer(offer);
        self.open_lanes(mixed, setup);
        let answer = answer.map_err(|error| error.to_string())?;
        self.codecs = CodecTable::new(&self.rtc, &sections);
        let credentials = self.own_credentials(setup);
        let mut dress = self.bind_sections(&sections, &answer.to_sdp_string(), fx);
        self.learn_streams(&sections, setup);
        let player = self.role == Role::Play;
        if player || self.role == Role::Both {
            // A player may offer to send as well; nobody takes it.
            let ears = |section: &&Section<'_>| section.receives && (player || !section.sends);
            for section in sections.iter().filter(ears) {
                if let Some(kind) = section.kind {
                    let usable = !section.stopped;
                    let mid = section.mid.into();
                    self.slots.offer_section(mid, kind, usable, || setup.numbering());
                }
            }
            self.open_lanes(mixed, setup);
        }
        let (audio, video) = self.slots.assign();
        let labelled = if player { self.slots.dress_alike() } else { self.slots.dress() };
        for own in labelled {
            match dress.iter_mut().find(|section| section.mid == own.mid) {
                Some(section) => section.labels = own.labels,
                None => dress.push(own),
            }
        }
        // An answer is taken, or the session cannot go on.
        self.slots.taken();
        if !self.negotiation.has_offer() {
            self.opened = now;
        }
        self.negotiation.offers += 1;
        self.negotiation.asked = false;
        self.negotiation.wanted = !player && (audio > 0 || video > 0);
        fx.announced.extend(self.slots.announce(now));
        let only = match self.role {
            Role::Publish => Some("recvonly"),
            Role::Play => Some("sendonly"),
            Role::Both | Role::Subscribe => None,
        };
        let dress = Dress { credentials, only, sections: dress, unmixed: !mixed };
        fx.notices.push_back(Notice::Answer {
            session: self.id,
            id,
            sdp: dress.apply(&answer.to_sdp_string()),
            slots: self.slots.notice(),
        });
        self.dirty |= self.negotiation.wanted;
        Ok(())
    }

    /// Tells the way in of what str0m read.
    fn learn_streams(&mut self, sections: &[Section<'_>], setup: &SessionSetup) {
        let media = sections.iter().filter(|section| section.kind.is_some());
        let media: Vec<Mid> = media.map(|section| section.mid.into()).collect();
        let publishes = !self.publications.is_empty();
        self.ingress.learn(setup.provider(), &mut self.rtc, &media, publishes);
    }

    /// Which track each sending section is; refuses what has no codec of ours.
    fn bind_sections(
        &mut self,
        sections: &[Section<'_>],
        answer: &str,
        fx: &mut Effects,
    ) -> Vec<SectionDress> {
        let answered = sdp::scan(answer);
        let mut dresses = Vec::with_capacity(sections.len());
        for section in sections.iter().filter(|section| section.kind.is_some()) {
            let own = answered.iter().find(|own| own.mid == section.mid && !own.stopped);
            let formats = own.map_or(&[][..], |own| &own.payload_types);
            let mut dress = SectionDress { mid: section.mid.to_owned(), ..Default::default() };
            dress.refused = formats.is_empty() && !section.stopped;
            if section.sends && !section.stopped {
                let wish = self.publications.candidate(section).and_then(|p| p.codec_wish);
                let known = self.publications.by_mid(section.mid.into());
                let wish = known.map_or(wish, |publication| publication.codec_wish);
                dress.payload_types = sdp::prefer(section, wish);
                self.place_red(section, &mut dress.payload_types);
                let codec = self.first_codec(formats, &dress.payload_types);
                // Chromium strips what VP8 says of itself where descriptors are negotiated.
                dress.without = (codec != Some(Codec::Av1)).then_some(descriptors::URI);
                self.bind_section(section, codec, fx);
            } else {
                dress.payload_types = sdp::prefer(section, None);
                let ended = self.publications.by_mid(section.mid.into()).map(|p| p.track);
                fx.stopped.extend(ended);
            }
            dresses.push(dress);
        }
        dresses
    }

    /// Redundant sound directly before its codec where it is welcome, so that the client sends it if it
    /// sends that codec; else behind all.
    fn place_red(&self, section: &Section<'_>, order: &mut Vec<String>) {
        let known = self.publications.by_mid(section.mid.into());
        let welcome = known
            .or_else(|| self.publications.candidate(section))
            .is_some_and(|publication| publication.red);
        if let Some(red) = self.codecs.red()
            && let Some(types) = self.codecs.types(Codec::Opus)
        {
            sdp::place(order, red, types.media, welcome);
        }
    }

    /// The first of the answer is what the client sends.
    fn first_codec(&self, formats: &[&str], order: &[String]) -> Option<Codec> {
        order.iter().filter(|pt| formats.contains(&pt.as_str())).find_map(|pt| {
            let pt: u8 = pt.parse().ok()?;
            self.codecs.codec(pt.into())
        })
    }

    fn bind_section(&mut self, section: &Section<'_>, codec: Option<Codec>, fx: &mut Effects) {
        let Bound::New(track) = self.publications.bind(section) else { return };
        match codec {
            Some(codec) => self.report_live(track, codec, fx),
            None => {
                fx.notices.push_back(Notice::TrackRefused {
                    session: self.id,
                    track,
                    reason: "the offer has no codec for it that this server forwards".to_owned(),
                });
                fx.stopped.push(track);
            }
        }
    }

    /// Tells signaling what is known of a published track.
    pub(crate) fn report_live(&mut self, track: TrackId, codec: Codec, fx: &mut Effects) {
        let Some(publication) = self.publications.settle(track, codec) else { return };
        fx.notices.push_back(Notice::TrackLive {
            session: self.id,
            track,
            mid: publication.mid.map(|mid| mid.to_string()).unwrap_or_default(),
            codec,
            layers: publication.layers.clone(),
        });
    }

    /// After a restart by the client str0m has credentials of its own choice: puts ours in force.
    /// Returns what to write instead of what.
    fn own_credentials(&mut self, setup: &SessionSetup) -> Option<[(String, String); 2]> {
        let theirs = self.rtc.direct_api().local_ice_credentials();
        if theirs == self.credentials {
            return None;
        }
        let ours = setup.credentials();
        self.rtc.direct_api().set_local_ice_credentials(ours.clone());
        self.retired = Some(Box::new(std::mem::replace(&mut self.credentials, ours.clone())));
        Some([(theirs.ufrag, ours.ufrag), (theirs.pass, ours.pass)])
    }

    /// Lets str0m know the streams of our slots again: its descriptions name them, and it would choose
    /// other ones. To be called before each step, and [`Session::open_lanes`] after it.
    fn lend_streams(&mut self) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Some(lane) = self.egress.lane_mut(at) else { continue };
            if self.rtc.media(slot.mid).is_some() {
                let (ssrc, repair) = (lane.ssrc.into(), lane.repair_ssrc.map(Into::into));
                self.rtc.direct_api().declare_stream_tx(ssrc, repair, slot.mid, None);
            }
        }
    }

    /// Gives each slot that is negotiated its stream: SSRCs are str0m's choice, since its
    /// descriptions name them.
    ///
    /// str0m forgets the stream at once. It would report on it, with a clock and counters that are not
    /// ours, and it would seal that under the keys, the SSRC and the indices of our own reports: a pad
    /// used twice (RFC 3711 §9.1), and a replay to the client, which drops one of the two.
    fn open_lanes(&mut self, mixed: bool, setup: &mut SessionSetup) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let mut api = self.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(slot.mid, None) else { continue };
            let (ssrc, repair) = (stream.ssrc(), stream.rtx().map(|ssrc| *ssrc));
            api.remove_stream_tx(ssrc);
            if let Some(media) = self.rtc.media(slot.mid).filter(|_| !self.egress.has_lane(at)) {
                let ids = ExtensionIds::of(media, mixed);
                let lane = Lane::new(*ssrc, repair, &slot.mid, ids, setup.repair_seq());
                self.egress.set_lane(at, lane);
            }
        }
    }

    /// Our offer: a section for each wish, empty sections without a stream, and the data channels.
    fn make_offer(&mut self, setup: &mut SessionSetup, fx: &mut Effects) {
        self.negotiation.wanted = false;
        self.slots.assign();
        self.lend_streams();
        let mut api = self.rtc.sdp_api();
        if self.negotiation.last_id == 0 {
            for config in channels::configs() {
                api.add_channel_with_config(config);
            }
        }
        // An empty section stays `sendonly`, with no `a=ssrc`. A browser that sees it inactive in between
        // forgets the stream but not that its picture was fed by this SSRC: when the SSRC comes back
        // it decodes, and shows nothing (libwebrtc, `VideoRtpReceiver`).
        for slot in self.slots.iter_mut() {
            api.set_direction(slot.mid, Direction::SendOnly);
        }
        // Labels are ours, so str0m cannot see that they changed, and offers nothing without a change.
        if let Some(slot) = self.slots.iter_mut().next() {
            api.set_direction(slot.mid, Direction::Inactive);
            api.set_direction(slot.mid, Direction::SendOnly);
        }
        let homeless: Vec<_> =
            self.slots.wishes().iter().filter(|wish| wish.slot.is_none()).cloned().collect();
        for wish in homeless {
            let kind = match wish.subscribe.kind {
                Kind::Audio => MediaKind::Audio,
                Kind::Video => MediaKind::Video,
            };
            let stream = Some(wish.subscribe.stream_label.clone());
            let track = Some(wish.subscribe.track_label.clone());
            let mid: Mid = api.add_media(kind, Direction::SendOnly, stream, track, None);
            self.slots.offer_section(mid, wish.subscribe.kind, true, || setup.numbering());
        }
        let restart = std::mem::take(&mut self.negotiation.restart);
        let theirs = restart.then(|| api.ice_restart(true));
        let offer = api.apply();
        self.open_lanes(false, setup);
        let Some((offer, pending)) = offer else { return };
        self.slots.assign();
        let credentials = theirs.map(|theirs| {
            let ours = self.negotiation.next_credentials.insert(setup.credentials());
            [(theirs.ufrag, ours.ufrag.clone()), (theirs.pass, ours.pass.clone())]
        });
        self.negotiation.last_id += 1;
        let id = self.negotiation.last_id;
        let mut sections = self.slots.dress();
        // Before its redundant form, which str0m puts first: a client that does not know that
        // must still find Opus as our first choice.
        let opus = self.rtc.codec_config().find(|params| params.spec().codec == Format::Opus);
        for section in &mut sections {
            section.payload_types.extend(opus.map(|params| params.pt().to_string()));
        }
        let dress = Dress { credentials, sections, ..Dress::default() };
        let sdp = dress.apply(&offer.to_sdp_string());
        let notice = Notice::Offer { session: self.id, id, sdp, slots: self.slots.notice() };
        fx.notices.push_back(notice.clone());
        self.negotiation.pending = Some(Pending { id, offer: pending, notice });
    }

    /// Takes the client's answer to our offer `id`.
    pub(crate) fn answered(
        &mut self,
        id: u32,
        text: &str,
        setup: &mut SessionSetup,
        now: Instant,
        fx: &mut Effects,
    ) {
        if let Err(reason) = self.accept_answer(id, text, setup, now, fx) {
            let session = self.id;
            fx.notices.push_back(Notice::NegotiationFailed { session, id, reason });
        }
        self.drain(now, fx);
        self.dirty |= self.negotiation.wanted;
    }

    fn accept_answer(
        &mut self,
        id: u32,
        text: &str,
        setup: &mut SessionSetup,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), String> {
        let sections = self.negotiation.formats.check(text)?;
        let pending = self.negotiation.pending.take_if(|pending| pending.id == id);
        let Some(Pending { offer: pending, .. }) = pending else {
            // To an offer that was said again: both answers may arrive.
            let stale = id <= self.negotiation.last_id;
            return if stale { Ok(()) } else { Err("no such offer was made".to_owned()) };
        };
        let mixed = sdp::allows_mixed(&sections);
        let answer = SdpAnswer::from_sdp_string(text).map_err(|error| error.to_string())?;
        check::read_whole(&answer.to_sdp_string(), &sections)?;
        self.lend_streams();
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        self.open_lanes(mixed, setup);
        accepted.map_err(|error| error.to_string())?;
        if let Some(ours) = self.negotiation.next_credentials.take() {
            self.rtc.direct_api().set_local_ice_credentials(ours.clone());
            self.retired = Some(Box::new(std::mem::replace(&mut self.credentials, ours)));
        }
        self.codecs = CodecTable::new(&self.rtc, &sections);
        self.slots.taken();
        fx.announced.extend(self.slots.announce(now));
        Ok(())
    }
}
