//! What happened, as text: byte-equal for two runs of one seed.
//!
//! A line is `virtual µs, what`. Lines of one instant are sorted, because within an instant the order
//! is that of str0m's maps. SSRCs, credentials and addresses of strangers have no place in it.

use std::fmt::Write;

use crate::path::Micros;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    text: String,
    instant: Micros,
    lines: Vec<String>,
}

impl Trace {
    /// Adds a line.
    pub fn add(&mut self, at: Micros, line: String) {
        if at != self.instant {
            self.flush();
            self.instant = at;
        }
        self.lines.push(line);
    }

    fn flush(&mut self) {
        self.lines.sort_unstable();
        for line in self.lines.drain(..) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{:>9} {line}", self.instant);
        }
    }

    /// All of it.
    pub fn text(&mut self) -> &str {
        self.flush();
        &self.text
    }

    /// The last lines, for a failure's message.
    pub fn tail(&mut self, lines: usize) -> String {
        self.flush();
        let all: Vec<&str> = self.text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Where two traces part: the line's number and both lines.
pub fn difference(a: &str, b: &str) -> Option<String> {
    let (mut left, mut right) = (a.lines(), b.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (x, y) if x == y => {}
            (x, y) => return Some(format!("line {number}:\n  {x:?}\n  {y:?}")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_sorted() {
        let mut trace = Trace::default();
        for (at, line) in [(1, "b"), (1, "a"), (2, "0")] {
            trace.add(at, line.to_owned());
        }
        assert_eq!(trace.text(), "        1 a\n        1 b\n        2 0\n");
        assert_eq!(trace.tail(1), "        2 0");
        assert_eq!(difference("a\nb", "a\nb"), None);
        assert!(difference("a\nb", "a\nc").is_some_and(|text| text.starts_with("line 2")));
        assert!(difference("a", "a\nc").is_some());
    }
}
