//! The control thread: commands from signaling to the shards, notices back, and the memos.
//!
//! ```text
//!   signaling ──frames── Line ──> commands ──bounded channel──> shard 0 … n   (bell of the shard)
//!                          ^                                       │
//!                          └── notices, stats <──bounded channel───┘          (bell of this thread)
//! ```
//!
//! The node dials, and dials again for ever. While signaling is away media flows on; notices are
//! dropped, since the snapshot after the next greeting says what is left. A shard that does not take
//! its commands makes this thread stop reading, so that signaling waits; nothing is lost.

mod line;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use antipode_base::command::Command;
use antipode_base::control::{Memo, ToNode, ToSignal, VERSION, check_memo};
use antipode_base::ids::{NodeId, SessionId, ShardId};
use antipode_base::limits::{
    CONTROL_CHANNEL_MAX, CONTROL_FRAME_MAX, CONTROL_GREETING_TIMEOUT, CONTROL_REDIAL_MAX,
    CONTROL_REDIAL_MIN,
};
use antipode_base::notice::{EndReason, Notice};
use antipode_base::stats::{ReadProcess, TcpStats};
use antipode_relay::doorbell::{Doorbell, Wake};
use aws_lc_rs::hmac;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::line::{Line, LineError, Stream};
use crate::config::ControlAddress;
use crate::memos::Memos;
use crate::report::Report;
use crate::wake::{EventBell, StopToken};

/// How soon a command that found its shard's channel full is offered again.
const COMMAND_RETRY: Duration = Duration::from_millis(2);
/// Room of one snapshot frame for memos; the rest of the frame is its own words.
const SNAPSHOT_BYTES: usize = CONTROL_FRAME_MAX - 1_024;
/// Bytes of a memo beside its sessions and its content.
const MEMO_OVERHEAD: usize = 64;

/// One shard, seen from here.
pub(crate) struct ShardLink {
    pub(crate) commands: Sender<Command>,
    pub(crate) reports: Receiver<Report>,
    pub(crate) bell: Arc<Doorbell>,
}

/// What the hello says.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) media: Vec<SocketAddr>,
    pub(crate) secret: Vec<u8>,
}

/// Where the conversation stands.
enum State {
    /// The next dial is at that time.
    Away(Instant),
    /// A short-lived thread dials and will say what came of it.
    Dialling(Receiver<io::Result<Stream>>),
    /// Connected; the challenge must come before that time.
    Greeting(Line, Instant),
    /// The hello is sent. `accepted`: signaling has said something since, or has at least not hung
    /// up until that time.
    Talking { line: Line, accepted: bool, until: Instant },
}

/// See the module's documentation.
pub(crate) struct Control {
    address: ControlAddress,
    identity: Identity,
    links: Vec<ShardLink>,
    /// Rung by shards and by the dialling thread.
    bell: Arc<Doorbell>,
    rung: EventBell,
    memos: Memos,
    state: State,
    pause: Duration,
    /// A command that its shard had no room for. Nothing is read before it is delivered.
    held: Option<(ShardId, Command)>,
    failures: u32,
    /// Counters of the TCP thread, if there is one.
    tcp: Option<Receiver<TcpStats>>,
    /// Reads the process's figures.
    process: Option<ReadProcess>,
}

impl Control {
    /// `bell` must ring `rung`.
    pub(crate) fn new(
        address: ControlAddress,
        identity: Identity,
        links: Vec<ShardLink>,
        bell: Arc<Doorbell>,
        rung: EventBell,
    ) -> Self {
        Control {
            address,
            identity,
            links,
            bell,
            rung,
            memos: Memos::default(),
            state: State::Away(Instant::now()),
            pause: CONTROL_REDIAL_MIN,
            held: None,
            failures: 0,
            tcp: None,
            process: None,
        }
    }

    /// Passes on the counters that come there.
    pub(crate) fn with_tcp(self, tcp: Option<Receiver<TcpStats>>) -> Self {
        Control { tcp, ..self }
    }

    /// Tells the process's figures as often as those of the shards.
    pub(crate) fn with_process(self, process: Option<ReadProcess>) -> Self {
        Control { process, ..self }
    }

    /// Runs until the token says stop.
    pub(crate) fn run(&mut self, stop: &StopToken, stopped: &EventBell) -> io::Result<()> {
        while !stop.is_stopped() {
            let now = Instant::now();
            self.take_reports();
            self.converse(now);
            self.bell.say_sleeping();
            if self.links.iter().all(|link| link.reports.is_empty()) {
                self.wait(now, stopped)?;
            }
            self.bell.say_awake();
        }
        Ok(())
    }

    /// Until a bell rings, the line has something, or something is due.
    fn wait(&self, now: Instant, stopped: &EventBell) -> io::Result<()> {
        let mut fds =
            vec![PollFd::new(&self.rung, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if let State::Greeting(line, _) | State::Talking { line, .. } = &self.state {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.held.is_none());
            flags.set(PollFlags::OUT, line.wants_to_write());
            fds.push(PollFd::from_borrowed_fd(line.as_fd(), flags));
        }
        let due = match &self.state {
            State::Away(at) | State::Greeting(_, at) => Some(*at),
            State::Dialling(_) => None,
            State::Talking { .. } if self.held.is_some() => Some(now + COMMAND_RETRY),
            State::Talking { accepted, until, .. } => (!accepted).then_some(*until),
        };
        let timeout = due.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            self.rung.hear();
        }
        Ok(())
    }

    /// Empties the shards' channels: keeps the memos true and passes on the rest.
    fn take_reports(&mut self) {
        for index in 0..self.links.len() {
            let shard = ShardId(index as u16);
            for _ in 0..CONTROL_CHANNEL_MAX {
                let Ok(report) = self.links[index].reports.try_recv() else { break };
                let message = match report {
                    Report::Notice(notice) => {
                        if let Notice::SessionEnded { session, .. } = &notice {
                            self.memos.session_ended(*session);
                        }
                        ToSignal::Notice { shard, notice }
                    }
                    Report::Stats(stats) => ToSignal::Stats { shard, stats },
                };
                self.tell(&message);
                // The first shard's figures keep the time for those of the whole process.
                if let (0, ToSignal::Stats { .. }, Some(read)) = (index, &message, self.process) {
                    self.tell(&ToSignal::ProcessStats(read()));
                }
            }
        }
        if let Some(stats) = self.tcp.as_ref().and_then(|tcp| tcp.try_recv().ok()) {
            self.tell(&ToSignal::TcpStats(Box::new(stats)));
        }
    }

    /// To signaling, if it is there.
    fn tell(&mut self, message: &ToSignal) {
        let State::Talking { line, .. } = &mut self.state else { return };
        match line.push(message) {
            Ok(()) => {}
            Err(LineError::Frame(error)) => tracing::error!(%error, "a notice was not sent"),
            Err(error) => self.hang_up(&error),
        }
    }

    /// One step of the conversation, whatever it is the time for.
    fn converse(&mut self, now: Instant) {
        match &mut self.state {
            State::Away(at) if now >= *at => self.dial(),
            State::Away(_) => {}
            State::Dialling(result) => match result.try_recv() {
                Ok(Ok(stream)) => {
                    self.state = State::Greeting(Line::new(stream), now + CONTROL_GREETING_TIMEOUT);
                    self.greet(now);
                }
                Ok(Err(error)) => self.hang_up(&error.into()),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.hang_up(&io::Error::other("the dialling thread is gone").into());
                }
            },
            State::Greeting(..) => self.greet(now),
            State::Talking { .. } => self.talk(now),
        }
    }

    /// Looks up names and connects on a thread of its own: both may take seconds, and the shards'
    /// channels must not fill up in the meantime.
    fn dial(&mut self) {
        let (tx, rx) = crossbeam_channel::bounded(1);
        let (address, rung) = (self.address.clone(), self.rung.clone());
        let dialler = thread::Builder::new().name("antipode-dial".into()).spawn(move || {
            // Nobody listens any more when the node has stopped.
            let _ = tx.send(Stream::dial(&address, CONTROL_GREETING_TIMEOUT));
            rung.wake();
        });
        match dialler {
            Ok(_) => self.state = State::Dialling(rx),
            Err(error) => self.hang_up(&error.into()),
        }
    }

    /// Ends a conversation, if there was one, and dials again after a pause that grows until
    /// signaling is heard.
    fn hang_up(&mut self, error: &LineError) {
        self.failures += 1;
        match &self.state {
            State::Talking { accepted: true, .. } => {
                tracing::warn!(address = %self.address, %error, "signaling is gone; media goes on");
            }
            State::Talking { accepted: false, .. } => tracing::error!(
                address = %self.address, %error,
                "signaling did not accept this node: is control.secret the same on both sides?"
            ),
            _ if self.failures == 1 => {
                tracing::warn!(address = %self.address, %error, "no signaling yet; dialling on");
            }
            _ => tracing::debug!(address = %self.address, %error, "no signaling yet"),
        }
        self.held = None;
        self.state = State::Away(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(CONTROL_REDIAL_MAX);
    }

    /// Waits for the challenge and answers it.
    fn greet(&mut self, now: Instant) {
        let State::Greeting(line, until) = &mut self.state else { return };
        let until = *until;
        let read = line.read();
        let challenge = line.next();
        match (challenge, read) {
            (Ok(Some(ToNode::Challenge { version: VERSION, nonce })), _) => {
                self.answer(&nonce, now)
            }
            (Ok(Some(ToNode::Challenge { version, .. })), _) => {
                tracing::error!(
                    signaling = version,
                    node = VERSION,
                    "signaling speaks another version: run node and signaling of one release"
                );
                self.hang_up(&LineError::Closed);
            }
            (Ok(Some(_)), _) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, "no challenge at first");
                self.hang_up(&error.into());
            }
            (Err(error), _) | (Ok(None), Err(error)) => self.hang_up(&error),
            (Ok(None), Ok(())) if now >= until => {
                self.hang_up(&io::Error::from(io::ErrorKind::TimedOut).into());
            }
            (Ok(None), Ok(())) => {}
        }
    }

    /// Hello and snapshot.
    fn answer(&mut self, nonce: &[u8; 32], now: Instant) {
        let hello = ToSignal::Hello {
            version: VERSION,
            proof: prove(&self.identity.secret, nonce),
            node: self.identity.node,
            shards: self.links.len() as u16,
            media: self.identity.media.clone(),
        };
        let away = State::Away(Instant::now());
        let State::Greeting(line, _) = std::mem::replace(&mut self.state, away) else { return };
        let until = now + CONTROL_REDIAL_MAX;
        self.state = State::Talking { line, accepted: false, until };
        self.tell(&hello);
        let mut frames = snapshots(self.memos.iter()).into_iter().peekable();
        while let Some(members) = frames.next() {
            self.tell(&ToSignal::Snapshot { members, last: frames.peek().is_none() });
        }
        self.talk(now);
    }

    /// Reads and obeys, then writes.
    fn talk(&mut self, now: Instant) {
        let held = self.held.take();
        if let Some((shard, command)) = held {
            self.command(shard, command);
        }
        let State::Talking { line, until, .. } = &mut self.state else { return };
        let quiet = now >= *until;
        // While a command is held, signaling is to wait.
        let read = if self.held.is_none() { line.read() } else { Ok(()) };
        let failure = self.obey().err().or(read.err());
        let State::Talking { line, .. } = &mut self.state else { return };
        if let Some(error) = failure.or_else(|| line.write().err()) {
            self.hang_up(&error);
        } else if quiet {
            self.accept();
        }
    }

    /// The other side has taken the hello.
    fn accept(&mut self) {
        let State::Talking { accepted, .. } = &mut self.state else { return };
        if !std::mem::replace(accepted, true) {
            self.failures = 0;
            self.pause = CONTROL_REDIAL_MIN;
            tracing::info!(address = %self.address, "signaling is connected");
        }
    }

    /// What signaling said so far, unless a shard must be waited for.
    fn obey(&mut self) -> Result<(), LineError> {
        while self.held.is_none() {
            let State::Talking { line, .. } = &mut self.state else { return Ok(()) };
            let Some(message) = line.next()? else { return Ok(()) };
            self.accept();
            match message {
                ToNode::Command { shard, command } => self.command(shard, command),
                ToNode::Memo(memo) => self.remember(memo),
                ToNode::Challenge { .. } => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "a second challenge");
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, shard: ShardId, command: Command) {
        let Some(link) = self.links.get(shard.index()) else {
            tracing::error!(%shard, "a command for a shard that this node does not have");
            if let Command::OpenSession(open) = command {
                self.refuse(shard, open.session);
            }
            return;
        };
        match link.commands.try_send(command) {
            Ok(()) => link.bell.ring_if_sleeping(),
            Err(TrySendError::Full(command)) => {
                link.bell.ring_if_sleeping();
                self.held = Some((shard, command));
            }
            // The shard's thread is gone, and the node is about to follow.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    fn refuse(&mut self, shard: ShardId, session: SessionId) {
        let notice = Notice::SessionEnded { session, reason: EndReason::Refused };
        self.tell(&ToSignal::Notice { shard, notice });
    }

    fn remember(&mut self, memo: Memo) {
        let member = memo.member;
        if let Err(error) = check_memo(&memo) {
            tracing::error!(%member, %error, "a memo was not kept");
        } else if !self.memos.remember(memo) {
            tracing::error!(%member, "a memo was not kept: there are too many");
        }
    }
}

/// HMAC-SHA-256 of the nonce under the shared secret.
pub(crate) fn prove(secret: &[u8], nonce: &[u8; 32]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, nonce);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Memos by the frame: one, unless there is more than a frame holds. At least one, since an empty
/// snapshot says that nothing is left.
fn snapshots<'a>(memos: impl Iterator<Item = &'a Memo>) -> Vec<Vec<Memo>> {
    let mut frames = vec![Vec::new()];
    let mut room = SNAPSHOT_BYTES;
    for memo in memos {
        let size = MEMO_OVERHEAD + memo.sessions.len() * size_of::<u64>() + memo.bytes.len();
        if size > room {
            frames.push(Vec::new());
            room = SNAPSHOT_BYTES;
        }
        room = room.saturating_sub(size);
        if let Some(frame) = frames.last_mut() {
            frame.push(memo.clone());
        }
    }
    frames
}
