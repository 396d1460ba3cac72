//! The configuration file: TOML, walked with its lines so that an error can name one.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{FIELDS, by_path};
use super::{Config, Fault, Origin, Refusal, Value};

/// Bytes of the largest file that is read.
const FILE_MAX: u64 = 1024 * 1024;
/// How alike a name must be to be meant; 1 is the same.
const ALIKE: f64 = 0.8;

/// Puts the file's values over `config`.
pub(super) fn apply(path: &Path, config: &mut Config) -> Result<(), Refusal> {
    let refused = |fault: String| {
        let field = format!("--config {}", path.display());
        Refusal::new(field, fault, "Name a readable TOML file in --config or ANTIPODE_CONFIG")
    };
    let length = std::fs::metadata(path).map_err(|e| refused(e.to_string()))?.len();
    if length > FILE_MAX {
        return Err(refused(format!("{length} bytes, {FILE_MAX} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
    apply_text(path, &text, config)
}

/// As [`apply`], of what the file holds.
pub(super) fn apply_text(path: &Path, text: &str, config: &mut Config) -> Result<(), Refusal> {
    let at = |byte: usize| Origin::File { path: path.to_owned(), line: line_of(text, byte) };
    // The parser's own rendering quotes the line, which may hold a secret: take its message alone.
    let root = DeTable::parse(text).map_err(|error| {
        let origin = at(error.span().map_or(0, |span| span.start));
        Refusal::at("the file", &origin, Fault::new(error.message(), "Mend the TOML there"))
    })?;
    for (section, value) in root.get_ref() {
        let origin = at(section.span().start);
        let name = section.get_ref();
        let DeValue::Table(table) = value.get_ref() else {
            return Err(unknown(name, &origin));
        };
        if !FIELDS.iter().any(|field| field.path.split('.').next() == Some(name)) {
            return Err(unknown(name, &origin));
        }
        for (key, value) in table {
            let origin = at(key.span().start);
            let path = format!("{name}.{}", key.get_ref());
            let field = by_path(&path).ok_or_else(|| unknown(&path, &origin))?;
            field.set(config, &convert(value), &origin)?;
        }
    }
    Ok(())
}

fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}

fn unknown(name: &str, origin: &Origin) -> Refusal {
    let sections = FIELDS.iter().filter_map(|field| field.path.split('.').next());
    let known = FIELDS.iter().map(|field| field.path).chain(sections);
    let alike = known
        .map(|each| (strsim::jaro_winkler(name, each), each))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, each)| *likeness >= ALIKE && *each != name);
    let mend = match alike {
        Some((_, each)) => format!("Did you mean {each}? --show-config prints every field"),
        None => "Take it out; --show-config prints every field".to_owned(),
    };
    Refusal::at(name, origin, Fault::new("there is no such field", mend))
}

fn convert(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("number out of range"), Value::Integer),
        DeValue::Float(_) => Value::Other("number with a fraction"),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(_) => Value::Other("date"),
        DeValue::Array(items) => Value::List(items.iter().map(convert).collect()),
        DeValue::Table(table) => Value::Pairs(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), convert(value))).collect(),
        ),
    }
}
