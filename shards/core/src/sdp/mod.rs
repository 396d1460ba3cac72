//! Reading what str0m does not tell of an offer, and dressing what it writes.
//!
//! str0m negotiates; it does not say which track a section of an offer names, and it cannot be told
//! what our own sections shall name. [`scan`] (of `shards/base`, since signaling asks it too) reads the
//! first, [`Dress`] writes the second. Both look at single lines and know nothing of sessions.

pub(crate) mod check;

use antipode_base::media::Codec;
pub(crate) use antipode_base::sdp::{MIXED, Section, allows_mixed, scan};

/// What becomes of one section that str0m wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SectionDress {
    /// `a=mid`.
    pub(crate) mid: String,
    /// What we send in it: `a=msid` with these two words. `None`: nothing, so no `a=msid` and no
    /// `a=ssrc` either, and a browser makes no track of it.
    pub(crate) labels: Option<(String, String)>,
    /// The offer's payload types, in the order to keep; empty: as str0m has them.
    pub(crate) payload_types: Vec<String>,
    /// The header extension of this URI is not negotiated.
    pub(crate) without: Option<&'static str>,
    /// Refuse the section: the peer has no codec that we have.
    pub(crate) refused: bool,
}

/// How an SDP of str0m is to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dress {
    /// ICE credentials: what str0m wrote, and what stands instead.
    pub(crate) credentials: Option<[(String, String); 2]>,
    /// The one way that media takes, for `sendrecv`.
    pub(crate) only: Option<&'static str>,
    /// By section; sections that are not named stay.
    pub(crate) sections: Vec<SectionDress>,
    /// An answer may not allow what the offer does not: extensions of both forms in one stream.
    pub(crate) unmixed: bool,
}

impl Dress {
    /// Writes the SDP as it goes to the client.
    pub(crate) fn apply(&self, sdp: &str) -> String {
        let mids: Vec<&str> = sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect();
        let mut out = String::with_capacity(sdp.len() + 256);
        let mut at = 0;
        let mut current: Option<&SectionDress> = None;
        let mut homeless = String::new();
        for line in sdp.lines() {
            if line.starts_with("m=") {
                let mid = mids.get(at).copied().unwrap_or("");
                current = self.sections.iter().find(|section| section.mid == mid);
                at += 1;
            }
            let refused = current.is_some_and(|section| section.refused);
            // str0m has them in the first section. Nobody reads them in a refused one, so they move on
            // to the next (RFC 8843 §7.3.1: that one is tagged then).
            let to =
                if refused && line.starts_with("a=candidate:") { &mut homeless } else { &mut out };
            if let Some(line) = self.line(line, current) {
                to.push_str(&line);
                to.push_str("\r\n");
            }
            if at > 0 && !refused && line.starts_with("c=") {
                out.push_str(&std::mem::take(&mut homeless));
            }
        }
        out
    }

    fn line(&self, line: &str, section: Option<&SectionDress>) -> Option<String> {
        if let Some([ufrag, password]) = &self.credentials {
            for (name, (old, new)) in [("a=ice-ufrag:", ufrag), ("a=ice-pwd:", password)] {
                if line.strip_prefix(name) == Some(old) {
                    return Some(format!("{name}{new}"));
                }
            }
        }
        if line.starts_with("a=candidate:") {
            // The ufrag extension (RFC 8838 §11.1) may be that of before a restart.
            return Some(line.split(" ufrag ").next().unwrap_or(line).to_owned());
        }
        if line == MIXED && self.unmixed {
            return None;
        }
        if let Some(mids) = line.strip_prefix("a=group:BUNDLE") {
            let refused = |mid: &&str| self.sections.iter().any(|s| s.mid == **mid && s.refused);
            let kept: Vec<&str> = mids.split_whitespace().filter(|mid| !refused(mid)).collect();
            return Some(format!("a=group:BUNDLE {}", kept.join(" ")));
        }
        let line = match section {
            Some(section) => section.line(line),
            None => Some(line.to_owned()),
        };
        match self.only {
            Some(only) if line.as_deref() == Some("a=sendrecv") => Some(format!("a={only}")),
            _ => line,
        }
    }
}

impl SectionDress {
    fn line(&self, line: &str) -> Option<String> {
        if self.refused {
            return refused_line(line);
        }
        if line.starts_with("m=") {
            return Some(self.media_line(line));
        }
        if line.starts_with("a=extmap:") && self.without.is_some_and(|uri| line.ends_with(uri)) {
            return None;
        }
        let our_msid = line.starts_with("a=msid:");
        let our_ssrc = line.starts_with("a=ssrc:") || line.starts_with("a=ssrc-group:");
        match &self.labels {
            None if our_msid || our_ssrc => None,
            Some((stream, track)) if our_msid => Some(format!("a=msid:{stream} {track}")),
            Some((stream, track)) if our_ssrc => Some(match line.split_once(" msid:") {
                Some((ssrc, _)) => format!("{ssrc} msid:{stream} {track}"),
                // One CNAME for all that one member sends keeps sound and picture together.
                None => match line.split_once(" cname:") {
                    Some((ssrc, _)) => format!("{ssrc} cname:{}", member_of(stream)),
                    None => line.to_owned(),
                },
            }),
            _ => Some(line.to_owned()),
        }
    }

    /// The answer keeps the offer's order of formats: the first is what the client sends.
    fn media_line(&self, line: &str) -> String {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if !self.payload_types.is_empty() && words.len() > 3 {
            let rank = |pt: &str| self.payload_types.iter().position(|offered| offered == pt);
            words[3..].sort_by_key(|pt| rank(pt).unwrap_or(usize::MAX));
        }
        words.join(" ")
    }
}

/// RFC 3264 §6: a refused section has port 0, and still a format, which means nothing. It is the one
/// that needs no line of its own: there are parsers that miss it, refused or not.
fn refused_line(line: &str) -> Option<String> {
    if let Some(media) = line.strip_prefix("m=") {
        let kind = media.split_whitespace().next().unwrap_or("video");
        return Some(format!("m={kind} 0 UDP/TLS/RTP/SAVPF 0"));
    }
    if matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly") {
        return Some("a=inactive".to_owned());
    }
    let keep = line.starts_with("a=mid:") || line == "a=inactive" || line.starts_with("c=");
    keep.then(|| line.to_owned())
}

/// The member's part of a stream label such as `PA_x|TR_y`.
pub(crate) fn member_of(label: &str) -> &str {
    label.split('|').next().unwrap_or(label)
}

/// The encoding name of an `a=rtpmap` for this codec.
pub(crate) fn encoding_name(codec: Codec) -> &'static str {
    codec.mime().split('/').nth(1).unwrap_or("")
}

/// Puts the payload types of one codec first, the rest as they were.
pub(crate) fn prefer(section: &Section<'_>, codec: Option<Codec>) -> Vec<String> {
    let wanted = |pt: &str| {
        codec.is_some_and(|codec| {
            let named = section.encodings.iter().find(|(mapped, _)| *mapped == pt);
            named.is_some_and(|(_, name)| name.eq_ignore_ascii_case(encoding_name(codec)))
        })
    };
    let (first, rest): (Vec<&str>, Vec<&str>) =
        section.payload_types.iter().copied().partition(|pt| wanted(pt));
    first.into_iter().chain(rest).map(str::to_owned).collect()
}

/// Puts a payload type directly before another one, or last where it is not welcome.
pub(crate) fn place(order: &mut Vec<String>, payload_type: u8, before: u8, welcome: bool) {
    let of = |wanted: u8| move |text: &String| text.parse() == Ok(wanted);
    let Some(at) = order.iter().position(of(payload_type)) else { return };
    let placed = order.remove(at);
    let place = order.iter().position(of(before)).filter(|_| welcome);
    order.insert(place.unwrap_or(order.len()), placed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 45\r\na=mid:1\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:45 AV1/90000\r\n";

    #[test]
    fn a_codec_that_is_wished_for_comes_first() {
        let sections = scan(VIDEO);
        assert_eq!(prefer(&sections[0], Some(Codec::Av1)), ["45", "96", "97"]);
        assert_eq!(prefer(&sections[0], None), ["96", "97", "45"]);
    }

    const ANSWER: &str = "v=0\r\na=group:BUNDLE 0 1 2\r\na=extmap-allow-mixed\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=msid:x y\r\n\
        a=ice-ufrag:old\r\na=ice-pwd:oldpass\r\n\
        a=candidate:1 1 udp 2130706431 10.0.0.1 7882 typ host ufrag old\r\n\
        a=ssrc:5 cname:z\r\na=ssrc:5 msid:x y\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendonly\r\na=msid:x y\r\na=ssrc:6 cname:z\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF\r\na=mid:2\r\na=recvonly\r\na=msid:x y\r\n";

    #[test]
    fn dresses_an_answer() {
        let dress = Dress {
            credentials: Some([
                ("old".to_owned(), "01new".to_owned()),
                ("oldpass".to_owned(), "newpass".to_owned()),
            ]),
            only: None,
            sections: vec![
                SectionDress {
                    mid: "0".to_owned(),
                    labels: Some(("PA_a|TR_b".to_owned(), "TR_b".to_owned())),
                    ..Default::default()
                },
                SectionDress { mid: "1".to_owned(), ..Default::default() },
                SectionDress { mid: "2".to_owned(), refused: true, ..Default::default() },
            ],
            unmixed: true,
        };
        let out = dress.apply(ANSWER);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines,
            [
                "v=0",
                "a=group:BUNDLE 0 1",
                "m=audio 9 UDP/TLS/RTP/SAVPF 111",
                "a=mid:0",
                "a=sendonly",
                "a=msid:PA_a|TR_b TR_b",
                "a=ice-ufrag:01new",
                "a=ice-pwd:newpass",
                "a=candidate:1 1 udp 2130706431 10.0.0.1 7882 typ host",
                "a=ssrc:5 cname:PA_a",
                "a=ssrc:5 msid:PA_a|TR_b TR_b",
                "m=audio 9 UDP/TLS/RTP/SAVPF 111",
                "a=mid:1",
                "a=sendonly",
                "m=video 0 UDP/TLS/RTP/SAVPF 0",
                "a=mid:2",
                "a=inactive",
            ]
        );
    }

    #[test]
    fn candidates_leave_a_refused_section() {
        let sdp = "v=0\r\nm=audio 9 X 1\r\nc=IN IP4 0.0.0.0\r\na=candidate:1\r\na=candidate:2\r\na=mid:0\r\n\
            m=audio 9 X 1\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n\
            m=video 9 X 96\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n";
        let refused =
            |mid: &str| SectionDress { mid: mid.to_owned(), refused: true, ..Default::default() };
        for (mids, home) in [(&[][..], 0), (&["0"][..], 1), (&["0", "1"][..], 2)] {
            let sections = mids.iter().map(|mid| refused(mid)).collect();
            let out = Dress { sections, ..Dress::default() }.apply(sdp);
            let at: Vec<usize> =
                out.split("\r\nm=").skip(1).map(|s| s.matches("a=candidate:").count()).collect();
            let want: Vec<usize> = (0..3).map(|place| if place == home { 2 } else { 0 }).collect();
            assert_eq!(at, want, "{out}");
        }
    }

    #[test]
    fn keeps_the_offers_order_of_formats() {
        let section = SectionDress {
            mid: "1".to_owned(),
            payload_types: ["45", "46", "96", "97"].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        assert_eq!(
            section.media_line("m=video 9 UDP/TLS/RTP/SAVPF 96 97 45 46"),
            "m=video 9 UDP/TLS/RTP/SAVPF 45 46 96 97"
        );
    }

    #[test]
    fn media_takes_one_way() {
        let sdp = "m=video 9 X 96\r\na=mid:0\r\na=sendrecv\r\nm=video 9 X 96\r\na=inactive\r\n";
        let out = Dress { only: Some("recvonly"), ..Dress::default() }.apply(sdp);
        assert_eq!(out, sdp.replace("sendrecv", "recvonly"));
        assert_eq!(Dress::default().apply(sdp), sdp);
    }

    #[test]
    fn an_extension_is_left_out_of_one_section() {
        let map = "a=extmap:2 urn:a\r\na=extmap:12 urn:b\r\n";
        let sdp = format!("m=video 9 X 96\r\na=mid:0\r\n{map}m=video 9 X 96\r\na=mid:1\r\n{map}");
        let section =
            SectionDress { mid: "0".to_owned(), without: Some("urn:b"), ..Default::default() };
        let out = Dress { sections: vec![section], ..Dress::default() }.apply(&sdp);
        assert_eq!(out, sdp.replacen("a=extmap:12 urn:b\r\n", "", 1));
    }

    #[test]
    fn extensions_of_both_forms_are_allowed_for_all_sections_or_for_none() {
        let (audio, video) = ("m=audio 9 X 0\r\n", "m=video 9 X 96\r\n");
        let (line, data) = ("a=extmap-allow-mixed\r\n", "m=application 9 X webrtc-datachannel\r\n");
        for (sdp, want) in [
            (format!("v=0\r\n{line}{audio}{video}"), true),
            (format!("v=0\r\n{audio}{line}{video}{line}{data}"), true),
            (format!("v=0\r\n{audio}{line}{video}"), false),
            (format!("v=0\r\n{audio}{video}"), false),
        ] {
            assert_eq!(allows_mixed(&scan(&sdp)), want, "{sdp}");
        }
        assert_eq!(Dress::default().apply(line), line);
    }
}
