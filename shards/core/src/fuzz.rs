//! Doors for the fuzz targets to what this crate keeps to itself. No part of its interface.

use antipode_base::media::Codec;
use antipode_relay::packet::Shape;
use str0m::config::CryptoProvider;

use crate::session::config::SessionSetup;
use crate::shard::{Shard, ShardConfig};
use crate::{data, payload, sdp};

/// A shard with another cipher library: one that seals nothing lets a fuzzer in behind the seal.
///
/// # Panics
/// As [`Shard::new`].
pub fn shard(config: ShardConfig, crypto: CryptoProvider) -> Shard {
    let setup = SessionSetup::with_crypto(&config, crypto);
    Shard::with_setup(config, setup)
}

/// A data packet with its sender's stamp, and its destinations.
pub fn stamp(packet: &[u8], identity: &str, sid: &str) -> Option<(Vec<u8>, Vec<String>)> {
    data::stamp(packet, identity, sid).map(|stamped| (stamped.bytes, stamped.destinations))
}

/// Whether a decoder can start with this payload, and its numbers.
pub fn glance(codec: Codec, payload: &[u8]) -> Option<(bool, Shape)> {
    payload::glance(codec, payload).ok().map(|glance| (glance.keyframe, glance.shape))
}

/// Scans a description and writes it again: refusing each section whose `mid` has an odd length,
/// with our labels in the others. Returns the names of the scanned sections and what was written.
pub fn dress(text: &str) -> (Vec<String>, String) {
    let sections = sdp::scan(text);
    let mids = sections.iter().map(|section| section.mid.to_owned()).collect();
    let dressed = sections.iter().map(|section| sdp::SectionDress {
        mid: section.mid.to_owned(),
        labels: Some(("PA_a|TR_b".to_owned(), "TR_b".to_owned())),
        payload_types: sdp::prefer(section, Some(Codec::Av1)),
        refused: (section.mid.len() % 2 == 1).then(|| "96".to_owned()),
    });
    let dress = sdp::Dress { credentials: None, sections: dressed.collect() };
    (mids, dress.apply(text))
}
