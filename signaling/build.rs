//! Puts the page's files into the binary.
//!
//! Writes `$OUT_DIR/page.rs`, one `File` for each file of `web/` that a browser is to see, plus the
//! browser SDK when `web/dist/` holds it. The SDK is fetched by `scripts/dev`; without it the build
//! still succeeds and the page says what to run. Nothing is fetched here.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fs;
use std::hash::Hasher;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Content types of what the page is made of; a file of another kind is not embedded.
const TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// The one file of the SDK that the page imports, as it is published.
const SDK: &str = "dist/livekit-client.esm.mjs";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("web");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // A folder is watched with all that it holds, also a `dist` that appears later.
    println!("cargo::rerun-if-changed=web");
    let mut rows = String::new();
    for (name, content_type) in page_files(&root)? {
        rows.push_str(&embed(&root, &name, content_type, &out)?);
    }
    fs::write(out.join("page.rs"), format!("static FILES: &[File] = &[\n{rows}];\n"))?;
    Ok(())
}

/// Names relative to `root` and their content types, in a stable order.
fn page_files(root: &Path) -> Result<Vec<(String, &'static str)>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let kind = TYPES.iter().find(|(known, _)| Some(*known) == extension);
        let name = path.file_name().and_then(|name| name.to_str());
        if let (Some((_, content_type)), Some(name)) = (kind, name) {
            files.push((name.to_owned(), *content_type));
        }
    }
    if root.join(SDK).is_file() {
        files.push((SDK.to_owned(), TYPES[2].1));
    }
    files.sort();
    Ok(files)
}

/// One line of the table; the compressed copy goes to `out`.
fn embed(
    root: &Path,
    name: &str,
    content_type: &str,
    out: &Path,
) -> Result<String, Box<dyn Error>> {
    let source = root.join(name);
    let body = fs::read(&source)?;
    let packed = out.join(format!("{}.gz", name.replace('/', "-")));
    let mut encoder = GzEncoder::new(fs::File::create(&packed)?, Compression::best());
    encoder.write_all(&body)?;
    encoder.finish()?;
    // Not a secret and not a proof: it only tells a browser whether its copy is the same.
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("{:016x}", hasher.finish());
    Ok(format!(
        "    File {{ name: {name:?}, content_type: {content_type:?}, tag: \"\\\"{tag}\\\"\",\n        \
         body: include_bytes!({source:?}),\n        packed: include_bytes!({packed:?}) }},\n"
    ))
}
