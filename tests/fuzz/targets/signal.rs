//! What a client of the signaling process sends: tokens, join requests, frames.
//!
//! A token that we did not sign is never taken, and one that we signed is taken only within its time
//! and with claims within their limits; a join request never unpacks to more than its limit.
#![no_main]

use std::sync::LazyLock;

use antipode_base::limits::{ATTRIBUTES_MAX, JOIN_REQUEST_MAX, METADATA_MAX, NAME_MAX, TOKEN_MAX};
use antipode_fuzz::feed::Feed;
use antipode_fuzz::panics;
use antipode_signaling::ApiKey;
use antipode_signaling::edge::decode::{self, DecodeError};
use antipode_signaling::token::{self, LEEWAY_S, TokenRequest, Verified};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use livekit_protocol as proto;
use prost::Message;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &str = "secret";

static KEYS: LazyLock<Vec<ApiKey>> =
    LazyLock::new(|| vec![ApiKey { key: "devkey".to_owned(), secret: SECRET.to_owned() }]);
/// The one token that may be taken without being signed here.
static TOKEN: LazyLock<String> =
    LazyLock::new(|| token::mint(&KEYS[0], &TokenRequest::new("lobby", "alice", NOW_S, 600)));

fuzz_target!(init: panics::install(), |data: &[u8]| {
    panics::run(data, &[], || {
        let mut feed = Feed(data);
        let choice = feed.byte();
        let bytes = feed.rest();
        match choice % 7 {
            0 => frame(bytes),
            1 => text(bytes, |parameter| join(parameter, None)),
            2 => join(&URL_SAFE_NO_PAD.encode(bytes), None),
            3 => {
                let wrapped =
                    proto::WrappedJoinRequest { compression: 0, join_request: bytes.to_vec() };
                join(&URL_SAFE_NO_PAD.encode(wrapped.encode_to_vec()), Some(bytes));
            }
            4 => text(bytes, unsigned),
            5 => {
                let forged = [URL_SAFE_NO_PAD.encode(bytes).as_str(), tail(&TOKEN)].join(".");
                unsigned(&forged);
            }
            _ => signed(bytes),
        }
    });
});

fn text(bytes: &[u8], check: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
}

/// Claims and signature without the header.
fn tail(token: &str) -> &str {
    token.split_once('.').map_or("", |(_, tail)| tail)
}

fn frame(bytes: &[u8]) {
    match decode::frame(bytes) {
        Ok(inbound) => drop(format!("{inbound:?}")),
        Err(error) => {
            assert_eq!(error, DecodeError::Message);
            assert!(proto::SignalRequest::decode(bytes).is_err());
        }
    }
}

/// `plain`: the request as it was before it was wrapped, not compressed.
fn join(parameter: &str, plain: Option<&[u8]>) {
    let request = decode::join_request(parameter);
    if let (Some(plain), Ok(request)) = (plain, &request) {
        assert_eq!(*request, proto::JoinRequest::decode(plain).expect("it was decoded before"));
    }
    if let Ok(request) = request {
        // Unknown fields and doubled ones are gone, so it can only have become shorter.
        assert!(request.encoded_len() <= 2 * JOIN_REQUEST_MAX);
    }
}

fn unsigned(given: &str) {
    if let Ok(verified) = token::verify(&KEYS, given, NOW_S) {
        assert_eq!(tail(given), tail(&TOKEN), "a token that nobody signed");
        check(&verified);
    }
}

fn signed(claims: &[u8]) {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    let given = format!("{text}.{signature}");
    if let Ok(verified) = token::verify(&KEYS, &given, NOW_S) {
        assert!(given.len() <= TOKEN_MAX);
        check(&verified);
    }
}

fn check(verified: &Verified) {
    let identity = &verified.identity;
    assert_eq!(verified.key, "devkey");
    assert!(verified.expires_s.saturating_add(LEEWAY_S) >= NOW_S, "expired");
    assert!((1..=NAME_MAX).contains(&identity.identity.len()));
    assert!(identity.name.len() <= NAME_MAX && verified.room.len() <= NAME_MAX);
    assert!(identity.metadata.len() <= METADATA_MAX);
    let attributes: usize = identity.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(attributes <= ATTRIBUTES_MAX);
}
