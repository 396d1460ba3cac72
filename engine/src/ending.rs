//! How a process ends, as its exit code says it.

use std::fmt;
use std::io::{Write, stderr};
use std::process::ExitCode;

use crate::config::Refusal;

/// A wrong value: starting again with the same ones changes nothing. clap uses the same code.
pub(crate) const REFUSED: u8 = 2;
const FAILED: u8 = 1;

/// Any end but the clean one, whose code is 0.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The operator has something to mend.
    Refused(String),
    /// Something broke that a restart may cure.
    Failed(String),
    /// What there is to say has been said.
    Silent(u8),
}

impl Ending {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Ending::Failed(error.to_string())
    }

    /// Says on standard error what has to be said.
    pub(crate) fn tell(&self) -> ExitCode {
        let (code, text) = match self {
            Ending::Refused(text) => (REFUSED, format!("refused to start: {text}")),
            Ending::Failed(text) => (FAILED, text.clone()),
            Ending::Silent(code) => return ExitCode::from(*code),
        };
        // Nobody may be reading; the exit code says it too.
        let _ = writeln!(stderr(), "antipode: {text}");
        ExitCode::from(code)
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Ending::Refused(refusal.to_string())
    }
}
