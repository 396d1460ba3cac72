//! The clock and the loop over events.
//!
//! ```text
//!   next time = min(mail, net, shards' deadlines, parcels, peers' deadlines)
//!     mail that is due      -> signal, shards, peers
//!     datagrams that arrived -> the shard that the kernel chooses, or the peer
//!     shards: handle*, flush, poll*, until no parcel is due
//!     peers:  receive*, tick
//!     oracle judges, trace remembers
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::command::Command;
use antipode_base::ids::{SessionId, ShardId, TrackId};
use antipode_base::notice::Notice;
use antipode_base::stats::ShardStats;
use antipode_core::{Input, Output, Shard, ShardConfig};

use crate::links::{LinkFaults, Links};
use crate::meter;
use crate::net::{Datagram, Net};
use crate::oracle::{Oracle, Slack};
use crate::path::{Faults, Micros};
use crate::peer::Peer;
use crate::seed::{below, mix};
use crate::signal::{Out, Signal};
use crate::talks::{ClientSays, ServerSays};
use crate::trace::Trace;

/// More turns of a shard in one instant than this are a loop without end.
const TURNS_MAX: u32 = 1_000;
/// A command or a message takes this long, and up to as much more.
const MAIL_DELAY: Micros = 500;

/// How a world is built.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Shards of the node.
    pub shards: u16,
    /// One way between client and node, µs.
    pub delay: Micros,
    /// From clients to the node.
    pub up: Faults,
    /// From the node to clients.
    pub down: Faults,
    /// Between shards.
    pub links: LinkFaults,
    /// Sections that a client offers for receiving when it joins: audio, video.
    pub sections: (u16, u16),
    /// Microphones that each member hears at once; 0: all.
    pub audio_top: u8,
}

impl Default for Setup {
    fn default() -> Self {
        let none = Faults::default();
        let links = LinkFaults::default();
        let sections = (1, 1);
        Setup { shards: 2, delay: 10_000, up: none, down: none, links, sections, audio_top: 0 }
    }
}

/// Something on its way between clients, signaling and shards.
#[derive(Debug)]
enum Mail {
    ToShard(ShardId, Command),
    FromShard(ShardId, Notice),
    ToClient(SessionId, ServerSays),
    FromClient(SessionId, ClientSays),
}

/// See the module's documentation.
pub struct World {
    /// The one seed.
    pub seed: u64,
    /// How it was built.
    pub setup: Setup,
    /// The virtual time.
    pub now: Micros,
    /// The tiny signaling.
    pub signal: Signal,
    /// All clients, also those that left.
    pub peers: Vec<Peer>,
    /// What must never happen.
    pub oracle: Oracle,
    /// What happened.
    pub trace: Trace,
    /// Datagrams in flight.
    pub net: Net,
    /// Parcels between shards.
    pub links: Links,
    /// How traces call tracks.
    pub labels: BTreeMap<TrackId, String>,
    /// The first datagrams of each client, for those who would misuse them.
    pub overheard: Vec<Datagram>,
    /// Answers of the node to addresses that no client has.
    pub to_strangers: u64,
    /// Allocations of turns in which a shard took in media and no timer was due, and what it sent there.
    pub allocated: (u64, u64),
    pub(crate) start: Instant,
    pub(crate) shards: Vec<Shard>,
    pub(crate) listening: bool,
    pub(crate) forging: bool,
    /// No path ever lost anything.
    pub(crate) faithful: bool,
    /// What paths from the node ever did to time.
    pub(crate) slack: Slack,
    /// Peers that are neither closed nor without anything to say, by their places.
    pub(crate) awake: Vec<usize>,
    pub(crate) addresses: HashMap<SocketAddr, usize>,
    inputs: Vec<Vec<Datagram>>,
    commands: Vec<Vec<Command>>,
    mail: BTreeMap<(Micros, u64), Mail>,
    mailed: u64,
    /// By sender and receiver: when the last one arrives, and how many there were.
    mail_last: BTreeMap<(u8, u64), (Micros, u64)>,
}

impl World {
    /// A node without clients.
    pub fn new(seed: u64, setup: Setup) -> Self {
        // The only reading of a clock: an arbitrary beginning, because an `Instant` has no zero.
        let start = Instant::now();
        let shard = |shard: u16| {
            let config = ShardConfig {
                shard: ShardId(shard),
                shards: setup.shards,
                candidates: vec![node_address()],
                candidates_tcp: vec![],
                seed: mix(&[seed, 0x5a, u64::from(shard)]),
            };
            Shard::new(config, start)
        };
        let count = usize::from(setup.shards);
        World {
            seed,
            setup,
            now: 0,
            signal: Signal::new(seed, setup.audio_top),
            peers: Vec::new(),
            oracle: Oracle::default(),
            trace: Trace::default(),
            net: Net::default(),
            links: Links::new(seed, count, setup.links),
            labels: BTreeMap::new(),
            overheard: Vec::new(),
            to_strangers: 0,
            allocated: (0, 0),
            start,
            shards: (0..setup.shards).map(shard).collect(),
            listening: false,
            forging: false,
            faithful: setup.up.faithful() && setup.down.faithful(),
            slack: Slack { wobble: setup.down.wobble(), echo: setup.down.echo() },
            awake: Vec::new(),
            addresses: HashMap::new(),
            inputs: vec![Vec::new(); count],
            commands: vec![Vec::new(); count],
            mail: BTreeMap::new(),
            mailed: 0,
            mail_last: BTreeMap::new(),
        }
    }

    /// Counters of each shard.
    pub fn stats(&self) -> Vec<ShardStats> {
        self.shards.iter().map(Shard::stats).collect()
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Micros) {
        let until = self.now + time;
        while let Some(at) = self.next().filter(|at| *at <= until) {
            self.step(at);
        }
        self.now = until;
    }

    /// Lets time pass until something holds, at most `time`.
    ///
    /// # Panics
    /// When it does not come to hold.
    pub fn until(&mut self, what: &str, time: Micros, mut holds: impl FnMut(&mut World) -> bool) {
        let end = self.now + time;
        while !holds(self) {
            match self.next().filter(|at| *at <= end) {
                Some(at) => self.step(at),
                None => self.breach(&format!("not within {} ms: {what}", time / 1_000)),
            }
        }
    }

    /// Stops the world.
    ///
    /// # Panics
    /// Always: with the breach, the time and the last of the trace.
    pub fn breach(&mut self, breach: &str) -> ! {
        let (now, tail) = (self.now, self.trace.tail(12));
        panic!("at {now} µs: {breach}\nthe trace ends with\n{tail}");
    }

    fn next(&self) -> Option<Micros> {
        let mail = self.mail.first_key_value().map(|((at, _), _)| *at);
        let peers = self.awake.iter().filter_map(|place| self.peers[*place].next()).min();
        let shards = (0..self.shards.len()).filter_map(|shard| self.shard_next(shard)).min();
        [mail, peers, shards, self.net.next()].into_iter().flatten().min()
    }

    fn shard_next(&self, shard: usize) -> Option<Micros> {
        let deadline = self.shards[shard].deadline().map(|at| {
            let wait = at.saturating_duration_since(self.start).as_nanos();
            u64::try_from(wait.div_ceil(1_000)).unwrap_or(u64::MAX)
        });
        [deadline, self.links.next(shard)].into_iter().flatten().min()
    }

    fn step(&mut self, at: Micros) {
        self.now = self.now.max(at);
        while let Some(entry) = self.mail.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let mail = entry.remove();
            self.deliver(mail);
        }
        let mut for_peers: Vec<(usize, Datagram)> = Vec::new();
        while let Some(datagram) = self.net.arrive(self.now) {
            if datagram.destination == node_address() {
                let shard = self.kernel(datagram.source);
                self.inputs[shard].push(datagram);
            } else if let Some(peer) = self.peer_at(datagram.destination) {
                for_peers.push((peer, datagram));
            } else {
                self.to_strangers += 1;
            }
        }
        self.shards_turn();
        for (peer, datagram) in for_peers {
            self.peers[peer].receive(self.now, &datagram);
        }
        for place in &self.awake {
            let peer = &mut self.peers[*place];
            if peer.next().is_some_and(|next| next <= self.now) {
                peer.tick(self.now);
            }
        }
        self.collect();
    }

    /// Which shard's socket the kernel gives a datagram to: a hash of the source, so that most
    /// land on a shard that does not own them as soon as there are several.
    pub fn kernel(&self, source: SocketAddr) -> usize {
        let SocketAddr::V4(source) = source else { return 0 };
        let address = u64::from(source.ip().to_bits()) << 16 | u64::from(source.port());
        below(mix(&[self.seed, 0x4e, address]), self.shards.len() as u64) as usize
    }

    fn peer_at(&self, address: SocketAddr) -> Option<usize> {
        self.addresses.get(&address).copied()
    }

    fn shards_turn(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut turned = false;
            for shard in 0..self.shards.len() {
                let due = self.shard_next(shard).is_some_and(|next| next <= self.now);
                if due || !self.inputs[shard].is_empty() || !self.commands[shard].is_empty() {
                    turned = true;
                    self.turn(shard);
                }
            }
            if !turned {
                return;
            }
        }
        self.breach("the shards do not come to rest");
    }

    /// One turn of one shard: handle*, flush, poll*.
    fn turn(&mut self, at: usize) {
        let now = self.start + Duration::from_micros(self.now);
        let shard = &mut self.shards[at];
        let quiet = shard.deadline().is_none_or(|deadline| deadline > now);
        let media = quiet && self.inputs[at].iter().all(Datagram::is_rtp);
        let mut allocated = 0;
        for datagram in self.inputs[at].drain(..) {
            let input = antipode_core::Datagram {
                transport: antipode_core::Transport::Udp,
                source: datagram.source,
                local: datagram.destination,
                bytes: &datagram.bytes,
                at: now,
            };
            allocated += meter::watch(|| shard.handle(Input::Datagram(input), now)).0;
        }
        while let Some((from, parcel)) = self.links.take(at, self.now) {
            shard.handle(Input::Parcel { from, parcel }, now);
        }
        for command in self.commands[at].drain(..) {
            shard.handle(Input::Command(command), now);
        }
        allocated += meter::watch(|| shard.flush(now)).0;
        let mut sent: BTreeMap<SocketAddr, Vec<Datagram>> = BTreeMap::new();
        loop {
            let (more, output) = meter::watch(|| self.shards[at].poll());
            allocated += more;
            match output {
                None => break,
                Some(Output::Transmit(transmit)) => {
                    let (source, destination) = (transmit.local, transmit.destination);
                    let datagram = Datagram { source, destination, bytes: transmit.bytes.clone() };
                    sent.entry(destination).or_default().push(datagram);
                    self.shards[at].reuse(transmit.bytes);
                }
                Some(Output::Parcel(addressed)) => {
                    if let Err(breach) = self.links.send(at, addressed, self.now) {
                        self.breach(&breach);
                    }
                }
                Some(Output::Address(..)) => {}
                Some(Output::Notice(notice)) => {
                    self.trace_notice(at, &notice);
                    self.post(Mail::FromShard(ShardId(at as u16), notice));
                }
            }
        }
        if media {
            self.allocated.0 += allocated;
            self.allocated.1 += sent.values().map(|batch| batch.len() as u64).sum::<u64>();
        }
        for (destination, batch) in sent {
            match self.peer_at(destination) {
                Some(peer) => self.net.send(self.peers[peer].id.lanes[1], self.now, batch),
                None => self.to_strangers += batch.len() as u64,
            }
        }
    }

    /// What the peers have done: to the net, to signaling, before the oracle, into the trace.
    pub(crate) fn collect(&mut self) {
        for place in self.awake.clone() {
            let peer = &mut self.peers[place];
            let outbox = std::mem::take(&mut peer.outbox);
            let news = peer.take_news();
            let said = std::mem::take(&mut peer.talks.said);
            let (session, lane) = (peer.id.session, peer.id.lanes[0]);
            if self.listening {
                self.overheard.extend(outbox.iter().cloned());
            }
            self.net.send(lane, self.now, outbox);
            said.into_iter().for_each(|says| self.post(Mail::FromClient(session, says)));
            self.trace_news(place, &news);
            let (peer, now) = (&self.peers[place], self.now);
            let (signal, slack) = (&self.signal, self.slack);
            let verdict = self.oracle.judge(place, peer, &news, signal, now, slack);
            if let Err(breach) = verdict {
                self.breach(&breach);
            }
        }
        self.awake.retain(|place| !self.peers[*place].closed);
        self.speak();
    }

    /// Posts what signaling says.
    pub(crate) fn speak(&mut self) {
        for out in std::mem::take(&mut self.signal.out) {
            self.post(match out {
                Out::Shard(shard, command) => Mail::ToShard(shard, command),
                Out::Client(session, says) => Mail::ToClient(session, says),
            });
        }
    }

    /// Mail takes its time, and keeps its order between the same two.
    fn post(&mut self, mail: Mail) {
        self.mailed += 1;
        let between = match &mail {
            Mail::ToShard(shard, _) => (0, u64::from(shard.0)),
            Mail::FromShard(shard, _) => (1, u64::from(shard.0)),
            Mail::ToClient(session, _) => (2, session.0),
            Mail::FromClient(session, _) => (3, session.0),
        };
        // The delay hangs on who writes to whom and how often, not on what else is in the post.
        let (last, count) = self.mail_last.entry(between).or_default();
        *count += 1;
        let more = below(mix(&[self.seed, 0x3a, between.0.into(), between.1, *count]), MAIL_DELAY);
        *last = (self.now + MAIL_DELAY + more).max(*last);
        self.mail.insert((*last, self.mailed), mail);
    }

    fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::ToShard(shard, command) => self.commands[shard.index()].push(command),
            Mail::FromShard(shard, notice) => self.signal.notice(shard, notice),
            Mail::FromClient(session, says) => self.signal.client(session, says),
            Mail::ToClient(session, says) => {
                let of = |place: &&usize| self.peers[**place].id.session == session;
                if let Some(place) = self.awake.iter().find(of) {
                    self.peers[*place].hear(self.now, says);
                }
            }
        }
        self.speak();
    }
}

/// Where the node's media port is.
pub fn node_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7_882))
}
