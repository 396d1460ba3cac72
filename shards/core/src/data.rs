//! The envelope of a data packet, as far as it concerns who it is from and who it is for.
//!
//! Data packets are the protobuf message `DataPacket` of the client protocol. A forwarder needs three
//! of its fields and leaves the rest alone: it reads `destination_identities` (5, and 6 of the user
//! packet inside, where the JavaScript SDK puts them to this day), and it appends
//! `participant_identity` (4) and `participant_sid` (17), because of a singular field that stands
//! twice the last one counts (protobuf encoding, "Last One Wins"). So a sender cannot pass for
//! another, and nothing is decoded and encoded again.

use antipode_base::limits::{DATA_DESTINATIONS_MAX, DATA_PACKET_MAX, NAME_MAX};

const FIELD_USER: u64 = 2;
const FIELD_SPEAKERS: u64 = 3;
const FIELD_SENDER_IDENTITY: u64 = 4;
const FIELD_DESTINATIONS: u64 = 5;
const FIELD_SENDER_SID: u64 = 17;
/// Of the message in `FIELD_USER`.
const FIELD_USER_DESTINATIONS: u64 = 6;

const WIRE_VARINT: u64 = 0;
const WIRE_64: u64 = 1;
const WIRE_BYTES: u64 = 2;
const WIRE_32: u64 = 5;

/// A data packet that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// With its sender.
    pub(crate) bytes: Vec<u8>,
    /// Identities that shall receive it; empty: all.
    pub(crate) destinations: Vec<String>,
}

/// Reads the destinations and stamps the sender. `None` for what is no such packet, is too large, or
/// speaks for the server (speakers are announced by signaling alone).
pub(crate) fn stamp(packet: &[u8], identity: &str, sid: &str) -> Option<Stamped> {
    if packet.len() > DATA_PACKET_MAX {
        return None;
    }
    let mut destinations = Vec::new();
    let mut rest = packet;
    while !rest.is_empty() {
        let (field, body, after) = field(rest)?;
        match field {
            FIELD_SPEAKERS => return None,
            FIELD_DESTINATIONS => push_destination(&mut destinations, body?)?,
            FIELD_USER => read_user(&mut destinations, body?)?,
            _ => {}
        }
        rest = after;
    }
    let mut bytes = Vec::with_capacity(packet.len() + identity.len() + sid.len() + 8);
    bytes.extend_from_slice(packet);
    put_string(&mut bytes, FIELD_SENDER_IDENTITY, identity);
    put_string(&mut bytes, FIELD_SENDER_SID, sid);
    Some(Stamped { bytes, destinations })
}

/// The destinations that stand in the user packet; nothing else of it concerns a forwarder.
fn read_user(destinations: &mut Vec<String>, user: &[u8]) -> Option<()> {
    let mut rest = user;
    while !rest.is_empty() {
        let (field, body, after) = field(rest)?;
        if field == FIELD_USER_DESTINATIONS {
            push_destination(destinations, body?)?;
        }
        rest = after;
    }
    Some(())
}

fn push_destination(destinations: &mut Vec<String>, name: &[u8]) -> Option<()> {
    let name = std::str::from_utf8(name).ok()?;
    if name.len() > NAME_MAX || destinations.len() == DATA_DESTINATIONS_MAX {
        return None;
    }
    destinations.push(name.to_owned());
    Some(())
}

/// One field: its number, its body if it is length-delimited, and what follows.
type Field<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (key, rest) = varint(bytes)?;
    let number = key >> 3;
    let (body, rest) = match key & 7 {
        WIRE_VARINT => (None, varint(rest)?.1),
        WIRE_64 => (None, rest.get(8..)?),
        WIRE_32 => (None, rest.get(4..)?),
        WIRE_BYTES => {
            let (length, rest) = varint(rest)?;
            let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(body), rest)
        }
        _ => return None,
    };
    (number != 0).then_some((number, body, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn put_string(out: &mut Vec<u8>, field: u64, text: &str) {
    put_varint(out, field << 3 | WIRE_BYTES);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kind LOSSY, user packet of payload "hi", to "bob".
    const PACKET: &[u8] =
        &[0x08, 0x01, 0x12, 0x04, 0x12, 0x02, b'h', b'i', 0x2a, 0x03, b'b', b'o', b'b'];

    #[test]
    fn golden_bytes() {
        let stamped = stamp(PACKET, "al", "PA_1").unwrap();
        assert_eq!(stamped.destinations, ["bob"]);
        let mut want = PACKET.to_vec();
        want.extend_from_slice(&[0x22, 2, b'a', b'l', 0x8a, 0x01, 4, b'P', b'A', b'_', b'1']);
        assert_eq!(stamped.bytes, want);
    }

    #[test]
    fn destinations_stand_in_either_place() {
        let inside = [0x12, 9, 0x12, 2, b'h', b'i', 0x32, 3, b'b', b'o', b'b'];
        assert_eq!(stamp(&inside, "a", "b").unwrap().destinations, ["bob"]);
        let both = [&inside[..], &[0x2a, 3, b'e', b'v', b'e']].concat();
        assert_eq!(stamp(&both, "a", "b").unwrap().destinations, ["bob", "eve"]);
    }

    #[test]
    fn refuses_what_is_broken_or_forged() {
        for (name, packet) in [
            ("cut", &PACKET[..PACKET.len() - 1]),
            ("group", &[0x0b][..]),
            ("field zero", &[0x00, 0x00]),
            ("endless varint", &[0xff; 11]),
            ("length beyond the end", &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            ("speakers", &[0x1a, 0x00]),
            ("destination as a number", &[0x28, 0x01]),
            ("destination that is no text", &[0x2a, 0x01, 0xff]),
            ("destination of a user packet that is cut", &[0x12, 0x03, 0x32, 0x09, b'x']),
        ] {
            assert_eq!(stamp(packet, "a", "b"), None, "{name}");
        }
        assert_eq!(stamp(&vec![0u8; DATA_PACKET_MAX + 1], "a", "b"), None);
        let many: Vec<u8> = [0x2a, 0x00].repeat(DATA_DESTINATIONS_MAX + 1);
        assert_eq!(stamp(&many, "a", "b"), None);
    }
}
