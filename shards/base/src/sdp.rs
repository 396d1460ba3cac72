//! Reading the media sections of a session description (RFC 8866) line by line.
//!
//! A shard asks it which track a section of an offer names, which str0m does not tell; signaling asks it
//! what a client that speaks plain HTTP is about to send. It judges nothing and never fails.

use crate::limits::LAYERS_MAX;
use crate::media::Kind;

/// One media section of an SDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// `a=mid`.
    pub mid: &'a str,
    /// `None` for the data channels' section.
    pub kind: Option<Kind>,
    /// The peer sends.
    pub sends: bool,
    /// The peer receives.
    pub receives: bool,
    /// Header extensions of both forms may come in one stream (RFC 8285 §6).
    pub mixed: bool,
    /// The section is rejected: port 0 and not bundled (RFC 9143 §7.3).
    pub stopped: bool,
    /// Second part of `a=msid` (RFC 8830), or of the older `a=ssrc:… msid:`.
    pub track_label: Option<&'a str>,
    /// `a=simulcast:send`, in its order; the first of alternatives (RFC 8853 §5.1).
    pub rids: Vec<&'a str>,
    /// `a=ssrc-group:SIM`, lowest layer first: a simulcast from before there were rids.
    pub simulcast_ssrcs: Vec<u32>,
    /// Payload types as the `m=` line has them.
    pub payload_types: Vec<&'a str>,
    /// Payload type and encoding name of each `a=rtpmap`.
    pub encodings: Vec<(&'a str, &'a str)>,
}

/// Header extensions of both forms are allowed: of a whole description or of one section.
pub const MIXED: &str = "a=extmap-allow-mixed";

/// The sections of an SDP, in their order. Never fails: str0m judges whether it is an SDP at all.
pub fn scan(sdp: &str) -> Vec<Section<'_>> {
    let bundle = sdp.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE")).unwrap_or("");
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut mixed = false;
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push(Section { mixed, ..section(media) });
        } else if let Some(section) = sections.last_mut() {
            attribute(section, line);
        } else {
            mixed |= line == MIXED;
        }
    }
    for section in &mut sections {
        section.stopped &= !bundle.split_whitespace().any(|mid| mid == section.mid);
    }
    sections
}

/// Whether header extensions of both forms may go to the peer in all sections: our descriptions say it of
/// all or of none.
pub fn allows_mixed(sections: &[Section<'_>]) -> bool {
    sections.iter().filter(|section| section.kind.is_some()).all(|section| section.mixed)
}

fn section(media: &str) -> Section<'_> {
    let mut words = media.split_whitespace();
    let kind = match words.next() {
        Some("audio") => Some(Kind::Audio),
        Some("video") => Some(Kind::Video),
        _ => None,
    };
    let stopped = words.next() == Some("0");
    let payload_types = words.skip(1).collect();
    // Without a direction a section is sendrecv (RFC 8866 §6.7).
    Section {
        mid: "",
        kind,
        sends: true,
        receives: true,
        mixed: false,
        stopped,
        track_label: None,
        rids: Vec::new(),
        simulcast_ssrcs: Vec::new(),
        payload_types,
        encodings: Vec::new(),
    }
}

fn attribute<'a>(section: &mut Section<'a>, line: &'a str) {
    let Some(attribute) = line.strip_prefix("a=") else { return };
    let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
    match name {
        "mid" => section.mid = value.trim(),
        "extmap-allow-mixed" => section.mixed = true,
        "sendonly" => section.receives = false,
        "recvonly" => section.sends = false,
        "inactive" => (section.sends, section.receives) = (false, false),
        "msid" => section.track_label = value.split_whitespace().nth(1),
        "ssrc" if section.track_label.is_none() => {
            section.track_label =
                value.split_once(" msid:").and_then(|(_, labels)| labels.split_whitespace().nth(1));
        }
        "ssrc-group" => {
            if let Some(ssrcs) = value.strip_prefix("SIM ") {
                let ssrcs = ssrcs.split_whitespace().filter_map(|ssrc| ssrc.parse().ok());
                section.simulcast_ssrcs = ssrcs.take(LAYERS_MAX).collect();
            }
        }
        "simulcast" => {
            let mut words = value.split_whitespace();
            if words.by_ref().any(|word| word == "send") {
                let rids = words.next().unwrap_or("").split(';');
                section.rids = rids
                    .filter_map(|alternatives| alternatives.split(',').next())
                    .map(|rid| rid.trim_start_matches('~'))
                    .filter(|rid| !rid.is_empty())
                    .collect();
            }
        }
        "rtpmap" => {
            if let Some((pt, encoding)) = value.split_once(' ') {
                section.encodings.push((pt, encoding.split('/').next().unwrap_or("")));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1 2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 45\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:45 AV1/90000\r\na=msid:stream cid-1\r\n\
        a=sendonly\r\na=rid:q send\r\na=rid:h send\r\na=simulcast:send q;~h,f\r\n\
        a=ssrc-group:FID 5 9\r\na=ssrc-group:SIM 5 6 x 7 8\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:3\r\na=inactive\r\na=ssrc:7 msid:s cid-2\r\n";

    #[test]
    fn scans_an_offer() {
        let sections = scan(OFFER);
        let rows: Vec<_> = sections
            .iter()
            .map(|s| (s.mid, s.kind, s.sends, s.receives, s.stopped, s.track_label))
            .collect();
        assert_eq!(
            rows,
            [
                ("0", Some(Kind::Audio), false, true, false, None),
                ("1", Some(Kind::Video), true, false, false, Some("cid-1")),
                ("2", None, true, true, false, None), // port 0, but bundled
                ("3", Some(Kind::Audio), false, false, true, Some("cid-2")),
            ]
        );
        assert_eq!(sections[1].rids, ["q", "h"]);
        assert_eq!(sections[1].simulcast_ssrcs, [5, 6, 7], "and no more than there are layers");
    }

    #[test]
    fn scanning_survives_nonsense() {
        for text in ["", "m=", "m=\r\na=", "a=mid:0", "m=audio\r\na=simulcast:send", "\u{0}\n\r"] {
            scan(text);
        }
    }
}
