//! Cutting what a turn sends into trains: runs of datagrams to one peer that leave in one segmented
//! send (`UDP_SEGMENT`). Pure.
//!
//! ```text
//!   to A: 1200 1200 1200 700 | to A: 1200 | to B: 90 | to B: 1200 1200
//!         `---- train -----'   `- train -'  `train-'   `-- train --'
//! ```
//!
//! The kernel cuts a train at one fixed length, so all datagrams of a train are equally long but the
//! last, which may be shorter. Order towards a peer is never changed.

use antipode_base::limits::{SEND_BATCH, TRAIN_SEGMENTS_MAX};
use antipode_core::Transmit;

/// What one message may hold: a UDP length is 16 bits and counts the headers too.
const TRAIN_BYTES_MAX: usize = 65_535 - 40 - 8;

/// A run of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Train {
    /// Place of its first datagram in the queue.
    pub(crate) first: usize,
    /// How many; at least 1.
    pub(crate) datagrams: usize,
    /// Length of each but the last.
    pub(crate) segment: u16,
    /// Bytes of all.
    pub(crate) bytes: usize,
}

/// Cuts the head of a queue into at most [`SEND_BATCH`] trains. The first `singles` datagrams leave
/// one by one, as after a train of them was refused.
pub(crate) fn cut<'a>(
    queue: impl Iterator<Item = &'a Transmit>,
    singles: usize,
    trains: &mut Vec<Train>,
) {
    trains.clear();
    let mut head: Option<&Transmit> = None;
    for (place, transmit) in queue.enumerate() {
        let length = transmit.bytes.len();
        if let (Some(first), Some(train)) = (head, trains.last_mut())
            && train.first >= singles
            && may_join(train, first, transmit)
        {
            train.datagrams += 1;
            train.bytes += length;
            if length < usize::from(train.segment) {
                head = None;
            }
            continue;
        }
        if trains.len() == SEND_BATCH {
            return;
        }
        // A length above 16 bits cannot be sent at all; the kernel says so and the drop is counted.
        let segment = u16::try_from(length).unwrap_or(u16::MAX);
        trains.push(Train { first: place, datagrams: 1, segment, bytes: length });
        // An empty datagram has no segment length: nothing joins it.
        head = (length > 0).then_some(transmit);
    }
}

fn may_join(train: &Train, first: &Transmit, next: &Transmit) -> bool {
    let length = next.bytes.len();
    (1..=usize::from(train.segment)).contains(&length)
        && next.destination == first.destination
        && next.local == first.local
        && train.datagrams < TRAIN_SEGMENTS_MAX
        && train.bytes + length <= TRAIN_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn transmit(to: u16, local: u16, length: usize) -> Transmit {
        let address = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        Transmit {
            transport: antipode_core::Transport::Udp,
            local: address(local),
            destination: address(to),
            bytes: vec![0; length],
        }
    }

    /// (destination, local, length) of each datagram → datagrams of each train.
    type Row = (&'static str, Vec<(u16, u16, usize)>, usize, Vec<usize>);

    #[test]
    fn cuts_runs_of_one_peer_and_one_length() {
        let rows: Vec<Row> = vec![
            ("nothing", vec![], 0, vec![]),
            ("one", vec![(1, 9, 100)], 0, vec![1]),
            ("equal", vec![(1, 9, 100); 3], 0, vec![3]),
            ("last shorter", vec![(1, 9, 100), (1, 9, 100), (1, 9, 40)], 0, vec![3]),
            ("shorter ends it", vec![(1, 9, 100), (1, 9, 40), (1, 9, 40)], 0, vec![2, 1]),
            ("longer starts anew", vec![(1, 9, 40), (1, 9, 100)], 0, vec![1, 1]),
            ("another peer", vec![(1, 9, 100), (2, 9, 100), (1, 9, 100)], 0, vec![1, 1, 1]),
            ("another local", vec![(1, 9, 100), (1, 8, 100)], 0, vec![1, 1]),
            ("empty stays alone", vec![(1, 9, 100), (1, 9, 0), (1, 9, 100)], 0, vec![1, 1, 1]),
            ("too many", vec![(1, 9, 10); TRAIN_SEGMENTS_MAX + 2], 0, vec![TRAIN_SEGMENTS_MAX, 2]),
            ("too long", vec![(1, 9, 2_000); 35], 0, vec![32, 3]),
            ("refused before", vec![(1, 9, 100); 5], 2, vec![1, 1, 3]),
            ("no segmentation", vec![(1, 9, 100); 3], usize::MAX, vec![1, 1, 1]),
        ];
        for (name, datagrams, singles, want) in rows {
            let queue: Vec<_> =
                datagrams.iter().map(|(to, by, n)| transmit(*to, *by, *n)).collect();
            let mut trains = Vec::new();
            cut(queue.iter(), singles, &mut trains);
            assert_eq!(trains.iter().map(|t| t.datagrams).collect::<Vec<_>>(), want, "{name}");
            let mut place = 0;
            for train in &trains {
                assert_eq!(train.first, place, "{name}: trains follow one another");
                let run = &queue[place..place + train.datagrams];
                assert_eq!(train.bytes, run.iter().map(|t| t.bytes.len()).sum::<usize>(), "{name}");
                assert_eq!(usize::from(train.segment), run[0].bytes.len(), "{name}");
                place += train.datagrams;
            }
        }
    }

    #[test]
    fn stops_at_a_full_batch() {
        let queue: Vec<_> = (0..SEND_BATCH as u16 + 5).map(|to| transmit(to, 9, 50)).collect();
        let mut trains = Vec::new();
        cut(queue.iter(), 0, &mut trains);
        assert_eq!(trains.len(), SEND_BATCH);
    }
}
