//! The effective configuration as a TOML file that explains itself.

use std::fmt::Write as _;

use super::Config;
use super::fields::{FIELDS, Shown};

/// What becomes of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// For people and logs.
    Redacted,
    /// For the private file that `dev` hands to its children.
    Revealed,
}

const REDACTED: &str = "<redacted>";

/// A file that gives this configuration when it is read (with secrets, if they are revealed).
pub(crate) fn show(config: &Config, secrets: Secrets) -> String {
    let mut out = String::new();
    let mut section = "";
    for field in FIELDS {
        let (head, name) = field.path.split_once('.').expect("a path has a section: a test");
        if head != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{head}]");
            section = head;
        }
        let _ = writeln!(out, "# {}: {}", field.help, field.takes);
        let _ = match (field.shown)(config) {
            Shown::Unset(instead) => writeln!(out, "# {name} is not set: {instead}"),
            Shown::Plain(value) => writeln!(out, "{name} = {value}"),
            Shown::Secret(value) if secrets == Secrets::Revealed => {
                writeln!(out, "{name} = {value}")
            }
            Shown::Secret(value) => writeln!(out, "{name} = {}", redacted(value)),
        };
    }
    out
}

/// The names of a table of secrets may be seen, which tells an operator which keys are in force.
fn redacted(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => {
            toml::Value::Table(table.into_iter().map(|(key, v)| (key, redacted(v))).collect())
        }
        _ => REDACTED.into(),
    }
}
