//! Names, nominations, and answers byte by byte.

use super::*;
use str0m::ice::StunMessage;

const GOLDEN_V4: &str = concat!(
    "0101002c2112a442070707070707070707070707002000080001329ae112a6450008001476c61283",
    "f745fcadf1842b955abe45c6c1ee212d8028000426391499",
);
const GOLDEN_V6: &str = concat!(
    "010100382112a442070707070707070707070707002000140002329a0113a9fa0707070707070707",
    "0707070000080014cba3b34a887fe57bc1e1145cc34bd355c9ead3f780280004c18ef607",
);

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
#[test]
fn a_role_is_mistaken_by_an_attribute() {
    assert!(!mistakes_roles(&binding(b"01abc:peer", &[0x80, 0x2a, 0, 4, 1, 2, 3, 4])));
    assert!(mistakes_roles(&binding(b"01abc:peer", &[0x80, 0x29, 0, 4, 1, 2, 3, 4])));
}

/// Made with Python's `hmac`, `hashlib` and `zlib`; str0m reads both.
#[test]
fn golden_answers() {
    let provider = crate::srtp::keys::provider();
    let password = b"a password of ours";
    let sign = |text: &[u8]| provider.sha1_hmac_provider.sha1_hmac(password, &[text]);
    let request = binding(b"01abc:peer", &[]);
    for (source, golden) in [("192.0.2.7:5000", GOLDEN_V4), ("[2001:db8::7]:5000", GOLDEN_V6)] {
        let source: SocketAddr = source.parse().unwrap();
        let mut written = vec![9; 300];
        write_answer(&request, source, sign, &mut written);
        let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{source}");
        let read = StunMessage::parse(&written).expect("str0m reads it");
        assert!(read.is_successful_binding_response());
        assert_eq!(read.mapped_address(), Some(source));
        let hmac = provider.sha1_hmac_provider;
        assert!(read.verify(password, |key, text| hmac.sha1_hmac(key, text)));
    }
}
