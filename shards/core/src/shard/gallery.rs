//! For the benchmarks: one camera, and so many viewers that are connected without ever having shaken hands.
//!
//! Everything between a packet and the outbox is as in a call: fan-out, sealing with a key for each viewer,
//! the notes of what was sent, and what viewers' reports lead to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::command::{Command, Grants, OpenSession, Role, Subscribe};
use antipode_base::ids::{MemberId, RoomId, SessionId, ShardId};
use antipode_base::media::Kind;
use antipode_relay::packet::Packet;
use str0m::Rtc;
use str0m::crypto::dtls::SrtpProfile;
use str0m::media::{Direction, MediaKind};

use super::{Shard, ShardConfig};
use crate::forward::{Origin, Track};
use crate::io::{Datagram, Input, Output, Transport};
use crate::srtp::{Seal, keys};

const HERE: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 1), 7_882));
/// Of the viewers' reports: who writes them, and their units of time.
const REPORTER: u32 = 7;
const TICK_US: u128 = 250;
const REFERENCE_TICKS: u128 = 256;

/// See the module's documentation.
pub struct Gallery {
    shard: Shard,
    born: Instant,
    now: Instant,
    viewers: Vec<Viewer>,
    bytes: Vec<u8>,
}

struct Viewer {
    address: SocketAddr,
    seal: Seal,
    /// Transport-wide numbers that it has reported on.
    reported: u16,
    /// Those that it got.
    got: u16,
    reports: u8,
}

impl Gallery {
    /// So many viewers of the track that `sample`, a keyframe, is of.
    pub fn new(viewers: usize, sample: &Packet) -> Self {
        let now = sample.arrival;
        let config = ShardConfig {
            shard: ShardId(0),
            shards: 1,
            candidates: vec![HERE],
            candidates_tcp: Vec::new(),
            seed: 7,
        };
        let mut gallery = Gallery {
            shard: Shard::new(config, now),
            born: now,
            now,
            viewers: Vec::new(),
            bytes: Vec::new(),
        };
        // Its publisher is on no session: packets are handed in as if one had.
        let track = Track::new(Kind::Video, Origin::Session(usize::MAX), RoomId(1));
        gallery.shard.fabric.get_or_make(sample.track, || track);
        let offer = offer(now);
        (0..viewers).for_each(|viewer| gallery.join(viewer, &offer, sample));
        gallery.pass(Duration::from_millis(100));
        gallery.picture(std::slice::from_ref(sample));
        gallery.reports();
        gallery
    }

    fn join(&mut self, viewer: usize, offer: &str, sample: &Packet) {
        let session = SessionId(viewer as u64 + 1);
        self.command(Command::OpenSession(OpenSession {
            session,
            member: MemberId(viewer as u64),
            room: RoomId(1),
            role: Role::Both,
            grants: Grants { publish: true, subscribe: true, publish_data: true },
            identity: format!("m{viewer}"),
            sid: format!("PA_{viewer}"),
            audio_top: 0,
            rsa: false,
        }));
        let key = self.shard.by_id[&session];
        let address = SocketAddr::from(([10, 1, (viewer >> 8) as u8, viewer as u8], 5_000));
        // What a handshake would have brought about.
        let mut material = vec![0; SrtpProfile::AEAD_AES_128_GCM.keying_material_len()];
        material[..8].copy_from_slice(&(viewer as u64).to_be_bytes());
        let agreed = |client| keys::Keys {
            material: material.clone(),
            profile: SrtpProfile::AEAD_AES_128_GCM,
            client,
        };
        let provider = keys::provider();
        let to_us = Datagram {
            transport: Transport::Udp,
            source: address,
            local: HERE,
            bytes: &[],
            at: self.now,
        };
        let member = &mut self.shard.sessions[key];
        member.connected = true;
        member.egress.set_keys(&provider, &agreed(false));
        member.egress.offer_path(&to_us, true);
        self.shard.demux.add_address(to_us.peer(), key);
        self.command(Command::Subscribe(Subscribe {
            session,
            track: sample.track,
            home: ShardId(0),
            kind: Kind::Video,
            stream_label: "PA".into(),
            track_label: "TR".into(),
        }));
        self.command(Command::Offer { session, id: 1, sdp: offer.to_owned() });
        let seal = Seal::new(&provider, &agreed(true)).expect("the keys are of a known profile");
        self.viewers.push(Viewer { address, seal, reported: 0, got: 0, reports: 0 });
    }

    fn command(&mut self, command: Command) {
        self.shard.handle(Input::Command(command), self.now);
        self.turn();
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        // A turn fires some of the timers that are due.
        while self.shard.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.turn();
        }
    }

    /// One turn's end. Returns how many datagrams there were.
    fn turn(&mut self) -> usize {
        self.shard.flush(self.now);
        let mut datagrams = 0;
        while let Some(output) = self.shard.poll() {
            if let Output::Transmit(transmit) = output {
                datagrams += 1;
                self.shard.reuse(transmit.bytes);
            }
        }
        datagrams
    }

    /// For whoever turns it himself.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Packets that come in now, for whoever turns it himself.
    pub fn feed(&mut self, packets: &[Packet], now: Instant) {
        self.now = now;
        for packet in packets {
            let packet = Packet { arrival: now, ..packet.clone() };
            assert!(self.shard.forward(packet), "the track is here");
        }
        self.viewers
            .iter_mut()
            .for_each(|viewer| viewer.got = viewer.got.wrapping_add(packets.len() as u16));
    }

    /// One picture in one turn. Returns how many datagrams it became.
    pub fn picture(&mut self, packets: &[Packet]) -> usize {
        self.feed(packets, self.now);
        self.turn()
    }

    /// Each viewer reports that all came, in one turn.
    pub fn reports(&mut self) {
        self.report(0..self.viewers.len());
        self.turn();
    }

    /// Some of them do, for whoever turns it himself.
    pub fn report(&mut self, viewers: std::ops::Range<usize>) {
        for viewer in self.viewers.get_mut(viewers).unwrap_or_default() {
            let count = viewer.got.wrapping_sub(viewer.reported);
            if count == 0 {
                continue;
            }
            let bytes = &mut self.bytes;
            viewer.write(count, self.now - self.born, bytes);
            let sealed = viewer.seal.rtcp(bytes);
            let datagram = Datagram {
                transport: Transport::Udp,
                source: viewer.address,
                local: HERE,
                bytes: &sealed,
                at: self.now,
            };
            self.shard.handle(Input::Datagram(datagram), self.now);
        }
    }

    /// Packets on which no viewer has reported yet.
    pub fn unreported(&self) -> usize {
        self.shard.sessions.iter().map(|(_, session)| session.egress.unreported()).sum()
    }
}

impl Viewer {
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): a run of small
    /// deltas, after `time` of pictures.
    fn write(&mut self, count: u16, time: Duration, out: &mut Vec<u8>) {
        let ticks = time.as_micros() / TICK_US;
        let [.., middle, low] = ((ticks / REFERENCE_TICKS) as u32).to_be_bytes();
        out.clear();
        out.extend_from_slice(&[0x8f, 205, 0, 0]);
        out.extend_from_slice(&REPORTER.to_be_bytes());
        out.extend_from_slice(&REPORTER.to_be_bytes());
        out.extend_from_slice(&self.reported.wrapping_add(1).to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&[0, middle, low, self.reports]);
        self.reports = self.reports.wrapping_add(1);
        out.extend_from_slice(&(1 << 13 | count).to_be_bytes());
        out.push((ticks % REFERENCE_TICKS) as u8);
        out.extend((1..count).map(|_| 1));
        out.resize(out.len().next_multiple_of(4), 0);
        let words = (out.len() / 4 - 1) as u16;
        out[2..4].copy_from_slice(&words.to_be_bytes());
        self.reported = self.reported.wrapping_add(count);
    }
}

/// One section to see pictures in.
fn offer(now: Instant) -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, _) = api.apply().expect("a section was added");
    offer.to_sdp_string()
}

/// A picture of so many packets, the last one shorter.
pub fn picture(sample: &Packet, packets: usize) -> Vec<Packet> {
    let part = |at: usize| Packet {
        ext_seq: sample.ext_seq + at as u64,
        marker: at + 1 == packets,
        payload: match at + 1 == packets {
            true => Arc::from(&sample.payload[..sample.payload.len() / 2]),
            false => sample.payload.clone(),
        },
        ..sample.clone()
    };
    (0..packets).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing;
    use antipode_base::command::Tune;

    #[test]
    fn every_viewer_gets_every_packet_and_reports() {
        let sample = Packet { keyframe: true, ..testing::packet(1, 0) };
        let mut gallery = Gallery::new(3, &sample);
        for number in 0..1_000 {
            gallery.pass(Duration::from_millis(33));
            let (ext_seq, timestamp) = (2 + 5 * u64::from(number), 3_000 * number);
            let next = Packet { ext_seq, timestamp, keyframe: false, ..sample.clone() };
            assert_eq!(gallery.picture(&picture(&next, 5)), 15, "picture {number}");
            assert!(gallery.unreported() >= 15);
            gallery.reports();
            assert_eq!(gallery.unreported(), 0, "picture {number}");
        }
    }

    /// Two packets under one number would be sealed under one nonce.
    #[test]
    fn who_begins_within_a_turn_gets_each_packet_once() {
        let sample = Packet { keyframe: true, ..testing::packet(1, 0) };
        let track = sample.track;
        let mut gallery = Gallery::new(2, &sample);
        let tune = |paused| Command::Tune {
            session: SessionId(1),
            track,
            tune: Tune { paused, ..Tune::default() },
        };
        gallery.command(tune(true));
        let keyframe = Packet { ext_seq: 2, timestamp: 3_000, ..sample.clone() };
        for packet in picture(&keyframe, 3) {
            let keyframe = packet.ext_seq == 2;
            assert!(gallery.shard.forward(Packet { keyframe, arrival: gallery.now, ..packet }));
        }
        gallery.shard.handle(Input::Command(tune(false)), gallery.now);
        let arrival = gallery.now;
        let last = Packet { ext_seq: 5, keyframe: false, marker: true, arrival, ..keyframe };
        assert!(gallery.shard.forward(last));
        gallery.shard.flush(gallery.now);
        let mut heads = Vec::new();
        while let Some(output) = gallery.shard.poll() {
            if let Output::Transmit(transmit) = output {
                heads.push((transmit.destination, transmit.bytes[..4].to_vec()));
            }
        }
        assert_eq!(heads.len(), 8, "two viewers, four packets");
        heads.sort();
        heads.dedup();
        assert_eq!(heads.len(), 8, "none twice");
    }
}
