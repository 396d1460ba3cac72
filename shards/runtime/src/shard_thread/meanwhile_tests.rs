//! What comes while a turn gives out what it has.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antipode_base::delays::{BOUNDS_US, Delays};
use antipode_base::ids::ShardId;
use antipode_base::stats::ShardStats;
use antipode_core::{Input, Output, Transmit, Transport};

use super::tests::{note, scene};
use super::{Core, ShardThread, Taken};
use crate::testing::receive;

const PICTURE: [u8; 4] = [0x80, 96, 0, 1];
const SOUND: [u8; 4] = [0x80, 111, 0, 1];
/// Packets that a picture becomes: its room is large, but not too large for the peer's socket.
const COPIES: usize = 200;
/// Behind so many of them something comes.
const AFTER: usize = 60;

/// The last of them takes so long.
const LONG: Duration = Duration::from_millis(150);

/// Gives a picture out many times, and sound once and first, as the real one does.
struct Hall {
    meanwhile: Option<Box<dyn FnOnce()>>,
    sound: VecDeque<Transmit>,
    pictures: VecDeque<Transmit>,
    given: usize,
    /// How much of the picture was given when the parcel came.
    parcel_at: Option<usize>,
    flushed: bool,
}

impl Core for Hall {
    fn handle(&mut self, input: Input<'_>, _: Instant) {
        self.flushed = false;
        let Input::Datagram(datagram) = input else {
            self.parcel_at = Some(self.given);
            return;
        };
        let transmit = |_| Transmit {
            transport: Transport::Udp,
            local: datagram.local,
            destination: datagram.source,
            bytes: datagram.bytes.to_vec(),
        };
        match datagram.bytes[1] {
            96 => self.pictures.extend((0..COPIES).map(transmit)),
            _ => self.sound.extend((0..1).map(transmit)),
        }
    }
    fn flush(&mut self, _: Instant) {
        self.flushed = true;
    }
    fn poll(&mut self) -> Option<Output> {
        if self.given == AFTER
            && let Some(meanwhile) = self.meanwhile.take()
        {
            meanwhile();
        }
        if self.given == COPIES {
            std::thread::sleep(LONG);
        }
        let next = self.sound.pop_front().or_else(|| self.pictures.pop_front());
        self.given += usize::from(next.is_some());
        next.map(Output::Transmit)
    }
    fn has_sound(&self) -> bool {
        !self.sound.is_empty()
    }
    fn reuse(&mut self, _: Vec<u8>) {}
    fn deadline(&self) -> Option<Instant> {
        assert!(self.given == 0 || self.flushed, "what came in was not flushed");
        None
    }
    fn stats(&self) -> ShardStats {
        ShardStats { packets_out: self.parcel_at.unwrap_or(0) as u64, ..ShardStats::default() }
    }
}

#[test]
fn sound_and_parcels_are_taken_in_the_midst_of_pictures() {
    let (wiring, scene) = scene();
    assert!(wiring.pictures.is_some(), "any process may attach the program of a single shard");
    let (peer, mut neighbour) = (scene.peer.try_clone().unwrap(), scene.neighbour);
    let come = move || {
        assert_eq!(peer.send(&SOUND).unwrap(), SOUND.len());
        neighbour.send(ShardId(0), note(1)).unwrap();
    };
    let mut meanwhile: Option<Box<dyn FnOnce()>> = Some(Box::new(come));
    let birth = move |_| Hall {
        meanwhile: meanwhile.take(),
        sound: VecDeque::new(),
        pictures: VecDeque::new(),
        given: 0,
        parcel_at: None,
        flushed: false,
    };
    let mut shard = ShardThread::new(wiring, Box::new(birth));
    scene.peer.send(&PICTURE).unwrap();
    let turn = shard.turn();
    assert_eq!(turn.taken, Taken { urgent: 2, pictures: 1, patient: 0 });
    let mut buffer = [0; 16];
    let kinds: Vec<u8> = (0..=COPIES)
        .map(|_| {
            receive(&scene.peer, &mut buffer);
            buffer[1]
        })
        .collect();
    let place = kinds.iter().position(|kind| *kind == 111).expect("sound went out");
    assert!((AFTER..AFTER + 70).contains(&place), "behind {place} packets of pictures");
    let stats = shard.stats();
    let parcel_at = stats.packets_out as usize;
    assert!((AFTER..AFTER + 20).contains(&parcel_at), "behind {parcel_at} packets");
    // Sound was not held for as long as the picture.
    let counts = stats.held.counts();
    let short = counts.iter().zip(BOUNDS_US).filter(|(_, bound)| *bound <= 100_000);
    let short: u64 = short.map(|(count, _)| *count).sum();
    assert_eq!((short, counts.iter().sum()), (1, 2), "{counts:?}");
}

#[test]
fn how_long_media_was_here_is_told_when_it_has_left() {
    let now = Instant::now();
    let ago = |ms| now - Duration::from_millis(ms);
    let (mut arrived, mut held) = (vec![ago(3), ago(1), ago(2)], Delays::default());
    super::note(&mut arrived, Some(ago(2)), &mut held);
    assert_eq!(
        (held.counts().iter().sum(), &arrived[..]),
        (1_u64, &[ago(1), ago(2)][..]),
        "two wait"
    );
    super::note(&mut arrived, None, &mut held);
    assert_eq!((held.counts().iter().sum(), arrived.len()), (3_u64, 0));
    assert!(held.sum_us() >= 6_000);
}
