//! The private folder of one run, removed at its end.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::config::fields::UNIX_PATH_MAX;
use crate::config::{Config, Secrets, show};

/// Holds the sockets and the children's configuration. Only our own user may look inside.
pub(super) struct RunDir {
    dir: TempDir,
}

impl RunDir {
    /// In `XDG_RUNTIME_DIR`, or in the folder for temporary files.
    pub(super) fn make() -> Result<Self, String> {
        let homes = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)];
        let fallback = [std::env::temp_dir(), PathBuf::from("/tmp")];
        let mut last = String::new();
        for home in homes.into_iter().flatten().chain(fallback) {
            match Self::make_in(&home) {
                Ok(run_dir) => return Ok(run_dir),
                Err(error) => last = error,
            }
        }
        Err(format!("cannot make a private folder: {last}. Set XDG_RUNTIME_DIR to a writable one"))
    }

    fn make_in(home: &Path) -> Result<Self, String> {
        let private = Permissions::from_mode(0o700);
        let dir =
            tempfile::Builder::new().prefix("antipode-").permissions(private).tempdir_in(home);
        let dir = dir.map_err(|error| format!("{}: {error}", home.display()))?;
        let run_dir = RunDir { dir };
        let length = run_dir.control_socket().as_os_str().len();
        if length > UNIX_PATH_MAX {
            return Err(format!("{}: too long a path for a socket", home.display()));
        }
        Ok(run_dir)
    }

    pub(super) fn control_socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    pub(super) fn notify_socket(&self) -> PathBuf {
        self.dir.path().join("notify.sock")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.path().join("antipode.toml")
    }

    /// Writes the children's configuration, with its secrets, over the one before.
    pub(super) fn write_config(&self, config: &Config) -> Result<(), String> {
        let path = self.config_file();
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(&path)
        };
        let text = show(config, Secrets::Revealed);
        let written = open().and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }
}
