//! A browser's side of one peer connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::config::CryptoProvider;
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// What a client does in the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sends a microphone and a camera in three layers.
    Publisher,
    /// Receives both.
    Viewer,
}

/// See the module's documentation.
pub struct Client {
    /// Where it is.
    pub address: SocketAddr,
    /// Its stack, for what the methods do not do.
    pub rtc: Rtc,
    /// ICE and DTLS are done.
    pub connected: bool,
    /// Media that it received.
    pub packets: Vec<RtpPacket>,
    /// Data packets that it received.
    pub data: Vec<Vec<u8>>,
    /// Its data channels: reliable, lossy.
    pub channels: [Option<ChannelId>; 2],
    /// Its sections for sound and picture.
    pub mids: [Mid; 2],
    pending: Option<SdpPendingOffer>,
    sent: u64,
}

const LABELS: [&str; 2] = ["_reliable", "_lossy"];

impl Client {
    /// A client and its first offer.
    ///
    /// # Panics
    /// Never: the offer is always the same.
    pub fn offering(
        part: Part,
        address: SocketAddr,
        crypto: CryptoProvider,
        now: Instant,
    ) -> (Self, String) {
        let mut rtc =
            Rtc::builder().set_rtp_mode(true).set_crypto_provider(Arc::new(crypto)).build(now);
        let candidate = Candidate::host(address, "udp").expect("an address of ours");
        rtc.add_local_candidate(candidate);
        let mut api = rtc.sdp_api();
        let publishes = part == Part::Publisher;
        let direction = if publishes { Direction::SendOnly } else { Direction::RecvOnly };
        let stream = Some("s".to_owned());
        let audio =
            api.add_media(MediaKind::Audio, direction, stream.clone(), Some("mic".into()), None);
        let layers = ["q", "h", "f"].map(SimulcastLayer::new).to_vec();
        let simulcast = publishes.then(|| Simulcast { send: layers, recv: Vec::new() });
        let video =
            api.add_media(MediaKind::Video, direction, stream, Some("cam".into()), simulcast);
        api.add_channel_with_config(ChannelConfig {
            label: LABELS[0].to_owned(),
            ..ChannelConfig::default()
        });
        api.add_channel_with_config(ChannelConfig {
            label: LABELS[1].to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..ChannelConfig::default()
        });
        let (offer, pending) = api.apply().expect("sections were added");
        let client = Client {
            address,
            rtc,
            connected: false,
            packets: Vec::new(),
            data: Vec::new(),
            channels: [None; 2],
            mids: [audio, video],
            pending: Some(pending),
            sent: 0,
        };
        (client, offer.to_sdp_string())
    }

    /// Takes the answer to its offer. One that it does not wait for, or that does not fit, is let be:
    /// whoever drives the scene may have made the shard answer something else.
    pub fn answered(&mut self, sdp: &str) {
        if let (Some(pending), Ok(answer)) = (self.pending.take(), SdpAnswer::from_sdp_string(sdp))
        {
            let _ = self.rtc.sdp_api().accept_answer(pending, answer);
        }
    }

    /// Takes in a datagram.
    pub fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        if let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, bytes) {
            let _ = self.rtc.handle_input(Input::Receive(now, receive));
        }
    }

    /// Lets time pass; gives what it sends to `send`, as destination and bytes.
    pub fn drain(&mut self, now: Instant, mut send: impl FnMut(SocketAddr, Vec<u8>)) {
        let _ = self.rtc.handle_input(Input::Timeout(now));
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(_)) | Err(_) => return,
                Ok(Output::Transmit(transmit)) => {
                    send(transmit.destination, transmit.contents.into());
                }
                Ok(Output::Event(event)) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::RtpPacket(packet) => self.packets.push(packet),
            Event::ChannelOpen(id, label) => {
                if let Some(at) = LABELS.iter().position(|known| *known == label) {
                    self.channels[at] = Some(id);
                }
            }
            Event::ChannelData(data) => self.data.push(data.data),
            _ => {}
        }
    }

    /// Sends one packet of its microphone.
    ///
    /// # Panics
    /// When it is no publisher, or not connected.
    pub fn speak(&mut self, payload: &[u8], now: Instant) {
        self.sent += 1;
        let mid = self.mids[0];
        let media = self.rtc.media(mid).expect("the section was answered");
        let pt = media.remote_pts()[0];
        let time = self.sent as u32 * 960;
        let write = RtpWrite::new(pt, self.sent.into(), time, now, payload)
            .ext_vals(ExtensionValues { audio_level: Some(-20), ..Default::default() });
        let mut api = self.rtc.direct_api();
        api.stream_tx_by_mid(mid, None).expect("it sends there").write_rtp(write);
    }

    /// Sends one packet of one layer of its camera: 0 is the smallest.
    ///
    /// # Panics
    /// When it is no publisher, or not connected.
    pub fn show(&mut self, layer: usize, payload: &[u8], now: Instant) {
        self.sent += 1;
        let mid = self.mids[1];
        let rid = ["q", "h", "f"][layer].into();
        let media = self.rtc.media(mid).expect("the section was answered");
        let pt = media.remote_pts()[0];
        let time = self.sent as u32 * 3_000;
        let values = ExtensionValues { mid: Some(mid), rid: Some(rid), ..Default::default() };
        let write =
            RtpWrite::new(pt, self.sent.into(), time, now, payload).marker(true).ext_vals(values);
        let mut api = self.rtc.direct_api();
        api.stream_tx_by_mid(mid, Some(rid)).expect("it sends there").write_rtp(write);
    }

    /// Sends a data packet; `false` when the channel is not open or full.
    pub fn say(&mut self, reliable: bool, bytes: &[u8]) -> bool {
        let channel = self.channels[usize::from(!reliable)];
        let Some(mut channel) = channel.and_then(|id| self.rtc.channel(id)) else { return false };
        channel.write(true, bytes).unwrap_or(false)
    }
}
