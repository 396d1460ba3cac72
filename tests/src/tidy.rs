//! The rules of STYLE.md that a test can read, over every Rust file of the repository.
//!
//! It reads text, not syntax: the code is formatted, so an item ends where a closing brace stands at
//! its own indentation.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one file.
const FILE_LINES_MAX: usize = 500;
/// Lines of one function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of one line.
const COLUMNS_MAX: usize = 110;
/// The only places with `unsafe`: the batched socket calls, a hint to the processor, and the scenes'
/// randomness and allocator.
const UNSAFE_ALLOWED: [&str; 4] = [
    "shards/runtime/src/net/sys",
    "shards/base/src/near.rs",
    "tests/scenes/entropy.rs",
    "tests/scenes/allocations.rs",
];
/// What is not ours to judge: build output, and what tools fetched.
const SKIPPED: [&str; 5] = ["target", ".git", ".cache", "node_modules", "corpus"];
/// What ships: here a panic would be a user's.
const PRODUCT: [&str; 4] = ["engine/src/", "relay/src/", "shards/", "signaling/src/"];

struct Source {
    /// From the repository's root.
    name: String,
    text: String,
    /// Compiled for tests alone.
    test: bool,
}

impl Source {
    fn may_be_unsafe(&self) -> bool {
        UNSAFE_ALLOWED.iter().any(|place| self.name.starts_with(place))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root(), &mut files);
    files.sort();
    assert!(files.len() > 50, "the walk begins at the repository's root: {files:?}");
    let only_tests: Vec<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    files
        .into_iter()
        .map(|file| {
            let inside =
                |module: &PathBuf| file == module.with_extension("rs") || file.starts_with(module);
            let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
            let test = only_tests.iter().any(inside) || name.contains("/tests/");
            Source { text: fs::read_to_string(&file).unwrap(), name, test }
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            if !SKIPPED.contains(&name) {
                walk(&path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// Modules that a file declares under `#[cfg(test)]`, as paths without ending.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap();
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = file.parent().unwrap_or(file);
    let own = matches!(stem, "lib" | "main" | "mod");
    let folder = if own { folder.to_path_buf() } else { folder.join(stem) };
    let beside = file.parent().unwrap_or(file);
    let mut lines = text.lines().map(str::trim);
    let mut modules = Vec::new();
    while lines.by_ref().any(|line| line == "#[cfg(test)]") {
        let Some(next) = lines.next() else { break };
        let path = next.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix(".rs\"]"));
        let name = next.strip_suffix(';').and_then(|line| line.split("mod ").nth(1));
        modules.extend(path.map(|path| beside.join(path)));
        modules.extend(name.map(|name| folder.join(name)));
    }
    modules
}

/// The part of a file that is compiled for users.
fn product(source: &Source) -> &str {
    let ours = PRODUCT.iter().any(|part| source.name.starts_with(part));
    if source.test || !ours || source.name.contains("/benches/") {
        return "";
    }
    // Unit tests stand last in a file.
    source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

fn complain(broken: &[String]) {
    assert!(broken.is_empty(), "{} places:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn files_open_with_what_they_are_and_are_short() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines, {FILE_LINES_MAX} are allowed", source.name));
        }
        let first = source.text.lines().find(|line| !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            broken.push(format!("{}: does not open with `//!`", source.name));
        }
    }
    complain(&broken);
}

#[test]
fn lines_fit_a_screen() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                broken.push(format!("{}:{number}: {columns} columns", source.name));
            }
        }
    }
    complain(&broken);
}

#[test]
fn functions_fit_a_screen() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            seen += 1;
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            // A declaration in a trait ends with its signature.
            let close = format!("{})", " ".repeat(indent));
            let over =
                |line: &&str| **line == *end || (line.starts_with(&close) && line.ends_with(';'));
            let length = lines[at..].iter().position(over).map_or(1, |n| n + 1);
            let body = !line.ends_with(';') && !line.ends_with('}');
            if body && length > FUNCTION_LINES_MAX {
                let (name, number) = (&source.name, at + 1);
                broken.push(format!("{name}:{number}: {length} lines: {}", line.trim()));
            }
        }
    }
    assert!(seen > 500, "only {seen} functions were found");
    complain(&broken);
}

fn is_function(line: &str) -> bool {
    let words = line.trim_start();
    let words = words.strip_prefix("pub ").or(words.strip_prefix("pub(crate) ")).unwrap_or(words);
    let words = words.strip_prefix("pub(super) ").unwrap_or(words);
    let words = words.strip_prefix("const ").unwrap_or(words);
    let words = words.strip_prefix("async ").unwrap_or(words);
    words.strip_prefix("unsafe ").unwrap_or(words).starts_with("fn ")
}

#[test]
fn product_code_does_not_unwrap() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(product(&source).lines()) {
            let code = line.split("//").next().unwrap_or_default();
            if [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!("]
                .iter()
                .any(|word| code.contains(word))
            {
                broken.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    complain(&broken);
}

#[test]
fn unsafe_stands_where_it_may() {
    let mut broken = Vec::new();
    let mut allowed = 0;
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            let word = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            if !word.iter().any(|word| code.contains(word)) || source.name.ends_with("tidy.rs") {
                continue;
            }
            if source.may_be_unsafe() {
                allowed += 1;
            } else {
                broken.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    assert!(allowed > 0, "the test looks where `unsafe` is");
    complain(&broken);
}

#[test]
fn unsafe_says_why_it_is_sound() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.may_be_unsafe()) {
        let lines: Vec<&str> = source.text.lines().collect();
        for at in 0..lines.len() {
            let above = lines[at.saturating_sub(8)..=at].join("\n");
            if lines[at].contains("unsafe {") && !above.contains("SAFETY") {
                broken.push(format!("{}:{}: no SAFETY above", source.name, at + 1));
            }
        }
    }
    complain(&broken);
}
