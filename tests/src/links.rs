//! Parcels between shards: one bounded queue for each ordered pair, as the mesh of rings has, and
//! faults for it: a shard that takes its parcels late, a ring that is full.

use std::collections::{BTreeSet, VecDeque};

use antipode_base::ids::{ShardId, TrackId};
use antipode_base::limits::RING_PARCELS;
use antipode_base::media::Layer;
use antipode_relay::parcel::{Addressed, Note, Parcel};

use crate::path::Micros;
use crate::seed::{below, chance, mix};

/// What may go wrong between shards; 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFaults {
    /// A parcel may lie in the ring so long.
    pub delay: Micros,
    /// Parcels lost to a full ring, of a thousand. Claims of addresses are spared.
    pub full: u32,
}

struct Ring {
    parcels: VecDeque<(Micros, Parcel)>,
    /// Media packets that went this way, to find one that goes twice.
    passed: BTreeSet<(TrackId, Layer, u64)>,
    sent: u64,
    dropped: u64,
}

/// All rings.
pub struct Links {
    salt: u64,
    faults: LinkFaults,
    shards: usize,
    rings: Vec<Ring>,
}

impl Links {
    /// Empty rings between so many shards.
    pub fn new(seed: u64, shards: usize, faults: LinkFaults) -> Self {
        let ring =
            || Ring { parcels: VecDeque::new(), passed: BTreeSet::new(), sent: 0, dropped: 0 };
        let rings = (0..shards * shards).map(|_| ring()).collect();
        Links { salt: mix(&[seed, 0x11]), faults, shards, rings }
    }

    /// Takes a parcel over.
    ///
    /// # Errors
    /// What went wrong when a media packet crosses the same border a second time: one parcel per
    /// shard with a viewer, never one per viewer.
    pub fn send(&mut self, from: usize, addressed: Addressed, now: Micros) -> Result<(), String> {
        let to = addressed.to.index();
        if to >= self.shards || to == from {
            return Err(format!("shard {from} sends a parcel to shard {to}"));
        }
        let ring = &mut self.rings[from * self.shards + to];
        if let Parcel::Media(packet) = &addressed.parcel
            && !ring.passed.insert((packet.track, packet.layer, packet.ext_seq))
        {
            let (track, seq) = (packet.track, packet.ext_seq);
            return Err(format!("{track} packet {seq} crosses from shard {from} to {to} twice"));
        }
        ring.sent += 1;
        let mixed = mix(&[self.salt, from as u64, to as u64, ring.sent]);
        let claim = matches!(&addressed.parcel, Parcel::Note(Note::Claim { .. }));
        let full = !claim && chance(mixed, self.faults.full);
        if full || ring.parcels.len() >= RING_PARCELS {
            ring.dropped += 1;
            return Ok(());
        }
        let at = now + below(mix(&[mixed]), self.faults.delay + 1);
        // A ring keeps its order.
        let at = ring.parcels.back().map_or(at, |(last, _)| at.max(*last));
        ring.parcels.push_back((at, addressed.parcel));
        Ok(())
    }

    /// The next parcel for a shard, in turn of the senders.
    pub fn take(&mut self, to: usize, now: Micros) -> Option<(ShardId, Parcel)> {
        (0..self.shards).find_map(|from| {
            let ring = &mut self.rings[from * self.shards + to];
            let due = ring.parcels.front().is_some_and(|(at, _)| *at <= now);
            let (_, parcel) = due.then(|| ring.parcels.pop_front()).flatten()?;
            Some((ShardId(from as u16), parcel))
        })
    }

    /// When the next parcel is to be taken by a shard.
    pub fn next(&self, to: usize) -> Option<Micros> {
        (0..self.shards)
            .filter_map(|from| self.rings[from * self.shards + to].parcels.front())
            .map(|(at, _)| *at)
            .min()
    }

    /// Parcels that were lost to full rings.
    pub fn dropped(&self) -> u64 {
        self.rings.iter().map(|ring| ring.dropped).sum()
    }
}
