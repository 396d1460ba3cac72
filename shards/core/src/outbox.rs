//! What a shard has sealed and the runtime has not taken yet, and what that is written into.
//!
//! All of it is the shard's: were it each viewer's own, every viewer's first packet of a turn would find it
//! out of the core's caches.

use std::collections::VecDeque;

use antipode_base::limits::{DATAGRAM_MAX, OUTBOX_MAX, SPARE_BUFFERS_MAX};
use antipode_base::near;
use antipode_base::verdict::DropReason;

use crate::io::Transmit;
use crate::payload::dependency::DESCRIPTOR_MAX;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Transmit>,
    /// Buffers of datagrams that left, the last one first: it is still in the core's cache.
    spare: Vec<Vec<u8>>,
    /// The packet that is sealed next.
    pub(crate) draft: Draft,
}

/// Parts of one packet before it is sealed, with whatever is in them.
#[derive(Debug)]
pub(crate) struct Draft {
    /// RTP header with its extensions.
    pub(crate) header: Vec<u8>,
    /// The payload, where it is not as it came.
    pub(crate) payload: Vec<u8>,
    /// The dependency descriptor.
    pub(crate) described: [u8; DESCRIPTOR_MAX],
}

impl Default for Draft {
    fn default() -> Self {
        Draft { header: Vec::new(), payload: Vec::new(), described: [0; DESCRIPTOR_MAX] }
    }
}

impl Outbox {
    /// Puts a datagram at the end.
    pub(crate) fn push(&mut self, transmit: Transmit) -> Result<(), DropReason> {
        if self.queue.len() >= OUTBOX_MAX {
            return Err(DropReason::OutboxFull);
        }
        self.queue.push_back(transmit);
        Ok(())
    }

    /// The first datagram.
    pub(crate) fn pop(&mut self) -> Option<Transmit> {
        let first = self.queue.pop_front();
        if first.is_none() {
            // It begins anew at its beginning, which is still in the core's cache.
            self.queue.clear();
        }
        first
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// A buffer with whatever is in it, which holds a datagram of media without growing.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(DATAGRAM_MAX));
        if let Some(next) = self.spare.last() {
            near::fetch(&next[..]);
        }
        buffer
    }

    /// Keeps a buffer of ours unless there are enough.
    pub(crate) fn take_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() == DATAGRAM_MAX {
            self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Transport;

    #[test]
    fn a_full_one_takes_nothing_and_buffers_come_back_up_to_a_limit() {
        let mut outbox = Outbox::default();
        let address = "127.0.0.1:9".parse().unwrap();
        let push = |outbox: &mut Outbox| {
            let bytes = outbox.buffer();
            assert_eq!(bytes.capacity(), DATAGRAM_MAX);
            let (transport, local, destination) = (Transport::Udp, address, address);
            outbox.push(Transmit { transport, local, destination, bytes })
        };
        for _ in 0..OUTBOX_MAX {
            push(&mut outbox).unwrap();
        }
        assert_eq!(push(&mut outbox), Err(DropReason::OutboxFull));
        let mut left = 0;
        while let Some(transmit) = outbox.pop() {
            left += 1;
            outbox.take_back(transmit.bytes);
        }
        assert_eq!((left, outbox.spare.len()), (OUTBOX_MAX, SPARE_BUFFERS_MAX));
        outbox.take_back(Vec::new());
        assert_eq!(outbox.spare.len(), SPARE_BUFFERS_MAX);
        push(&mut outbox).unwrap();
    }
}
