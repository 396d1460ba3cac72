//! A full mesh of single-producer single-consumer rings: one ring for each ordered pair of shards.
//!
//! ```text
//!            to 0   to 1   to 2
//!   from 0    -     ring   ring      each ring: RING_PARCELS parcels, lock-free, never grows
//!   from 1   ring    -     ring
//!   from 2   ring   ring    -
//! ```
//!
//! A shard owns its [`Port`]: the producing ends of its row and the consuming ends of its column.
//! A full ring gives the parcel back, and the caller counts the drop.

use std::sync::Arc;

use antipode_base::ids::ShardId;
use antipode_base::limits::{RING_PARCELS, SHARDS_MAX, TURN_PARCELS_MAX};
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::doorbell::Doorbell;
use crate::parcel::Parcel;

/// One shard's ends of the mesh.
pub struct Port {
    me: ShardId,
    out: Vec<Option<Producer<Parcel>>>,
    /// By receiving shard: whether something was pushed since the last flush.
    touched: Vec<bool>,
    bells: Vec<Arc<Doorbell>>,
    inn: Vec<Option<Consumer<Parcel>>>,
}

/// Makes the ports of all shards; `bells` has one per shard, in their order.
///
/// # Panics
/// With no bell, or with more than [`SHARDS_MAX`].
pub fn mesh(bells: &[Arc<Doorbell>]) -> Vec<Port> {
    let shards = bells.len();
    assert!((1..=SHARDS_MAX).contains(&shards), "1 to {SHARDS_MAX} shards, not {shards}");
    let mut ports: Vec<Port> = (0..shards)
        .map(|me| Port {
            me: ShardId(me as u16),
            out: Vec::with_capacity(shards),
            touched: vec![false; shards],
            bells: bells.to_vec(),
            inn: Vec::with_capacity(shards),
        })
        .collect();
    for from in 0..shards {
        for to in 0..shards {
            let (producer, consumer) =
                if from == to { (None, None) } else { split(RingBuffer::new(RING_PARCELS)) };
            ports[from].out.push(producer);
            ports[to].inn.push(consumer);
        }
    }
    ports
}

fn split<T>((tx, rx): (Producer<T>, Consumer<T>)) -> (Option<Producer<T>>, Option<Consumer<T>>) {
    (Some(tx), Some(rx))
}

impl Port {
    /// The owner.
    pub fn me(&self) -> ShardId {
        self.me
    }

    /// How many shards the mesh has.
    pub fn shards(&self) -> usize {
        self.out.len()
    }

    /// Puts a parcel into the ring to `to`.
    ///
    /// # Errors
    /// Gives the parcel back when the ring is full, or when `to` is the owner or no shard at all.
    // The parcel itself is the error: boxing it would put an allocation on the media path.
    #[allow(clippy::result_large_err)]
    pub fn send(&mut self, to: ShardId, parcel: Parcel) -> Result<(), Parcel> {
        let Some(Some(ring)) = self.out.get_mut(to.index()) else { return Err(parcel) };
        match ring.push(parcel) {
            Ok(()) => {
                self.touched[to.index()] = true;
                Ok(())
            }
            Err(PushError::Full(parcel)) => Err(parcel),
        }
    }

    /// Rings the bells of shards that got something since the last call and sleep. Once per turn.
    pub fn flush(&mut self) {
        for (touched, bell) in self.touched.iter_mut().zip(&self.bells) {
            if std::mem::take(touched) {
                bell.ring_if_sleeping();
            }
        }
    }

    /// Takes up to [`TURN_PARCELS_MAX`] parcels from each ring, in turn of the senders. Returns how
    /// many there were.
    pub fn drain(&mut self, mut take: impl FnMut(ShardId, Parcel)) -> usize {
        let mut taken = 0;
        for (from, ring) in self.inn.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            for _ in 0..TURN_PARCELS_MAX {
                let Ok(parcel) = ring.pop() else { break };
                take(ShardId(from as u16), parcel);
                taken += 1;
            }
        }
        taken
    }

    /// Whether any ring has a parcel for the owner.
    pub fn has_parcels(&self) -> bool {
        self.inn.iter().flatten().any(|ring| !ring.is_empty())
    }

    /// Parcels waiting in each ring towards the owner, by sending shard.
    pub fn depths(&self) -> Vec<u64> {
        self.inn.iter().map(|ring| ring.as_ref().map_or(0, |ring| ring.slots() as u64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::Wake;
    use crate::parcel::Note;
    use antipode_base::ids::TrackId;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn note(n: u64) -> Parcel {
        Parcel::Note(Note::Unwatch { track: TrackId(n) })
    }

    fn number(parcel: &Parcel) -> u64 {
        match parcel {
            Parcel::Note(Note::Unwatch { track }) => track.0,
            other => panic!("unexpected {other:?}"),
        }
    }

    #[test]
    fn keeps_order_and_tells_the_sender() {
        let bells: Vec<_> =
            (0..3).map(|_| Arc::new(Doorbell::new(Box::new(Count::default())))).collect();
        let mut ports = mesh(&bells);
        for n in 0..10 {
            ports[2].send(ShardId(0), note(n)).unwrap();
        }
        ports[1].send(ShardId(0), note(99)).unwrap();
        assert!(ports[0].has_parcels());
        assert_eq!(ports[0].depths(), [0, 1, 10]);
        let mut seen = Vec::new();
        assert_eq!(ports[0].drain(|from, parcel| seen.push((from.0, number(&parcel)))), 11);
        let mut want = vec![(1, 99)];
        want.extend((0..10).map(|n| (2, n)));
        assert_eq!(seen, want);
        assert!(!ports[0].has_parcels());
    }

    #[test]
    fn a_full_ring_gives_the_parcel_back() {
        let bells: Vec<_> =
            (0..2).map(|_| Arc::new(Doorbell::new(Box::new(Count::default())))).collect();
        let mut ports = mesh(&bells);
        for n in 0..RING_PARCELS as u64 {
            ports[0].send(ShardId(1), note(n)).unwrap();
        }
        let back = ports[0].send(ShardId(1), note(7)).unwrap_err();
        assert_eq!(number(&back), 7);
        assert_eq!(ports[1].drain(|_, _| ()), TURN_PARCELS_MAX);
        ports[0].send(ShardId(1), note(8)).unwrap();
        // Nobody is his own neighbour, and there is no third shard.
        assert!(ports[0].send(ShardId(0), note(1)).is_err());
        assert!(ports[0].send(ShardId(2), note(1)).is_err());
    }

    #[test]
    fn rings_only_a_sleeper_and_once_per_flush() {
        let counts: Vec<Count> = (0..2).map(|_| Count::default()).collect();
        let bells: Vec<_> =
            counts.iter().map(|c| Arc::new(Doorbell::new(Box::new(c.clone())))).collect();
        let mut ports = mesh(&bells);
        ports[0].send(ShardId(1), note(1)).unwrap();
        ports[0].flush();
        assert_eq!(counts[1].0.load(Ordering::SeqCst), 0);
        bells[1].say_sleeping();
        ports[0].send(ShardId(1), note(2)).unwrap();
        ports[0].send(ShardId(1), note(3)).unwrap();
        ports[0].flush();
        ports[0].flush();
        assert_eq!(counts[1].0.load(Ordering::SeqCst), 1);
        assert_eq!(counts[0].0.load(Ordering::SeqCst), 0);
    }
}
