//! What the control plane must be told at its start.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use antipode_base::limits::{SIGNAL_CLIENTS_MAX, SIGNAL_CONNECTS_BURST, SIGNAL_CONNECTS_PER_S};

/// See the crate's documentation. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct SignalConfig {
    /// HTTP and WebSocket.
    pub bind: SocketAddr,
    /// Where nodes dial in.
    pub control: ControlListen,
    /// Shared with the nodes: what they sign the challenge with. Not empty.
    pub control_secret: Vec<u8>,
    /// Who may sign access tokens. Not empty.
    pub keys: Vec<ApiKey>,
    /// For development: every join goes to the next shard, round-robin.
    pub spread: bool,
    /// For development: the page may mint its own tokens with the first key, and clients may ask
    /// for simulated faults.
    pub dev_page: bool,
    /// Handed to clients. Empty by default: the media addresses are public ones.
    pub ice_servers: Vec<IceServer>,
    /// Who gets in, and how fast.
    pub admission: AdmissionLimits,
}

impl fmt::Debug for SignalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalConfig")
            .field("bind", &self.bind)
            .field("control", &self.control)
            .field("control_secret", &"redacted")
            .field("keys", &self.keys)
            .field("spread", &self.spread)
            .field("dev_page", &self.dev_page)
            .field("ice_servers", &self.ice_servers)
            .field("admission", &self.admission)
            .finish()
    }
}

/// Where nodes dial in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlListen {
    /// A Unix socket: the node runs on this host, and there is but one.
    Unix(PathBuf),
    /// TCP: nodes on other hosts.
    Tcp(SocketAddr),
}

/// One signer of access tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public name, the token's `iss`.
    pub key: String,
    /// What signs.
    pub secret: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey {{ key: {:?}, secret: redacted }}", self.key)
    }
}

/// A STUN or TURN server that clients are told of.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// TURN user, or empty.
    pub username: String,
    /// TURN password, or empty.
    pub credential: String,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceServer {{ urls: {:?}, credential: redacted }}", self.urls)
    }
}

/// Limits before any work; the defaults are those of [`antipode_base::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// WebSockets at once.
    pub clients_max: usize,
    /// New connections a second from one address (IPv6: from one /64); 0 switches the limit off,
    /// as behind a proxy that does its own limiting.
    pub connects_per_s: u32,
    /// How many may come at once.
    pub connects_burst: u32,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        AdmissionLimits {
            clients_max: SIGNAL_CLIENTS_MAX,
            connects_per_s: SIGNAL_CONNECTS_PER_S,
            connects_burst: SIGNAL_CONNECTS_BURST,
        }
    }
}

/// Why the control plane does not start, or ended. Each names the field and the mend.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// A value that cannot work.
    #[error("{field}: {problem}; {mend}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        mend: &'static str,
    },
    /// An address or path that cannot be bound.
    #[error("{field}: cannot listen on {address}: {error}; {mend}")]
    Listen {
        /// The field's name.
        field: &'static str,
        /// The address or path.
        address: String,
        /// What the system says.
        error: std::io::Error,
        /// What to do.
        mend: &'static str,
    },
}

impl SignalConfig {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`SignalError::Config`].
    pub fn check(&self) -> Result<(), SignalError> {
        let wrong = |field, problem: &str, mend| {
            Err(SignalError::Config { field, problem: problem.to_owned(), mend })
        };
        if self.keys.is_empty() {
            return wrong("keys", "there is none", "set at least one key and its secret");
        }
        if self.keys.iter().any(|key| key.key.is_empty() || key.secret.is_empty()) {
            return wrong("keys", "a key or a secret is empty", "give both");
        }
        let mut names: Vec<&str> = self.keys.iter().map(|key| key.key.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("keys", "a key is there twice", "give each key once");
        }
        if self.control_secret.is_empty() {
            return wrong("control.secret", "it is empty", "set the one that the nodes have");
        }
        if self.admission.connects_per_s > 0 && self.admission.connects_burst == 0 {
            return wrong("admission.connects_burst", "0 lets nobody in", "set at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SignalConfig {
        SignalConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            control: ControlListen::Unix("control".into()),
            control_secret: b"control-hush".to_vec(),
            keys: vec![ApiKey { key: "devkey".into(), secret: "key-hush".into() }],
            spread: false,
            dev_page: false,
            ice_servers: vec![IceServer {
                urls: vec!["turn:turn.test".into()],
                username: "u".into(),
                credential: "turn-hush".into(),
            }],
            admission: AdmissionLimits::default(),
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", config());
        assert!(text.contains("devkey") && text.contains("turn:turn.test"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        assert!(!text.contains(&format!("{:?}", b"control-hush")), "{text}");
    }

    #[test]
    fn refuses_what_cannot_work_and_names_the_field() {
        type Spoil = fn(&mut SignalConfig);
        let table: [(Spoil, &str); 5] = [
            (|c| c.keys.clear(), "keys"),
            (|c| c.keys[0].secret.clear(), "keys"),
            (|c| c.keys.push(c.keys[0].clone()), "keys"),
            (|c| c.control_secret.clear(), "control.secret"),
            (|c| c.admission.connects_burst = 0, "admission.connects_burst"),
        ];
        assert!(config().check().is_ok());
        for (spoil, field) in table {
            let mut config = config();
            spoil(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
