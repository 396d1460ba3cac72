//! The two data channels of a session that carry data packets.

use str0m::channel::{ChannelConfig, ChannelId, Reliability};

/// Label of the channel whose packets arrive all and in order.
const RELIABLE: &str = "_reliable";
/// Label of the channel whose packets arrive as they can.
const LOSSY: &str = "_lossy";

/// Open channels. Others that a client opens are let be and not listened to.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    reliable: Option<ChannelId>,
    lossy: Option<ChannelId>,
}

impl Channels {
    /// A channel has opened, whoever opened it.
    pub(crate) fn opened(&mut self, id: ChannelId, label: &str) {
        match label {
            RELIABLE => self.reliable = Some(id),
            LOSSY => self.lossy = Some(id),
            _ => {}
        }
    }

    /// A channel is gone.
    pub(crate) fn closed(&mut self, id: ChannelId) {
        for channel in [&mut self.reliable, &mut self.lossy] {
            if *channel == Some(id) {
                *channel = None;
            }
        }
    }

    /// Whether this is the reliable channel; `None` when it is neither.
    pub(crate) fn reliable(&self, id: ChannelId) -> Option<bool> {
        if self.reliable == Some(id) {
            Some(true)
        } else {
            (self.lossy == Some(id)).then_some(false)
        }
    }

    /// The channel to send on.
    pub(crate) fn id(&self, reliable: bool) -> Option<ChannelId> {
        if reliable { self.reliable } else { self.lossy }
    }
}

/// The channels that we open where we offer.
pub(crate) fn configs() -> [ChannelConfig; 2] {
    [
        ChannelConfig { label: RELIABLE.to_owned(), ..ChannelConfig::default() },
        ChannelConfig {
            label: LOSSY.to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..ChannelConfig::default()
        },
    ]
}
