//! Fragments of a description (RFC 8840 §9), by which a client tells of new candidates or restarts ICE,
//! and by which it is answered.
//!
//! Of candidates nothing is kept: we are ICE-lite (RFC 8445 §2.5), so that a client's own checks tell where
//! it is. They must be candidates all the same.

/// What a fragment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Username fragment and password, if it names any.
    pub credentials: Option<(String, String)>,
    /// How many candidates it has.
    pub candidates: usize,
    /// There will be no more.
    pub is_last: bool,
}

/// Why a fragment is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct FragmentError {
    /// Counted from 1; that after the last, if the whole is meant.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Characters of a username fragment (RFC 8839 §5.4).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
/// Characters of a password (RFC 8839 §5.4).
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=256;

/// Reads a fragment.
///
/// # Errors
/// [`FragmentError`]; its text may be shown to the client.
pub fn parse(text: &str) -> Result<Fragment, FragmentError> {
    let mut fragment = Fragment::default();
    // Those of the fragment itself, or of one of its sections.
    let (mut ufrag, mut password) = (None, None);
    let mut lines = 0;
    for (at, line) in text.lines().enumerate() {
        lines = at + 1;
        let wrong = |what| Err(FragmentError { line: at + 1, what });
        let Some((kind, value)) = line.split_once('=') else {
            if line.is_empty() {
                continue;
            }
            return wrong("no line of a fragment");
        };
        match kind {
            "m" if value.split_whitespace().count() >= 4 => continue,
            "m" => return wrong("a media line has a kind, a port, a protocol and a format"),
            "a" => {}
            _ => return wrong("a fragment has media lines and attributes alone"),
        }
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "ice-ufrag" if !fits(value, UFRAG) => return wrong("no ice-ufrag of RFC 8839"),
            "ice-pwd" if !fits(value, PASSWORD) => return wrong("no ice-pwd of RFC 8839"),
            "ice-ufrag" if ufrag.is_some_and(|known| known != value) => {
                return wrong("a bundle has one ice-ufrag");
            }
            "ice-pwd" if password.is_some_and(|known| known != value) => {
                return wrong("a bundle has one ice-pwd");
            }
            "ice-ufrag" => ufrag = Some(value),
            "ice-pwd" => password = Some(value),
            "candidate" if !is_candidate(value) => return wrong("no candidate of RFC 8839"),
            "candidate" => fragment.candidates += 1,
            "end-of-candidates" => fragment.is_last = true,
            _ => {}
        }
    }
    fragment.credentials = match (ufrag, password) {
        (Some(ufrag), Some(password)) => Some((ufrag.to_owned(), password.to_owned())),
        (None, None) => None,
        _ => {
            return Err(FragmentError {
                line: lines + 1,
                what: "one of ice-ufrag and ice-pwd is missing",
            });
        }
    };
    if fragment == Fragment::default() {
        let what = "neither credentials nor candidates nor their end";
        return Err(FragmentError { line: lines + 1, what });
    }
    Ok(fragment)
}

/// Made of ice-chars (RFC 8839 §5.4), and as long as it must be.
fn fits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    // libnice and others pad with what is no ice-char; no harm comes of it.
    let padded = |byte: u8| plain(byte) || b"=-_".contains(&byte);
    length.contains(&text.len()) && text.bytes().all(padded)
}

/// The shape alone (RFC 8839 §5.1): transports and addresses that nobody knows are no error.
fn is_candidate(value: &str) -> bool {
    let words: Vec<&str> = value.split_whitespace().collect();
    let number = |at: usize| words.get(at).is_some_and(|word| word.parse::<u32>().is_ok());
    words.len() >= 8 && number(1) && number(3) && number(5) && words[6] == "typ"
}

/// Our part of a restart: what the answer says of ICE, and nothing else (RFC 9725 §4.3.3). The lines of the
/// session that hold for ICE, and the section that has the bundle's candidates.
pub fn of_answer(answer: &str) -> String {
    const SESSION: [&str; 4] = ["a=ice-lite", "a=ice-options:", "a=ice-pacing:", "a=group:BUNDLE"];
    const SECTION: [&str; 5] = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"];
    let mut out = String::new();
    let mut sections = 0;
    for line in answer.lines() {
        let starts = |names: &[&str]| names.iter().any(|name| line.starts_with(name));
        if line.starts_with("m=") {
            // A refused section is in no bundle.
            sections += usize::from(sections > 0 || line.split(' ').nth(1) != Some("0"));
        }
        let ice = starts(&SESSION) && (sections == 0 || !line.starts_with("a=group"));
        if sections <= 1 && (ice || (sections == 1 && starts(&SECTION))) {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("a=end-of-candidates\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
        a=candidate:9 1 sctp 1 nobody.invalid 9 typ host\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn reads_what_a_browser_sends() {
        let want = Fragment {
            credentials: Some(("EsAw".into(), "P2uYro0UCOQ4zxjKXaWCBui1".into())),
            candidates: 3,
            is_last: true,
        };
        assert_eq!(parse(TRICKLE), Ok(want.clone()));
        assert_eq!(parse(&TRICKLE.replace("\r\n", "\n")), Ok(want), "with bare line feeds too");
    }

    #[test]
    fn refuses_what_is_none_and_names_the_line() {
        let pair = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
        for (text, line) in [
            ("", 1),
            ("\r\n", 2),
            ("a=mid:0\r\n", 2),
            ("v=0\r\n", 1),
            ("hello\r\n", 1),
            ("a=mid:0\r\n{}\r\n", 2),
            ("m=audio\r\n", 1),
            ("a=ice-ufrag:abcd\r\n", 2),
            ("a=ice-ufrag:abc\r\na=ice-pwd:0123456789012345678901\r\n", 1),
            ("a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n", 2),
            ("a=ice-ufrag:ab cd\r\n", 1),
            ("a=candidate:1 1 udp 1 192.0.2.1 9\r\n", 1),
            ("a=candidate:1 1 udp one 192.0.2.1 9 typ host\r\n", 1),
            (&format!("{pair}{}", pair.replace("abcd", "efgh")), 3),
            (&format!("{pair}{}", pair.replace("01234", "43210")), 4),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
        assert!(parse(&pair.repeat(3)).is_ok(), "each section may repeat them");
        assert!(parse("a=end-of-candidates").is_ok());
    }

    #[test]
    fn an_answer_is_cut_to_what_concerns_ice() {
        let answer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
            a=group:BUNDLE 1 2\r\na=fingerprint:sha-256 AA\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=inactive\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:00abc\r\na=ice-pwd:word\r\n\
            a=ice-options:trickle\r\na=candidate:1 1 udp 1 192.0.2.1 7882 typ host\r\na=recvonly\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:2\r\na=ice-ufrag:00abc\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 7882 typ host\r\n";
        let want = "a=ice-lite\r\na=group:BUNDLE 1 2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
            a=ice-ufrag:00abc\r\na=ice-pwd:word\r\na=ice-options:trickle\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 7882 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(of_answer(answer), want);
        assert_eq!(parse(want).expect_err("our password above is short").line, 6);
    }
}
