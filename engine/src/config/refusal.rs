//! Why a value will not do, said to the operator: the field, where the value stands, the mend.

use std::fmt;
use std::path::PathBuf;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the configuration file, from 1.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Env(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "line {line} of {}", path.display()),
            Origin::Env(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// What is wrong with a value and what would do, before the field is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) fault: String,
    pub(crate) mend: String,
}

impl Fault {
    pub(crate) fn new(fault: impl Into<String>, mend: impl Into<String>) -> Self {
        Fault { fault: fault.into(), mend: mend.into() }
    }
}

/// Antipode will not start like this. One sentence says what is wrong, the next one what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    field: String,
    origin: Option<Origin>,
    fault: Fault,
}

impl Refusal {
    /// Of a field as a whole, wherever its value came from.
    pub(crate) fn new(
        field: impl Into<String>,
        fault: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Refusal { field: field.into(), origin: None, fault: Fault::new(fault, mend) }
    }

    /// Of one value.
    pub(crate) fn at(field: impl Into<String>, origin: &Origin, fault: Fault) -> Self {
        Refusal { field: field.into(), origin: Some(origin.clone()), fault }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}. {}.", self.fault.fault, self.fault.mend)
    }
}

impl std::error::Error for Refusal {}
