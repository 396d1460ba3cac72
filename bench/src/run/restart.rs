//! `--restart`: something of the server ends in the middle of a measurement, and the report tells how
//! long each client went without media.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::cli::LoadArgs;
use crate::error::BenchError;
use crate::proc;
use crate::scenario::Kind;
use crate::signal::http::reason;

/// What happens, and when after the measurement has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When.
    pub after: Duration,
    /// What.
    pub blow: Blow,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blow {
    /// This process is killed; whoever supervises it starts another.
    Kill(Pid),
    /// This shell command runs.
    Command(String),
}

impl Restart {
    /// As the flags say.
    ///
    /// # Errors
    /// No such process, or no time to see what comes of it.
    pub fn of(kind: Kind, args: &LoadArgs) -> Result<Option<Self>, BenchError> {
        let Some(text) = &args.restart else { return Ok(None) };
        let flaw = |flag, fault: String| Err(BenchError::Flag { flag, fault });
        if matches!(kind, Kind::Churn | Kind::FindCapacity) {
            return flaw("--restart", format!("{} has clients that come and go", kind.name()));
        }
        if args.restart_after >= args.duration {
            return flaw("--restart-after", "it is not before the end of --duration".into());
        }
        let blow = match text.parse::<u32>() {
            Err(_) => Blow::Command(text.clone()),
            Ok(pid) => {
                let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
                match known.filter(|_| proc::usage(&[pid]).is_some()) {
                    Some(pid) => Blow::Kill(pid),
                    None => return flaw("--restart", format!("no process {pid} on this host")),
                }
            }
        };
        Ok(Some(Restart { after: args.restart_after, blow }))
    }
}

impl Blow {
    /// Does it; a command is waited for.
    ///
    /// # Errors
    /// Why nothing happened, as far as that can be told.
    pub async fn strike(&self) -> Result<(), String> {
        match self {
            Blow::Kill(pid) => {
                kill_process(*pid, Signal::KILL).map_err(|error| format!("kill: {error}"))
            }
            Blow::Command(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
                let ran = shell.kill_on_drop(true).output().await;
                let output = ran.map_err(|error| format!("sh: {error}"))?;
                let words = || format!("{}: {}", output.status, reason(&output.stderr));
                if output.status.success() { Ok(()) } else { Err(words()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn of(kind: Kind, flags: &[&str]) -> Result<Option<Restart>, BenchError> {
        Restart::of(kind, &Cli::parse_from([&["bench"], flags].concat()).load)
    }

    #[test]
    fn a_process_or_a_command() {
        assert_eq!(of(Kind::Broadcast, &[]).expect("nothing"), None);
        let own = std::process::id().to_string();
        let restart = of(Kind::Meeting, &["--restart", &own]).expect("it is there").expect("one");
        assert!(matches!(restart.blow, Blow::Kill(_)));
        assert_eq!(restart.after, Duration::from_secs(5));
        let restart = of(Kind::Meeting, &["--restart", "systemctl restart x"]).expect("a command");
        assert!(matches!(restart.expect("one").blow, Blow::Command(_)));
        let rows: [(Kind, &[&str]); 4] = [
            (Kind::Broadcast, &["--restart", "4194305"]),
            (Kind::Broadcast, &["--restart", "0"]),
            (Kind::Churn, &["--restart", "true"]),
            (Kind::Broadcast, &["--restart", "true", "--duration", "3s"]),
        ];
        for (kind, flags) in rows {
            let error = of(kind, flags).expect_err("it cannot be").to_string();
            assert!(error.starts_with("--restart"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_is_quoted() {
        assert_eq!(Blow::Command("exit 0".into()).strike().await, Ok(()));
        let why = Blow::Command("echo no such unit >&2; exit 3".into()).strike().await;
        assert_eq!(why, Err("exit status: 3: no such unit".into()));
    }
}
