//! A value before its field is known, and the forms that fields want.
//!
//! The environment and flags hold text alone, so a number may come as `7882` or as `"7882"`; the file
//! has types, and there a number in quotes is a mistake that is worth a word.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::refusal::Fault;

/// As a source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text of a flag or of the environment, which may stand for any type.
    Raw(String),
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Value>),
    /// A table of the file.
    Pairs(Vec<(String, Value)>),
    /// A type that no field wants; the name of the type.
    Other(&'static str),
}

impl Value {
    /// The value as an error may show it. Never call it for a field that holds a secret.
    fn found(&self) -> String {
        match self {
            Value::Raw(text) | Value::Text(text) => format!("\"{text}\""),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Pairs(_) => "a table".to_owned(),
            Value::Other(name) => format!("a {name}"),
        }
    }

    /// What a field that wants `noun` says of this value.
    pub(crate) fn fault(&self, noun: &str, mend: &str) -> Fault {
        Fault::new(format!("{} is no {noun}", self.found()), mend)
    }

    /// A whole number from `low` to `high`.
    pub(crate) fn integer(&self, noun: &str, low: i64, high: i64) -> Result<i64, Fault> {
        let number = match self {
            Value::Raw(text) => text.trim().parse().ok(),
            Value::Integer(number) => Some(*number),
            _ => None,
        };
        let mend = || format!("Give a whole number from {low} to {high}");
        number.filter(|n| (low..=high).contains(n)).ok_or_else(|| self.fault(noun, &mend()))
    }

    /// A UDP port.
    pub(crate) fn port(&self) -> Result<u16, Fault> {
        let number = self.integer("UDP port", 0, i64::from(u16::MAX))?;
        Ok(u16::try_from(number).expect("the range was checked"))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Result<bool, Fault> {
        let flag = match self {
            Value::Raw(text) => text.trim().parse().ok(),
            Value::Boolean(flag) => Some(*flag),
            _ => None,
        };
        flag.ok_or_else(|| self.fault("yes or no", "Give true or false"))
    }

    /// Text as it stands.
    pub(crate) fn text(&self, noun: &str) -> Result<&str, Fault> {
        match self {
            Value::Raw(text) | Value::Text(text) => Ok(text),
            _ => Err(self.fault(noun, "Give a text in quotes")),
        }
    }

    /// Anything that parses from text, such as an address.
    pub(crate) fn parse<T: FromStr>(&self, noun: &str, mend: &str) -> Result<T, Fault> {
        self.text(noun)?.trim().parse().map_err(|_| self.fault(noun, mend))
    }

    /// `address:port`.
    pub(crate) fn socket_address(&self) -> Result<SocketAddr, Fault> {
        self.parse("address with a port", "Give one like 0.0.0.0:7880 or [::]:7880")
    }

    /// An IP address.
    pub(crate) fn ip(&self) -> Result<IpAddr, Fault> {
        self.parse("IP address", "Give one like 192.0.2.7 or 2001:db8::7")
    }

    /// A list; in text, its items stand between commas. An empty text is an empty list.
    pub(crate) fn list(&self, noun: &str) -> Result<Vec<Value>, Fault> {
        match self {
            Value::Raw(text) if text.trim().is_empty() => Ok(vec![]),
            Value::Raw(text) => {
                Ok(text.split(',').map(|item| Value::Raw(item.trim().to_owned())).collect())
            }
            Value::List(items) => Ok(items.clone()),
            _ => Err(self.fault(noun, "Give a list in brackets")),
        }
    }

    /// One word of a set.
    pub(crate) fn word<T: Copy>(&self, noun: &str, words: &[(&str, T)]) -> Result<T, Fault> {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let mend = format!("Give one of: {}", all.join(", "));
        let text = match self {
            Value::Raw(text) | Value::Text(text) => text.trim(),
            _ => return Err(self.fault(noun, &mend)),
        };
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| self.fault(noun, &mend))
    }
}
