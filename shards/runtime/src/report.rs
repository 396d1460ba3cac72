//! What a shard tells the control thread, through a bounded channel that never blocks the shard.
//!
//! A full channel loses notices, each counted. The end of a session is never lost: everyone who
//! holds something of that session waits for it. It is kept here and offered again at every turn.

use std::collections::VecDeque;
use std::sync::Arc;

use antipode_base::limits::ENDED_SESSIONS_MAX;
use antipode_base::notice::Notice;
use antipode_base::stats::ShardStats;
use antipode_relay::doorbell::Doorbell;
use crossbeam_channel::{Sender, TrySendError};

/// One message of a shard.
#[derive(Debug)]
pub(crate) enum Report {
    /// For signaling; the end of a session concerns the node as well.
    Notice(Notice),
    /// For signaling.
    Stats(Box<ShardStats>),
}

/// A shard's end of its channel.
pub(crate) struct Reporter {
    channel: Sender<Report>,
    bell: Arc<Doorbell>,
    /// Ends that found the channel full. A session ends once, hence at most as many as there were
    /// sessions.
    ends: VecDeque<Notice>,
    touched: bool,
    dropped: u64,
}

impl Reporter {
    pub(crate) fn new(channel: Sender<Report>, bell: Arc<Doorbell>) -> Self {
        Reporter { channel, bell, ends: VecDeque::new(), touched: false, dropped: 0 }
    }

    /// Notices that were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether an end still waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.ends.is_empty()
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        let is_end = matches!(notice, Notice::SessionEnded { .. });
        if is_end && !self.ends.is_empty() {
            self.keep(notice);
            return;
        }
        match self.channel.try_send(Report::Notice(notice)) {
            Ok(()) => self.touched = true,
            Err(TrySendError::Full(Report::Notice(notice))) if is_end => self.keep(notice),
            Err(_) => self.dropped += 1,
        }
    }

    fn keep(&mut self, end: Notice) {
        if self.ends.len() == ENDED_SESSIONS_MAX {
            self.ends.pop_front();
            self.dropped += 1;
        }
        self.ends.push_back(end);
    }

    /// The next ones come in a second, so these may be lost.
    pub(crate) fn stats(&mut self, stats: ShardStats) {
        self.touched |= self.channel.try_send(Report::Stats(Box::new(stats))).is_ok();
    }

    /// Once per turn: offers again what had to wait, and wakes the control thread if it sleeps.
    pub(crate) fn flush(&mut self) {
        while let Some(end) = self.ends.pop_front() {
            match self.channel.try_send(Report::Notice(end)) {
                Ok(()) => self.touched = true,
                Err(TrySendError::Full(Report::Notice(end))) => {
                    self.ends.push_front(end);
                    break;
                }
                Err(_) => self.dropped += 1,
            }
        }
        if std::mem::take(&mut self.touched) {
            self.bell.ring_if_sleeping();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::EventBell;
    use antipode_base::ids::{SessionId, TrackId};
    use antipode_base::notice::EndReason;

    #[test]
    fn a_full_channel_loses_notices_but_no_end() {
        let (tx, rx) = crossbeam_channel::bounded(1);
        let bell = Arc::new(Doorbell::new(Box::new(EventBell::new().unwrap())));
        let mut reporter = Reporter::new(tx, bell);
        let end = |n| Notice::SessionEnded { session: SessionId(n), reason: EndReason::Closed };
        let watched = |n| Notice::TrackWatched { track: TrackId(n) };
        for n in 0..3 {
            reporter.notice(watched(n));
        }
        reporter.notice(end(1));
        reporter.notice(end(2));
        assert_eq!((reporter.dropped(), reporter.is_waiting()), (2, true));
        let mut seen = Vec::new();
        for _ in 0..3 {
            if let Ok(Report::Notice(notice)) = rx.try_recv() {
                seen.push(notice);
            }
            reporter.flush();
        }
        assert_eq!(seen, [watched(0), end(1), end(2)]);
        assert!(!reporter.is_waiting());
    }
}
