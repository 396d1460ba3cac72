//! What a comparison of two servers came to: rounds that alternate, medians, and ratios of rounds that
//! stood side by side.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::floor::Floor;
use crate::report::figures::{Figures, Spread};
use crate::report::{Fault, html};
use crate::scenario::Kind;
use crate::signal::Protocol;

/// The form of the JSON.
pub const VERSION: u32 = 1;

/// See the module's documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Versus {
    /// [`VERSION`].
    pub version: u32,
    /// What was played.
    pub scenario: Kind,
    /// A and B.
    pub sides: [Side; 2],
    /// In the order in which they were measured: A and B of each.
    pub rounds: Vec<[Round; 2]>,
    /// Why it is a failure.
    pub faults: Vec<Fault>,
}

/// One of the two servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// What it is.
    pub label: String,
    /// How it was started.
    pub command: String,
    /// Where it was.
    pub url: String,
    /// What it spoke.
    pub protocol: Protocol,
}

/// One server in one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Round {
    /// What it came to.
    pub figures: Figures,
    /// What kernel and cipher alone cost for its packets, in CPU microseconds, right after.
    pub floor: Option<Floor>,
    /// It went through: another one counts for nothing.
    pub counts: bool,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What.
    pub name: String,
    /// Of A and of B.
    pub sides: [Option<Spread>; 2],
    /// A to B, round by round.
    pub ratio: Option<Spread>,
}

type Read = fn(&Round) -> Option<f64>;

/// Name, decimals, and how it is read.
const ROWS: [(&str, usize, Read); 17] = [
    ("CPU per packet, µs", 2, |round| round.figures.cpu_us_per_packet),
    ("floor for such packets, µs", 2, |round| Some(round.floor?.hot_us)),
    ("times the floor", 2, |round| Some(round.figures.cpu_us_per_packet? / round.floor?.hot_us)),
    ("floor at the load's pace, µs", 2, |round| Some(round.floor?.paced_us)),
    ("times that", 2, |round| Some(round.figures.cpu_us_per_packet? / round.floor?.paced_us)),
    ("floor to peers that read, µs", 2, |round| round.floor?.read_us),
    ("times the floor to these", 2, |round| {
        Some(round.figures.cpu_us_per_packet? / round.floor?.read_us?)
    }),
    ("mean train, datagrams", 2, |round| round.figures.train),
    ("packets/s", 0, |round| Some(round.figures.packets_per_second)),
    ("server, cores", 3, |round| round.figures.server_cores),
    ("loss, %", 3, |round| Some(round.figures.loss * 100.0)),
    ("latency p50, ms", 2, |round| Some(round.figures.latency_ms_p50)),
    ("latency p99, ms", 2, |round| Some(round.figures.latency_ms_p99)),
    ("memory per client, KiB", 0, |round| Some(round.figures.rss_per_client? / 1_024.0)),
    ("join p50, ms", 1, |round| Some(round.figures.join_ms_p50)),
    ("join p99, ms", 1, |round| Some(round.figures.join_ms_p99)),
    ("viewers that held", 0, |round| round.figures.capacity.map(f64::from)),
];

impl Versus {
    /// The table, without lines of which nobody knows anything.
    pub fn rows(&self) -> Vec<(Row, usize)> {
        let row = |(name, decimals, read): &(&str, usize, Read)| {
            let read = |round: &Round| Some(round).filter(|round| round.counts).and_then(read);
            let of = |side: usize| Spread::of(self.rounds.iter().filter_map(|r| read(&r[side])));
            let pair = |round: &[Round; 2]| {
                let (a, b) = (read(&round[0])?, read(&round[1])?);
                (b != 0.0).then_some(a / b)
            };
            let ratio = Spread::of(self.rounds.iter().filter_map(pair));
            let sides = [of(0), of(1)];
            let row = Row { name: (*name).to_owned(), sides, ratio };
            sides.iter().any(Option::is_some).then_some((row, *decimals))
        };
        ROWS.iter().filter_map(row).collect()
    }

    /// Rounds in which both went through.
    pub fn pairs(&self) -> usize {
        self.rounds.iter().filter(|round| round.iter().all(|side| side.counts)).count()
    }
}

fn cell(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(|| "not known".to_owned(), |spread| spread.text(decimals))
}

/// For a terminal.
pub fn text(versus: &Versus) -> String {
    let mut out = String::new();
    for (letter, side) in ["A", "B"].iter().zip(&versus.sides) {
        let _ = writeln!(out, "{letter}: {}, {}, {}", side.label, side.protocol.name(), side.url);
        let _ = writeln!(out, "   {}", side.command);
    }
    let (scenario, pairs) = (versus.scenario.name(), versus.pairs());
    let _ = writeln!(out, "{scenario}, {pairs} rounds of both; median (lowest to highest)\n");
    let _ = writeln!(out, "{:28}{:>28}{:>28}{:>26}", "", "A", "B", "A to B, by round");
    for (row, decimals) in versus.rows() {
        let [a, b] = row.sides.map(|side| cell(side, decimals));
        let ratio = row.ratio.map_or_else(String::new, |ratio| ratio.text(3));
        let _ = writeln!(out, "{:28}{a:>28}{b:>28}{ratio:>26}", row.name);
    }
    for fault in &versus.faults {
        let word = if fault.busy { "BUSY" } else { "FAILED" };
        let _ = writeln!(out, "{word:8}{}", fault.text);
    }
    out
}

fn page(versus: &Versus) -> String {
    let mut body = String::new();
    for fault in &versus.faults {
        let _ = write!(body, "<p class=\"bad\">{}</p>", html::escape(&fault.text));
    }
    for (letter, side) in ["A", "B"].iter().zip(&versus.sides) {
        let (label, command) = (html::escape(&side.label), html::escape(&side.command));
        let _ = write!(body, "<p>{letter}: {label}<br><code>{command}</code></p>");
    }
    let _ = write!(
        body,
        "<p>{} rounds of both; median (lowest to highest)</p>\
         <table><tr><td><td>A<td>B<td>A to B, by round</tr>",
        versus.pairs()
    );
    for (row, decimals) in versus.rows() {
        let [a, b] = row.sides.map(|side| cell(side, decimals));
        let ratio = row.ratio.map_or_else(String::new, |ratio| ratio.text(3));
        let _ = write!(body, "<tr><td>{}<td>{a}<td>{b}<td>{ratio}</tr>", html::escape(&row.name));
    }
    body.push_str("</table>");
    html::whole(&format!("antipode bench {}, two servers", versus.scenario.name()), &body)
}

/// Writes the files that were asked for.
///
/// # Errors
/// One cannot be written.
pub fn save(versus: &Versus, json: Option<&Path>, shown: Option<&Path>) -> Result<(), BenchError> {
    if let Some(path) = json {
        let rows: Vec<Row> = versus.rows().into_iter().map(|(row, _)| row).collect();
        let whole = serde_json::json!({ "versus": versus, "rows": rows });
        let text = serde_json::to_string_pretty(&whole).map_err(BenchError::file(path))?;
        std::fs::write(path, text + "\n").map_err(BenchError::file(path))?;
    }
    if let Some(path) = shown {
        std::fs::write(path, page(versus)).map_err(BenchError::file(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cost: f64, floor: Option<f64>, counts: bool) -> Round {
        let figures = Figures { cpu_us_per_packet: Some(cost), ..Figures::default() };
        let floor = floor.map(|hot_us| Floor {
            hot_us,
            paced_us: 2.0 * hot_us,
            read_us: Some(2.5 * hot_us),
        });
        Round { figures, floor, counts }
    }

    fn versus(rounds: Vec<[Round; 2]>) -> Versus {
        let side = |label: &str| Side {
            label: label.into(),
            command: "sh <x>".into(),
            url: "ws://a".into(),
            protocol: Protocol::Livekit,
        };
        let sides = [side("one"), side("two")];
        Versus { version: VERSION, scenario: Kind::Broadcast, sides, rounds, faults: Vec::new() }
    }

    fn row(versus: &Versus, name: &str) -> Option<Row> {
        versus.rows().into_iter().map(|(row, _)| row).find(|row| row.name.starts_with(name))
    }

    #[test]
    fn the_ratio_is_that_of_neighbours() {
        // The host grows slower by the round; the ratio does not care.
        let rounds = [1.0, 2.0, 4.0]
            .map(|slow| [round(slow, Some(0.5 * slow), true), round(slow * 10.0, None, true)]);
        let versus = versus(rounds.to_vec());
        let cost = row(&versus, "CPU").expect("it is known");
        assert_eq!(cost.ratio, Spread::of([0.1]));
        assert_eq!(cost.sides[1].map(|side| (side.median, side.max)), Some((20.0, 40.0)));
        let times = row(&versus, "times that").expect("of A it is known");
        assert_eq!(times.sides[0], Spread::of([1.0]));
        let times = row(&versus, "times the floor to").expect("of A it is known");
        assert_eq!(times.sides[0], Spread::of([0.8]));
        let times = row(&versus, "times the").expect("of A it is known");
        assert_eq!((times.sides[0], times.sides[1]), (Spread::of([2.0]), None));
        assert!(row(&versus, "viewers that held").is_none(), "nobody sought it");
        let text = text(&versus);
        assert!(text.contains("20.00 (10.00 to 40.00)") && text.contains("0.100"), "{text}");
        assert!(!page(&versus).contains("<x>"));
    }

    #[test]
    fn a_round_that_failed_counts_for_nothing() {
        let rounds = vec![
            [round(1.0, None, true), round(2.0, None, true)],
            [round(1.0, None, true), round(900.0, None, false)],
        ];
        let versus = versus(rounds);
        let cost = row(&versus, "CPU").expect("it is known");
        assert_eq!((cost.sides[1], cost.ratio), (Spread::of([2.0]), Spread::of([0.5])));
        assert_eq!(versus.pairs(), 1);
    }
}
