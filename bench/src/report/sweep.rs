//! What a sweep came to: one line for each axis and driver, and where it bends upward.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::report::figures::{Figures, Spread};
use crate::report::html;
use crate::report::plot::{self, Line as Drawn};
use crate::scenario::Growth;

/// The form of the JSON.
pub const VERSION: u32 = 1;
/// A line bends upward at the first point that costs so much more than the cheapest one before it.
/// Less cannot be told from a host's own swing between two points of an hour.
pub const BEND: f64 = 1.25;

/// See the module's documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// [`VERSION`].
    pub version: u32,
    /// How the server was started.
    pub command: String,
    /// Its cores, and the harness's.
    pub cores: [usize; 2],
    /// Of a camera, in kbit/s.
    pub video_bitrate: u32,
    /// Of a camera.
    pub fps: u32,
    /// One for each axis and driver.
    pub lines: Vec<Line>,
}

/// One thing that grows, with one driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// What grows.
    pub growth: Growth,
    /// What the server waited for packets with.
    pub driver: String,
    /// From the smallest on.
    pub points: Vec<Point>,
    /// Why it ends before its last point.
    pub ended: Option<String>,
}

/// One point of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// How many of what grows.
    pub x: u32,
    /// Each round.
    pub rounds: Vec<Figures>,
    /// Why it says nothing of the server's cost, if so.
    pub void: Option<String>,
    /// What speaks against it and was tolerated.
    pub doubt: Option<String>,
}

impl Point {
    /// CPU microseconds for each packet.
    pub fn cost(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.cpu_us_per_packet))
    }

    fn note(&self) -> Option<String> {
        let void = self.void.as_ref().map(|void| format!("does not count: {void}"));
        void.or_else(|| self.doubt.as_ref().map(|doubt| format!("in doubt: {doubt}")))
    }

    fn median(&self, of: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        Spread::of(self.rounds.iter().filter_map(of)).map(|spread| spread.median)
    }
}

impl Line {
    /// The first point that costs more than [`BEND`] times the cheapest one before it, and how many
    /// times that is. Points that say nothing are passed over.
    pub fn bend(&self) -> Option<(u32, f64)> {
        let mut cheapest = f64::INFINITY;
        for point in self.points.iter().filter(|point| point.void.is_none()) {
            let Some(cost) = point.cost() else { continue };
            if cost.median > cheapest * BEND {
                return Some((point.x, cost.median / cheapest));
            }
            cheapest = cheapest.min(cost.median);
        }
        None
    }

    fn name(&self) -> String {
        format!("{}, {}", self.growth.name(), self.driver)
    }

    /// One sentence on its shape.
    fn verdict(&self) -> String {
        let counted = self.points.iter().filter(|point| point.void.is_none()).count();
        match self.bend() {
            Some((x, times)) => {
                format!("bends upward at {x}: {times:.2} times the cheapest before")
            }
            None if counted < 2 => "too few points to tell whether it bends".into(),
            None => format!("does not bend upward over {counted} points"),
        }
    }
}

/// For a terminal.
pub fn text(sweep: &Sweep) -> String {
    let mut out = format!("{}\n", head(sweep));
    for line in &sweep.lines {
        let _ = writeln!(
            out,
            "\n{}\n{:>8}{:>30}{:>12}{:>10}{:>10}{:>10}{:>8}{:>8}",
            line.name(),
            "",
            "CPU µs a packet",
            "packets/s",
            "loss %",
            "p99 ms",
            "KiB each",
            "train",
            "cores",
        );
        for point in &line.points {
            let cells = cells(point);
            let _ = writeln!(
                out,
                "{:>8}{:>30}{:>12}{:>10}{:>10}{:>10}{:>8}{:>8}",
                point.x, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6],
            );
            if let Some(note) = point.note() {
                let _ = writeln!(out, "{:>8}  {note}", "");
            }
        }
        if let Some(ended) = &line.ended {
            let _ = writeln!(out, "  ended early: {ended}");
        }
        let _ = writeln!(out, "  {}", line.verdict());
    }
    out
}

fn head(sweep: &Sweep) -> String {
    let [server, harness] = sweep.cores;
    format!(
        "cameras of {} kbit/s and {} frames/s; {server} cores for the server, {harness} for the \
         harness\n{}",
        sweep.video_bitrate, sweep.fps, sweep.command
    )
}

/// What both forms show of a point, after its number.
fn cells(point: &Point) -> [String; 7] {
    let shown = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "?".to_owned(), |value| format!("{value:.decimals$}"))
    };
    [
        point.cost().map_or_else(|| "?".to_owned(), |cost| cost.text(2)),
        shown(point.median(|round| Some(round.packets_per_second)), 0),
        shown(point.median(|round| Some(round.loss * 100.0)), 3),
        shown(point.median(|round| Some(round.latency_ms_p99)), 2),
        shown(point.median(|round| round.rss_per_client.map(|bytes| bytes / 1_024.0)), 0),
        shown(point.median(|round| round.train), 2),
        shown(point.median(|round| round.server_cores), 2),
    ]
}

/// One drawing for each axis, with a line for each driver.
fn drawings(sweep: &Sweep) -> Vec<String> {
    let of = |growth: Growth| {
        let lines: Vec<Drawn> = sweep
            .lines
            .iter()
            .filter(|line| line.growth == growth)
            .map(|line| {
                let point = |point: &Point| {
                    Some((f64::from(point.x), point.cost()?.median, point.void.is_none()))
                };
                let points = line.points.iter().filter_map(point).collect();
                Drawn { name: line.driver.clone(), points }
            })
            .collect();
        let title = "CPU per forwarded packet";
        (!lines.is_empty()).then(|| plot::lines(title, growth.name(), "µs a packet", &lines))
    };
    Growth::ALL.into_iter().filter_map(of).collect()
}

fn page(sweep: &Sweep) -> String {
    let mut body = format!("<p>{}</p>", html::escape(&head(sweep)));
    drawings(sweep).iter().for_each(|drawing| body.push_str(drawing));
    for line in &sweep.lines {
        let name = html::escape(&line.name());
        let _ = write!(
            body,
            "<h2>{name}</h2><p>{}</p><table><tr><td><td>CPU µs a packet<td>packets/s<td>loss %\
             <td>p99 ms<td>KiB each<td>train<td>cores</tr>",
            html::escape(&line.verdict()),
        );
        for point in &line.points {
            let _ = write!(body, "<tr><td>{}", point.x);
            for cell in cells(point) {
                let _ = write!(body, "<td>{cell}");
            }
            let _ = write!(body, "<td>{}</tr>", html::escape(&point.note().unwrap_or_default()));
        }
        body.push_str("</table>");
        if let Some(ended) = &line.ended {
            let _ = write!(body, "<p class=\"bad\">ended early: {}</p>", html::escape(ended));
        }
    }
    html::whole("antipode bench sweep", &body)
}

/// Writes the files that were asked for: a page, or a drawing alone where the name ends in `.svg`.
///
/// # Errors
/// One cannot be written.
pub fn save(sweep: &Sweep, json: Option<&Path>, shown: Option<&Path>) -> Result<(), BenchError> {
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(sweep).map_err(BenchError::file(path))?;
        std::fs::write(path, text + "\n").map_err(BenchError::file(path))?;
    }
    if let Some(path) = shown {
        let drawing = path.extension().is_some_and(|ending| ending == "svg");
        let text = if drawing { stacked(&drawings(sweep)) } else { page(sweep) };
        std::fs::write(path, text).map_err(BenchError::file(path))?;
    }
    Ok(())
}

/// Several drawings as one, one below the other.
fn stacked(drawings: &[String]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\">",
        plot::WIDTH,
        plot::HEIGHT * drawings.len() as f64
    );
    for (index, drawing) in drawings.iter().enumerate() {
        let down = plot::HEIGHT * index as f64;
        let _ = write!(out, "<g transform=\"translate(0 {down})\">{drawing}</g>");
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: u32, cost: f64) -> Point {
        let round = Figures { cpu_us_per_packet: Some(cost), ..Figures::default() };
        Point { x, rounds: vec![round], void: None, doubt: None }
    }

    fn line(costs: &[f64]) -> Line {
        let points = costs.iter().zip(1..).map(|(cost, x)| point(x, *cost)).collect();
        Line { growth: Growth::Rooms, driver: "epoll".into(), points, ended: None }
    }

    #[test]
    fn a_line_that_bends_upward_is_named() {
        let rows: [(&[f64], Option<u32>); 7] = [
            (&[9.0, 5.0, 3.0, 2.0], None),
            (&[2.0, 2.2, 2.4], None),
            (&[2.0, 2.2, 2.6], Some(3)),
            // Slowly, but against the cheapest: no creeping past.
            (&[2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6], Some(7)),
            (&[9.0, 2.0, 3.0], Some(3)),
            (&[1.0], None),
            (&[], None),
        ];
        for (costs, want) in rows {
            assert_eq!(line(costs).bend().map(|(x, _)| x), want, "{costs:?}");
        }
    }

    #[test]
    fn a_point_that_does_not_count_bends_nothing() {
        let mut line = line(&[2.0, 9.0, 2.0]);
        line.points[1].void = Some("the harness was the bottleneck".into());
        assert_eq!(line.bend(), None);
        let sweep = Sweep {
            version: VERSION,
            command: "a <server>".into(),
            cores: [1, 1],
            video_bitrate: 300,
            fps: 15,
            lines: vec![line],
        };
        let text = text(&sweep);
        assert!(text.contains("does not count: the harness") && text.contains("over 2 points"));
        let page = page(&sweep);
        assert!(page.contains("<svg") && !page.contains("<server>"), "{page}");
    }
}
