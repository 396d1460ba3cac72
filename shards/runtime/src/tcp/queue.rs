//! What one client has not taken yet: whole messages, few and young.
//!
//! A TCP connection that is slower than its media cannot lose packets by itself, it only gets later
//! and later. So what has waited for too long is dropped here, message by message, never in the
//! middle of one: the stream has to stay readable.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use antipode_base::limits::{TCP_QUEUE_AGE_MAX, TCP_QUEUE_MAX};

use super::framing::{self, HEADER};

/// Messages of one write; each is two slices.
const WRITE_MESSAGES: usize = 32;
/// Slices of one write.
pub(crate) const WRITE_SLICES: usize = 2 * WRITE_MESSAGES;

#[derive(Debug)]
struct Message {
    since: Instant,
    header: [u8; HEADER],
    bytes: Vec<u8>,
}

impl Message {
    fn len(&self) -> usize {
        HEADER + self.bytes.len()
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Message>,
    /// Of all messages with their headers, also of what is sent of the first one.
    bytes: usize,
    /// How much of the first message the kernel has taken; less than all of it.
    sent: usize,
}

impl Queue {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a message at the end. `false`: it is too long, or there is no room for it.
    pub(crate) fn push(&mut self, bytes: Vec<u8>, now: Instant) -> bool {
        let Some(header) = framing::header(bytes.len()) else { return false };
        let message = Message { since: now, header, bytes };
        if self.bytes + message.len() > TCP_QUEUE_MAX {
            return false;
        }
        self.bytes += message.len();
        self.messages.push_back(message);
        true
    }

    /// Drops what has waited for longer than [`TCP_QUEUE_AGE_MAX`]. Returns how many messages.
    pub(crate) fn drop_late(&mut self, now: Instant) -> u64 {
        // The rest of a message that is begun has to follow.
        let first = usize::from(self.sent > 0);
        let mut dropped = 0;
        while let Some(message) = self.messages.get(first)
            && now.saturating_duration_since(message.since) > TCP_QUEUE_AGE_MAX
        {
            self.bytes -= message.len();
            self.messages.remove(first);
            dropped += 1;
        }
        dropped
    }

    /// What to write next. Returns how many slices were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; WRITE_SLICES]) -> usize {
        let mut skip = self.sent;
        let mut count = 0;
        for message in self.messages.iter().take(WRITE_MESSAGES) {
            for part in [&message.header[..], &message.bytes] {
                let part = &part[skip.min(part.len())..];
                skip = skip.saturating_sub(HEADER);
                if !part.is_empty() {
                    slices[count] = IoSlice::new(part);
                    count += 1;
                }
            }
            skip = 0;
        }
        count
    }

    /// The kernel has taken so many bytes. Returns how many messages are done with it.
    pub(crate) fn took(&mut self, bytes: usize) -> u64 {
        self.sent += bytes;
        let mut done = 0;
        while let Some(first) = self.messages.front()
            && first.len() <= self.sent
        {
            self.sent -= first.len();
            self.bytes -= first.len();
            self.messages.pop_front();
            done += 1;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_base::limits::DATAGRAM_MAX;
    use std::time::Duration;

    /// What a socket that takes `most` bytes at a time sees.
    fn write_all(queue: &mut Queue, most: usize) -> (Vec<u8>, u64) {
        let (mut wire, mut done) = (Vec::new(), 0);
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = queue.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = most.min(all.len());
            assert!(taken > 0);
            wire.extend_from_slice(&all[..taken]);
            done += queue.took(taken);
        }
        assert_eq!((queue.bytes(), queue.sent), (0, 0));
        (wire, done)
    }

    #[test]
    fn golden_bytes_whatever_the_kernel_takes() {
        let now = Instant::now();
        let mut want = vec![0, 1, 9, 0, 3, 1, 2, 3];
        want.extend((0..40u8).flat_map(|n| [0, 2, n, n]));
        for most in 1..=want.len() {
            let mut queue = Queue::default();
            assert!(queue.push(vec![9], now) && queue.push(vec![1, 2, 3], now));
            for n in 0..40 {
                assert!(queue.push(vec![n, n], now));
            }
            assert_eq!(write_all(&mut queue, most), (want.clone(), 42), "{most}");
        }
    }

    #[test]
    fn a_full_queue_refuses_whole_messages() {
        let now = Instant::now();
        let mut queue = Queue::default();
        assert!(!queue.push(vec![0; DATAGRAM_MAX + 1], now));
        let mut held = 0;
        while queue.push(vec![7; 1_000], now) {
            held += 1;
        }
        assert_eq!(held, TCP_QUEUE_MAX / 1_002);
        assert!(queue.bytes() <= TCP_QUEUE_MAX);
        assert_eq!(write_all(&mut queue, 777).1, held as u64);
    }

    #[test]
    fn late_messages_go_but_a_begun_one_is_finished() {
        let start = Instant::now();
        let late = start + TCP_QUEUE_AGE_MAX + Duration::from_millis(1);
        let mut queue = Queue::default();
        for n in 0..3 {
            assert!(queue.push(vec![n; 4], start));
        }
        assert!(queue.push(vec![3; 4], late));
        assert_eq!(queue.drop_late(start + TCP_QUEUE_AGE_MAX), 0);
        assert_eq!(queue.took(3), 0);
        assert_eq!(queue.drop_late(late), 2);
        assert_eq!(write_all(&mut queue, 100), (vec![0, 0, 0, 0, 4, 3, 3, 3, 3][..].to_vec(), 2));
        assert!(queue.push(vec![8; 4], start));
        assert_eq!((queue.drop_late(late), queue.bytes()), (1, 0));
    }
}
