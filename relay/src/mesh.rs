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
//! A full ring gives the parcel back, and the caller counts the drop. Beside each ring stands since when
//! its oldest parcel waits, written once a turn, so that hops are measured where they happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antipode_base::delays::Delays;
use antipode_base::ids::ShardId;
use antipode_base::limits::{RING_PARCELS, SHARDS_MAX, TURN_PARCELS_MAX};
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::doorbell::Doorbell;
use crate::parcel::Parcel;

/// One shard's ends of the mesh.
pub struct Port {
    me: ShardId,
    out: Vec<Option<End<Producer<Parcel>>>>,
    /// By receiving shard: whether something was pushed since the last flush.
    touched: Vec<bool>,
    /// Whether any of them is.
    pushed: bool,
    bells: Vec<Arc<Doorbell>>,
    inn: Vec<Option<End<Consumer<Parcel>>>>,
    hops: Delays,
}

/// One end of a ring.
struct End<R> {
    ring: R,
    since: Arc<Since>,
}

/// Since when the oldest parcel of a ring waits. Has its own cache lines: two cores write it.
#[repr(align(128))]
struct Since {
    epoch: Instant,
    /// Nanoseconds since the epoch; 0: not known.
    nanos: AtomicU64,
}

impl Since {
    /// A parcel is about to be pushed. An older one that waits still is what counts.
    fn mark(&self) {
        if self.nanos.load(Ordering::Relaxed) == 0 {
            let nanos = self.epoch.elapsed().as_nanos().max(1);
            self.nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Release);
        }
    }

    /// How long the oldest had waited by `now`. Where all were `taken`, the next one counts anew; what is
    /// pushed just then goes unmeasured, which is better than measured with a time of before.
    fn waited(&self, now: Instant, taken: bool) -> Option<Duration> {
        let nanos = match taken {
            true => self.nanos.swap(0, Ordering::Acquire),
            false => self.nanos.load(Ordering::Acquire),
        };
        let pushed = (nanos != 0).then(|| self.epoch + Duration::from_nanos(nanos));
        pushed.map(|pushed| now.saturating_duration_since(pushed))
    }
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
            pushed: false,
            bells: bells.to_vec(),
            inn: Vec::with_capacity(shards),
            hops: Delays::default(),
        })
        .collect();
    let epoch = Instant::now();
    for from in 0..shards {
        for to in 0..shards {
            let (producer, consumer) = (from != to).then(|| ring(epoch)).unzip();
            ports[from].out.push(producer);
            ports[to].inn.push(consumer);
        }
    }
    ports
}

fn ring(epoch: Instant) -> (End<Producer<Parcel>>, End<Consumer<Parcel>>) {
    let (producer, consumer) = RingBuffer::new(RING_PARCELS);
    let since = Arc::new(Since { epoch, nanos: AtomicU64::new(0) });
    (End { ring: producer, since: Arc::clone(&since) }, End { ring: consumer, since })
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
        let Some(Some(end)) = self.out.get_mut(to.index()) else { return Err(parcel) };
        let touched = &mut self.touched[to.index()];
        if !std::mem::replace(touched, true) {
            self.pushed = true;
            end.since.mark();
        }
        end.ring.push(parcel).map_err(|PushError::Full(parcel)| parcel)
    }

    /// Rings the bells of shards that got something since the last call and sleep.
    pub fn flush(&mut self) {
        if !std::mem::take(&mut self.pushed) {
            return;
        }
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
        let mut clock = None;
        for (from, end) in self.inn.iter_mut().enumerate() {
            let Some(End { ring, since }) = end else { continue };
            if ring.is_empty() {
                continue;
            }
            let now = *clock.get_or_insert_with(Instant::now);
            let before = taken;
            for _ in 0..TURN_PARCELS_MAX {
                let Ok(parcel) = ring.pop() else { break };
                take(ShardId(from as u16), parcel);
                taken += 1;
            }
            if let Some(waited) = since.waited(now, ring.is_empty()) {
                self.hops.add(waited, (taken - before) as u64);
            }
        }
        taken
    }

    /// How long parcels waited in the rings towards the owner until they were drained.
    pub fn hops(&self) -> &Delays {
        &self.hops
    }

    /// Whether any ring has a parcel for the owner.
    pub fn has_parcels(&self) -> bool {
        self.inn.iter().flatten().any(|end| !end.ring.is_empty())
    }

    /// Parcels waiting in each ring towards the owner, by sending shard.
    pub fn depths(&self) -> Vec<u64> {
        self.inn.iter().map(|end| end.as_ref().map_or(0, |end| end.ring.slots() as u64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::Wake;
    use crate::parcel::Note;
    use antipode_base::ids::TrackId;
    use std::sync::atomic::AtomicUsize;

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
    fn a_hop_is_as_long_as_the_oldest_parcel_waited() {
        let bells: Vec<_> =
            (0..2).map(|_| Arc::new(Doorbell::new(Box::new(Count::default())))).collect();
        let mut ports = mesh(&bells);
        let pause = || std::thread::sleep(Duration::from_millis(3));
        let counted = |port: &Port| port.hops().counts().iter().sum::<u64>();
        // Of the same turn, and of a later turn before the first was taken.
        for n in 0..2 {
            ports[0].send(ShardId(1), note(n)).unwrap();
            pause();
        }
        ports[0].flush();
        ports[0].send(ShardId(1), note(2)).unwrap();
        assert_eq!(ports[1].drain(|_, _| ()), 3);
        assert_eq!(counted(&ports[1]), 3);
        let sum_us = ports[1].hops().sum_us();
        assert!(sum_us >= 3 * 6_000, "{sum_us} µs");
        // One that is taken anew counts from its own push.
        ports[0].flush();
        pause();
        let pushed = Instant::now();
        ports[0].send(ShardId(1), note(3)).unwrap();
        assert_eq!(ports[1].drain(|_, _| ()), 1);
        let hop = Duration::from_micros(ports[1].hops().sum_us() - sum_us);
        assert!(hop <= pushed.elapsed(), "{hop:?}");
        assert_eq!(counted(&ports[1]), 4);
        assert_eq!(ports[0].hops(), &Delays::default(), "nothing came to it");
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
