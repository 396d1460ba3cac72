//! STUN binding requests, as far as a shard reads them itself, and the answer to those that change nothing
//! (RFC 8489 §5, §14).
//!
//! ```text
//!   0    2     4        8               20
//!   |type|length|cookie  |transaction id |attributes: |type|length|value, padded to 4| ...
//! ```

use std::net::{IpAddr, SocketAddr};

use antipode_base::ids::ShardId;

use crate::session::config::shard_of;

const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
/// Length field and value of MESSAGE-INTEGRITY and of FINGERPRINT, with their type.
const INTEGRITY: usize = 24;
const FINGERPRINT: usize = 8;
const USERNAME: [u8; 2] = [0, 6];
const USE_CANDIDATE: [u8; 2] = [0, 0x25];
const ICE_CONTROLLED: [u8; 2] = [0x80, 0x29];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0, 0x20];
const MESSAGE_INTEGRITY: [u8; 2] = [0, 8];
const FINGERPRINT_KIND: [u8; 2] = [0x80, 0x28];

/// Whether a STUN request, which must be authentic, nominates its pair (RFC 8445 §7.1.2).
pub(crate) fn nominates(request: &[u8]) -> bool {
    attribute(request, USE_CANDIDATE).is_some()
}

/// Whether its sender takes us for the one that chooses, as we never are (RFC 8445 §7.3.1.1).
pub(crate) fn mistakes_roles(request: &[u8]) -> bool {
    attribute(request, ICE_CONTROLLED).is_some()
}

/// The answer to a binding request that came from `source`: just that address, bearing the integrity that
/// `sign` makes with the password of who was asked (RFC 8489 §14.2, §14.5, §14.7).
pub(crate) fn write_answer(
    request: &[u8],
    source: SocketAddr,
    sign: impl Fn(&[u8]) -> [u8; 20],
    written: &mut Vec<u8>,
) {
    let transaction = request.get(8..HEADER).unwrap_or_default();
    written.clear();
    written.extend_from_slice(&BINDING_SUCCESS);
    written.extend_from_slice(&[0, 0]);
    written.extend_from_slice(&COOKIE);
    written.extend_from_slice(transaction);
    // No NAT on the way shall mistake the address for one that it should rewrite.
    let masked = |octets: &[u8], written: &mut Vec<u8>| {
        let mask = COOKIE.iter().chain(transaction);
        written.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    };
    let (family, length) = if source.is_ipv4() { (1, 8) } else { (2, 20) };
    written.extend_from_slice(&XOR_MAPPED_ADDRESS);
    written.extend_from_slice(&[0, length, 0, family]);
    masked(&source.port().to_be_bytes(), written);
    match source.ip() {
        IpAddr::V4(ip) => masked(&ip.octets(), written),
        IpAddr::V6(ip) => masked(&ip.octets(), written),
    }
    // What is signed speaks of the signature and not of the fingerprint behind it.
    set_length(written, INTEGRITY);
    let signature = sign(written);
    written.extend_from_slice(&MESSAGE_INTEGRITY);
    written.extend_from_slice(&[0, signature.len() as u8]);
    written.extend_from_slice(&signature);
    set_length(written, FINGERPRINT);
    let fingerprint = crc32(written) ^ 0x5354_554e;
    written.extend_from_slice(&FINGERPRINT_KIND);
    written.extend_from_slice(&[0, 4]);
    written.extend_from_slice(&fingerprint.to_be_bytes());
}

/// Says how long the attributes are, with `more` bytes to come.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - HEADER + more) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Of ITU-T V.42, which takes no table for sixty bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// The shard that a STUN binding request names in its USERNAME; whether it is genuine, only that
/// shard can tell.
pub fn shard_in_stun(bytes: &[u8]) -> Option<ShardId> {
    shard_of(binding_username(bytes)?)
}

/// USERNAME of a STUN binding request (RFC 8489 §14.3).
pub(crate) fn binding_username(bytes: &[u8]) -> Option<&[u8]> {
    let (header, attributes) = bytes.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE || length != attributes.len() {
        return None;
    }
    attribute(bytes, USERNAME)
}

/// The value of the first attribute of a kind.
fn attribute(message: &[u8], kind: [u8; 2]) -> Option<&[u8]> {
    let mut attributes = message.get(HEADER..)?;
    loop {
        let (head, rest) = attributes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if head[..2] == kind {
            return Some(value);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
pub(crate) mod tests;
