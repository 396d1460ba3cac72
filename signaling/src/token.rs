//! Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, with the claims that the
//! SDKs' server libraries write.
//!
//! Only `HS256` is taken (RFC 8725 §3.1); the header's `alg` chooses nothing. `exp` must be there,
//! `nbf` is obeyed, both with [`LEEWAY_S`] of tolerance. A refusal says why and never repeats any
//! part of the token.

use std::collections::BTreeMap;

use antipode_base::limits::{ATTRIBUTES_MAX, METADATA_MAX, NAME_MAX, TOKEN_MAX};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::ApiKey;
use crate::model::member::{Identity, Permissions};
use crate::model::track::Source;

/// Tolerance between our clock and the signer's, in seconds.
pub const LEEWAY_S: u64 = 60;

/// What a token is to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The room that it opens.
    pub room: String,
    /// Who may use it. Two members of a room never have the same.
    pub identity: String,
    /// What others see; empty for none.
    pub name: String,
    /// Free text for others.
    pub metadata: String,
    /// Free pairs for others.
    pub attributes: BTreeMap<String, String>,
    /// From when on, in seconds since 1970.
    pub not_before_s: u64,
    /// Until when, in seconds since 1970.
    pub expires_s: u64,
    /// What the member may do.
    pub permissions: Permissions,
}

impl TokenRequest {
    /// A token for a member that may publish and subscribe, from `now_s` on for `ttl_s` seconds.
    pub fn new(room: &str, identity: &str, now_s: u64, ttl_s: u64) -> Self {
        TokenRequest {
            room: room.to_owned(),
            identity: identity.to_owned(),
            name: String::new(),
            metadata: String::new(),
            attributes: BTreeMap::new(),
            not_before_s: now_s,
            expires_s: now_s.saturating_add(ttl_s),
            permissions: Permissions::default(),
        }
    }
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: String,
    /// The room; empty when the token opens none.
    pub room: String,
    /// Whether it may be joined.
    pub room_join: bool,
    /// From when on, in seconds since 1970; 0 when it does not say.
    pub not_before_s: u64,
    /// Until when, in seconds since 1970.
    pub expires_s: u64,
    /// Who.
    pub identity: Identity,
    /// What the member may do.
    pub permissions: Permissions,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("no access token: give access_token or an Authorization header")]
    Missing,
    /// Longer than [`TOKEN_MAX`].
    #[error("the access token is longer than {TOKEN_MAX} bytes")]
    TooLong,
    /// It is no JSON Web Token, or its claims have the wrong types.
    #[error("the access token does not parse")]
    Malformed,
    /// Its header names another algorithm.
    #[error("the access token must have alg HS256")]
    Algorithm,
    /// Its `iss` is no key of ours.
    #[error("the access token was issued by an unknown key")]
    UnknownKey,
    /// The signature is another's.
    #[error("the access token's signature is wrong")]
    Signature,
    /// `exp` lies in the past, or is missing.
    #[error("the access token is expired")]
    Expired,
    /// `nbf` lies in the future.
    #[error("the access token is not valid yet")]
    Early,
    /// Its bearer was removed from the room after it was signed.
    #[error("the access token was revoked")]
    Revoked,
    /// `sub` is empty or too long, or a text is above its limit.
    #[error("the access token's {0} is empty or too long")]
    Claim(&'static str),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VideoGrant {
    room_join: bool,
    room: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_subscribe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_publish_data: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    can_publish_sources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_update_own_metadata: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    hidden: bool,
    #[serde(skip_serializing_if = "is_false")]
    recorder: bool,
    #[serde(skip_serializing_if = "is_false")]
    agent: bool,
    #[serde(skip_serializing_if = "is_false")]
    room_admin: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    nbf: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    jti: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    metadata: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    attributes: BTreeMap<String, String>,
    video: VideoGrant,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Some signers write `null` for an empty list or map.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Signs a token.
pub fn mint(key: &ApiKey, grant: &TokenRequest) -> String {
    let permissions = &grant.permissions;
    let claims = Claims {
        iss: key.key.clone(),
        sub: grant.identity.clone(),
        exp: grant.expires_s,
        nbf: grant.not_before_s,
        jti: crate::sid::random(&mut rand::rng(), 12),
        name: grant.name.clone(),
        metadata: grant.metadata.clone(),
        attributes: grant.attributes.clone(),
        video: VideoGrant {
            room_join: true,
            room: grant.room.clone(),
            can_publish: Some(permissions.publish),
            can_subscribe: Some(permissions.subscribe),
            can_publish_data: Some(permissions.publish_data),
            can_publish_sources: permissions.sources.iter().map(|s| s.claim().to_owned()).collect(),
            can_update_own_metadata: Some(permissions.update_own),
            hidden: permissions.hidden,
            recorder: permissions.recorder,
            agent: permissions.agent,
            room_admin: permissions.admin,
        },
    };
    let secret = EncodingKey::from_secret(key.secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret)
        .expect("HS256 takes any secret, and these claims are plain JSON")
}

/// Checks a token at `now_s`, in seconds since 1970.
///
/// # Errors
/// [`TokenError`]; its text may be shown to the client.
pub fn verify(keys: &[ApiKey], token: &str, now_s: u64) -> Result<Verified, TokenError> {
    let claims = read(keys, token)?;
    check_times(&claims, now_s)?;
    check_texts(&claims)?;
    Ok(into_verified(claims))
}

/// Checks a token of a backend, which is nobody in the room. Gives the room that it may administer, if
/// it may.
///
/// # Errors
/// [`TokenError`]; its text may be shown to the caller.
pub fn verify_backend(
    keys: &[ApiKey],
    token: &str,
    now_s: u64,
) -> Result<Option<String>, TokenError> {
    let claims = read(keys, token)?;
    check_times(&claims, now_s)?;
    Ok(claims.video.room_admin.then_some(claims.video.room))
}

fn check_times(claims: &Claims, now_s: u64) -> Result<(), TokenError> {
    if claims.exp == 0 || claims.exp.saturating_add(LEEWAY_S) < now_s {
        return Err(TokenError::Expired);
    }
    if claims.nbf > now_s.saturating_add(LEEWAY_S) {
        return Err(TokenError::Early);
    }
    Ok(())
}

/// Checks a token of somebody who was let in before: its time may be over by now.
///
/// # Errors
/// [`TokenError`], but [`TokenError::Expired`] and [`TokenError::Early`].
pub fn verify_known(keys: &[ApiKey], token: &str) -> Result<Verified, TokenError> {
    let claims = read(keys, token)?;
    check_texts(&claims)?;
    Ok(into_verified(claims))
}

fn read(keys: &[ApiKey], token: &str) -> Result<Claims, TokenError> {
    if token.is_empty() {
        return Err(TokenError::Missing);
    }
    if token.len() > TOKEN_MAX {
        return Err(TokenError::TooLong);
    }
    check_signature(keys, token)
}

/// `alg` of the header alone, so that `none` and others are told apart from garbage.
#[derive(Deserialize)]
struct Alg {
    alg: String,
}

fn check_signature(keys: &[ApiKey], token: &str) -> Result<Claims, TokenError> {
    use base64::Engine;
    let head = token.split('.').next().unwrap_or_default();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(head)
        .map_err(|_| TokenError::Malformed)?;
    let head: Alg = serde_json::from_slice(&head).map_err(|_| TokenError::Malformed)?;
    if head.alg != "HS256" {
        return Err(TokenError::Algorithm);
    }
    // Read before it is proven, for the one purpose of finding the key that must prove it.
    let named: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed)?;
    let key = keys.iter().find(|key| key.key == named.iss).ok_or(TokenError::UnknownKey)?;
    let mut validation = Validation::new(Algorithm::HS256);
    // Times are checked by the caller, against the caller's clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let secret = DecodingKey::from_secret(key.secret.as_bytes());
    jsonwebtoken::decode::<Claims>(token, &secret, &validation)
        .map(|data| data.claims)
        .map_err(|_| TokenError::Signature)
}

fn check_texts(claims: &Claims) -> Result<(), TokenError> {
    if claims.sub.is_empty() || claims.sub.len() > NAME_MAX {
        return Err(TokenError::Claim("sub (identity)"));
    }
    let attributes: usize = claims.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    for (what, length, max) in [
        ("name", claims.name.len(), NAME_MAX),
        ("metadata", claims.metadata.len(), METADATA_MAX),
        ("attributes", attributes, ATTRIBUTES_MAX),
        ("video.room", claims.video.room.len(), NAME_MAX),
    ] {
        if length > max {
            return Err(TokenError::Claim(what));
        }
    }
    Ok(())
}

fn into_verified(claims: Claims) -> Verified {
    let video = claims.video;
    // A name that we do not know grants nothing; dropping it could leave the list empty, which
    // would grant everything, so an unknown source stands in for it.
    let sources = video.can_publish_sources.iter().map(|s| Source::from_claim(s)).collect();
    Verified {
        key: claims.iss,
        room: video.room,
        room_join: video.room_join,
        not_before_s: claims.nbf,
        expires_s: claims.exp,
        identity: Identity {
            identity: claims.sub,
            name: claims.name,
            metadata: claims.metadata,
            attributes: claims.attributes,
        },
        permissions: Permissions {
            publish: video.can_publish.unwrap_or(true),
            subscribe: video.can_subscribe.unwrap_or(true),
            publish_data: video.can_publish_data.unwrap_or(true),
            sources,
            update_own: video.can_update_own_metadata.unwrap_or(false),
            hidden: video.hidden,
            recorder: video.recorder,
            agent: video.agent,
            admin: video.room_admin,
        },
    }
}

#[cfg(test)]
mod tests;
