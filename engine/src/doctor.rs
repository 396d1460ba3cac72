//! `antipode doctor`: what the host gives, and the mend of each thing that is amiss.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use antipode_runtime::host::{self, Check, Level};
use serde_json::json;

use crate::config::Config;
use crate::ending::Ending;
use crate::node;

/// Media could not run.
const FAILED: u8 = 1;

/// Prints all checks.
///
/// # Errors
/// Exit code 1 when one of them failed.
pub(crate) fn run(config: &Config, as_json: bool) -> Result<(), Ending> {
    let mut checks = host::checks(&node::compose(config, vec![]));
    checks.push(host::tcp_port("signal.bind", "--bind", config.signal.bind));
    let text = if as_json { json_of(&checks) } else { table_of(&checks) };
    write!(stdout(), "{text}").map_err(Ending::failed)?;
    let failed = checks.iter().any(|check| check.level == Level::Fail);
    if failed { Err(Ending::Silent(FAILED)) } else { Ok(()) }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "WARN",
        Level::Fail => "FAIL",
    }
}

/// One line a check, and below it the mend if there is something to mend.
fn table_of(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for Check { name, level, found, mend } in checks {
        let _ = writeln!(out, "{:<4}  {name:<width$}  {found}", word(*level));
        if *level != Level::Ok && !mend.is_empty() {
            let _ = writeln!(out, "{:<4}  {:<width$}  mend: {mend}", "", "");
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    let (fails, warns) = (count(Level::Fail), count(Level::Warn));
    let _ = writeln!(out, "\n{} checks: {warns} to heed, {fails} failed", checks.len());
    out
}

fn json_of(checks: &[Check]) -> String {
    let each = |check: &Check| {
        json!({
            "name": check.name,
            "level": word(check.level).to_lowercase(),
            "found": check.found,
            "mend": check.mend,
        })
    };
    let all: Vec<_> = checks.iter().map(each).collect();
    format!("{:#}\n", serde_json::Value::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, level: Level, mend: &str) -> Check {
        Check { name, level, found: "what is".to_owned(), mend: mend.to_owned() }
    }

    #[test]
    fn the_table_shows_a_mend_where_there_is_something_to_mend() {
        let checks = [
            check("a", Level::Ok, "not shown"),
            check("longer", Level::Warn, "do this"),
            check("b", Level::Fail, "do that"),
        ];
        let want = "ok    a       what is\n\
                    WARN  longer  what is\n              mend: do this\n\
                    FAIL  b       what is\n              mend: do that\n\
                    \n3 checks: 1 to heed, 1 failed\n";
        assert_eq!(table_of(&checks), want);
    }
}
