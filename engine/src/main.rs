//! Antipode's one binary: it reads the configuration and puts the crates together, nothing else.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`config`] | the fields, their sources and their refusals |
//! | [`dev`] | a node and signaling as children, for development |
//! | [`node`], [`signal`] | the two services |
//! | [`token`], [`doctor`] | the two tools; the third, `bench`, is a crate of its own |
//! | [`control`] | the secret between node and signaling |
//! | [`rlimits`], [`pages`], [`notify`], [`stop`] | how a process starts and ends |
//! | [`process`], [`log`], [`ending`] | what it tells of itself |
#![forbid(unsafe_code)]

mod cli;
mod config;
mod control;
mod dev;
mod doctor;
mod ending;
mod log;
mod node;
mod notify;
mod pages;
mod process;
mod rlimits;
mod signal;
mod stop;
mod token;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Common, Flag, What};
use config::{Config, Mode, Secrets, show};
use ending::Ending;

/// Pools and sessions are made and freed on the core that owns them, which mimalloc makes cheap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.tell(),
    }
}

fn run(cli: Cli) -> Result<(), Ending> {
    // A variable that is no text cannot be ours: ours are all checked text.
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match cli.what {
        What::Token(args) => token::run(&args, &env),
        What::Bench(args) => antipode_bench::run::run(&args).map_err(Ending::failed),
        What::Doctor(args) => effective(Mode::Service, &args.common, &args.flags(), &env)?
            .map_or(Ok(()), |config| doctor::run(&config, args.json)),
        What::Dev(args) => {
            pages::small();
            serve(Mode::Dev, &args.common, &args.flags(), &env, dev::run)
        }
        What::Node(args) => {
            pages::as_wanted(&env);
            args.tie.supervised_by.map_or(Ok(()), dev::tie_to)?;
            serve(Mode::Service, &args.common, &args.flags(), &env, node::run)
        }
        What::Signal(args) => {
            pages::small();
            args.tie.supervised_by.map_or(Ok(()), dev::tie_to)?;
            serve(Mode::Service, &args.common, &args.flags(), &env, signal::run)
        }
    }
}

/// Starts the log and then `service`, unless its configuration was only to be shown.
fn serve(
    mode: Mode,
    common: &Common,
    flags: &[Flag],
    env: &[(String, String)],
    service: fn(&Config) -> Result<(), Ending>,
) -> Result<(), Ending> {
    let Some(config) = effective(mode, common, flags, env)? else { return Ok(()) };
    log::start(&config, env);
    service(&config)
}

/// The effective configuration; `None` when it was only to be shown, and has been.
fn effective(
    mode: Mode,
    common: &Common,
    flags: &[Flag],
    env: &[(String, String)],
) -> Result<Option<Config>, Ending> {
    let config = Config::load(mode, common.config.as_deref(), env, flags)?;
    if !common.show_config {
        return Ok(Some(config));
    }
    write!(stdout(), "{}", show(&config, Secrets::Redacted)).map_err(Ending::failed)?;
    Ok(None)
}
