//! `antipode dev`: one node and one signaling process on loopback, started and kept running.
//!
//! ```text
//!   dev ── writes ──> antipode.toml (0600, in a private folder)
//!    ├─ antipode signal --config …   ── READY, HTTP address ──> notify.sock
//!    └─ antipode node   --config …   ── dials ──> control.sock
//! ```
//!
//! The children get the effective configuration as a file, so that no secret stands on a command
//! line and nothing of it is computed twice. They never outlive this process: see [`tie_to`].

mod backoff;
mod child;
mod ready;
mod run_dir;

use std::thread::available_parallelism;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::net::UnixDatagram;
use tokio::sync::watch;

use crate::config::{Config, ControlAddress};
use crate::ending::Ending;
use crate::stop;
use child::Child;
use run_dir::RunDir;

/// Runs both until a signal ends them.
///
/// # Errors
/// What stands in the way; what a child refused, the child has said.
pub(crate) fn run(config: &Config) -> Result<(), Ending> {
    let mut config = config.clone();
    let dir = RunDir::make().map_err(Ending::Failed)?;
    config.control.address = ControlAddress::Unix(dir.control_socket());
    unpin_if_crowded(&mut config);
    dir.write_config(&config).map_err(Ending::Failed)?;
    // Children are started from this thread, whose death is what the kernel tells them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Ending::failed)?.block_on(supervise(config, &dir))
}

/// A laptop may have fewer cores than the shards that somebody wants to try.
fn unpin_if_crowded(config: &mut Config) {
    let cores = available_parallelism().map_or(1, usize::from);
    if config.node.pin && config.node.shards.is_some_and(|shards| usize::from(shards) > cores) {
        tracing::info!(cores, "more shards than cores: they are not pinned");
        config.node.pin = false;
    }
}

async fn supervise(config: Config, dir: &RunDir) -> Result<(), Ending> {
    let notices = UnixDatagram::bind(dir.notify_socket()).map_err(Ending::failed)?;
    let (stop_tx, stop_rx) = watch::channel(false);
    let (ready_tx, ready_rx) = watch::channel(false);
    let mut signals = stop::Signals::listen().map_err(Ending::failed)?;

    let keep =
        |name| Child::new(name, dir, ready_rx.clone()).keep(stop_tx.clone(), stop_rx.clone());
    let children = async { tokio::join!(keep("signal"), keep("node")) };
    let watching = async {
        tokio::select! {
            failed = ready::announce(notices, config, dir, &ready_tx) => failed,
            () = signals.recv() => Ok(()),
        }
    };
    let end_when_told = async {
        let told = watching.await;
        stop_tx.send_replace(true);
        told
    };
    tokio::pin!(children);
    tokio::select! {
        (signal, node) = &mut children => signal.and(node),
        told = end_when_told => {
            let (signal, node) = children.await;
            told.and(signal).and(node)
        }
    }
}

/// For a child: asks the kernel to kill this process when its parent ends, however it ends.
///
/// `parent` is the id that the parent gave itself: if that one has died before the kernel was asked,
/// somebody else is our parent by now.
pub(crate) fn tie_to(parent: i32) -> Result<(), Ending> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Ending::failed)?;
    if getppid().map(Pid::as_raw_pid) == Some(parent) {
        return Ok(());
    }
    Err(Ending::Failed("the process that started this one is gone".to_owned()))
}
