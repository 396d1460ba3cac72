//! A node: its sockets, rings and threads, put together and taken apart.
//!
//! ```text
//!   thread "antipode-0" … "antipode-n"   one shard each, on its own core
//!   thread "antipode-tcp"               the connections of clients without UDP
//!   thread "antipode-control"            signaling's commands and notices
//!   the calling thread                   waits for the end of any of them
//! ```

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use antipode_base::command::Command;
use antipode_base::ids::{NodeId, ShardId};
use antipode_base::limits::CONTROL_CHANNEL_MAX;
use antipode_core::{Shard, ShardConfig};
use antipode_relay::doorbell::{Doorbell, Wake};
use antipode_relay::mesh::{Port, mesh};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::Socket;

use crate::config::{DriverChoice, NodeConfig};
use crate::control::{Control, Identity, ShardLink};
use crate::driver::epoll::{Epoll, block_on};
use crate::driver::nap::{Apart, Nap};
use crate::driver::{self, glommio::Glommio};
use crate::error::NodeError;
use crate::host;
use crate::net::locals::Locals;
use crate::net::socket::{self, Group};
use crate::net::steer;
use crate::report::{Report, Reporter};
use crate::shard_thread::{ShardThread, Wiring};
use crate::tcp::MediaTcp;
use crate::tcp::place::{Furnished, Place};
use crate::wake::{EventBell, StopToken};

/// Runs a node on the calling thread and those that it makes, until `stop` says so.
///
/// # Errors
/// Before anything runs: what the operator must mend. Later: [`NodeError::ThreadEnded`].
pub fn run(config: NodeConfig, stop: StopToken) -> Result<(), NodeError> {
    let node = Node::open(&config)?;
    drop(config);
    node.run(stop)
}

/// What a shard's thread is made from.
struct Seat {
    wiring: Wiring,
    birth: ShardConfig,
    rung: EventBell,
    cores: Vec<usize>,
    driver: DriverChoice,
}

/// A node that is ready to run.
struct Node {
    seats: Vec<Seat>,
    control: Control,
    tcp: Option<MediaTcp>,
    bells: Vec<EventBell>,
}

/// A thread's name and how it ended.
type Ending = (String, Result<(), NodeError>);

impl Node {
    fn open(config: &NodeConfig) -> Result<Node, NodeError> {
        if config.secret.is_empty() {
            return Err(NodeError::NoSecret);
        }
        host::raise_limits();
        let cores = host::plan_cores(config)?;
        let driver = choose_driver(config.driver)?;
        let own = socket::host_addresses()?;
        // Before the group is there: one of its sockets would get the answer, nobody knows which.
        let advertise = host::advertised(config, &own)?;
        let mut group = socket::open_group(config.media, cores.len())?;
        group.log();
        let media = socket::candidates(group.address, &advertise, config.include_loopback, &own)?;
        let open = |at| Place::open(at, &advertise, config.include_loopback, &own);
        let tcp = config.tcp.map(open).transpose()?;
        let media_tcp = tcp.as_ref().map_or(Vec::new(), |place| place.candidates.clone());
        let (_, claims) = steer::install(&mut group);
        let claims = claims.map(Arc::new);
        let (mut bells, doorbells) = make_bells(cores.len())?;
        let (control_bell, control_doorbell) = make_bell()?;
        let furnish = |place: Place| place.furnish(&own, &doorbells, &control_doorbell);
        let mut tcp = tcp.map(furnish).transpose()?;
        let tcp_ends = tcp.as_mut().map(|tcp| std::mem::take(&mut tcp.ends));
        let mut tcp_ends = tcp_ends.unwrap_or_default().into_iter();
        let ports = mesh(&doorbells);
        let Group { sockets, patient, pictures, address } = group;
        let (mut patient, mut pictures) = (patient.into_iter(), pictures.into_iter());
        let mut seats = Vec::with_capacity(cores.len());
        let mut links = Vec::with_capacity(cores.len());
        for (((socket, port), cores), index) in sockets.into_iter().zip(ports).zip(cores).zip(0..) {
            let (commands, inbox) = bounded::<Command>(CONTROL_CHANNEL_MAX);
            let (reports_tx, reports) = bounded::<Report>(CONTROL_CHANNEL_MAX);
            let bell: &Arc<Doorbell> = &doorbells[index];
            links.push(ShardLink { commands, reports, bell: Arc::clone(bell) });
            let wiring = Wiring {
                socket,
                patient: patient.next(),
                pictures: pictures.next(),
                v6: address.is_ipv6(),
                locals: Locals::new(media.clone(), &own, address),
                claims: claims.clone(),
                inbox,
                reporter: Reporter::new(reports_tx, Arc::clone(&control_doorbell)),
                bell: Arc::clone(bell),
                port,
                tcp: tcp_ends.next(),
            };
            let birth = birth(&wiring.port, [media.clone(), media_tcp.clone()])?;
            seats.push(Seat { wiring, birth, rung: bells[index].clone(), cores, driver });
        }
        let secret = config.secret.clone();
        let identity = Identity { node: NodeId(random()?), media: media.clone(), secret };
        tracing::info!(
            node = %identity.node, shards = seats.len(), ?driver, ?media, ?media_tcp,
            control = %config.control,
            "the node is ready"
        );
        let address = config.control.clone();
        let control = Control::new(address, identity, links, control_doorbell, control_bell)
            .with_process(config.process);
        let (tcp, reports) = match tcp {
            Some(Furnished { thread, rung, reports, .. }) => {
                bells.push(rung);
                (Some(thread), Some(reports))
            }
            None => (None, None),
        };
        Ok(Node { seats, control: control.with_tcp(reports), tcp, bells })
    }

    fn run(self, stop: StopToken) -> Result<(), NodeError> {
        let Node { seats, mut control, tcp, bells } = self;
        let stopped = stop.bell().map_err(NodeError::system("eventfd"))?;
        let (ended_tx, ended) = bounded(seats.len() + 2);
        let mut threads = Vec::with_capacity(seats.len() + 2);
        let token = stop.clone();
        let started = spawn("antipode-control".into(), ended_tx.clone(), move || {
            control.run(&token, &stopped).map_err(NodeError::system("waiting for signaling"))
        });
        let started = started.and_then(|thread| {
            threads.push(thread);
            if let Some(mut tcp) = tcp {
                let token = stop.clone();
                let run = move || tcp.run(&token).map_err(NodeError::system("waiting for TCP"));
                threads.push(spawn("antipode-tcp".into(), ended_tx.clone(), run)?);
            }
            for seat in seats {
                let token = stop.clone();
                let name = format!("antipode-{}", seat.wiring.port.me().0);
                let run = move || run_seat(seat, &token);
                threads.push(spawn(name, ended_tx.clone(), run)?);
            }
            Ok(())
        });
        drop(ended_tx);
        let result = started.and_then(|()| first_failure(&ended, &stop));
        stop.stop();
        for bell in &bells {
            bell.wake();
        }
        for thread in threads {
            // A panic of it has been told through its ending.
            let _ = thread.join();
        }
        tracing::info!("the node has ended");
        result
    }
}

/// Waits for the first thread to end: at a stop that is as it should be.
fn first_failure(ended: &Receiver<Ending>, stop: &StopToken) -> Result<(), NodeError> {
    match ended.recv() {
        Ok((_, Ok(()))) if stop.is_stopped() => Ok(()),
        Ok((_, Err(error))) => Err(error),
        Ok((thread, Ok(()))) => Err(NodeError::ThreadEnded { thread, why: "too early".into() }),
        Err(_) => Ok(()),
    }
}

/// Tells how the thread ended, also after a panic.
fn spawn(
    name: String,
    ended: Sender<Ending>,
    run: impl FnOnce() -> Result<(), NodeError> + Send + 'static,
) -> Result<JoinHandle<()>, NodeError> {
    let thread = name.clone();
    let body = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let why = "a panic, see the log".to_owned();
        let panicked = NodeError::ThreadEnded { thread: thread.clone(), why };
        // The receiver is gone when the node has ended for another reason.
        let _ = ended.send((thread, result.unwrap_or(Err(panicked))));
    };
    thread::Builder::new().name(name).spawn(body).map_err(NodeError::system("making a thread"))
}

pub(crate) fn make_bell() -> Result<(EventBell, Arc<Doorbell>), NodeError> {
    let bell = EventBell::new().map_err(NodeError::system("eventfd"))?;
    Ok((bell.clone(), Arc::new(Doorbell::new(Box::new(bell)))))
}

pub(crate) fn make_bells(count: usize) -> Result<(Vec<EventBell>, Vec<Arc<Doorbell>>), NodeError> {
    (0..count)
        .map(|_| make_bell())
        .collect::<Result<Vec<_>, _>>()
        .map(|both| both.into_iter().unzip())
}

/// `candidates`: by UDP, by TCP.
fn birth(port: &Port, candidates: [Vec<SocketAddr>; 2]) -> Result<ShardConfig, NodeError> {
    let [candidates, candidates_tcp] = candidates;
    let shards = port.shards() as u16;
    Ok(ShardConfig { shard: port.me(), shards, candidates, candidates_tcp, seed: random()? })
}

fn random() -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NodeError::System {
        what: "random numbers",
        error: std::io::ErrorKind::Other.into(),
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// `Auto` becomes one of the others.
fn choose_driver(choice: DriverChoice) -> Result<DriverChoice, NodeError> {
    if choice == DriverChoice::Epoll {
        return Ok(DriverChoice::Epoll);
    }
    match host::glommio_obstacle() {
        None => Ok(DriverChoice::Glommio),
        Some((why, mend)) if choice == DriverChoice::Glommio => {
            Err(NodeError::Glommio { why, mend })
        }
        Some((why, mend)) => {
            tracing::warn!(why, mend, "runtime: epoll, since glommio cannot run here");
            Ok(DriverChoice::Epoll)
        }
    }
}

/// A shard's thread from its first to its last instruction.
fn run_seat(seat: Seat, stop: &StopToken) -> Result<(), NodeError> {
    let Seat { wiring, birth, rung, cores, driver } = seat;
    let me: ShardId = wiring.port.me();
    pin(&cores)?;
    let all = [Some(&wiring.socket), wiring.patient.as_ref(), wiring.pictures.as_ref()];
    let sockets = all.into_iter().flatten().map(duplicate).collect::<Result<Vec<_>, _>>()?;
    let apart = match (&wiring.patient, &wiring.pictures) {
        (Some(patient), Some(pictures)) => {
            Some(Apart { patient: duplicate(patient)?, pictures: duplicate(pictures)? })
        }
        _ => None,
    };
    let nap = Nap::new(duplicate(&wiring.socket)?, apart, rung.clone());
    // Made on this thread, so that its memory is near this core.
    let mut shard = ShardThread::new(wiring, Box::new(move |now| Shard::new(birth.clone(), now)));
    if driver == DriverChoice::Glommio {
        match driver::glommio::executor(&format!("shard-{}", me.0)) {
            Ok(executor) => {
                return executor
                    .run(async {
                        let mut driver = Glommio::new(sockets, &rung)?;
                        driver::drive(&mut shard, &mut driver, &nap, stop).await
                    })
                    .map_err(NodeError::system("waiting in glommio"));
            }
            // The host has changed its mind since it was asked, or is out of something.
            Err(error) => tracing::warn!(shard = %me, %error, "no glommio executor: epoll instead"),
        }
    }
    let mut driver = Epoll::new(sockets, rung).map_err(NodeError::system("epoll"))?;
    block_on(driver::drive(&mut shard, &mut driver, &nap, stop))
        .map_err(NodeError::system("waiting in epoll"))
}

fn duplicate(socket: &Socket) -> Result<OwnedFd, NodeError> {
    let socket = socket.as_fd().try_clone_to_owned();
    socket.map_err(NodeError::system("duplicating the media socket"))
}

/// Keeps the calling thread on these cores; none: where it is.
pub(crate) fn pin(cores: &[usize]) -> Result<(), NodeError> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set)
        .map_err(|error| NodeError::System { what: "pinning a shard", error: error.into() })
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
