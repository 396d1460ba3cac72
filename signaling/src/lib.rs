//! Being written.

mod assets;
