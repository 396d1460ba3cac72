//! Bytes that scenes need: data packets of the client protocol, and hostile datagrams.

/// What a receiver reads of a data packet. Of a field that stands twice the last one counts
/// (protobuf encoding, "Last One Wins").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataPacket {
    /// `user.payload`.
    pub payload: Vec<u8>,
    /// `participant_identity`.
    pub sender: String,
    /// `participant_sid`.
    pub sender_sid: String,
    /// `destination_identities`.
    pub destinations: Vec<String>,
}

impl DataPacket {
    /// A packet as a client writes it.
    pub fn write(&self) -> Vec<u8> {
        let mut user = Vec::new();
        field(&mut user, 2, &self.payload);
        let mut out = Vec::new();
        field(&mut out, 2, &user);
        if !self.sender.is_empty() {
            field(&mut out, 4, self.sender.as_bytes());
        }
        for destination in &self.destinations {
            field(&mut out, 5, destination.as_bytes());
        }
        if !self.sender_sid.is_empty() {
            field(&mut out, 17, self.sender_sid.as_bytes());
        }
        out
    }

    /// A packet as a client reads it.
    pub fn read(bytes: &[u8]) -> Option<DataPacket> {
        let mut packet = DataPacket::default();
        for (number, body) in fields(bytes)? {
            let text = || String::from_utf8(body.to_vec()).ok();
            match number {
                2 => packet.payload = fields(body)?.into_iter().find(|(n, _)| *n == 2)?.1.to_vec(),
                4 => packet.sender = text()?,
                5 => packet.destinations.push(text()?),
                17 => packet.sender_sid = text()?,
                _ => {}
            }
        }
        Some(packet)
    }
}

fn field(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, body.len() as u64);
    out.extend_from_slice(body);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (body, rest) = bytes.split_at_checked(length)?;
        out.push((key >> 3, body));
        bytes = rest;
    }
    Some(out)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A STUN binding request (RFC 8489 §5) for `node:peer`, with an integrity attribute of our own
/// making when `integrity` is given.
pub fn stun(node: &str, peer: &str, integrity: Option<[u8; 20]>) -> Vec<u8> {
    let name = format!("{node}:{peer}");
    let mut attributes = vec![0, 6, 0, name.len() as u8];
    attributes.extend_from_slice(name.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    // PRIORITY and ICE-CONTROLLING (RFC 8445 §16.1).
    attributes.extend_from_slice(&[0, 0x24, 0, 4, 0x6e, 0, 0x1e, 0xff]);
    attributes.extend_from_slice(&[0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    if let Some(integrity) = integrity {
        attributes.extend_from_slice(&[0, 8, 0, 20]);
        attributes.extend_from_slice(&integrity);
    }
    let [high, low] = (attributes.len() as u16).to_be_bytes();
    let mut out = vec![0, 1, high, low, 0x21, 0x12, 0xa4, 0x42];
    out.extend_from_slice(&[0x77; 12]);
    out.extend_from_slice(&attributes);
    out
}

/// An RTP datagram of `len` bytes that nobody sealed.
pub fn rtp(payload_type: u8, seq: u16, ssrc: u32, len: usize) -> Vec<u8> {
    let mut out = vec![0x80, payload_type];
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.resize(len.max(12), 0x5a);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_wins() {
        let mut packet = DataPacket {
            payload: b"hello".to_vec(),
            sender: "mallory".to_owned(),
            destinations: vec!["bo".to_owned()],
            ..DataPacket::default()
        };
        let mut bytes = packet.write();
        field(&mut bytes, 4, b"al");
        packet.sender = "al".to_owned();
        assert_eq!(DataPacket::read(&bytes), Some(packet));
        assert_eq!(DataPacket::read(&bytes[..bytes.len() - 1]), None);
    }
}
