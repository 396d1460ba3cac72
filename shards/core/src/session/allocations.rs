//! Video layers allocations as they come in: what a publisher means to spend on each layer, before any of
//! it was measured here.
//!
//! Who has no such extension is measured alone (`forward/rates.rs`), as Firefox, Safari and OBS are.

use std::sync::Arc;

use antipode_relay::packet::Announced;
use str0m::rtp::Extension;

use super::descriptors;
use super::publications::Incoming;
use crate::payload::allocation::{self, Allocation};

/// The extension's name in descriptions.
const URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";

/// The extension as str0m is told of it.
pub(crate) fn extension() -> Extension {
    descriptors::named(URI)
}

/// What the extension of a packet announces, if it can be read. Streams go by the order in which they were
/// listed.
pub(crate) fn of(bytes: &[u8], incoming: &Incoming) -> Option<Arc<Announced>> {
    let allocation = allocation::parse(bytes).ok().filter(|_| incoming.ascending)?;
    Some(Arc::new(table(&allocation, incoming.alone)))
}

/// `alone`: the track has no other stream, so that its layers are those within it.
fn table(allocation: &Allocation, alone: bool) -> Announced {
    let mut table = Announced::default();
    for sent in allocation.layers.iter() {
        // Of a simulcast a viewer gets a whole stream, and of those that it holds the last is the largest.
        let layer = if alone { sent.spatial } else { sent.stream };
        let Some(row) = table.0.get_mut(usize::from(layer)) else { continue };
        let rate = |at: usize| sent.bitrates.get(at).or(sent.bitrates.last());
        for (at, cell) in row.iter_mut().enumerate() {
            *cell = rate(at).map_or(0, |rate| rate.0.min(u64::from(u32::MAX)) as u32);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_streams_of_a_simulcast_or_the_layers_of_one() {
        // Two streams of one spatial layer with two temporal layers each.
        let simulcast = [0x11, 0x50, 60, 100, 0xfa, 0x01, 0xf4, 0x03];
        let read = allocation::parse(&simulcast).unwrap();
        let kbps = |table: Announced| table.0.map(|row| row.map(|rate| rate / 1_000));
        let rows = [[60, 100, 100, 100], [250, 500, 500, 500], [0; 4]];
        assert_eq!(kbps(table(&read, false)), rows);
        // One stream of two spatial layers.
        let svc = [0x03, 0x50, 60, 100, 0xfa, 0x01, 0xf4, 0x03];
        let read = allocation::parse(&svc).unwrap();
        assert_eq!(kbps(table(&read, true)), rows);
        assert_eq!(kbps(table(&allocation::parse(&[0]).unwrap(), true)), [[0; 4]; 3]);
    }
}
