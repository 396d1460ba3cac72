//! One direction between a client and the node, and faults as wrappers round it.
//!
//! ```text
//!   Loss( Jitter( Wire ) )      at --> [lost?] --> [later?] --> arrivals
//! ```
//!
//! What becomes of a datagram depends on the seed, the wrapper's salt, the time and what the
//! datagram is ([`Item`]), never on what went before: see [`crate::seed`]. Only [`Capacity`] has a
//! memory, of the bytes that wait in it.

use crate::seed::{below, chance, mix};

/// Microseconds since the world's start.
pub type Micros = u64;

/// What a first byte says (RFC 7983 §7), and what it means for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// ICE checks of a connection that is up.
    Stun,
    /// What brings a connection up: DTLS handshakes, and ICE checks before them. Length and repeats
    /// vary from run to run (ECDSA signatures, jitter of retransmissions), so faults spare it unless
    /// told otherwise.
    Handshake,
    /// DTLS records with data channels in them. SCTP repeats them at times that vary from run to
    /// run, so they are spared unless told otherwise too.
    Data,
    /// Reports and feedback.
    Rtcp,
    /// Media.
    Rtp,
    /// Anything else.
    Other,
}

/// A datagram as chance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub class: Class,
    /// The same in each run of a seed, and different for datagrams of one instant.
    pub identity: u64,
    /// Bytes; 0 for all but RTP, whose length alone is the same in each run.
    pub len: u64,
}

/// One direction of a path.
pub trait Path {
    /// Adds the times at which the datagram arrives: none when it is lost, two when duplicated.
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>);
}

/// A path without faults.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// One way, at least 1.
    pub delay: Micros,
}

impl Path for Wire {
    fn pass(&mut self, at: Micros, _: &Item, arrivals: &mut Vec<Micros>) {
        arrivals.push(at + self.delay.max(1));
    }
}

/// Loses some. The salt tells wrappers of one path apart.
pub struct Loss<P> {
    /// What is wrapped.
    pub path: P,
    /// Of the world, mixed with the path and the wrapper.
    pub salt: u64,
    /// How many of a thousand.
    pub per_mille: u32,
    /// Handshakes and messages too; then traces of one seed may differ.
    pub all: bool,
}

impl<P: Path> Path for Loss<P> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        let spared = matches!(item.class, Class::Handshake | Class::Data) && !self.all;
        if spared || !chance(mix(&[self.salt, at, item.identity]), self.per_mille) {
            self.path.pass(at, item, arrivals);
        }
    }
}

/// Delivers some twice, the second up to `later` after the first.
pub struct Duplicate<P> {
    /// What is wrapped.
    pub path: P,
    /// See [`Loss::salt`].
    pub salt: u64,
    /// How many of a thousand.
    pub per_mille: u32,
    /// At most so much later.
    pub later: Micros,
}

impl<P: Path> Path for Duplicate<P> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        let first = arrivals.len();
        self.path.pass(at, item, arrivals);
        let mixed = mix(&[self.salt, at, item.identity]);
        if item.class != Class::Handshake
            && chance(mixed, self.per_mille)
            && let Some(arrival) = arrivals.get(first).copied()
        {
            arrivals.push(arrival + below(mix(&[mixed]), self.later + 1));
        }
    }
}

/// Holds some back by up to `hold`, so that later ones overtake them.
pub struct Reorder<P> {
    /// What is wrapped.
    pub path: P,
    /// See [`Loss::salt`].
    pub salt: u64,
    /// How many of a thousand.
    pub per_mille: u32,
    /// At most so long.
    pub hold: Micros,
}

impl<P: Path> Path for Reorder<P> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        let first = arrivals.len();
        self.path.pass(at, item, arrivals);
        let mixed = mix(&[self.salt, at, item.identity]);
        if item.class != Class::Handshake && chance(mixed, self.per_mille) {
            let hold = below(mix(&[mixed]), self.hold + 1);
            arrivals[first..].iter_mut().for_each(|arrival| *arrival += hold);
        }
    }
}

/// Delays everything by a wandering amount that keeps the order.
pub struct Jitter<P> {
    /// What is wrapped.
    pub path: P,
    /// See [`Loss::salt`].
    pub salt: u64,
    /// At most so much.
    pub max: Micros,
    /// Arrival of the last one.
    pub last: Micros,
}

impl<P: Path> Path for Jitter<P> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        let first = arrivals.len();
        self.path.pass(at, item, arrivals);
        // The delay wanders from one window of 10 ms to the next.
        let more = below(mix(&[self.salt, at / 10_000]), self.max + 1);
        for arrival in &mut arrivals[first..] {
            *arrival = (*arrival + more).max(self.last);
            self.last = *arrival;
        }
    }
}

/// Lets so many bits a second through; what does not fit into the queue is lost. Only RTP takes
/// room: the lengths of the rest differ from run to run.
pub struct Capacity<P> {
    /// What is wrapped.
    pub path: P,
    /// Bits a second.
    pub bitrate: u64,
    /// Bytes that may wait.
    pub queue: u64,
    /// When the last one has left.
    pub free_at: Micros,
}

impl<P: Path> Path for Capacity<P> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        let start = self.free_at.max(at);
        let waiting = (start - at) * self.bitrate / 8_000_000;
        if item.len > 0 && waiting + item.len > self.queue {
            return;
        }
        self.free_at = start + item.len * 8_000_000 / self.bitrate.max(1);
        self.path.pass(self.free_at, item, arrivals);
    }
}

impl Path for Box<dyn Path> {
    fn pass(&mut self, at: Micros, item: &Item, arrivals: &mut Vec<Micros>) {
        self.as_mut().pass(at, item, arrivals);
    }
}

/// The faults of a path, as a scene names them; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Lost, of a thousand.
    pub loss: u32,
    /// Delivered twice, of a thousand.
    pub duplicate: u32,
    /// Overtaken, of a thousand.
    pub reorder: u32,
    /// Wandering delay, at most.
    pub jitter: Micros,
    /// Bits a second; 0 is no bound.
    pub bitrate: u64,
    /// Bytes that may wait before such a link; 0: as many as usual.
    pub queue: u64,
    /// Whether handshakes and messages are lost too.
    pub all: bool,
}

impl Faults {
    /// Whether all that is sent arrives, and in order: str0m takes no packet from before the first
    /// that it saw of a stream.
    pub fn faithful(&self) -> bool {
        self.loss == 0 && self.bitrate == 0 && self.reorder == 0
    }

    /// The most by which two datagrams can come nearer to each other than they were sent.
    pub fn wobble(&self) -> Micros {
        let reorder = if self.reorder > 0 { REORDER_HOLD } else { 0 };
        let queue = (self.queue() * 8_000_000).checked_div(self.bitrate).unwrap_or(0);
        reorder + self.jitter + queue
    }

    fn queue(&self) -> u64 {
        if self.queue > 0 { self.queue } else { QUEUE }
    }

    /// How long after a datagram its double may come; 0 without doubles.
    pub fn echo(&self) -> Micros {
        if self.duplicate > 0 { 2 * REORDER_HOLD + self.jitter } else { 0 }
    }

    /// A path with these faults.
    pub fn wrap(&self, delay: Micros, salt: u64) -> Box<dyn Path> {
        let mut path: Box<dyn Path> = Box::new(Wire { delay });
        if self.jitter > 0 {
            let salt = mix(&[salt, 1]);
            path = Box::new(Jitter { path, salt, max: self.jitter, last: 0 });
        }
        if self.reorder > 0 {
            let (salt, per_mille) = (mix(&[salt, 2]), self.reorder);
            path = Box::new(Reorder { path, salt, per_mille, hold: REORDER_HOLD });
        }
        if self.duplicate > 0 {
            let (salt, per_mille) = (mix(&[salt, 3]), self.duplicate);
            path = Box::new(Duplicate { path, salt, per_mille, later: REORDER_HOLD });
        }
        if self.bitrate > 0 {
            let bitrate = self.bitrate;
            path = Box::new(Capacity { path, bitrate, queue: self.queue(), free_at: 0 });
        }
        if self.loss > 0 {
            let (salt, per_mille, all) = (mix(&[salt, 4]), self.loss, self.all);
            path = Box::new(Loss { path, salt, per_mille, all });
        }
        path
    }
}

/// How long an overtaken datagram is held back at most.
const REORDER_HOLD: Micros = 30_000;
/// Bytes that wait before a bounded link, where a scene does not say.
const QUEUE: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(faults: Faults, count: u64) -> Vec<Vec<Micros>> {
        let mut path = faults.wrap(1_000, 42);
        (0..count)
            .map(|n| {
                let mut out = Vec::new();
                let item = Item { class: Class::Rtp, identity: n, len: 1_000 };
                path.pass(n * 10_000, &item, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn faults_compose_and_repeat() {
        let faults = Faults { loss: 100, duplicate: 50, reorder: 100, ..Faults::default() };
        let out = arrivals(faults, 10_000);
        let count = |n: usize| out.iter().filter(|arrivals| arrivals.len() == n).count();
        assert!((900..1_100).contains(&count(0)), "lost {}", count(0));
        assert!((350..550).contains(&count(2)), "twice {}", count(2));
        assert_eq!(out, arrivals(faults, 10_000));
        assert!(arrivals(Faults::default(), 100).iter().all(|arrivals| arrivals.len() == 1));
    }

    #[test]
    fn a_bounded_link_passes_its_bitrate_and_no_more() {
        // 1000 bytes each 10 ms are 800 kbit/s; half of it fits.
        let faults = Faults { bitrate: 400_000, ..Faults::default() };
        let passed = arrivals(faults, 1_000).iter().filter(|a| !a.is_empty()).count();
        assert!((490..540).contains(&passed), "{passed}");
    }

    #[test]
    fn jitter_keeps_the_order() {
        let faults = Faults { jitter: 50_000, ..Faults::default() };
        let flat: Vec<Micros> = arrivals(faults, 1_000).concat();
        assert!(flat.is_sorted());
        assert!(flat.iter().zip(0..).any(|(at, n)| at - n * 10_000 > 30_000));
    }
}
