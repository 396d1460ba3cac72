//! The name of an enum's variant, for logs: what is inside may be secret or long.

use std::fmt::{self, Debug, Display, Write};

/// Displays the leading word of a value's `Debug`.
pub(crate) struct Variant<'a, T>(pub &'a T);

/// Passes on letters and digits until something else comes, and then stops the formatting.
struct Word<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Word<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        self.0.write_str(&text[..end])?;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl<T: Debug> Display for Variant<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error is how the word's end stops it.
        let _ = write!(Word(f), "{:?}", self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_name_alone() {
        assert_eq!(Variant(&Some("secret")).to_string(), "Some");
        assert_eq!(Variant(&Option::<u8>::None).to_string(), "None");
    }
}
