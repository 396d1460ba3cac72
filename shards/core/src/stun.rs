//! STUN binding requests, as far as a shard reads them itself (RFC 8489 §5, §14).
//!
//! ```text
//!   0    2     4        8               20
//!   |type|length|cookie  |transaction id |attributes: |type|length|value, padded to 4| ...
//! ```

use antipode_base::ids::ShardId;

use crate::session::config::shard_of;

const BINDING_REQUEST: [u8; 2] = [0, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const USERNAME: [u8; 2] = [0, 6];
const USE_CANDIDATE: [u8; 2] = [0, 0x25];

/// Whether a STUN request, which must be authentic, nominates its pair (RFC 8445 §7.1.2).
pub(crate) fn nominates(request: &[u8]) -> bool {
    attribute(request, USE_CANDIDATE).is_some()
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
pub(crate) mod tests {
    use super::*;

    /// A request with this USERNAME, behind other attributes.
    pub(crate) fn binding(username: &[u8], before: &[u8]) -> Vec<u8> {
        let mut attributes = before.to_vec();
        attributes.extend_from_slice(&[0, 6, 0, username.len() as u8]);
        attributes.extend_from_slice(username);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        let mut bytes = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend_from_slice(&[7; 12]);
        bytes.extend_from_slice(&attributes);
        bytes
    }

    #[test]
    fn names_a_shard() {
        assert_eq!(shard_in_stun(&binding(b"1fabc:peer", &[])), Some(ShardId(31)));
        assert_eq!(shard_in_stun(&binding(b"zzabc:peer", &[])), None);
        assert_eq!(shard_in_stun(&[0, 1]), None);
        assert_eq!(shard_in_stun(&[]), None);
    }

    #[test]
    fn nominates_by_an_attribute() {
        assert!(!nominates(&binding(b"01abc:peer", &[])));
        assert!(nominates(&binding(b"01abc:peer", &[0, 0x25, 0, 0])));
    }
}
