//! Telling a caught panic from one that fails, and keeping both.
//!
//! The fuzzer's own hook ends the process at the first panic. But a panic inside of a session is
//! caught by the shard, which ends that session only: that is a defect worth knowing and no reason to
//! stop. So the hook here writes down where a panic came from, once for each place, and lets it
//! unwind; [`run`] ends the process for one that nobody else catches.
//!
//! With `ANTIPODE_FUZZ_ARTIFACTS` set to a folder, each new place leaves `caught-<place>.txt` (message
//! and backtrace) and `caught-<place>` (the input) there. A failure of a target that keeps its state
//! from input to input leaves `history-0000` and so on: run in this order, they replay it.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::PathBuf;

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    /// Places of which the report is out.
    told: HashSet<String>,
    /// Place and report of new panics of this input.
    fresh: Vec<(String, String)>,
}

/// Replaces the fuzzer's hook. Call it in the `init` of a target.
pub fn install() {
    std::panic::set_hook(Box::new(note));
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "nowhere".to_owned(), place_name);
    STATE.with_borrow_mut(|state| {
        if state.told.insert(place.clone()) {
            let report = format!("{info}\n{}", Backtrace::force_capture());
            eprintln!("panic, caught or not: {report}");
            state.fresh.push((place, report));
        }
    });
}

/// File and line without the folders of this machine.
fn place_name(at: &std::panic::Location<'_>) -> String {
    let file = at.file().rsplit("/src/").take(2).collect::<Vec<_>>();
    let file = file.into_iter().rev().collect::<Vec<_>>().join("-");
    let crate_and_file = file.rsplit("index.crates.io").next().unwrap_or(&file).to_owned();
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("{}-{}", crate_and_file, at.line()).chars().map(clean).collect()
}

/// Runs a target on one input. Panics that it caught itself are kept and do not matter; one that comes
/// out of it ends the process, and `history` says what had been run before on the same state.
pub fn run(input: &[u8], history: &[Vec<u8>], target: impl FnOnce()) {
    let done = catch_unwind(AssertUnwindSafe(target));
    let fresh = STATE.with_borrow_mut(|state| std::mem::take(&mut state.fresh));
    if done.is_err() {
        save_history(history, input);
        std::process::abort();
    }
    for (place, report) in fresh {
        save(&format!("caught-{place}"), input);
        save(&format!("caught-{place}.txt"), report.as_bytes());
    }
}

fn save_history(history: &[Vec<u8>], input: &[u8]) {
    let last = std::iter::once(input);
    for (at, bytes) in history.iter().map(Vec::as_slice).chain(last).enumerate() {
        save(&format!("history-{at:04}"), bytes);
    }
}

fn save(name: &str, bytes: &[u8]) {
    let Some(folder) = std::env::var_os("ANTIPODE_FUZZ_ARTIFACTS").map(PathBuf::from) else {
        return;
    };
    if let Err(error) = std::fs::write(folder.join(name), bytes) {
        eprintln!("{name} could not be written to ANTIPODE_FUZZ_ARTIFACTS: {error}");
    }
}
