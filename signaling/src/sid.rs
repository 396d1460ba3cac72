//! Public ids: what clients see of rooms, members and tracks.
//!
//! A prefix that tells the kind, then twelve random base62 characters (71 bits), so that nobody
//! guesses one. They are strings of their own: the inner ids never leave the control plane.

use rand::Rng;

use crate::model::track::Source;
use antipode_base::media::Kind;

/// Random characters after the prefix.
const LENGTH: usize = 12;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `LENGTH` characters of base62.
pub(crate) fn random(rng: &mut impl Rng, length: usize) -> String {
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// A new room's.
pub(crate) fn room(rng: &mut impl Rng) -> String {
    format!("RM_{}", random(rng, LENGTH))
}

/// A new member's.
pub(crate) fn member(rng: &mut impl Rng) -> String {
    format!("PA_{}", random(rng, LENGTH))
}

/// What nobody guesses: 131 bits.
const UNGUESSABLE: usize = 22;

/// A new HTTP resource's: whoever knows it needs a token beside it.
pub(crate) fn resource(rng: &mut impl Rng) -> String {
    random(rng, UNGUESSABLE)
}

/// The identity within its room of a player, which is known to nobody by name.
pub(crate) fn player(rng: &mut impl Rng) -> String {
    format!("player-{}", random(rng, UNGUESSABLE))
}

/// A new track's. The two letters say kind and source, as the SDKs' logs show them.
pub(crate) fn track(rng: &mut impl Rng, kind: Kind, source: Source) -> String {
    let kind = if kind == Kind::Audio { 'A' } else { 'V' };
    let source = match source {
        Source::Camera => "C",
        Source::Microphone => "M",
        Source::ScreenShare | Source::ScreenShareAudio => "S",
        Source::Unknown => "",
    };
    format!("TR_{kind}{source}{}", random(rng, LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn prefix_and_length_are_those_on_the_wire() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        for (sid, prefix) in [
            (room(&mut rng), "RM_"),
            (member(&mut rng), "PA_"),
            (track(&mut rng, Kind::Video, Source::Camera), "TR_VC"),
            (track(&mut rng, Kind::Audio, Source::Microphone), "TR_AM"),
            (track(&mut rng, Kind::Video, Source::ScreenShare), "TR_VS"),
            (track(&mut rng, Kind::Audio, Source::ScreenShareAudio), "TR_AS"),
        ] {
            let random = sid.strip_prefix(prefix).unwrap();
            assert_eq!(random.len(), 12, "{sid}");
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{sid}");
        }
    }
}
