//! One run against a server that is started for it alone: nothing of an earlier run is left in its
//! memory, and its own cores are known.

use std::path::Path;

use tokio::sync::watch;

use crate::cli::LoadArgs;
use crate::error::BenchError;
use crate::hosted::{self, Cores, Hosted, Places, Scratch};
use crate::report::Report;
use crate::run::measure::Watched;
use crate::run::perform;
use crate::scenario::Plan;
use crate::signal::http;

/// What servers are started with.
pub struct Host<'a> {
    /// The shell command with its places.
    pub command: &'a str,
    /// The binary that stands for `{antipode}`.
    pub antipode: &'a Path,
    /// Stands for `{driver}`.
    pub driver: &'a str,
    /// Who runs where.
    pub cores: &'a Cores,
    /// For logs.
    pub scratch: &'a Scratch,
    /// Ends a run early.
    pub interrupted: &'a watch::Receiver<bool>,
}

impl Host<'_> {
    /// Starts a server, plays, ends it.
    ///
    /// # Errors
    /// It does not start or end, or nobody came in.
    pub async fn play(&self, plan: Plan, args: &LoadArgs) -> Result<Report, BenchError> {
        let [url] = &*args.target.url else {
            let fault = "a server that the harness starts has one".into();
            return Err(BenchError::Flag { flag: "--url", fault });
        };
        let server = http::Server::resolve(url).await?;
        let (antipode, driver, address) = (self.antipode, self.driver, server.address);
        let places = Places { antipode, address, driver };
        let (cores, scratch) = (self.cores, self.scratch);
        let hosted =
            Hosted::start(self.command, &places, cores, &server, scratch, self.interrupted).await?;
        let watched = Watched { pids: vec![hosted.pid()], cores: cores.server.clone() };
        let played = perform(plan, args, watched, self.interrupted).await;
        hosted.end().await?;
        played
    }
}

/// For a scenario with `--server`.
///
/// # Errors
/// See [`Host::play`].
pub async fn once(
    command: &str,
    plan: Plan,
    args: &LoadArgs,
    interrupted: &watch::Receiver<bool>,
) -> Result<Report, BenchError> {
    let drivers = drivers(command, &args.hosted.driver)?;
    let [driver] = drivers else {
        let fault = "one at a time; a sweep takes several".into();
        return Err(BenchError::Flag { flag: "--driver", fault });
    };
    if !args.pid.is_empty() {
        let fault = "a server that the harness starts is known to it".into();
        return Err(BenchError::Flag { flag: "--pid", fault });
    }
    let cores = hosted::settle(&args.hosted.server_cores)?;
    let (scratch, antipode) = (Scratch::make()?, hosted::own_binary()?);
    let (antipode, cores, scratch) = (&*antipode, &cores, &scratch);
    Host { command, antipode, driver, cores, scratch, interrupted }.play(plan, args).await
}

/// The drivers, checked against the command that is to have them.
///
/// # Errors
/// Several, and the command has no place for them.
pub fn drivers<'a>(command: &str, drivers: &'a [String]) -> Result<&'a [String], BenchError> {
    let known = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    if !drivers.iter().all(known) {
        let fault = "give names such as glommio,epoll".into();
        return Err(BenchError::Flag { flag: "--driver", fault });
    }
    if drivers.len() > 1 && !command.contains("{driver}") {
        let fault = "the command of --server has no {driver} to put them in".into();
        return Err(BenchError::Flag { flag: "--driver", fault });
    }
    Ok(drivers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_need_a_place_and_a_name() {
        let rows: [(&str, &[&str], bool); 5] = [
            ("x {driver}", &["glommio", "epoll"], true),
            ("x", &["auto"], true),
            ("x", &["glommio", "epoll"], false),
            ("x {driver}", &["a; b"], false),
            ("x {driver}", &[""], false),
        ];
        for (command, names, want) in rows {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(drivers(command, &names).is_ok(), want, "{command} {names:?}");
        }
    }
}
