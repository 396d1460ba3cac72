//! What one session publishes: announced tracks, their sections, codecs and layers.

use antipode_base::ids::TrackId;
use antipode_base::limits::LAYERS_MAX;
use antipode_base::media::{Codec, Kind, Layer, Source};
use antipode_base::notice::LayerInfo;
use str0m::media::{Mid, Rid};

use crate::red::Received;
use crate::sdp::Section;

/// One announced track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// The track.
    pub(crate) track: TrackId,
    /// Audio or video.
    pub(crate) kind: Kind,
    /// What it shows or tells.
    pub(crate) source: Source,
    /// The client's own id of it.
    pub(crate) client_id: String,
    /// What the client wants to send.
    pub(crate) codec_wish: Option<Codec>,
    /// Redundant sound (RFC 2198) is welcome, from the client and towards viewers.
    pub(crate) red: bool,
    /// Its section, once an offer had it.
    pub(crate) mid: Option<Mid>,
    /// What is sent, once that is settled.
    pub(crate) codec: Option<Codec>,
    /// Lowest layer first.
    pub(crate) layers: Vec<LayerInfo>,
    /// The client lists them so too.
    pub(crate) ascending: bool,
    /// Which packets of sound came.
    pub(crate) received: Received,
}

impl Publication {
    /// One that no offer had yet.
    pub(crate) fn new(
        track: TrackId,
        kind: Kind,
        source: Source,
        client_id: String,
        codec_wish: Option<Codec>,
    ) -> Self {
        Publication {
            track,
            kind,
            source,
            client_id,
            codec_wish,
            red: false,
            mid: None,
            codec: None,
            layers: Vec::new(),
            ascending: true,
            received: Received::default(),
        }
    }

    /// Whether the offer named its layers by their SSRCs: there are several, and none has a rid.
    fn is_told_by_ssrc(&self) -> bool {
        self.layers.len() > 1 && self.layers.iter().all(|layer| layer.rid.is_empty())
    }

    /// Whether it is one of the room's voices, of which the loudest go on: sound whose source nobody
    /// named is, what a shared screen plays is not.
    pub(crate) fn is_microphone(&self) -> bool {
        let spoken = matches!(self.source, Source::Microphone | Source::Other);
        self.kind == Kind::Audio && spoken
    }
}

/// Where packets of one SSRC belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// The stream.
    pub(crate) ssrc: u32,
    /// Its track.
    pub(crate) track: TrackId,
    /// Its rung.
    pub(crate) layer: Layer,
    /// See [`Publication::is_microphone`].
    pub(crate) microphone: bool,
    /// The track has no other stream.
    pub(crate) alone: bool,
    /// Its streams were listed lowest first.
    pub(crate) ascending: bool,
}

/// All tracks that a session publishes.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    list: Vec<Publication>,
    /// At most tracks × layers entries: found by a walk, which beats a hash at this size.
    incoming: Vec<Incoming>,
}

/// How binding a section ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The section is this track from now on.
    New(TrackId),
    /// It was before.
    Known(TrackId),
    /// Nobody announced it.
    Unannounced,
}

impl Publications {
    /// Announces a track. `false` when its id or the client's is taken.
    pub(crate) fn announce(&mut self, publication: Publication) -> bool {
        let taken = self.list.iter().any(|known| {
            known.track == publication.track
                || (known.mid.is_none() && known.client_id == publication.client_id)
        });
        if !taken {
            self.list.push(publication);
        }
        !taken
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Publication> {
        self.list.iter()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One of them.
    pub(crate) fn get(&self, track: TrackId) -> Option<&Publication> {
        self.list.iter().find(|publication| publication.track == track)
    }

    /// The same, to note what came.
    pub(crate) fn get_mut(&mut self, track: TrackId) -> Option<&mut Publication> {
        self.list.iter_mut().find(|publication| publication.track == track)
    }

    /// Remembers what a track was settled on.
    pub(crate) fn settle(&mut self, track: TrackId, codec: Codec) -> Option<&Publication> {
        let settled = self.get_mut(track)?;
        settled.codec = Some(codec);
        Some(settled)
    }

    /// Takes a track away.
    pub(crate) fn remove(&mut self, track: TrackId) -> Option<Publication> {
        self.incoming.retain(|incoming| incoming.track != track);
        let at = self.list.iter().position(|publication| publication.track == track)?;
        Some(self.list.remove(at))
    }

    /// The track whose section this is.
    pub(crate) fn by_mid(&self, mid: Mid) -> Option<&Publication> {
        self.list.iter().find(|publication| publication.mid == Some(mid))
    }

    /// The codec that an unbound section of this label and kind would be for.
    pub(crate) fn candidate(&self, section: &Section<'_>) -> Option<&Publication> {
        self.position(section).map(|at| &self.list[at])
    }

    /// Binds a sending section to the track that it names, or else to the first unbound one of
    /// its kind: Firefox writes its own ids into `a=msid`.
    pub(crate) fn bind(&mut self, section: &Section<'_>) -> Bound {
        let mid = Mid::from(section.mid);
        if let Some(known) = self.list.iter_mut().find(|known| known.mid == Some(mid)) {
            // With other SSRCs in a later offer its streams start over.
            let ssrcs = known.layers.iter().map(|layer| &layer.ssrc);
            if known.is_told_by_ssrc() && ssrcs.ne(&section.simulcast_ssrcs) {
                known.layers = layers(section);
            }
            return Bound::Known(known.track);
        }
        let Some(at) = self.position(section) else { return Bound::Unannounced };
        let publication = &mut self.list[at];
        publication.mid = Some(mid);
        publication.layers = layers(section);
        let rids = publication.layers.iter().map(|layer| layer.rid.as_str());
        publication.ascending = rids.zip(&section.rids).all(|(ours, listed)| ours == *listed);
        Bound::New(publication.track)
    }

    fn position(&self, section: &Section<'_>) -> Option<usize> {
        let open = |publication: &Publication| {
            publication.mid.is_none() && Some(publication.kind) == section.kind
        };
        let named = |publication: &Publication| {
            open(publication) && Some(publication.client_id.as_str()) == section.track_label
        };
        self.list.iter().position(named).or_else(|| self.list.iter().position(open))
    }

    /// Where packets of this SSRC belong, if some came before.
    pub(crate) fn incoming(&self, ssrc: u32) -> Option<Incoming> {
        self.incoming.iter().find(|incoming| incoming.ssrc == ssrc).copied()
    }

    /// Learns an SSRC. `None` when the section is no track of ours, or the rid no layer of it.
    pub(crate) fn learn(
        &mut self,
        ssrc: u32,
        repair: Option<u32>,
        mid: Mid,
        rid: Option<Rid>,
    ) -> Result<Incoming, NotLearned> {
        let publication = self
            .list
            .iter_mut()
            .find(|publication| publication.mid == Some(mid))
            .ok_or(NotLearned::NoTrack)?;
        let alone = publication.layers.len() == 1;
        let rid = rid.as_ref().map_or("", |rid| &**rid);
        let by_ssrc = publication.is_told_by_ssrc();
        let is = |info: &&mut LayerInfo| match by_ssrc {
            true => info.ssrc == ssrc,
            // OBS names the one stream of a section that has no simulcast.
            false => info.rid == rid || (alone && info.rid.is_empty()),
        };
        let info = publication.layers.iter_mut().find(is).ok_or(NotLearned::NoLayer)?;
        info.ssrc = ssrc;
        info.repair_ssrc = repair.unwrap_or(0);
        publication.received = Received::default();
        let (track, layer) = (publication.track, info.layer);
        let microphone = publication.is_microphone();
        let ascending = publication.ascending;
        let incoming = Incoming { ssrc, track, layer, microphone, alone, ascending };
        // A sender may start over with another SSRC: one entry per layer is enough.
        self.incoming
            .retain(|known| (known.track, known.layer) != (incoming.track, incoming.layer));
        self.incoming.push(incoming);
        Ok(incoming)
    }

    /// The SSRC of a layer, to ask it for a keyframe.
    pub(crate) fn ssrc_of(&self, track: TrackId, layer: Layer) -> Option<u32> {
        let of = |incoming: &&Incoming| incoming.track == track && incoming.layer == layer;
        self.incoming.iter().find(of).map(|incoming| incoming.ssrc)
    }
}

/// Why an SSRC could not be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLearned {
    /// Its section carries no announced track.
    NoTrack,
    /// Its rid was not negotiated.
    NoLayer,
}

/// Rungs of a simulcast, lowest first. By their rids, or else by their SSRCs where there are several.
fn layers(section: &Section<'_>) -> Vec<LayerInfo> {
    let ssrcs = &section.simulcast_ssrcs;
    if !section.rids.is_empty() || ssrcs.len() < 2 {
        return layers_by_rid(&section.rids);
    }
    let rungs = (0u8..).map(Layer).zip(ssrcs).take(LAYERS_MAX);
    rungs
        .map(|(layer, ssrc)| LayerInfo { layer, rid: String::new(), ssrc: *ssrc, repair_ssrc: 0 })
        .collect()
}

/// The names that clients use tell their order whatever the order in the SDP; names that nobody knows
/// are taken as listed.
fn layers_by_rid(rids: &[&str]) -> Vec<LayerInfo> {
    const SCALES: [[&str; LAYERS_MAX]; 3] =
        [["q", "h", "f"], ["l", "m", "h"], ["low", "mid", "hi"]];
    let scale = SCALES.iter().find(|scale| rids.iter().all(|rid| scale.contains(rid)));
    let mut rids: Vec<&str> = if rids.is_empty() { vec![""] } else { rids.to_vec() };
    if let Some(scale) = scale {
        rids.sort_by_key(|rid| scale.iter().position(|known| known == rid));
    }
    rids.into_iter()
        .take(LAYERS_MAX)
        .enumerate()
        .map(|(rung, rid)| LayerInfo {
            layer: Layer(rung as u8),
            rid: rid.to_owned(),
            ssrc: 0,
            repair_ssrc: 0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::scan;

    fn publication(track: u64, kind: Kind, client_id: &str) -> Publication {
        Publication::new(TrackId(track), kind, Source::Other, client_id.to_owned(), None)
    }

    #[test]
    fn layers_are_ordered_by_their_names() {
        let names = |rids: &[&str]| {
            layers_by_rid(rids).into_iter().map(|l| (l.layer.0, l.rid)).collect::<Vec<_>>()
        };
        let want =
            |rids: &[&str]| (0u8..).zip(rids.iter().map(|rid| rid.to_string())).collect::<Vec<_>>();
        assert_eq!(names(&["f", "q", "h"]), want(&["q", "h", "f"]));
        assert_eq!(names(&["h", "m", "l"]), want(&["l", "m", "h"]));
        assert_eq!(names(&["b", "a"]), want(&["b", "a"]));
        assert_eq!(names(&[]), want(&[""]));
        assert_eq!(names(&["1", "2", "3", "4"]).len(), LAYERS_MAX);
    }

    #[test]
    fn microphones_table() {
        for (kind, source, want) in [
            (Kind::Audio, Source::Microphone, true),
            (Kind::Audio, Source::Other, true),
            (Kind::Audio, Source::ScreenAudio, false),
            (Kind::Video, Source::Camera, false),
            (Kind::Video, Source::Other, false),
        ] {
            let publication = Publication::new(TrackId(1), kind, source, String::new(), None);
            assert_eq!(publication.is_microphone(), want, "{kind:?} {source:?}");
        }
    }

    #[test]
    fn a_stream_that_is_alone_may_have_a_name_that_nobody_negotiated() {
        let mut publications = Publications::default();
        assert!(publications.announce(publication(1, Kind::Video, "one")));
        assert!(publications.announce(publication(2, Kind::Video, "stairs")));
        let sections =
            scan("m=video 9 X 96\na=mid:0\nm=video 9 X 96\na=mid:1\na=simulcast:send q;f\n");
        for section in &sections {
            assert!(matches!(publications.bind(section), Bound::New(_)));
        }
        let mut learn = |ssrc: u32, mid: &str, rid: &str| {
            let learned = publications.learn(ssrc, None, mid.into(), Some(rid.into()));
            learned.map(|incoming| (incoming.track, incoming.layer))
        };
        assert_eq!(learn(7, "0", "0"), Ok((TrackId(1), Layer::BASE)));
        assert_eq!(learn(8, "1", "f"), Ok((TrackId(2), Layer(1))));
        assert_eq!(learn(9, "1", "0"), Err(NotLearned::NoLayer));
    }

    #[test]
    fn binds_by_label_and_else_by_kind() {
        let mut publications = Publications::default();
        assert!(publications.announce(publication(1, Kind::Video, "cam")));
        assert!(publications.announce(publication(2, Kind::Video, "screen")));
        assert!(!publications.announce(publication(3, Kind::Video, "cam")), "taken");
        let sdp = "m=video 9 X 96\na=mid:5\na=msid:s screen\na=sendonly\n\
                   m=video 9 X 96\na=mid:6\na=msid:s {firefox}\na=sendonly\n\
                   m=video 9 X 96\na=mid:7\na=msid:s other\na=sendonly\n";
        let sections = scan(sdp);
        let bound: Vec<_> = sections.iter().map(|s| publications.bind(s)).collect();
        assert_eq!(bound, [Bound::New(TrackId(2)), Bound::New(TrackId(1)), Bound::Unannounced]);
        assert_eq!(publications.bind(&sections[0]), Bound::Known(TrackId(2)));

        let ssrc = 7;
        let incoming = publications.learn(ssrc, None, "5".into(), None).unwrap();
        assert_eq!((incoming.track, incoming.layer), (TrackId(2), Layer::BASE));
        assert_eq!(publications.learn(8, None, "9".into(), None), Err(NotLearned::NoTrack));
        // Starting over with another SSRC leaves one entry.
        publications.learn(9, None, "5".into(), None).unwrap();
        assert_eq!(publications.incoming(ssrc), None);
        assert_eq!(publications.ssrc_of(TrackId(2), Layer::BASE), Some(9));
        publications.remove(TrackId(2));
        assert_eq!(publications.incoming(9), None);
    }

    #[test]
    fn a_simulcast_may_name_its_layers_by_their_ssrcs() {
        let mut publications = Publications::default();
        assert!(publications.announce(publication(1, Kind::Video, "cam")));
        let offer = |group: &str| format!("m=video 9 X 96\na=mid:5\na=ssrc-group:{group}\n");
        let bind = |publications: &mut Publications, group: &str| {
            publications.bind(&scan(&offer(group))[0]);
        };
        bind(&mut publications, "SIM 70 60 50");
        let learn = |publications: &mut Publications, ssrc: u32| {
            let learned = publications.learn(ssrc, None, "5".into(), None);
            learned.map(|incoming| (incoming.layer.0, incoming.alone))
        };
        for (ssrc, layer) in [(60, 1), (70, 0), (50, 2)] {
            assert_eq!(learn(&mut publications, ssrc), Ok((layer, false)));
        }
        assert_eq!(publications.ssrc_of(TrackId(1), Layer(0)), Some(70));
        assert_eq!(learn(&mut publications, 80), Err(NotLearned::NoLayer));
        bind(&mut publications, "SIM 70 80 90");
        assert_eq!(learn(&mut publications, 80), Ok((1, false)));
        assert_eq!(publications.ssrc_of(TrackId(1), Layer(1)), Some(80));
        // One alone is no simulcast, whatever its group is called.
        assert!(publications.announce(publication(2, Kind::Video, "screen")));
        let sdp = "m=video 9 X 96\na=mid:6\na=ssrc-group:SIM 7\n";
        publications.bind(&scan(sdp)[0]);
        assert!(publications.learn(8, None, "6".into(), None).unwrap().alone);
    }
}
