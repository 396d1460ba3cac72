//! The one task that owns the model. Everything that happens reaches it as an [`Event`], in order;
//! what follows from it leaves through bounded channels.

mod calls;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antipode_base::control::{Memo, ToNode};
use antipode_base::ids::{MemberId, NodeId, ShardId};
use antipode_base::limits::{CONTROL_CHANNEL_MAX, NODE_STALL_MAX, NODES_MAX, SIGNAL_QUEUE_MAX};
use antipode_base::notice::Notice;
use antipode_base::stats::{ProcessStats, ShardStats, TcpStats};
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use calls::Question;

use crate::edge::encode::Encoder;
use crate::model::http::{Address, Denied, Reply};
use crate::model::message::{Join, Request, Resume};
use crate::model::program::PlayEvent;
use crate::model::{ClientId, Counters, Effect, Model, Now, Options, Refusal};
use crate::variant::Variant;

/// Events that may wait for the actor.
const EVENTS_MAX: usize = 4_096;
/// Events of one turn, before what follows from them is sent.
const TURN_EVENTS_MAX: usize = 256;

/// For one WebSocket. The channel's end without a `Close` means that it was too slow.
#[derive(Debug)]
pub(crate) enum ToSocket {
    /// One binary message.
    Frame(Bytes),
    /// The end, in order.
    Close,
}

/// Who wants in.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// New.
    Join(Box<Join>),
    /// Back.
    Resume(Resume),
}

/// The two ends that the actor keeps of a WebSocket.
#[derive(Debug)]
pub(crate) struct ClientLink {
    frames: mpsc::Sender<ToSocket>,
    admit: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody is at the door.
    Arrive {
        /// Whose WebSocket it will be.
        client: ClientId,
        /// How to reach it.
        link: ClientLink,
        /// What it wants.
        arrival: Arrival,
    },
    /// Somebody asks.
    Request {
        /// Who.
        client: ClientId,
        /// What.
        request: Request,
    },
    /// A WebSocket is gone.
    Gone(ClientId),
    /// A request by HTTP.
    Call {
        /// Its number.
        call: ClientId,
        /// What it asks.
        question: Question,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Reply, Denied>>,
    },
    /// Somebody wants to hear of a player.
    Listen {
        /// Of which.
        address: Address,
        /// Where the events go.
        events: mpsc::Sender<PlayEvent>,
        /// What happened before; or why not.
        answer: oneshot::Sender<Result<Vec<PlayEvent>, Denied>>,
    },
    /// A node proved itself and told what it holds.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Number of this link.
        link: u64,
        /// Its shards.
        shards: u16,
        /// Its members.
        members: Vec<Memo>,
        /// How to reach it.
        commands: mpsc::Sender<ToNode>,
    },
    /// A node's link broke.
    NodeLost {
        /// Which.
        node: NodeId,
        /// Number of the link.
        link: u64,
    },
    /// From a shard.
    Notice {
        /// Its node.
        node: NodeId,
        /// Which.
        shard: ShardId,
        /// What.
        notice: Notice,
    },
    /// A shard's counters.
    Stats {
        /// Its node.
        node: NodeId,
        /// Which.
        shard: ShardId,
        /// What.
        stats: Box<ShardStats>,
    },
    /// Counters of a node's TCP connections.
    TcpStats {
        /// The node.
        node: NodeId,
        /// What.
        stats: Box<TcpStats>,
    },
    /// Figures of a node's process.
    ProcessStats {
        /// The node.
        node: NodeId,
        /// What.
        stats: ProcessStats,
    },
    /// Somebody wants to look.
    Inspect(oneshot::Sender<Inspection>),
}

/// What there is to see from outside.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub members: usize,
    pub rooms: usize,
    pub nodes: usize,
    /// Publishers by WHIP, players by WHEP.
    pub resources: (usize, usize),
    pub counters: Counters,
    pub stats: Vec<(NodeId, ShardId, ShardStats)>,
    pub tcp: Vec<(NodeId, TcpStats)>,
    pub processes: Vec<(NodeId, ProcessStats)>,
}

/// How others reach the actor. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    events: mpsc::Sender<Event>,
    /// Each client's end is said once, also by those that cannot wait: hence no bound is needed
    /// beyond the one on clients.
    gone: mpsc::UnboundedSender<ClientId>,
    clients: Arc<AtomicU64>,
}

/// A client's seat at the actor; says so when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub client: ClientId,
    pub frames: mpsc::Receiver<ToSocket>,
    handle: Handle,
    said: bool,
}

impl Ticket {
    /// Passes a request on. False: the actor is gone.
    pub(crate) async fn request(&self, request: Request) -> bool {
        self.handle.send(Event::Request { client: self.client, request }).await
    }

    /// The WebSocket is gone; after all requests that came before.
    pub(crate) async fn finish(mut self) {
        self.said = self.handle.send(Event::Gone(self.client)).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.said {
            // The actor may be gone already, and then nobody needs to know.
            let _ = self.handle.gone.send(self.client);
        }
    }
}

impl Handle {
    /// Passes an event on. False: the actor is gone.
    pub(crate) async fn send(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Knocks. The answer comes when there is a node.
    pub(crate) async fn arrive(&self, arrival: Arrival) -> Result<Ticket, Refusal> {
        let client = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        let (frames_tx, frames) = mpsc::channel(SIGNAL_QUEUE_MAX);
        let (admit, answer) = oneshot::channel();
        let ticket = Ticket { client, frames, handle: self.clone(), said: false };
        let link = ClientLink { frames: frames_tx, admit: Some(admit) };
        self.send(Event::Arrive { client, link, arrival }).await;
        answer.await.unwrap_or(Err(Refusal::NoNode)).map(|()| ticket)
    }

    /// Looks.
    pub(crate) async fn inspect(&self) -> Option<Inspection> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Inspect(reply)).await;
        answer.await.ok()
    }
}

struct NodeLink {
    link: u64,
    commands: mpsc::Sender<ToNode>,
}

/// See the module's documentation.
pub(crate) struct Actor {
    model: Model,
    encoder: Encoder,
    events: mpsc::Receiver<Event>,
    gone: mpsc::UnboundedReceiver<ClientId>,
    clients: HashMap<ClientId, ClientLink>,
    calls: HashMap<ClientId, oneshot::Sender<Result<Reply, Denied>>>,
    listeners: HashMap<MemberId, Vec<mpsc::Sender<PlayEvent>>>,
    nodes: HashMap<NodeId, NodeLink>,
    stats: BTreeMap<(NodeId, ShardId), ShardStats>,
    tcp: BTreeMap<NodeId, TcpStats>,
    processes: BTreeMap<NodeId, ProcessStats>,
}

/// An actor and how to reach it.
pub(crate) fn new(options: Options, encoder: Encoder) -> (Actor, Handle) {
    let (events_tx, events) = mpsc::channel(EVENTS_MAX);
    let (gone_tx, gone) = mpsc::unbounded_channel();
    let actor = Actor {
        model: Model::new(options, StdRng::from_os_rng()),
        encoder,
        events,
        gone,
        clients: HashMap::new(),
        calls: HashMap::new(),
        listeners: HashMap::new(),
        nodes: HashMap::new(),
        stats: BTreeMap::new(),
        tcp: BTreeMap::new(),
        processes: BTreeMap::new(),
    };
    (actor, Handle { events: events_tx, gone: gone_tx, clients: Arc::new(AtomicU64::new(1)) })
}

/// The number of a node's commands that may wait in its channel.
pub(crate) const NODE_QUEUE_MAX: usize = CONTROL_CHANNEL_MAX;

impl Actor {
    /// Until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let deadline = self.model.deadline();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(event) = self.events.recv() => self.take(event),
                Some(client) = self.gone.recv() => self.take(Event::Gone(client)),
                () = sleep_until(deadline) => {}
            }
            for _ in 1..TURN_EVENTS_MAX {
                match self.events.try_recv() {
                    Ok(event) => self.take(event),
                    Err(_) => break,
                }
            }
            let now = read_clocks();
            self.model.tick(now);
            self.model.settle(now);
            self.flush().await;
        }
    }

    fn take(&mut self, event: Event) {
        let now = read_clocks();
        match event {
            Event::Arrive { client, link, arrival } => {
                self.clients.insert(client, link);
                match arrival {
                    Arrival::Join(join) => self.model.join(client, *join, now),
                    Arrival::Resume(resume) => self.model.resume(client, resume, now),
                }
            }
            Event::Request { client, request } => {
                tracing::trace!(client = client.0, request = %Variant(&request));
                self.model.request(client, request, now);
            }
            Event::Gone(client) => {
                self.clients.remove(&client);
                self.model.client_gone(client, now);
            }
            Event::Call { call, question, answer } => {
                self.calls.insert(call, answer);
                match question {
                    Question::Open(open) => self.model.open(call, *open, now),
                    Question::Ask(address, ask) => self.model.ask(call, &address, ask, now),
                    Question::Remove { room, identity } => {
                        self.model.expel(call, &room, &identity, now);
                    }
                }
            }
            Event::Listen { address, events, answer } => {
                // Whoever asked may have gone; then its channel is closed too.
                let _ = answer.send(self.listen(&address, events));
            }
            Event::NodeUp { node, link, shards, members, commands } => {
                if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
                    tracing::error!(%node, NODES_MAX, "one node too many, its link is closed");
                    return;
                }
                self.nodes.insert(node, NodeLink { link, commands });
                self.model.node_up(node, shards, members, now);
            }
            Event::NodeLost { node, link } => self.lose_node(node, link, now),
            Event::Notice { node, shard, notice } => {
                let session = notice.session();
                tracing::trace!(%shard, ?session, notice = %Variant(&notice));
                self.model.notice(node, shard, notice, now);
            }
            Event::Stats { node, shard, stats } => {
                self.stats.insert((node, shard), *stats);
            }
            Event::TcpStats { node, stats } => {
                self.tcp.insert(node, *stats);
            }
            Event::ProcessStats { node, stats } => {
                self.processes.insert(node, stats);
            }
            Event::Inspect(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.inspect());
            }
        }
    }

    fn lose_node(&mut self, node: NodeId, link: u64, now: Now) {
        if self.nodes.get(&node).is_some_and(|known| known.link == link) {
            self.nodes.remove(&node);
            self.stats.retain(|(of, _), _| *of != node);
            self.tcp.remove(&node);
            self.processes.remove(&node);
            self.model.node_lost(node, now);
        }
    }

    fn inspect(&self) -> Inspection {
        let (members, rooms, nodes) = self.model.sizes();
        let stats = self.stats.iter();
        Inspection {
            members,
            rooms,
            nodes,
            resources: self.model.resource_counts(),
            counters: self.model.counters(),
            stats: stats.map(|((node, shard), stats)| (*node, *shard, stats.clone())).collect(),
            tcp: self.tcp.iter().map(|(node, stats)| (*node, stats.clone())).collect(),
            processes: self.processes.iter().map(|(node, stats)| (*node, *stats)).collect(),
        }
    }

    async fn flush(&mut self) {
        let now_s = read_clocks().unix_s();
        while let Some(effect) = self.model.poll() {
            match effect {
                Effect::Command { seat, command } => {
                    let session = command.session();
                    tracing::trace!(shard = %seat.shard, ?session, command = %Variant(&command));
                    let message = ToNode::Command { shard: seat.shard, command };
                    self.send_node(seat.node, message).await;
                }
                Effect::Memo { node, memo } => self.send_node(node, ToNode::Memo(memo)).await,
                Effect::Admit(client) => self.answer(client, Ok(())),
                Effect::Refuse(client, refusal) => {
                    self.answer(client, Err(refusal));
                    self.clients.remove(&client);
                }
                Effect::Tell { clients, message } => {
                    tracing::trace!(?clients, message = %Variant(&message));
                    if let Some(frame) = self.encoder.encode(message, now_s) {
                        for client in clients {
                            self.send_client(client, ToSocket::Frame(frame.clone()));
                        }
                    }
                }
                Effect::Hangup(client) => {
                    self.send_client(client, ToSocket::Close);
                    self.clients.remove(&client);
                }
                Effect::Reply { call, reply } => self.reply(call, reply),
                Effect::Play { player, event } => self.tell_listeners(player, &event),
                Effect::Over(member) => drop(self.listeners.remove(&member)),
            }
        }
    }

    fn answer(&mut self, client: ClientId, answer: Result<(), Refusal>) {
        if let Err(refusal) = answer
            && self.calls.contains_key(&client)
        {
            let denied = match refusal {
                Refusal::NoNode => Denied::NoNode,
                Refusal::Full => Denied::Full,
            };
            return self.reply(client, Err(denied));
        }
        let admit = self.clients.get_mut(&client).and_then(|link| link.admit.take());
        if let Some(admit) = admit {
            // Whoever knocked may have gone; its ticket says so.
            let _ = admit.send(answer);
        }
    }

    /// A client whose queue is full does not read: its end of the channel is dropped, and its
    /// WebSocket closes itself. It may resume.
    fn send_client(&mut self, client: ClientId, message: ToSocket) {
        let Some(link) = self.clients.get(&client) else { return };
        if link.frames.try_send(message).is_err() {
            self.clients.remove(&client);
        }
    }

    /// A node that does not take its commands holds everybody up: after a while it counts as lost.
    async fn send_node(&mut self, node: NodeId, message: ToNode) {
        let Some(link) = self.nodes.get(&node) else { return };
        let taken = match link.commands.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(message)) => {
                let sent = tokio::time::timeout(NODE_STALL_MAX, link.commands.send(message)).await;
                matches!(sent, Ok(Ok(())))
            }
        };
        if !taken {
            tracing::error!(%node, "the node does not take its commands, its link is closed");
            let link = link.link;
            self.lose_node(node, link, read_clocks());
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The only place where the control plane reads the clocks for its model.
pub(crate) fn read_clocks() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // The runtime's clock, which is the system's; but a test may stop it.
    let at = tokio::time::Instant::now().into_std();
    Now { at, unix_us: i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) }
}
