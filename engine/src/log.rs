//! Where log lines go: standard error, as text for people or JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging, and then says what the configuration was too early to say.
///
/// `env` is the process's environment.
pub(crate) fn start(config: &Config, env: &[(String, String)]) {
    let filter = EnvFilter::new(&config.log.filter);
    // A line that cannot be written is lost. The default complains with `eprintln!`, which panics when
    // standard error is a pipe that nobody reads any more, and takes the logging thread with it.
    let builder = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    for name in Config::strangers(env) {
        tracing::warn!("{name} in the environment is no field of Antipode and is ignored");
    }
}
