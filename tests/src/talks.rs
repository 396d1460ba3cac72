//! A client's offers and answers, as the SDK of a browser has them: one offer at a time, changes
//! that come meanwhile wait for the next one.

use antipode_base::media::Kind;
use antipode_base::notice::Slot;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};

use crate::path::Micros;
use crate::peer::{CHANNELS, Peer};
use crate::source::RIDS;

/// A change that needs an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The data channels' section and both channels.
    Channels,
    /// More sections to receive on.
    Receive {
        /// For sound.
        audio: u16,
        /// For pictures.
        video: u16,
    },
    /// Just another offer: the other side has something to say in its answer.
    Again,
    /// A section for a source, by its track.
    Publish(u64),
    /// The source's section sends no more.
    Unpublish(u64),
    /// New ICE credentials.
    RestartIce,
}

/// From a client to signaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSays {
    /// Its offer.
    Offer {
        /// Its number.
        id: u32,
        /// The description.
        sdp: String,
    },
    /// Its answer to the server's offer.
    Answer {
        /// The server's number.
        id: u32,
        /// The description.
        sdp: String,
    },
}

/// From signaling to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSays {
    /// To the client's offer.
    Answer {
        /// The client's number.
        id: u32,
        /// The description.
        sdp: String,
        /// Which section carries what.
        slots: Vec<Slot>,
    },
    /// The server's offer.
    Offer {
        /// The server's number.
        id: u32,
        /// The description.
        sdp: String,
        /// Which section carries what.
        slots: Vec<Slot>,
    },
    /// Offer again, with so many more sections.
    NeedSections {
        /// For sound.
        audio: u16,
        /// For pictures.
        video: u16,
    },
    /// The offer or answer was not applied.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Where a client's negotiation stands.
#[derive(Default)]
pub struct Talks {
    /// Changes for the next offer.
    pub wants: Vec<Want>,
    /// What it says, to be taken by the world.
    pub said: Vec<ClientSays>,
    /// Which section carries what, as last told.
    pub slots: Vec<Slot>,
    /// `a=mid` of each section, in the order of the description.
    pub mids: Vec<String>,
    /// Every track that a section was ever said to carry.
    pub slots_ever: Vec<Slot>,
    /// Offers and answers that failed, ever.
    pub failures: Vec<String>,
    /// Writes this in place of its own fingerprint's first byte: a forged description.
    pub forge_fingerprint: bool,
    /// The node's ufrag of the last description.
    pub node_ufrag: Option<String>,
    /// Offers that were answered.
    pub rounds: u32,
    pending: Option<(u32, SdpPendingOffer)>,
    last_id: u32,
    receiving: Option<Mid>,
}

impl Peer {
    /// Adds a change; it is offered when no offer is under way.
    pub fn want(&mut self, now: Micros, want: Want) {
        self.talks.wants.push(want);
        self.offer(now);
    }

    /// Takes in what signaling says.
    pub fn hear(&mut self, now: Micros, says: ServerSays) {
        if self.vanished || self.closed {
            return;
        }
        match says {
            ServerSays::Answer { id, sdp, slots } => self.answered(now, id, &sdp, slots),
            ServerSays::Offer { id, sdp, slots } => self.offered(now, id, &sdp, slots),
            ServerSays::NeedSections { audio: 0, video: 0 } => self.want(now, Want::Again),
            ServerSays::NeedSections { audio, video } => {
                self.want(now, Want::Receive { audio, video });
            }
            ServerSays::Failed { reason } => {
                self.talks.failures.push(reason);
                self.talks.pending = None;
                self.offer(now);
            }
        }
    }

    fn learn(&mut self, sdp: &str, slots: Vec<Slot>) {
        let ufrag = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        self.talks.node_ufrag = ufrag.map(str::to_owned);
        let mids = sdp.lines().filter_map(|line| line.strip_prefix("a=mid:"));
        self.talks.mids = mids.map(str::to_owned).collect();
        self.talks.slots_ever.extend(slots.iter().cloned());
        self.talks.slots = slots;
    }

    fn answered(&mut self, now: Micros, id: u32, sdp: &str, slots: Vec<Slot>) {
        let Some((_, pending)) = self.talks.pending.take_if(|(pending, _)| *pending == id) else {
            return self.talks.failures.push(format!("answer {id} to no offer"));
        };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| error.to_string());
        let accepted = answer.and_then(|answer| {
            let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
            accepted.map_err(|error| error.to_string())
        });
        match accepted {
            Ok(()) => {
                self.talks.rounds += 1;
                for source in self.sources.iter_mut().filter(|source| source.mid.is_some()) {
                    source.negotiated = true;
                }
                self.learn(sdp, slots);
            }
            Err(error) => self.talks.failures.push(error),
        }
        self.tick(now);
        self.offer(now);
    }

    fn offered(&mut self, now: Micros, id: u32, sdp: &str, slots: Vec<Slot>) {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| error.to_string());
        let answer = offer.and_then(|offer| {
            let accepted = self.rtc.sdp_api().accept_offer(offer);
            accepted.map_err(|error| error.to_string())
        });
        match answer {
            Ok(answer) => {
                let sdp_own = self.dressed(&answer.to_sdp_string());
                self.talks.said.push(ClientSays::Answer { id, sdp: sdp_own });
                self.talks.rounds += 1;
                self.learn(sdp, slots);
            }
            Err(error) => self.talks.failures.push(error),
        }
        self.tick(now);
    }

    /// Makes one offer of all changes that wait.
    fn offer(&mut self, now: Micros) {
        if self.talks.pending.is_some() || self.talks.wants.is_empty() {
            return;
        }
        let wants = std::mem::take(&mut self.talks.wants);
        let mut api = self.rtc.sdp_api();
        for want in &wants {
            match want {
                Want::Channels => CHANNELS.iter().for_each(|label| {
                    api.add_channel_with_config(channel(label));
                }),
                Want::Receive { audio, video } => {
                    for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
                        for _ in 0..*count {
                            let mid = api.add_media(kind, Direction::RecvOnly, None, None, None);
                            self.talks.receiving.get_or_insert(mid);
                        }
                    }
                }
                Want::Again => {
                    // str0m offers changes only: a direction that goes and comes back is one.
                    if let Some(mid) = self.talks.receiving {
                        api.set_direction(mid, Direction::SendRecv);
                        api.set_direction(mid, Direction::RecvOnly);
                    }
                }
                Want::Publish(track) => {
                    let source = self.sources.iter_mut().find(|source| source.track == *track);
                    let Some(source) = source else { continue };
                    let (kind, simulcast) = section(source.media.kind, source.media.layers);
                    let (stream, label) = (Some("stream".to_owned()), source.client_id.clone());
                    let direction = Direction::SendOnly;
                    let mid = api.add_media(kind, direction, stream, Some(label), simulcast);
                    source.mid = Some(mid);
                }
                Want::Unpublish(track) => {
                    let source = self.sources.iter().find(|source| source.track == *track);
                    if let Some(mid) = source.and_then(|source| source.mid) {
                        api.set_direction(mid, Direction::Inactive);
                    }
                }
                Want::RestartIce => {
                    api.ice_restart(true);
                }
            }
        }
        if let Some((offer, pending)) = api.apply() {
            self.talks.last_id += 1;
            let id = self.talks.last_id;
            let sdp = self.dressed(&offer.to_sdp_string());
            self.talks.pending = Some((id, pending));
            self.talks.said.push(ClientSays::Offer { id, sdp });
        }
        self.tick(now);
    }

    /// The description as a browser would write it: no `a=ssrc` for simulcast, whose streams are
    /// told apart by their rids alone.
    fn dressed(&self, sdp: &str) -> String {
        let mut out = String::with_capacity(sdp.len());
        let mut lines = sdp.lines().peekable();
        while lines.peek().is_some() {
            // One section: up to the next `m=` line.
            let mut section = vec![lines.next().unwrap_or_default()];
            while let Some(line) = lines.next_if(|line| !line.starts_with("m=")) {
                section.push(line);
            }
            let simulcast = section.iter().any(|line| line.starts_with("a=simulcast:send"));
            for line in section {
                if !(simulcast && line.starts_with("a=ssrc")) {
                    out.push_str(&self.line(line));
                    out.push_str("\r\n");
                }
            }
        }
        out
    }

    fn line(&self, line: &str) -> String {
        match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(print) if self.talks.forge_fingerprint => {
                let first = if print.starts_with("00") { "01" } else { "00" };
                format!("a=fingerprint:sha-256 {first}{}", print.get(2..).unwrap_or_default())
            }
            _ => line.to_owned(),
        }
    }
}

fn channel(label: &str) -> ChannelConfig {
    let lossy = label == CHANNELS[1];
    let reliability =
        if lossy { Reliability::MaxRetransmits { retransmits: 0 } } else { Reliability::default() };
    ChannelConfig {
        label: label.to_owned(),
        ordered: !lossy,
        reliability,
        ..ChannelConfig::default()
    }
}

fn section(kind: Kind, layers: u8) -> (MediaKind, Option<Simulcast>) {
    if kind == Kind::Audio {
        return (MediaKind::Audio, None);
    }
    let mut simulcast = Simulcast::new();
    for rid in RIDS.iter().take(usize::from(layers)) {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    (MediaKind::Video, (layers > 1).then_some(simulcast))
}
