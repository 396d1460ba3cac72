//! The clients of a run: each a task, with a line to tell it to leave.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use antipode_base::limits::BENCH_STEP_TIMEOUT;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::BenchError;
use crate::report::Report;
use crate::signal::{self, Member, Progress, Stage, told};
use crate::sink::tally::Latency;

/// Errors that a report repeats.
const ERRORS_SHOWN: usize = 5;
/// Pieces of progress that wait to be read; a client waits when it is full.
const PROGRESS: usize = 1_024;
/// How long clients get to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub struct Company {
    /// What they share.
    pub stage: Arc<Stage>,
    /// Becomes true at Ctrl-C.
    pub interrupted: watch::Receiver<bool>,
    /// The first client's failure that was seen and not yet taken.
    pub first_error: Option<BenchError>,
    progress_tx: mpsc::Sender<Progress>,
    progress: mpsc::Receiver<Progress>,
    /// Lines to all that were told to come, the oldest first.
    lines: VecDeque<watch::Sender<bool>>,
    /// Of those, that stay to the end: the oldest.
    keep: usize,
    started: u64,
    connected: u64,
    failed: u64,
    failed_standing: u64,
    /// Lost the server and are not back; and how often one came back.
    away: u64,
    returned: u64,
    left: u64,
    errors: Vec<String>,
    joins: Latency,
    first_media: Latency,
}

impl Company {
    /// Nobody yet.
    pub fn new(stage: Arc<Stage>, interrupted: watch::Receiver<bool>) -> Self {
        let (progress_tx, progress) = mpsc::channel(PROGRESS);
        Company {
            stage,
            interrupted,
            first_error: None,
            progress_tx,
            progress,
            lines: VecDeque::new(),
            keep: 0,
            started: 0,
            connected: 0,
            failed: 0,
            failed_standing: 0,
            away: 0,
            returned: 0,
            left: 0,
            errors: Vec::new(),
            joins: Latency::new(),
            first_media: Latency::new(),
        }
    }

    /// How many stand now.
    pub fn stands(&self) -> u64 {
        self.connected.saturating_sub(self.left + self.failed_standing + self.away)
    }

    /// Lets `members` join, so many a second, and waits until each stands or has failed.
    ///
    /// # Errors
    /// Interrupted before all had begun.
    pub async fn join(
        &mut self,
        members: Vec<Member>,
        per_second: f64,
        label: &str,
    ) -> Result<(), BenchError> {
        let bar = bar(members.len() as u64, label);
        let want = self.connected + self.failed + members.len() as u64;
        let before = self.connected + self.failed;
        let mut next = Instant::now();
        for member in members {
            while Instant::now() < next {
                self.hear_until(next).await;
            }
            if *self.interrupted.borrow() {
                return Err(BenchError::Verdict("interrupted while clients joined".into()));
            }
            next += Duration::from_secs_f64(1.0 / per_second);
            self.begin(member);
            bar.set_position(self.connected + self.failed - before);
        }
        let deadline = Instant::now() + BENCH_STEP_TIMEOUT + Duration::from_secs(1);
        while self.connected + self.failed < want && Instant::now() < deadline {
            if *self.interrupted.borrow() {
                break;
            }
            self.hear_until((Instant::now() + Duration::from_millis(200)).min(deadline)).await;
            bar.set_position(self.connected + self.failed - before);
        }
        bar.finish_and_clear();
        self.keep = self.lines.len();
        Ok(())
    }

    /// Starts one client.
    pub fn begin(&mut self, member: Member) {
        let (line, stop) = watch::channel(false);
        self.lines.push_back(line);
        self.started += 1;
        let progress = self.progress_tx.clone();
        tokio::spawn(signal::attend(Arc::clone(&self.stage), member, progress, stop));
    }

    /// Tells the oldest that came after the last [`Company::join`] to leave.
    pub fn dismiss_oldest_guest(&mut self) {
        if let Some(line) = self.lines.remove(self.keep) {
            line.send_replace(true);
        }
    }

    /// Guests that came after the last [`Company::join`] and were not told to leave.
    pub fn guests(&self) -> usize {
        self.lines.len().saturating_sub(self.keep)
    }

    /// Takes what clients tell until a time.
    pub async fn hear_until(&mut self, until: Instant) {
        loop {
            let progress = tokio::select! {
                // The sender is ours: there is always another.
                progress = self.progress.recv() => progress,
                () = sleep_until(until) => return,
                () = told(&mut self.interrupted) => return,
            };
            progress.into_iter().for_each(|progress| self.hear(progress));
        }
    }

    fn hear(&mut self, progress: Progress) {
        match progress {
            Progress::Connected(took) => {
                self.connected += 1;
                self.joins.record(took.as_nanos() as u64);
            }
            Progress::FirstMedia(took) => self.first_media.record(took.as_nanos() as u64),
            Progress::Failed { identity, error, stood } => {
                if stood {
                    self.failed_standing += 1;
                } else {
                    self.failed += 1;
                }
                if self.errors.len() < ERRORS_SHOWN {
                    self.errors.push(format!("{identity}: {error}"));
                }
                self.first_error.get_or_insert(error);
            }
            Progress::Away => self.away += 1,
            Progress::Back => {
                self.away = self.away.saturating_sub(1);
                self.returned += 1;
            }
            Progress::Left => self.left += 1,
        }
    }

    /// Those that lost the server and are not back.
    pub fn away(&self) -> u64 {
        self.away
    }

    /// Lets everything run for a while.
    pub async fn settle(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !*self.interrupted.borrow() {
            self.hear_until(until).await;
        }
    }

    /// Everybody leaves.
    pub async fn leave(&mut self) {
        let standing = self.stands();
        let want = self.left + standing;
        for line in self.lines.drain(..) {
            line.send_replace(true);
        }
        let farewell = async {
            while self.left + self.failed_standing < want
                && let Some(progress) = self.progress.recv().await
            {
                // Who leaves is no failure, however it ends.
                if matches!(progress, Progress::Left | Progress::Failed { .. }) {
                    self.left += 1;
                }
            }
        };
        // A server that does not answer any more keeps nobody here.
        let _ = timeout(FAREWELL, farewell).await;
    }

    /// Tells the report who came.
    pub fn fill(&self, report: &mut Report) {
        report.started = self.started;
        report.connected = self.connected;
        report.failed = self.failed;
        report.dropped = self.failed_standing;
        report.returned = self.returned;
        report.errors.clone_from(&self.errors);
        report.joins = self.joins.to_text();
        report.first_media = self.first_media.to_text();
        report.interrupted = *self.interrupted.borrow();
    }
}

/// Progress on a terminal, nothing elsewhere.
pub(crate) fn bar(length: u64, label: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let style = ProgressStyle::with_template("{prefix:>20} [{bar:30}] {pos}/{len} {msg}");
    bar.set_style(style.expect("the template is a constant that parses"));
    bar.set_prefix(label.to_owned());
    bar
}
