//! What the query of an endpoint asks for. Unknown names are let be: players add their own.

use crate::model::program::{Choice, LayerName, Sound};

/// The first value of that name, as it is written.
pub(super) fn value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
}

/// `audio=top|all|none`.
pub(super) fn sound(query: Option<&str>) -> Result<Sound, &'static str> {
    match value(query, "audio") {
        None | Some("top") => Ok(Sound::Top),
        Some("all") => Ok(Sound::All),
        Some("none") => Ok(Sound::None),
        Some(_) => Err("audio must be top, all or none"),
    }
}

/// `layer=auto`, a number from 0 (the smallest), or a publisher's rid.
pub(super) fn layer(query: Option<&str>) -> Result<Choice, &'static str> {
    let layer = match value(query, "layer") {
        None | Some("" | "auto") => None,
        Some(text) => {
            Some(layer_name(text).ok_or("layer must be auto, a number from 0, or a rid")?)
        }
    };
    Ok(Choice { layer, temporal_max: None })
}

/// A number or a rid (RFC 8852 §3.1: letters, digits, hyphen and underscore).
pub(super) fn layer_name(text: &str) -> Option<LayerName> {
    let rid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match text.parse() {
        Ok(rung) => Some(LayerName::Rung(rung)),
        Err(_) if !text.is_empty() && text.len() <= RID_MAX && text.chars().all(rid) => {
            Some(LayerName::Rid(text.to_owned()))
        }
        Err(_) => None,
    }
}

/// Characters of a rid: a one-byte header extension holds no more (RFC 8285 §4.2).
const RID_MAX: usize = 16;

/// `source=camera|screen`: what a publisher shows.
pub(super) fn is_screen(query: Option<&str>) -> Result<bool, &'static str> {
    match value(query, "source") {
        None | Some("camera") => Ok(false),
        Some("screen") => Ok(true),
        Some(_) => Err("source must be camera or screen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_table() {
        for (query, want) in [
            (None, Ok(Sound::Top)),
            (Some("audio=all&x"), Ok(Sound::All)),
            (Some("xaudio=all&audio=none&audio=all"), Ok(Sound::None)),
            (Some("audio=loud"), Err("audio must be top, all or none")),
        ] {
            assert_eq!(sound(query), want, "{query:?}");
        }
        let rid = |text: &str| Some(LayerName::Rid(text.to_owned()));
        for (query, want) in [
            ("", Some(None)),
            ("layer=auto", Some(None)),
            ("layer=2", Some(Some(LayerName::Rung(2)))),
            ("layer=q", Some(rid("q"))),
            ("layer=300", Some(rid("300"))),
            ("layer=a%20b", None),
            ("layer=abcdefghijklmnopq", None),
        ] {
            assert_eq!(layer(Some(query)).ok().map(|choice| choice.layer), want, "{query}");
        }
        assert_eq!(is_screen(Some("source=screen")), Ok(true));
        assert_eq!(is_screen(None), Ok(false));
        assert!(is_screen(Some("source=smell")).is_err());
    }
}
