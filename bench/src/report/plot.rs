//! Lines over a logarithmic axis as one SVG that stands alone: in a page, or in a file of its own.

use std::fmt::Write as _;

use crate::report::html::escape;

/// Of a drawing.
pub const WIDTH: f64 = 860.0;
/// Of a drawing.
pub const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
/// Of lines, in their order; those who see fewer colours have the words beside the lines' ends.
const COLOURS: [&str; 6] = ["#2a6fdb", "#d97a1a", "#2e8b57", "#b00020", "#7b4fb5", "#666666"];

/// One line.
pub struct Line {
    /// Its words.
    pub name: String,
    /// Where it goes, from left to right; `false`: a point that does not count.
    pub points: Vec<(f64, f64, bool)>,
}

/// The drawing. `x` and `y` are the axes' words; the vertical one begins at zero.
pub fn lines(title: &str, x: &str, y: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let first = all().map(|point| point.0).fold(f64::INFINITY, f64::min).max(1.0);
    let last = all().map(|point| point.0).fold(first, f64::max);
    let most = all().map(|point| point.1).fold(0.0, f64::max).max(1e-6) * 1.1;
    let floor = HEIGHT - BOTTOM;
    let span = (last / first).ln();
    let place = |point: &(f64, f64, bool)| {
        let along = if span > 0.0 { (point.0.max(first) / first).ln() / span } else { 0.5 };
        let left = LEFT + 10.0 + along * (WIDTH - LEFT - 30.0);
        (left, TOP + (floor - TOP) * (1.0 - point.1 / most))
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" style=\"max-width:100%\" role=\"img\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\" fill=\"#555\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\
         <text x=\"{LEFT}\" y=\"16\" font-size=\"14\">{}</text>\
         <line x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{WIDTH}\" y2=\"{floor}\" stroke=\"#ccc\"/>\
         <line x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{floor}\" stroke=\"#ccc\"/>",
        escape(title)
    );
    for tick in 0..=4 {
        let value = most * f64::from(tick) / 4.0;
        let at = TOP + (floor - TOP) * (1.0 - f64::from(tick) / 4.0);
        let _ = write!(out, "<text x=\"8\" y=\"{:.1}\">{value:.2}</text>", at + 4.0);
    }
    let mut marks: Vec<f64> = all().map(|point| point.0).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for mark in marks {
        let (left, _) = place(&(mark, 0.0, true));
        let _ = write!(
            out,
            "<text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            floor + 16.0
        );
    }
    let (middle, under) = (WIDTH / 2.0, HEIGHT - 12.0);
    let _ = write!(out, "<text x=\"{middle}\" y=\"{under}\">{}</text>", escape(x));
    let _ = write!(
        out,
        "<text x=\"{WIDTH}\" y=\"16\" text-anchor=\"end\">{}; hollow points do not count</text>",
        escape(y)
    );
    for (index, line) in lines.iter().enumerate() {
        draw(&mut out, line, COLOURS[index % COLOURS.len()], index, &place);
    }
    out.push_str("</svg>");
    out
}

fn draw(
    out: &mut String,
    line: &Line,
    colour: &str,
    index: usize,
    place: &impl Fn(&(f64, f64, bool)) -> (f64, f64),
) {
    let _ = write!(out, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"");
    for point in line.points.iter().filter(|point| point.2) {
        let (left, down) = place(point);
        let _ = write!(out, "{left:.1},{down:.1} ");
    }
    out.push_str("\"/>");
    for point in &line.points {
        let (left, down) = place(point);
        let fill = if point.2 { colour } else { "#fff" };
        let _ = write!(
            out,
            "<circle cx=\"{left:.1}\" cy=\"{down:.1}\" r=\"4\" fill=\"{fill}\" \
             stroke=\"{colour}\"><title>{}: {:.3}</title></circle>",
            point.0, point.1
        );
    }
    let down = TOP + 14.0 + 16.0 * index as f64;
    let _ = write!(
        out,
        "<text x=\"{}\" y=\"{down}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
        WIDTH - 10.0,
        escape(&line.name)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_inside() {
        let line = |name: &str, points: &[(f64, f64, bool)]| Line {
            name: name.into(),
            points: points.to_vec(),
        };
        let drawn = lines(
            "<t>",
            "x",
            "y",
            &[
                line("one", &[(1.0, 2.0, true), (1_000.0, 9.0, false)]),
                line("two", &[(10.0, 0.0, true)]),
            ],
        );
        assert_eq!(drawn.matches("<circle").count(), 3, "{drawn}");
        assert!(!drawn.contains("<t>") && !drawn.contains("NaN") && !drawn.contains("inf"));
        // A single point, or none, is a drawing as well.
        let one = lines("", "", "", &[line("", &[(5.0, 1.0, true)])]);
        assert!(!one.contains("NaN") && !lines("", "", "", &[]).contains("NaN"));
    }
}
