//! The result as one page: the table, a histogram of latency and CPU over time as SVG. It loads
//! nothing and runs nothing.

use std::fmt::Write as _;

use crate::report::{Report, Sample, table};
use crate::sink::tally::Latency;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
/// Room for the axes' words.
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 30.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;\
padding:0 1em;color:#222;background:#fff}table{border-collapse:collapse}td{padding:.2em 1em .2em 0;\
vertical-align:top}td:first-child{color:#666}.bad{color:#b00020}svg text{font-size:12px;fill:#666}\
.a{fill:#2a6fdb}.s{stroke:#2a6fdb}.h{stroke:#d97a1a}.w{stroke:#999}\
polyline{fill:none;stroke-width:2}line{stroke:#ccc}";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    for fault in &report.faults {
        let _ = write!(out, "<p class=\"bad\">{}</p>", escape(&fault.text));
    }
    out.push_str("<table>");
    for (name, value) in table::rows(report) {
        let _ = write!(out, "<tr><td>{}<td>{}</tr>", escape(&name), escape(&value));
    }
    out.push_str("</table>");
    for (name, part) in [("video", &report.video), ("audio", &report.audio)] {
        let latency = Latency::from_text(&part.latency).unwrap_or_else(Latency::new);
        if latency.count() > 0 {
            let _ = write!(out, "<h2>Latency of {name}</h2>{}", histogram(&latency.bars()));
        }
    }
    if report.samples.len() > 1 {
        let _ = write!(out, "<h2>CPU over time</h2>{}", cpu(&report.samples));
    }
    if !report.steps.is_empty() {
        out.push_str(
            "<h2>Steps</h2><table><tr><td>viewers<td>packets/s<td>loss<td>p99, ms<td></tr>",
        );
        for step in &report.steps {
            let verdict = step.verdict.as_deref().unwrap_or("held");
            let _ = write!(
                out,
                "<tr><td>{}<td>{:.0}<td>{:.3} %<td>{:.1}<td>{}</tr>",
                step.viewers,
                step.packets_per_second,
                step.loss * 100.0,
                step.latency_ms_p99,
                escape(verdict),
            );
        }
        out.push_str("</table>");
    }
    whole(&format!("antipode bench {}", report.scenario.name()), &out)
}

/// A page of its own from what stands on it.
pub(crate) fn whole(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>{body}</html>\n"
    )
}

/// Bars over latency on a logarithmic axis; their height is logarithmic too, or the tail, which is
/// what one looks for, would be invisible.
fn histogram(bars: &[(f64, u64)]) -> String {
    let filled = |bar: &&(f64, u64)| bar.1 > 0;
    let first = bars.iter().position(|bar| filled(&bar)).unwrap_or(0);
    let bars = &bars[first..];
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let mut out = open();
    for (index, (until_ms, count)) in bars.iter().enumerate() {
        let x = LEFT + index as f64 * step;
        if *count > 0 {
            let height = (HEIGHT - BOTTOM) * (1.0 + *count as f64).ln() / (1.0 + most as f64).ln();
            let y = HEIGHT - BOTTOM - height;
            let _ = write!(
                out,
                "<rect class=\"a\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
                 <title>up to {until_ms:.3} ms: {count}</title></rect>",
                (step - 1.0).max(1.0),
            );
        }
        // Not more words than fit.
        if index % (bars.len() / 12 + 1) == 0 {
            label(&mut out, x, HEIGHT - 10.0, &format!("{until_ms:.2}"));
        }
    }
    label(&mut out, 0.0, 12.0, &format!("{most}"));
    label(&mut out, 0.0, HEIGHT - 10.0, "ms");
    out.push_str("</svg>");
    out
}

fn cpu(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, |sample| sample.at_s).max(1e-3);
    let highest = |sample: &Sample| {
        sample.server_cores.unwrap_or(0.0).max(sample.harness_cores).max(sample.worker_max)
    };
    let most = samples.iter().map(highest).fold(0.1, f64::max);
    let mut out = open();
    let mut line = |class: &str, value: &dyn Fn(&Sample) -> Option<f64>| {
        let _ = write!(out, "<polyline class=\"{class}\" points=\"");
        for sample in samples {
            if let Some(value) = value(sample) {
                let x = LEFT + (WIDTH - LEFT) * sample.at_s / end;
                let y = (HEIGHT - BOTTOM) * (1.0 - value / most);
                let _ = write!(out, "{x:.1},{y:.1} ");
            }
        }
        out.push_str("\"/>");
    };
    line("s", &|sample| sample.server_cores);
    line("h", &|sample| Some(sample.harness_cores));
    line("w", &|sample| Some(sample.worker_max));
    label(&mut out, 0.0, 12.0, &format!("{most:.2} cores"));
    label(&mut out, LEFT, HEIGHT - 10.0, "0 s");
    label(&mut out, WIDTH - 40.0, HEIGHT - 10.0, &format!("{end:.0} s"));
    out.push_str("</svg><p>blue: server; orange: harness; grey: its busiest media thread</p>");
    out
}

fn open() -> String {
    let floor = HEIGHT - BOTTOM;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <line x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{WIDTH}\" y2=\"{floor}\"/>"
    )
}

fn label(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

/// A server's words may be in the report.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_cannot_write_the_page() {
        assert_eq!(escape("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }

    #[test]
    fn a_histogram_has_a_bar_for_each_filled_class() {
        let mut latency = Latency::new();
        [1_000_000, 1_000_000, 30_000_000].into_iter().for_each(|ns| latency.record(ns));
        let svg = histogram(&latency.bars());
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.ends_with("</svg>"));
    }
}
