//! One child: started, watched, started again, and ended with us.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::run_dir::RunDir;
use crate::ending::{Ending, REFUSED};
use crate::notify;

/// How long a child may take to end by itself; a second is what an operator waits for us.
const GRACE: Duration = Duration::from_millis(700);

/// A subcommand that is kept running.
pub(super) struct Child {
    name: &'static str,
    config: PathBuf,
    notify: PathBuf,
    /// True once everything has been up together.
    ready: watch::Receiver<bool>,
}

impl Child {
    pub(super) fn new(name: &'static str, dir: &RunDir, ready: watch::Receiver<bool>) -> Self {
        Child { name, config: dir.config_file(), notify: dir.notify_socket(), ready }
    }

    /// Keeps it running until `stop_rx` says so; a refusal at the first start ends us all.
    pub(super) async fn keep(
        self,
        stop_tx: watch::Sender<bool>,
        mut stop_rx: watch::Receiver<bool>,
    ) -> Result<(), Ending> {
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            let outcome = self.live(&mut stop_rx).await;
            let status = match outcome {
                Ok(Some(status)) => status,
                Ok(None) => return Ok(()),
                Err(error) => {
                    stop_tx.send_replace(true);
                    return Err(Ending::Failed(format!("cannot start {}: {error}", self.name)));
                }
            };
            let refused = status.code() == Some(i32::from(REFUSED));
            if refused && !*self.ready.borrow() {
                stop_tx.send_replace(true);
                return Err(Ending::Silent(REFUSED));
            }
            let wait = backoff.after(started.elapsed());
            tracing::warn!(child = self.name, %status, ?wait, "died and is started again");
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut stop_rx) => return Ok(()),
            }
        }
    }

    /// One life. `None`: it was ended because we end.
    async fn live(
        &self,
        stop_rx: &mut watch::Receiver<bool>,
    ) -> std::io::Result<Option<ExitStatus>> {
        let mut child = self.command()?.spawn()?;
        tracing::debug!(child = self.name, pid = child.id(), "started");
        tokio::select! {
            status = child.wait() => return status.map(Some),
            () = stopped(stop_rx) => {}
        }
        // An id that has not been waited for is still ours, so the signal cannot go astray.
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(GRACE, child.wait()).await.is_err() {
            tracing::warn!(child = self.name, "does not end by itself and is killed");
            child.kill().await?;
        }
        Ok(None)
    }

    fn command(&self) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(self.name).arg("--config").arg(&self.config);
        command.arg("--supervised-by").arg(std::process::id().to_string());
        // The file holds what the environment said.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ANTIPODE_") {
                command.env_remove(name);
            }
        }
        command.env(notify::SOCKET_ENV, &self.notify).stdin(Stdio::null());
        // Ctrl-C in a terminal reaches the whole group: we alone decide how the children end.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }
}

/// Returns when it is time to end.
async fn stopped(stop_rx: &mut watch::Receiver<bool>) {
    // Nobody is left to tell us: that is an end as well.
    let _ = stop_rx.wait_for(|stop| *stop).await;
}
