//! `--against`: two servers by turns, A B A B …, so that a slow change of the host falls on both. Each
//! round has servers of its own, and what kernel and cipher alone cost is measured right after each on
//! the server's own core.

use std::io::Write as _;
use std::path::PathBuf;

use antipode_base::limits::BENCH_ROUNDS_MAX;
use tokio::sync::watch;

use crate::cli::LoadArgs;
use crate::error::BenchError;
use crate::floor::{Floor, Load};
use crate::hosted::{self, Cores, Scratch};
use crate::report::figures::Figures;
use crate::report::versus::{self, Round, Side, VERSION, Versus};
use crate::report::{Fault, Report};
use crate::run::stint::{Host, drivers};
use crate::run::trees::Trees;
use crate::scenario::{Kind, Plan};

/// A side with what it is started with.
struct Corner {
    side: Side,
    binary: PathBuf,
    args: LoadArgs,
}

/// Whether a run is a comparison.
pub fn wanted(args: &LoadArgs) -> bool {
    args.rival.against.is_some() || args.rival.against_command.is_some()
}

/// Measures both, prints and writes.
///
/// # Errors
/// Flags that make no comparison, a tree that does not build, a server that does not start, or the
/// result is a failure.
pub async fn run(
    kind: Kind,
    args: &LoadArgs,
    interrupted: &watch::Receiver<bool>,
) -> Result<(), BenchError> {
    // What can be refused is refused before anything is built.
    let driver = check(kind, args)?;
    let cores = Cores::split(&args.hosted.server_cores, &crate::proc::cores())?;
    let mut trees = None;
    let corners = corners(args, &mut trees).await?;
    // Builds had all cores.
    cores.settle()?;
    let scratch = Scratch::make()?;
    let mut versus = Versus {
        version: VERSION,
        scenario: kind,
        sides: [corners[0].side.clone(), corners[1].side.clone()],
        rounds: Vec::new(),
        faults: Vec::new(),
    };
    for number in 1..=args.rival.rounds {
        let mut pair = [Round::default(), Round::default()];
        for (at, corner) in corners.iter().enumerate() {
            let letter = ["A", "B"][at];
            let _ = writeln!(std::io::stderr(), "round {number}, {letter}: {}", corner.side.label);
            let (command, antipode) = (&*corner.side.command, &*corner.binary);
            let (cores, scratch) = (&cores, &scratch);
            let host = Host { command, antipode, driver, cores, scratch, interrupted };
            let report = match host.play(Plan::new(kind, &corner.args)?, &corner.args).await {
                Ok(report) => report,
                // The first round shows whether there is anything to compare.
                Err(error) if number == 1 => return Err(error),
                Err(error) => {
                    let text = format!("round {number}, {letter}: {error}");
                    versus.faults.push(Fault { text, busy: false });
                    continue;
                }
            };
            blame(&mut versus.faults, &report, number, letter);
            let counts = !report.faults.iter().any(|fault| !fault.busy);
            let floor = match counts {
                true => Some(floor_of(&report, cores)?),
                false => None,
            };
            pair[at] = Round { figures: Figures::of(&report), floor, counts };
        }
        versus.rounds.push(pair);
        if *interrupted.borrow() {
            break;
        }
    }
    drop(trees);
    let _ = write!(std::io::stdout(), "{}", versus::text(&versus));
    let target = &args.target;
    versus::save(&versus, target.json.as_deref(), target.report.as_deref())?;
    verdict(&versus, target.tolerate_busy)
}

fn check(kind: Kind, args: &LoadArgs) -> Result<&str, BenchError> {
    let flaw = |flag, fault: String| Err(BenchError::Flag { flag, fault });
    if !(1..=BENCH_ROUNDS_MAX).contains(&args.rival.rounds) {
        return flaw("--rounds", format!("{}; give 1 to {BENCH_ROUNDS_MAX}", args.rival.rounds));
    }
    if !args.pid.is_empty() {
        return flaw("--pid", "servers that the harness starts are known to it".into());
    }
    let command = command(args);
    if args.rival.against.is_some() && !command.contains("{antipode}") {
        let fault = "the command of --server has no {antipode} for the two builds".into();
        return flaw("--against", fault);
    }
    Plan::new(kind, args)?;
    match drivers(command, &args.hosted.driver)? {
        [driver] => Ok(driver),
        _ => flaw("--driver", "one at a time; a sweep takes several".into()),
    }
}

fn command(args: &LoadArgs) -> &str {
    args.hosted.server.as_deref().unwrap_or(hosted::COMMAND)
}

/// Both sides; `trees` keeps what was built for as long as it is measured.
async fn corners(args: &LoadArgs, trees: &mut Option<Trees>) -> Result<[Corner; 2], BenchError> {
    let corner = |label: String, binary, command: &str, args: LoadArgs| {
        let (url, protocol) = (args.target.url.join(" "), args.target.protocol);
        let side = Side { label, command: command.to_owned(), url, protocol };
        Corner { side, binary, args }
    };
    let mut others = args.clone();
    if let Some(url) = &args.rival.against_url {
        others.target.url = vec![url.clone()];
    }
    others.target.protocol = args.rival.against_protocol.unwrap_or(args.target.protocol);
    let own = command(args);
    if let Some(commit) = &args.rival.against {
        let folder = std::env::current_dir().map_err(BenchError::host("the present folder"))?;
        let trees = trees.insert(Trees::find(&folder, commit).await?);
        let (here, there) = (trees.build_here().await?, trees.build_commit().await?);
        return Ok([
            corner(here.label, here.binary, own, args.clone()),
            corner(there.label, there.binary, own, others),
        ]);
    }
    let other = args.rival.against_command.as_deref().unwrap_or(own);
    let binary = hosted::own_binary()?;
    Ok([
        corner("this server".into(), binary.clone(), own, args.clone()),
        corner("the other server".into(), binary, other, others),
    ])
}

/// The first thing that speaks against a round, and the first of the harness's own.
fn blame(faults: &mut Vec<Fault>, report: &Report, number: u32, letter: &str) {
    for busy in [false, true] {
        if let Some(fault) = report.faults.iter().find(|fault| fault.busy == busy) {
            let text = format!("round {number}, {letter}: {}", fault.text);
            faults.push(Fault { text, busy });
        }
    }
}

/// What kernel and cipher alone would cost for packets of that size, in trains of that length, and as often.
/// A server that says nothing of trains is taken to send one by one.
fn floor_of(report: &Report, cores: &Cores) -> Result<Floor, BenchError> {
    let figures = Figures::of(report);
    let peers = usize::try_from(report.standing).unwrap_or(usize::MAX);
    let (payload, rate) = (figures.payload_bytes, figures.packets_per_second);
    Load { peers, payload, train: figures.train.unwrap_or(1.0), rate }.floor(cores)
}

fn verdict(versus: &Versus, tolerate_busy: bool) -> Result<(), BenchError> {
    if versus.pairs() == 0 {
        let first = versus.faults.first().map_or("nothing was measured", |fault| &fault.text);
        return Err(BenchError::Verdict(first.to_owned()));
    }
    let mut failures = versus.faults.iter().filter(|fault| !(fault.busy && tolerate_busy));
    match (failures.next(), failures.count()) {
        (None, _) => Ok(()),
        (Some(first), 0) => Err(BenchError::Verdict(first.text.clone())),
        (Some(first), more) => {
            Err(BenchError::Verdict(format!("{}; and {more} more, see the table", first.text)))
        }
    }
}
