//! What an offer by HTTP asks for, and what is wrong with it before any work is done.
//!
//! The shard judges an offer in the end. This only finds what a person can mend, and says where it stands.

use antipode_base::limits::{LAYERS_MAX, NAME_MAX, TRACKS_PER_SESSION_MAX};
use antipode_base::media::{Codec, Kind};
use antipode_base::sdp::{self, Section};

use crate::model::http::Way;
use crate::model::member::Permissions;
use crate::model::program::{Choice, Program, Sound};
use crate::model::track::{LayerSpec, Marks, Source, TrackSpec};

/// Payload types that mean a codec without saying so (RFC 3551 §6).
const STATIC: [(&str, Codec); 2] = [("0", Codec::Pcmu), ("8", Codec::Pcma)];
/// Codecs that can be forwarded.
const CODECS: [Codec; 8] = [
    Codec::Opus,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::Vp8,
    Codec::Vp9,
    Codec::H264,
    Codec::H265,
    Codec::Av1,
];
/// Sections of one kind that a player may have.
const SECTIONS_MAX: usize = TRACKS_PER_SESSION_MAX;

/// Why an offer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is none, or not one of this way. With its line, counted from 1.
    Bad(usize, String),
    /// No codec of ours in the section of that line; in any of them, if the last says so.
    Codec(usize, bool),
    /// The token does not let it be sent.
    Forbidden(&'static str),
}

/// An offer that looks well.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    text: &'a str,
    sections: Vec<Section<'a>>,
    way: Way,
}

impl<'a> Offer<'a> {
    /// Looks it through.
    pub(super) fn read(text: &'a str, way: Way) -> Result<Self, Fault> {
        let lines = check_lines(text)?;
        let offer = Offer { text, sections: sdp::scan(text), way };
        for (name, what) in [
            ("a=ice-ufrag:", "the offer has no a=ice-ufrag"),
            ("a=ice-pwd:", "the offer has no a=ice-pwd"),
            ("a=fingerprint:", "the offer has no a=fingerprint"),
        ] {
            if !text.lines().any(|line| line.starts_with(name)) {
                return Err(Fault::Bad(lines, what.to_owned()));
            }
        }
        let count = offer.carrying().count();
        if count == 0 {
            let what = match way {
                Way::Whip => "no section sends anything: a publisher's are sendonly",
                Way::Whep => "no section receives anything: a player's are recvonly",
            };
            return Err(Fault::Bad(lines, what.to_owned()));
        }
        if count > SECTIONS_MAX {
            let what = format!("{count} sections for media, {SECTIONS_MAX} are allowed");
            return Err(Fault::Bad(lines, what));
        }
        offer.check_codecs()?;
        Ok(offer)
    }

    /// Sections by which media is to go, with their places.
    fn carrying(&self) -> impl Iterator<Item = (usize, &Section<'a>)> {
        let wanted = |section: &Section<'_>| match self.way {
            Way::Whip => section.sends,
            Way::Whep => section.receives,
        };
        let sections = self.sections.iter().enumerate();
        sections.filter(move |(_, s)| wanted(s) && !s.stopped && s.kind.is_some())
    }

    fn check_codecs(&self) -> Result<(), Fault> {
        let known = |section: &Section<'_>| codecs(section).next().is_some();
        let Some((place, _)) = self.carrying().find(|(_, section)| !known(section)) else {
            return Ok(());
        };
        let all = self.carrying().all(|(_, section)| !known(section));
        // A player that lacks one of ours still plays the rest.
        if all || self.way == Way::Whip {
            return Err(Fault::Codec(line_of(self.text, place), all));
        }
        Ok(())
    }

    /// What a publisher is about to send. `screen`: no camera and no microphone.
    pub(super) fn tracks(&self, screen: bool, may: &Permissions) -> Result<Vec<TrackSpec>, Fault> {
        let mut specs: Vec<TrackSpec> = Vec::new();
        for (place, section) in self.carrying() {
            let kind = section.kind.unwrap_or(Kind::Video);
            let usual = match (kind, screen) {
                (Kind::Audio, false) => Source::Microphone,
                (Kind::Video, false) => Source::Camera,
                (Kind::Audio, true) => Source::ScreenShareAudio,
                (Kind::Video, true) => Source::ScreenShare,
            };
            // A second one of its kind is something else.
            let first = specs.iter().all(|spec| spec.kind != kind);
            let source = if first { usual } else { Source::Unknown };
            if !may.may_publish(source) {
                return Err(Fault::Forbidden(match kind {
                    Kind::Audio => "the access token does not let this sound be published",
                    Kind::Video => "the access token does not let this picture be published",
                }));
            }
            let label = section.track_label.filter(|label| {
                let fits = !label.is_empty() && label.len() <= NAME_MAX;
                fits && specs.iter().all(|spec| spec.client_id != *label)
            });
            // Without a label a shard takes announcements in the order of the sections.
            let client_id = label.map_or_else(|| format!("section {place}"), str::to_owned);
            specs.push(TrackSpec {
                client_id,
                kind,
                source,
                name: String::new(),
                stream: String::new(),
                width: 0,
                height: 0,
                layers: rungs(section),
                codec: None,
                muted: false,
                marks: self.marks(place, section),
            });
        }
        Ok(specs)
    }

    fn marks(&self, place: usize, section: &Section<'_>) -> Marks {
        let body = self.text.split("\nm=").nth(place + 1).unwrap_or("");
        let red = section.encodings.iter().any(|(_, name)| name.eq_ignore_ascii_case("red"));
        Marks {
            // What it is about to send (RFC 7587 §6.1).
            stereo: body.contains("sprop-stereo=1"),
            disable_red: !red,
            disable_dtx: !body.contains("usedtx=1"),
            ..Marks::default()
        }
    }

    /// What a player can take.
    pub(super) fn program(&self, of: Option<String>, sound: Sound, choice: Choice) -> Program {
        let count = |kind| {
            let of_kind = self.carrying().filter(|(_, section)| section.kind == Some(kind));
            u8::try_from(of_kind.count()).unwrap_or(u8::MAX)
        };
        let mut known: Vec<Codec> = self.carrying().flat_map(|(_, s)| codecs(s)).collect();
        known.sort_unstable_by_key(|codec| codec.mime());
        known.dedup();
        let line = self.carrying().find(|(_, section)| section.kind == Some(Kind::Video));
        Program {
            of,
            sound,
            audio_sections: count(Kind::Audio),
            video_sections: count(Kind::Video),
            video_line: line.map_or(0, |(place, _)| u8::try_from(place).unwrap_or(u8::MAX)),
            codecs: known,
            choice,
        }
    }
}

/// Whether these are the lines of a description (RFC 8866 §5). Gives their number.
fn check_lines(text: &str) -> Result<usize, Fault> {
    let bad = |line: usize, what: &str| Err(Fault::Bad(line, what.to_owned()));
    let mut lines = 0;
    for (at, line) in text.lines().enumerate() {
        lines = at + 1;
        let shaped = line.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && line.as_bytes().get(1) == Some(&b'=');
        if at == 0 && line != "v=0" {
            return bad(lines, "a description begins with v=0");
        }
        if !shaped {
            return bad(lines, "no line of a description: one letter, =, and a value");
        }
        if line.strip_prefix("m=").is_some_and(|media| !is_media(media)) {
            return bad(lines, "a media line has a kind, a port, a protocol and formats");
        }
    }
    match lines {
        0 => bad(1, "the body is empty"),
        _ if !text.contains("\nm=") => bad(lines, "the offer has no media section"),
        _ => Ok(lines),
    }
}

fn is_media(media: &str) -> bool {
    let words: Vec<&str> = media.split_whitespace().collect();
    words.len() >= 4 && words[1].split('/').next().is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The line, counted from 1, of the section at that place.
pub(super) fn line_of(text: &str, place: usize) -> usize {
    let mut media = text.lines().enumerate().filter(|(_, line)| line.starts_with("m="));
    media.nth(place).map_or(1, |(at, _)| at + 1)
}

/// Codecs of ours that a section names.
fn codecs<'a>(section: &'a Section<'_>) -> impl Iterator<Item = Codec> + 'a {
    let named = |codec: &Codec| {
        let name = codec.mime().split('/').nth(1).unwrap_or_default();
        let plain = STATIC.iter().any(|(pt, of)| of == codec && section.payload_types.contains(pt));
        let mapped = section.encodings.iter().any(|(pt, encoding)| {
            encoding.eq_ignore_ascii_case(name) && section.payload_types.contains(pt)
        });
        plain || mapped
    };
    CODECS.into_iter().filter(move |codec| section.kind == Some(codec.kind()) && named(codec))
}

/// The rungs of a simulcast, as many as are forwarded; their sizes are not said.
fn rungs(section: &Section<'_>) -> Vec<LayerSpec> {
    let named = section.rids.len();
    let count = if named > 0 { named } else { section.simulcast_ssrcs.len() }.min(LAYERS_MAX);
    let rung = |quality| LayerSpec { quality, width: 0, height: 0, bitrate: 0 };
    if count < 2 { Vec::new() } else { (0..count as u8).map(rung).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n";
    const SOUND: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=sendonly\r\n\
        a=msid:s mic\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 sprop-stereo=1;usedtx=1\r\n\
        a=rtpmap:63 red/48000/2\r\n";
    const PICTURE: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
    const ODD: &str = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:2\r\na=sendonly\r\n\
        a=rtpmap:97 theora/90000\r\n";

    fn read(text: &str, way: Way) -> Result<Offer<'_>, Fault> {
        Offer::read(text, way)
    }

    #[test]
    fn sections_become_tracks_in_any_order() {
        let all = Permissions::default();
        let text = format!("{HEAD}{PICTURE}{SOUND}{PICTURE}");
        let tracks = read(&text, Way::Whip).unwrap().tracks(false, &all).unwrap();
        let rows: Vec<_> =
            tracks.iter().map(|t| (t.client_id.as_str(), t.source, t.layers.len())).collect();
        assert_eq!(
            rows,
            [
                ("section 0", Source::Camera, 2),
                ("mic", Source::Microphone, 0),
                ("section 2", Source::Unknown, 2),
            ]
        );
        let marks = &tracks[1].marks;
        assert_eq!((marks.stereo, marks.disable_red, marks.disable_dtx), (true, false, false));
        let screen = read(&text, Way::Whip).unwrap().tracks(true, &all).unwrap();
        assert_eq!(
            (screen[0].source, screen[1].source),
            (Source::ScreenShare, Source::ScreenShareAudio)
        );
        let voice = Permissions { sources: vec![Source::Microphone], ..Permissions::default() };
        let refused = read(&text, Way::Whip).unwrap().tracks(false, &voice);
        assert!(matches!(refused, Err(Fault::Forbidden(_))), "{refused:?}");
    }

    #[test]
    fn a_label_that_is_taken_is_no_name() {
        let text = format!("{HEAD}{SOUND}{SOUND}");
        let tracks =
            read(&text, Way::Whip).unwrap().tracks(false, &Permissions::default()).unwrap();
        assert_eq!((&*tracks[0].client_id, &*tracks[1].client_id), ("mic", "section 1"));
    }

    #[test]
    fn a_players_sections_are_counted() {
        let text = format!("{HEAD}{SOUND}{ODD}{PICTURE}").replace("sendonly", "recvonly");
        let offer = read(&text, Way::Whep).unwrap();
        let program = offer.program(None, Sound::Top, Choice::default());
        assert_eq!((program.audio_sections, program.video_sections, program.video_line), (1, 2, 1));
        assert_eq!(program.codecs, [Codec::Opus, Codec::Vp8]);
        let none = read(&format!("{HEAD}{SOUND}"), Way::Whep).unwrap_err();
        assert!(matches!(none, Fault::Bad(..)), "{none:?}");
    }

    #[test]
    fn faults_name_their_line() {
        let bad = |line| Some((line, false));
        for (text, want) in [
            (String::new(), bad(1)),
            ("hello".to_owned(), bad(1)),
            ("v=0".to_owned(), bad(1)),
            (format!("{HEAD}\r\nm=audio 9 X 0\r\n"), bad(8)),
            (format!("{HEAD}m=audio nine X 0\r\n"), bad(8)),
            (format!("{HEAD}{SOUND}nonsense\r\n"), bad(15)),
            (format!("{HEAD}{SOUND}").replace("a=ice-pwd", "a=ice-pw"), bad(14)),
            (format!("{HEAD}{SOUND}").replace("a=fingerprint", "a=finger"), bad(14)),
            (format!("{HEAD}{SOUND}").replace("sendonly", "inactive"), bad(14)),
            (format!("{HEAD}{}", SOUND.repeat(SECTIONS_MAX + 1)), bad(126)),
            (format!("{HEAD}{SOUND}{ODD}"), Some((15, true))),
            (format!("{HEAD}{ODD}"), Some((8, true))),
            (format!("{HEAD}m=audio 9 X 8\r\na=mid:0\r\n"), None),
        ] {
            let found = match read(&text, Way::Whip) {
                Err(Fault::Bad(line, _)) => bad(line),
                Err(Fault::Codec(line, _)) => Some((line, true)),
                Err(other) => panic!("{other:?}"),
                Ok(_) => None,
            };
            assert_eq!(found, want, "{text}");
        }
        let codec = |text: &str| read(text, Way::Whip).unwrap_err();
        assert_eq!(codec(&format!("{HEAD}{SOUND}{ODD}")), Fault::Codec(15, false));
        assert_eq!(codec(&format!("{HEAD}{ODD}")), Fault::Codec(8, true));
    }
}
