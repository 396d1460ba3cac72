//! Which section and layer an SSRC is, or which stream it repeats packets of.
//!
//! A description names SSRCs or does not; a packet names its section and layer or does not, and stops
//! once the sender believes that we know (RFC 8843 §9.2). What was found is kept with the stream.

use str0m::Rtc;
use str0m::media::{Mid, Rid};

use super::fields::Fields;

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Media of a section.
    Media {
        /// The section.
        mid: Mid,
        /// The layer of a simulcast that has names.
        rid: Option<Rid>,
        /// The stream of its repeats, if a description named it.
        repair: Option<u32>,
    },
    /// Repeats (RFC 4588) of this stream.
    Repeats(u32),
}

/// What descriptions said of SSRCs.
#[derive(Clone, Debug, Default)]
pub(super) struct Described(Vec<(u32, Place)>);

impl Described {
    /// Takes over what str0m read in a description. It would report on those streams, since it does not
    /// know that another does, so it forgets them.
    pub(super) fn take(rtc: &mut Rtc, sections: &[Mid]) -> Self {
        let mut described = Vec::new();
        for &mid in sections {
            while let Some(stream) = rtc.direct_api().stream_rx_by_mid(mid, None) {
                let (ssrc, repair) = (stream.ssrc(), stream.rtx().map(|ssrc| *ssrc));
                described.push((*ssrc, Place::Media { mid, rid: None, repair }));
                described.extend(repair.map(|repair| (repair, Place::Repeats(*ssrc))));
                rtc.direct_api().remove_stream_rx(ssrc);
            }
        }
        Described(described)
    }

    /// What they said of one.
    pub(super) fn of(&self, ssrc: u32) -> Option<Place> {
        self.0.iter().find(|(known, _)| *known == ssrc).map(|(_, place)| *place)
    }
}

/// What a packet says itself. `repeats`: its payload type is one of repeats; `known`: streams that have
/// their places, the oldest first. Repeats of a stream that is not known yet have none.
pub(super) fn named(
    fields: &Fields<'_>,
    repeats: bool,
    known: impl DoubleEndedIterator<Item = (u32, Place)>,
) -> Option<Place> {
    let mid = Mid::from(fields.mid?);
    let mut newest = known.rev();
    let mut repeats_of = |layer: Option<Rid>| {
        let is =
            |place| matches!(place, Place::Media { mid: of, rid, .. } if (of, rid) == (mid, layer));
        newest.find(|(_, place)| is(*place)).map(|(ssrc, _)| Place::Repeats(ssrc))
    };
    match (fields.rid.map(Rid::from), fields.repaired_rid.map(Rid::from)) {
        (None, Some(layer)) => repeats_of(Some(layer)),
        (None, None) if repeats => repeats_of(None),
        (rid, _) => Some(Place::Media { mid, rid, repair: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_a_packet_says() {
        let (one, two, high) = (Mid::from("1"), Mid::from("2"), Rid::from("h"));
        let media = |mid, rid| Place::Media { mid, rid, repair: None };
        let known = [
            (5, media(one, None)),
            (6, media(two, Some(high))),
            (7, Place::Repeats(5)),
            (8, media(one, None)),
        ];
        let rows = [
            (None, None, None, false, None),
            (None, Some("h"), None, false, None),
            (Some("1"), None, None, false, Some(media(one, None))),
            (Some("2"), Some("h"), None, false, Some(media(two, Some(high)))),
            // The newer of the two that were this section's.
            (Some("1"), None, None, true, Some(Place::Repeats(8))),
            (Some("2"), None, Some("h"), true, Some(Place::Repeats(6))),
            // Padding on a stream of repeats has the payload type of media.
            (Some("2"), None, Some("h"), false, Some(Place::Repeats(6))),
            (Some("2"), None, Some("q"), true, None),
            (Some("2"), None, None, true, None),
            (Some("3"), None, None, true, None),
        ];
        for (mid, rid, repaired_rid, repeats, want) in rows {
            let fields = Fields { mid, rid, repaired_rid, ..Fields::default() };
            assert_eq!(named(&fields, repeats, known.into_iter()), want, "{fields:?} {repeats}");
        }
    }
}
