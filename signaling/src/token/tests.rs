//! Tables of tokens and what becomes of them.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const NOW: u64 = 1_800_000_000;

fn keys() -> Vec<ApiKey> {
    vec![
        ApiKey { key: "devkey".into(), secret: "secret".into() },
        ApiKey { key: "other".into(), secret: "another secret".into() },
    ]
}

fn request() -> TokenRequest {
    let mut request = TokenRequest::new("lobby", "alice", NOW, 600);
    request.name = "Alice".into();
    request.metadata = "{}".into();
    request.attributes.insert("a".into(), "b".into());
    request.permissions.sources = vec![Source::Camera];
    request.permissions.update_own = true;
    request
}

/// A token with this header and these claims, signed as `HS256` with `secret`.
fn forge(header: &str, claims: &str, secret: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"devkey","sub":"alice","exp":1800000600,"nbf":1800000000,
    "video":{"roomJoin":true,"room":"lobby"}}"#;

#[test]
fn what_is_minted_is_verified() {
    let request = request();
    let verified = verify(&keys(), &mint(&keys()[1], &request), NOW).unwrap();
    assert_eq!(verified.key, "other");
    assert_eq!(verified.room, "lobby");
    assert!(verified.room_join);
    assert_eq!(verified.expires_s, NOW + 600);
    assert_eq!(verified.identity.identity, "alice");
    assert_eq!(verified.identity.name, "Alice");
    assert_eq!(verified.identity.attributes["a"], "b");
    assert_eq!(verified.permissions, request.permissions);
}

#[test]
fn claims_of_other_signers_are_understood() {
    let verified = verify(&keys(), &forge(HS256, CLAIMS, "secret"), NOW).unwrap();
    assert_eq!(verified.permissions, Permissions::default(), "absent grants are the usual ones");

    let nulls = r#"{"iss":"devkey","sub":"a","exp":1800000600,"attributes":null,"sip":{},
        "video":{"roomJoin":true,"room":"x","canPublish":false,"canPublishSources":null}}"#;
    let verified = verify(&keys(), &forge(HS256, nulls, "secret"), NOW).unwrap();
    assert!(!verified.permissions.publish && verified.permissions.subscribe);

    let odd = r#"{"iss":"devkey","sub":"a","exp":1800000600,
        "video":{"roomJoin":true,"room":"x","canPublishSources":["smell"]}}"#;
    let verified = verify(&keys(), &forge(HS256, odd, "secret"), NOW).unwrap();
    assert!(!verified.permissions.may_publish(Source::Camera), "an unknown source opens no other");
}

#[test]
fn times_have_a_leeway_of_a_minute() {
    let token = mint(&keys()[0], &request());
    for (now, want) in [
        (NOW - 61, Some(TokenError::Early)),
        (NOW - 60, None),
        (NOW, None),
        (NOW + 660, None),
        (NOW + 661, Some(TokenError::Expired)),
    ] {
        assert_eq!(verify(&keys(), &token, now).err(), want, "at {now}");
    }
}

#[test]
fn refuses_each_with_its_reason() {
    let good = mint(&keys()[0], &request());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let swap = |from: &str, to: &str| forge(HS256, &CLAIMS.replace(from, to), "secret");
    let long = "x".repeat(NAME_MAX + 1);
    for (what, token, want) in [
        ("nothing", String::new(), TokenError::Missing),
        ("garbage", "garbage".into(), TokenError::Malformed),
        ("two parts", unsigned.into(), TokenError::Malformed),
        ("no signature", format!("{unsigned}."), TokenError::Signature),
        ("another's signature", forge(HS256, CLAIMS, "guess"), TokenError::Signature),
        ("no algorithm", forge(r#"{"alg":"none"}"#, CLAIMS, "secret"), TokenError::Algorithm),
        ("None", forge(r#"{"alg":"None"}"#, CLAIMS, "secret"), TokenError::Algorithm),
        ("RS256", forge(r#"{"alg":"RS256"}"#, CLAIMS, "secret"), TokenError::Algorithm),
        ("HS512", forge(r#"{"alg":"HS512"}"#, CLAIMS, "secret"), TokenError::Algorithm),
        ("no alg at all", forge("{}", CLAIMS, "secret"), TokenError::Malformed),
        ("unknown issuer", swap("devkey", "evil"), TokenError::UnknownKey),
        ("no expiry", swap(r#""exp":1800000600,"#, ""), TokenError::Expired),
        ("negative expiry", swap("1800000600", "-5"), TokenError::Malformed),
        ("no identity", swap("alice", ""), TokenError::Claim("sub (identity)")),
        ("long identity", swap("alice", &long), TokenError::Claim("sub (identity)")),
        ("long room", swap("lobby", &long), TokenError::Claim("video.room")),
        ("huge", "x".repeat(TOKEN_MAX + 1), TokenError::TooLong),
    ] {
        assert_eq!(verify(&keys(), &token, NOW), Err(want), "{what}");
    }
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let token = mint(&keys()[0], &request());
    let mut parts: Vec<&str> = token.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let claims = URL_SAFE_NO_PAD.encode(claims.replace("lobby", "vault"));
    parts[1] = &claims;
    assert_eq!(verify(&keys(), &parts.join("."), NOW), Err(TokenError::Signature));
}

#[test]
fn a_refusal_never_repeats_the_token() {
    let token = forge(HS256, CLAIMS, "guess");
    let text = verify(&keys(), &token, NOW).unwrap_err().to_string();
    for part in token.split('.') {
        assert!(!text.contains(part), "{text}");
    }
}
