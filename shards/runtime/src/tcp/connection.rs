//! One TCP connection: where it stands, what it has begun to say, what it has not taken.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use antipode_base::ids::ShardId;
use antipode_base::limits::{
    STATS_INTERVAL, TCP_ANSWER_TIMEOUT, TCP_GREETING_TIMEOUT, TCP_SILENCE_MAX,
};
use antipode_base::stats::{TcpEnding, TcpStats};

use super::framing::{Deframer, TooLong};
use super::queue::{Queue, WRITE_SLICES};

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the first message.
    pub(crate) greeting: Duration,
    /// For the shard's first answer.
    pub(crate) answer: Duration,
    /// For either side's next word.
    pub(crate) silence: Duration,
    /// How often that is looked at.
    pub(crate) look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            greeting: TCP_GREETING_TIMEOUT,
            answer: TCP_ANSWER_TIMEOUT,
            silence: TCP_SILENCE_MAX,
            look: STATS_INTERVAL,
        }
    }
}

impl From<TooLong> for TcpEnding {
    fn from(_: TooLong) -> Self {
        TcpEnding::TooLong
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Ours, as the client knows it.
    pub(crate) local: SocketAddr,
    /// Named by the first message, for good.
    pub(crate) shard: Option<ShardId>,
    pub(crate) queue: Queue,
    /// Whether the kernel is asked to say when it takes more.
    pub(crate) waits_to_write: bool,
    deframer: Deframer,
    opened: Instant,
    /// When the last whole message came.
    heard: Instant,
    /// When the kernel last took something of an answer.
    answered: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        remote: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) -> Self {
        Connection {
            stream,
            remote,
            local,
            shard: None,
            queue: Queue::default(),
            waits_to_write: false,
            deframer: Deframer::default(),
            opened: now,
            heard: now,
            answered: None,
        }
    }

    /// Why the connection is to be closed at `now` though nothing happened.
    pub(crate) fn overdue(&self, patience: &Patience, now: Instant) -> Option<TcpEnding> {
        let (until, ending) = match (self.shard, self.answered) {
            (None, _) => (self.opened + patience.greeting, TcpEnding::NoGreeting),
            (Some(_), None) => (self.opened + patience.answer, TcpEnding::Unanswered),
            (Some(_), Some(answered)) => {
                (self.heard.min(answered) + patience.silence, TcpEnding::Silent)
            }
        };
        (now >= until).then_some(ending)
    }

    /// Reads once and hands on whole messages; `shard_of` finds the shard in the first one.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        stats: &mut TcpStats,
        shard_of: impl Fn(&[u8]) -> Option<ShardId>,
        mut give: impl FnMut(ShardId, &[u8]),
    ) -> Result<(), TcpEnding> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(TcpEnding::ByPeer),
            Ok(count) => count,
            Err(error) if is_for_later(&error) => return Ok(()),
            Err(_) => return Err(TcpEnding::ByPeer),
        };
        stats.bytes_in += count as u64;
        self.deframer.feed(&buffer[..count], |message| {
            let shard = match self.shard {
                Some(shard) => shard,
                None => *self.shard.insert(shard_of(message).ok_or(TcpEnding::NotOurs)?),
            };
            self.heard = now;
            stats.messages_in += 1;
            give(shard, message);
            Ok(())
        })
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(crate) fn write(&mut self, now: Instant, stats: &mut TcpStats) -> Result<(), TcpEnding> {
        stats.dropped_late += self.queue.drop_late(now);
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = self.queue.slices(&mut slices);
            match self.stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(TcpEnding::ByPeer),
                Ok(taken) => {
                    stats.bytes_out += taken as u64;
                    stats.messages_out += self.queue.took(taken);
                    self.answered = Some(now);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(TcpEnding::ByPeer),
            }
        }
        Ok(())
    }
}

/// Whether an operation may do better another time; the poller says when.
fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn patience_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let stream = TcpStream::connect(at).unwrap();
        let start = Instant::now();
        let s = Duration::from_secs;
        let patience = Patience::default();
        let mut connection = Connection::new(stream, at, at, start);
        let shard = Some(ShardId(0));
        let silence = TCP_SILENCE_MAX.as_secs();
        for (named, heard, answered, until, want) in [
            (None, 0, None, 5, TcpEnding::NoGreeting),
            (shard, 4, None, 10, TcpEnding::Unanswered),
            (shard, 9, None, 10, TcpEnding::Unanswered),
            (shard, 40, Some(7), 7 + silence, TcpEnding::Silent),
            (shard, 3, Some(20), 3 + silence, TcpEnding::Silent),
        ] {
            connection.shard = named;
            connection.heard = start + s(heard);
            connection.answered = answered.map(|at| start + s(at));
            let before = start + s(until) - Duration::from_millis(1);
            assert_eq!(connection.overdue(&patience, before), None, "{want:?}");
            assert_eq!(connection.overdue(&patience, start + s(until)), Some(want));
        }
    }
}
