//! What the control plane must be told at its start.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use antipode_base::limits::{
    AUDIO_TOP_MAX, SIGNAL_CLIENTS_MAX, SIGNAL_CONNECTS_BURST, SIGNAL_CONNECTS_PER_S,
};
use antipode_base::stats::ReadProcess;

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
    /// Handed to clients.
    pub ice: IceConfig,
    /// How many of a room's microphones a member hears at once: the loudest. 0: all. At most
    /// [`AUDIO_TOP_MAX`].
    pub audio_top: u8,
    /// Where publishers by WHIP and players by WHEP are sent when they cannot be taken here: the base
    /// address of another server, as `https://two.example.org`.
    pub whip_redirect: Option<String>,
    /// Who gets in, and how fast.
    pub admission: AdmissionLimits,
    /// How this process's figures are read, for `/metrics`.
    pub process: Option<ReadProcess>,
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
            .field("ice", &self.ice)
            .field("audio_top", &self.audio_top)
            .field("whip_redirect", &self.whip_redirect)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
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

/// The STUN and TURN servers that clients are told of. None by default: the media addresses are
/// public ones, and the server needs no help to be found.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceConfig {
    /// `stun:` or `stuns:` addresses (RFC 7064).
    pub stun: Vec<String>,
    /// `turn:` or `turns:` addresses (RFC 7065).
    pub turn: Vec<String>,
    /// Shared with the TURN servers; what credentials for them are made of.
    pub turn_secret: Vec<u8>,
    /// How long such credentials are good.
    pub turn_ttl: Duration,
}

/// Shows no secret.
impl fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceConfig")
            .field("stun", &self.stun)
            .field("turn", &self.turn)
            .field("turn_secret", &"redacted")
            .field("turn_ttl", &self.turn_ttl)
            .finish()
    }
}

/// Schemes of [`IceConfig::stun`].
pub const STUN_SCHEMES: [&str; 2] = ["stun", "stuns"];
/// Schemes of [`IceConfig::turn`].
pub const TURN_SCHEMES: [&str; 2] = ["turn", "turns"];

/// Whether a browser would take this as the address of a STUN or TURN server: one that it does not
/// take makes it refuse the whole connection.
///
/// ```text
///   scheme ":" host [":" port] ["?transport=" ("udp" | "tcp")]     the last for TURN alone
/// ```
pub fn is_ice_url(url: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    let (place, transport) = match rest.split_once('?') {
        Some((place, query)) => (place, query.strip_prefix("transport=")),
        None => (rest, Some("udp")),
    };
    let asks = rest.contains('?');
    let bracketed = place.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host_fits, port) = match bracketed {
        Some((host, port)) => (host.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            (!host.is_empty() && host.chars().all(fits), port)
        }
    };
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<NonZeroU16>().is_ok());
    schemes.contains(&scheme)
        && host_fits
        && port_fits
        && transport.is_some_and(|transport| ["udp", "tcp"].contains(&transport))
        && (!asks || scheme.starts_with("turn"))
}

/// Whether a path can be put behind it: `http` or `https`, a host, a port, and no more.
pub fn is_base_address(address: &str) -> bool {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    rest.is_some_and(|host| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        !host.is_empty() && host.len() <= 255 && host.bytes().all(fits)
    })
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
        let ice = &self.ice;
        if !ice.stun.iter().all(|url| is_ice_url(url, &STUN_SCHEMES)) {
            return wrong("ice.stun", "no address of a STUN server", "give stun:host:port");
        }
        if !ice.turn.iter().all(|url| is_ice_url(url, &TURN_SCHEMES)) {
            return wrong("ice.turn", "no address of a TURN server", "give turn:host:port");
        }
        if !ice.turn.is_empty() && (ice.turn_secret.is_empty() || ice.turn_ttl.is_zero()) {
            let mend = "set the secret that the TURN servers have, and a time above 0";
            return wrong("ice.turn_secret", "no credentials for the TURN servers", mend);
        }
        if !self.whip_redirect.as_deref().is_none_or(is_base_address) {
            let mend = "give https://host[:port], without a slash at its end";
            return wrong("whip.redirect", "no base address of a server", mend);
        }
        if self.audio_top > AUDIO_TOP_MAX {
            return wrong("audio_top", "too many", "set at most 16, or 0 for all");
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
            ice: IceConfig {
                stun: vec!["stun:stun.test".into()],
                turn: vec!["turn:turn.test".into()],
                turn_secret: b"turn-hush".to_vec(),
                turn_ttl: Duration::from_secs(60),
            },
            audio_top: 3,
            whip_redirect: None,
            admission: AdmissionLimits::default(),
            process: None,
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", config());
        assert!(text.contains("devkey") && text.contains("turn:turn.test"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        for secret in [&b"control-hush"[..], b"turn-hush"] {
            assert!(!text.contains(&format!("{secret:?}")), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_work_and_names_the_field() {
        type Spoil = fn(&mut SignalConfig);
        let table: [(Spoil, &str); 12] = [
            (|c| c.keys.clear(), "keys"),
            (|c| c.keys[0].secret.clear(), "keys"),
            (|c| c.keys.push(c.keys[0].clone()), "keys"),
            (|c| c.control_secret.clear(), "control.secret"),
            (|c| c.admission.connects_burst = 0, "admission.connects_burst"),
            (|c| c.ice.stun.push("turn:turn.test".into()), "ice.stun"),
            (|c| c.ice.turn.push("stun:turn.test".into()), "ice.turn"),
            (|c| c.ice.turn_secret.clear(), "ice.turn_secret"),
            (|c| c.ice.turn_ttl = Duration::ZERO, "ice.turn_secret"),
            (|c| c.audio_top = AUDIO_TOP_MAX + 1, "audio_top"),
            (|c| c.whip_redirect = Some("two.test".into()), "whip.redirect"),
            (|c| c.whip_redirect = Some("https://two.test/".into()), "whip.redirect"),
        ];
        assert!(config().check().is_ok());
        for (spoil, field) in table {
            let mut config = config();
            spoil(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn addresses_that_a_browser_takes() {
        for (url, fits) in [
            ("turn:turn.example.org", true),
            ("turn:turn.example.org:3478", true),
            ("turns:turn.example.org:5349?transport=tcp", true),
            ("turn:192.0.2.1:3478?transport=udp", true),
            ("turn:[2001:db8::1]:3478", true),
            ("turn:[2001:db8::1]", true),
            ("turn:", false),
            ("turn", false),
            ("turn://turn.example.org", false),
            ("turn:user@turn.example.org", false),
            ("turn:turn.example.org:", false),
            ("turn:turn.example.org:0", false),
            ("turn:turn.example.org:70000", false),
            ("turn:turn.example.org?transport=sctp", false),
            ("turn:turn.example.org?", false),
            ("turn:[turn]:3478", false),
            ("turn:2001:db8::1", false),
            ("TURN:turn.example.org", false),
            ("stun:stun.example.org", false),
        ] {
            assert_eq!(is_ice_url(url, &TURN_SCHEMES), fits, "{url}");
        }
        assert!(is_ice_url("stun:stun.example.org:3478", &STUN_SCHEMES));
        assert!(!is_ice_url("stun:stun.example.org?transport=udp", &STUN_SCHEMES));
    }
}
