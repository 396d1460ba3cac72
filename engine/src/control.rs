//! The secret between a node and signaling.
//!
//! On one host nobody has to think of it: whichever process comes first writes a random one into a
//! file beside the control socket, readable by its own user alone, and the other finds it there. So
//! a node never needs the API keys. Between hosts there is no such file, and the operator sets one.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, ControlAddress, Refusal, Secret};

const SECRET_BYTES: usize = 32;
/// Bytes of the longest secret file that is read.
const FILE_MAX: u64 = 1_024;

/// The secret that `config` means; on a Unix socket made now, if there is none yet.
///
/// # Errors
/// Names `control.secret` or `control.address` and the mend.
pub(crate) fn secret(config: &Config) -> Result<Secret, Refusal> {
    if let Some(secret) = &config.control.secret {
        return Ok(secret.clone());
    }
    match &config.control.address {
        ControlAddress::Unix(socket) => shared(socket),
        ControlAddress::Tcp { .. } => Err(Refusal::new(
            "control.secret",
            "not set, and a node on another host could not prove that it is ours",
            "Set ANTIPODE_CONTROL_SECRET to the same random text on both hosts, such as \
             `openssl rand -hex 32` makes",
        )),
        ControlAddress::Private => Err(private_is_of_dev()),
    }
}

/// The word cannot be set, but a default that goes astray shall be told.
pub(crate) fn private_is_of_dev() -> Refusal {
    Refusal::new(
        "control.address",
        "\"private\" is the word of antipode dev, whose children find one another",
        "Give unix:/path/of/a.sock or tcp:host:port",
    )
}

/// The file beside the socket.
fn file_of(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".secret");
    name.into()
}

fn shared(socket: &Path) -> Result<Secret, Refusal> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let refused = |error: &io::Error| {
        Refusal::new(
            "control.address",
            format!("{}: {error}", folder.display()),
            "Make that folder, writable for the user of antipode, or name another one in --control",
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| refused(&e))?;
    let path = file_of(socket);
    match File::open(&path) {
        Ok(file) => return read(&path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&path, &error.to_string())),
    }
    // Written under another name first, so that nobody ever reads half a secret; whoever links its
    // file to the final name first wins, and both read what stands there.
    match write(folder, &path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refused(&error)),
    }
    let file = File::open(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
    read(&path, file)
}

fn write(folder: &Path, path: &Path) -> io::Result<()> {
    let random: [u8; SECRET_BYTES] = rand::random();
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mode = Permissions::from_mode(0o600);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn read(path: &Path, file: File) -> Result<Secret, Refusal> {
    let data = file.metadata().map_err(|error| unreadable(path, &error.to_string()))?;
    if data.mode() & 0o077 != 0 {
        return Err(unreadable(path, "other users may read it"));
    }
    let mut text = String::new();
    let read = file.take(FILE_MAX).read_to_string(&mut text);
    read.map_err(|error| unreadable(path, &error.to_string()))?;
    if text.trim().len() < SECRET_BYTES {
        return Err(unreadable(path, "it is too short"));
    }
    Ok(Secret::new(text.trim()))
}

fn unreadable(path: &Path, why: &str) -> Refusal {
    Refusal::new(
        "control.secret",
        format!("the secret in {} cannot be used: {why}", path.display()),
        "Run node and signal as the same user; if both do, remove the file and start both anew",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn config(address: ControlAddress) -> Config {
        let mut config = Config::defaults(Mode::Service);
        config.control.address = address;
        config
    }

    #[test]
    fn both_sides_of_a_socket_find_one_secret_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("made/on/the/way/control.sock");
        let config = config(ControlAddress::Unix(socket.clone()));
        let found: Vec<Secret> = std::thread::scope(|scope| {
            let each: Vec<_> = (0..8).map(|_| scope.spawn(|| secret(&config).unwrap())).collect();
            each.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|each| each == &found[0]));
        assert_eq!(found[0].reveal().len(), 2 * SECRET_BYTES);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&file_of(&socket)), 0o600);
        assert_eq!(mode(socket.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(socket.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let config = config(ControlAddress::Unix(socket.clone()));
        secret(&config).unwrap();
        fs::set_permissions(file_of(&socket), Permissions::from_mode(0o644)).unwrap();
        let text = secret(&config).unwrap_err().to_string();
        assert!(text.contains("control.secret") && text.contains("other users"), "{text}");
        fs::set_permissions(file_of(&socket), Permissions::from_mode(0o600)).unwrap();
        fs::write(file_of(&socket), "short").unwrap();
        let text = secret(&config).unwrap_err().to_string();
        assert!(text.contains("too short"), "{text}");
    }

    #[test]
    fn between_hosts_it_must_be_set() {
        let mut config = config(ControlAddress::Tcp { host: "192.0.2.1".into(), port: 7884 });
        let text = secret(&config).unwrap_err().to_string();
        assert!(text.starts_with("control.secret: not set"), "{text}");
        config.control.secret = Some(Secret::new("0123456789abcdef"));
        assert_eq!(secret(&config).unwrap().reveal(), "0123456789abcdef");
        config.control.secret = None;
        config.control.address = ControlAddress::Private;
        assert!(secret(&config).unwrap_err().to_string().starts_with("control.address: "));
    }
}
