//! What a description must keep to before str0m may read it: limits, and the rules whose breach makes
//! str0m panic or answer other sections than were offered.

use antipode_base::limits::{SDP_MAX, SUBSCRIPTIONS_PER_SESSION_MAX, TRACKS_PER_SESSION_MAX};

use super::{Section, scan};

/// Sections of one description: all that a session may send and receive, and the data channels.
const SECTIONS_MAX: usize = SUBSCRIPTIONS_PER_SESSION_MAX + TRACKS_PER_SESSION_MAX + 1;
/// Format parameters that make one codec of another. The rest may differ from section to section, as
/// browsers and SDKs have it with `stereo` or `x-google-start-bitrate`.
const TELLING: [&str; 6] =
    ["apt", "packetization-mode", "profile", "profile-id", "profile-level-id", "tier-flag"];

/// RFC 3550 §5.1: seven bits.
const PAYLOAD_TYPE_MAX: u8 = 127;

/// What each payload type means to the client. It must be one and the same in all sections of a bundle
/// (RFC 9143 §9.1), and stay so for as long as the session lasts (RFC 3264 §8.3.2).
#[derive(Debug, Default)]
pub(crate) struct Formats(Vec<(u8, Box<str>)>);

impl Formats {
    /// Checks a description and returns its sections. A description that is refused leaves no trace.
    pub(crate) fn check<'a>(&mut self, text: &'a str) -> Result<Vec<Section<'a>>, String> {
        if text.len() > SDP_MAX {
            return Err(format!("a description of {} bytes, {SDP_MAX} are allowed", text.len()));
        }
        let sections = scan(text);
        if sections.len() > SECTIONS_MAX {
            return Err(format!("{} media sections, {SECTIONS_MAX} are allowed", sections.len()));
        }
        check_kinds(text)?;
        check_mids(text)?;
        self.learn(text)?;
        Ok(sections)
    }

    fn learn(&mut self, text: &str) -> Result<(), String> {
        let mut learned: Vec<(u8, Box<str>)> = Vec::new();
        for section in text.split("\nm=").skip(1) {
            // Not only those of the `m=` line: str0m takes all that are mapped.
            for mapped in section.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")) {
                let Some((word, codec)) = mapped.split_once(' ') else { continue };
                let Some(pt) = word.parse().ok().filter(|pt| *pt <= PAYLOAD_TYPE_MAX) else {
                    continue;
                };
                let meaning = meaning(section, word, codec);
                match self.0.iter().chain(&learned).find(|(known, _)| *known == pt) {
                    Some((_, known)) if **known != *meaning => {
                        return Err(format!("payload type {pt} means '{known}' and '{meaning}'"));
                    }
                    Some(_) => {}
                    None => learned.push((pt, meaning.into())),
                }
            }
        }
        // Seldom more than once.
        self.0.reserve_exact(learned.len());
        self.0.append(&mut learned);
        Ok(())
    }
}

/// A codec in one section, with the parameters that tell it from its kin.
fn meaning(section: &str, pt: &str, codec: &str) -> String {
    let parameters = section.lines().filter_map(|line| {
        let (found, parameters) = line.strip_prefix("a=fmtp:")?.split_once(' ')?;
        (found == pt).then_some(parameters)
    });
    let mut telling: Vec<String> = parameters
        .flat_map(|parameters| parameters.split(';'))
        .map(|parameter| parameter.trim().to_ascii_lowercase())
        .filter(|parameter| {
            parameter.split_once('=').is_some_and(|(name, _)| TELLING.contains(&name))
        })
        .collect();
    telling.sort_unstable();
    telling.insert(0, codec.trim().to_ascii_lowercase());
    telling.join(" ")
}

/// str0m would leave other kinds out, and an answer must have as many sections as its offer.
fn check_kinds(text: &str) -> Result<(), String> {
    let mut data = false;
    for media in text.lines().filter_map(|line| line.strip_prefix("m=")) {
        match media.split_whitespace().next() {
            Some("audio" | "video") => {}
            Some("application") if !data => data = true,
            _ => return Err("a section that is no sound, no picture and not the data".to_owned()),
        }
    }
    Ok(())
}

/// Each section has one name, and it has that before anything else is said of it.
fn check_mids(text: &str) -> Result<(), String> {
    let mut named = true;
    let mut seen = false;
    for line in text.lines() {
        if line.starts_with("m=") {
            if !named {
                break;
            }
            (named, seen) = (false, true);
        } else if line.starts_with("a=mid:") {
            if named {
                let place = if seen { "more than one a=mid" } else { "an a=mid" };
                return Err(format!("{place} where none may stand: {line}"));
            }
            named = true;
        }
    }
    if named { Ok(()) } else { Err("a section without a=mid".to_owned()) }
}

/// str0m stops reading at the first line that it cannot make out, and says nothing of it. `read`: what it
/// read, written again; `sections`: those of the whole.
///
/// # Errors
/// Which section is the last that it read.
pub(crate) fn read_whole(read: &str, sections: &[Section<'_>]) -> Result<(), String> {
    let count = read.lines().filter(|line| line.starts_with("m=")).count();
    if count >= sections.len() {
        return Ok(());
    }
    let last = count.checked_sub(1).map_or("", |last| sections[last].mid);
    Err(format!("{count} of {} sections can be read; see the one of mid '{last}'", sections.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: &str, mid: &str, formats: &[(&str, &str, &str)]) -> String {
        let types: Vec<&str> = formats.iter().map(|(pt, ..)| *pt).collect();
        let mut text =
            format!("m={kind} 9 UDP/TLS/RTP/SAVPF {}\r\na=mid:{mid}\r\n", types.join(" "));
        for (pt, map, parameters) in formats {
            text += &format!("a=rtpmap:{pt} {map}\r\na=fmtp:{pt} {parameters}\r\n");
        }
        text
    }

    #[test]
    fn a_payload_type_means_one_thing() {
        let baseline = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        let first =
            section("video", "0", &[("96", "VP8/90000", ""), ("97", "rtx/90000", "apt=96")]);
        // Names are compared without their case, and what does not tell codecs apart may differ.
        let same = section("video", "1", &[("96", "vp8/90000", "x-google-start-bitrate=800")]);
        let mut formats = Formats::default();
        assert_eq!(formats.check(&format!("v=0\n{first}{same}")).unwrap().len(), 2);
        for (other, refused) in [
            (section("video", "1", &[("96", "H264/90000", baseline)]), true),
            (section("video", "1", &[("97", "rtx/90000", "apt=98")]), true),
            (section("audio", "1", &[("96", "opus/48000/2", "")]), true),
            (section("video", "1", &[("98", "H264/90000", baseline)]), false),
            // Refused above together with another: it left no trace.
            (section("audio", "1", &[("111", "opus/48000/2", "stereo=1")]), false),
        ] {
            let text = format!("v=0\n{first}{other}");
            assert_eq!(formats.check(&text).is_err(), refused, "{text}");
            // The same in a later description.
            let later = format!("v=0\n{other}");
            assert_eq!(formats.check(&later).is_err(), refused, "{other}");
        }
        let level = section("video", "0", &[("98", "H264/90000", "profile-level-id=640032")]);
        let refusal = formats.check(&format!("v=0\n{level}")).unwrap_err();
        assert!(refusal.contains("payload type 98 means"), "{refusal}");
    }

    #[test]
    fn each_section_has_one_name() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";
        for (text, allowed) in [
            (format!("{audio}a=mid:0\r\n{audio}a=mid:1\r\n"), true),
            (format!("a=mid:0\r\n{audio}a=mid:0\r\n"), false),
            (format!("{audio}a=mid:0\r\na=mid:1\r\n"), false),
            (format!("{audio}{audio}a=mid:1\r\n"), false),
            (format!("{audio}a=mid:0\r\n{audio}"), false),
            ("v=0\r\n".to_owned(), true),
        ] {
            assert_eq!(Formats::default().check(&text).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_too_much_or_of_no_use() {
        let refused = |text: &str| Formats::default().check(text).unwrap_err();
        assert!(refused(&"a".repeat(SDP_MAX + 1)).contains("are allowed"));
        let many = "m=audio 9 X 0\r\na=mid:0\r\n".repeat(SECTIONS_MAX + 1);
        assert!(refused(&many).contains("media sections"));
        for text in
            ["m=text 9 X 0\r\na=mid:0\r\n", "m=application 9 X 0\r\na=mid:0\r\nm=application 9"]
        {
            assert!(refused(text).contains("no sound"), "{text}");
        }
    }

    #[test]
    fn a_description_that_is_read_in_part_is_refused() {
        let text = "m=audio 9 X 0\r\na=mid:0\r\na=x\r\nm=video 9 X 96\r\na=mid:1\r\n";
        let sections = scan(text);
        assert_eq!(read_whole(text, &sections), Ok(()));
        let refusal = read_whole("m=audio 9 X 0\r\na=mid:0\r\n", &sections).unwrap_err();
        assert_eq!(refusal, "1 of 2 sections can be read; see the one of mid '0'");
        assert!(read_whole("", &sections).is_err());
    }
}
