//! What was decided about one packet, and why one was dropped.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a datagram, packet or parcel went no further. Each is a label of the drop counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label in `/metrics`.
            pub fn as_str(self) -> &'static str {
                match self { $(DropReason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    // -- at the datagram's entry
    /// Empty, or its first byte belongs to no protocol of RFC 7983.
    NotOurs = "not_ours",
    /// An RTP datagram above [`crate::limits::RTP_MAX`], or one that the kernel had to cut.
    Oversized = "oversized",
    /// STUN that does not parse, has no MESSAGE-INTEGRITY, or is no binding request.
    StunMalformed = "stun_malformed",
    /// STUN for a ufrag that no session has.
    StunUnknownUfrag = "stun_unknown_ufrag",
    /// STUN whose MESSAGE-INTEGRITY is wrong.
    StunBadIntegrity = "stun_bad_integrity",
    /// DTLS, SRTP or SRTCP from an address that no session has validated.
    UnknownAddress = "unknown_address",
    /// The session's state machine refused the datagram.
    SessionRefused = "session_refused",
    /// The session ended a moment ago.
    SessionGone = "session_gone",
    /// RTP of an SSRC that belongs to no section, before or behind the session's own look at it.
    UnknownSsrc = "unknown_ssrc",
    /// RTP of a known SSRC that became no packet: failed authentication, replay, or only padding.
    NotMedia = "not_media",
    /// STUN by TCP that names another shard than its connection's first message did.
    OtherShard = "other_shard",
    // -- from datagram to packet
    /// RTP of a section that carries no announced track.
    NoTrack = "no_track",
    /// RTP of a rid that was not negotiated, or of one rung too many.
    NoLayer = "no_layer",
    /// The payload's own header does not parse.
    PayloadMalformed = "payload_malformed",
    /// Sound that came after a later packet's redundancy (RFC 2198) had stood in for it.
    AlreadyMended = "already_mended",
    /// A dependency descriptor that does not parse, or that refers to a keyframe that did not come.
    DescriptorUnread = "descriptor_unread",
    /// The member may not publish.
    NotPermitted = "not_permitted",
    // -- fan-out, per viewer
    /// The viewer's session is not connected yet.
    NotConnected = "not_connected",
    /// The viewer paused the track.
    Paused = "paused",
    /// The viewer's bandwidth does not suffice for even the smallest layer.
    Starved = "starved",
    /// Too much waits for the viewer's narrow path already.
    PacerFull = "pacer_full",
    /// Another layer than the viewer's current one.
    OtherLayer = "other_layer",
    /// Other microphones of the room are louder. With the look-back it may still go out.
    NotLoudest = "not_loudest",
    /// Nothing may be sent before a keyframe.
    AwaitingKeyframe = "awaiting_keyframe",
    /// Older than what was sent before the last switch.
    TooOld = "too_old",
    /// The viewer did not negotiate the codec.
    CodecNotNegotiated = "codec_not_negotiated",
    // -- queues
    /// The ring to another shard is full.
    RingFull = "ring_full",
    /// The outbox is full, or the kernel refused the datagram.
    OutboxFull = "outbox_full",
    /// A parcel for a track or room that is not (or no longer) here.
    ParcelUnwanted = "parcel_unwanted",
    /// A data packet that is malformed, too large, or not permitted.
    DataRefused = "data_refused",
    /// A data packet to a receiver whose buffer is full.
    DataBacklog = "data_backlog",
    /// The channel to the control thread is full.
    NoticeFull = "notice_full",
}

/// What the forwarder decided on one packet for one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// It goes out, rewritten so.
    Forward(T),
    /// It does not.
    Drop(DropReason),
}

/// Drop counters by reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops(Vec<u64>);

impl Default for Drops {
    fn default() -> Self {
        Drops(vec![0; DropReason::COUNT])
    }
}

impl Drops {
    /// One more.
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// That many more.
    pub fn add(&mut self, reason: DropReason, count: u64) {
        self.0[reason as usize] += count;
    }

    /// How many so far.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_distinct_labels_and_dense_numbers() {
        let labels: std::collections::HashSet<_> =
            DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
