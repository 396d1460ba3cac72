//! The STUN and TURN servers that a client is told of, with credentials of its own.
//!
//! coturn and others call it the TURN REST API (draft-uberti-behave-turn-rest-00): the user's name
//! says until when it is good, and the password is an HMAC of it under a secret that the TURN server
//! shares with us. So no password has to be stored or distributed, and one that leaks is soon worth
//! nothing.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_protocol as proto;

use crate::config::IceConfig;

/// Bytes of an identity in a user name: with the time before it, it must stay below the 509 that
/// STUN allows (RFC 8489 §14.3).
const NAME_MAX: usize = 400;

/// See the module's documentation.
pub(crate) struct IceServers {
    stun: Vec<String>,
    turn: Vec<String>,
    key: hmac::Key,
    ttl_s: u64,
}

impl IceServers {
    pub(crate) fn new(config: &IceConfig) -> Self {
        IceServers {
            stun: config.stun.clone(),
            turn: config.turn.clone(),
            // Its weakness is in collisions, which an HMAC does not rest on; and coturn knows no
            // other by default.
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &config.turn_secret),
            ttl_s: config.turn_ttl.as_secs(),
        }
    }

    /// What one member is told, at `now_s` seconds since 1970.
    pub(crate) fn of(&self, identity: &str, now_s: u64) -> Vec<proto::IceServer> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(proto::IceServer { urls: self.stun.clone(), ..Default::default() });
        }
        if !self.turn.is_empty() {
            let username = username(identity, now_s.saturating_add(self.ttl_s));
            let credential = STANDARD.encode(hmac::sign(&self.key, username.as_bytes()));
            servers.push(proto::IceServer { urls: self.turn.clone(), username, credential });
        }
        servers
    }
}

/// `until:identity`. The identity is there for the TURN server's log and quotas alone, and is
/// written in characters that no client and no server prepares (RFC 8265) in its own way.
fn username(identity: &str, until_s: u64) -> String {
    let mut name = format!("{until_s}:");
    let end = name.len() + NAME_MAX;
    for byte in identity.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
        let text = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if name.len() + text.len() > end {
            break;
        }
        name.push_str(&text);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn servers(stun: &[&str], turn: &[&str], secret: &str) -> IceServers {
        let owned = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
        IceServers::new(&IceConfig {
            stun: owned(stun),
            turn: owned(turn),
            turn_secret: secret.into(),
            turn_ttl: Duration::from_secs(86_400),
        })
    }

    #[test]
    fn nothing_is_told_that_is_not_set() {
        assert_eq!(servers(&[], &[], "").of("alice", 7), []);
        let stun = servers(&["stun:a", "stun:b"], &[], "").of("alice", 7);
        assert_eq!((stun.len(), stun[0].urls.len()), (1, 2));
        assert_eq!((stun[0].username.as_str(), stun[0].credential.as_str()), ("", ""));
    }

    /// The passwords are those of
    /// `printf NAME | openssl dgst -sha1 -hmac SECRET -binary | base64`.
    #[test]
    fn credentials_are_as_coturn_computes_them() {
        let start = 1_800_000_000;
        for (secret, now_s, identity, username, credential) in [
            ("north", start - 86_400, "alice", "1800000000:alice", "sIm7pn/teO7y3AyXGeXl/xAQR6Q="),
            (
                "a secret",
                start,
                "bob \u{e9}",
                "1800086400:bob%20%C3%A9",
                "bwxdA+kPxQTGHQJvnvrOWSrKHoA=",
            ),
        ] {
            let told = servers(&["stun:s"], &["turn:t"], secret).of(identity, now_s);
            assert_eq!(told.len(), 2);
            assert_eq!(told[1].urls, ["turn:t"]);
            assert_eq!(told[1].username, username);
            assert_eq!(told[1].credential, credential);
        }
    }

    #[test]
    fn a_name_is_short_and_plain_whatever_the_identity() {
        for identity in ["a:b", "\0\n", &"x".repeat(256), &"\u{20ac}".repeat(85)] {
            let name = username(identity, u64::MAX);
            assert!(name.len() < 509, "{name}");
            let rest = name.strip_prefix("18446744073709551615:").expect("the time");
            assert!(rest.bytes().all(|b| b.is_ascii_graphic() && b != b':'), "{name}");
            let whole = |escape: &str| escape.len() >= 2 && escape.is_char_boundary(2);
            assert!(rest.split('%').skip(1).all(whole), "half an escape: {name}");
        }
        assert_ne!(username("a b", 1), username("a_b", 1));
    }
}
