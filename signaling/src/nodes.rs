//! The control link: where nodes dial in.
//!
//! One task per node. The node must prove that it holds the shared secret before anything of it is
//! believed, and before a frame of it may be large.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use antipode_base::control::{self, PREFIX, ToNode, ToSignal, VERSION};
use antipode_base::ids::NodeId;
use antipode_base::limits::{NODE_HELLO_TIMEOUT, NODE_MEMBERS_MAX, SHARDS_MAX};
use aws_lc_rs::hmac;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{Event, Handle, NODE_QUEUE_MAX};
use crate::config::{ControlListen, SignalError};

/// A hello is small; nobody who has not proven himself gets more of our memory.
const HELLO_MAX: usize = 64 * 1024;
/// Messages of one write.
const WRITE_BATCH: usize = 256;
/// Bytes asked of the system at once.
const READ_CHUNK: usize = 64 * 1024;

/// A bound control socket.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// [`SignalError::Listen`].
    pub(crate) async fn bind(listen: &ControlListen) -> Result<Self, SignalError> {
        match listen {
            ControlListen::Unix(path) => {
                bind_unix(path).await.map(Listener::Unix).map_err(|error| SignalError::Listen {
                    field: "control",
                    address: path.display().to_string(),
                    error,
                    mend: "stop the process that holds it, or name a path that can be written",
                })
            }
            ControlListen::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Listener::Tcp)
                .map_err(|error| SignalError::Listen {
                    field: "control",
                    address: address.to_string(),
                    error,
                    mend: "free the port, or choose another",
                }),
        }
    }
}

/// A socket's file outlives a process that was killed: it is taken away when nobody listens there.
async fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(std::io::ErrorKind::AddrInUse.into());
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if is_socket(&found) => std::fs::remove_file(path)?,
        Ok(_) => return Err(std::io::ErrorKind::AlreadyExists.into()),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // The proof of the secret guards the link; that others cannot even connect is one lock more.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn is_socket(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_socket()
}

/// Takes nodes in until `stop`.
pub(crate) async fn serve(
    listener: Listener,
    secret: Vec<u8>,
    handle: Handle,
    stop: CancellationToken,
) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let links = AtomicU64::new(1);
    let tracker = TaskTracker::new();
    loop {
        let stream: Box<dyn Stream> = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control link not accepted");
                    // Without a pause a lack of descriptors would keep this loop spinning.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let link = Link {
            number: links.fetch_add(1, Ordering::Relaxed),
            key: key.clone(),
            handle: handle.clone(),
        };
        let stop = stop.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = link.run(stream) => {}
            }
        });
    }
    tracker.close();
    tracker.wait().await;
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn accept(listener: &Listener) -> std::io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
        Listener::Tcp(listener) => {
            let stream = listener.accept().await?.0;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

/// Why a link ends.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the connection ended")]
    Ended,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Frame(#[from] control::FrameError),
    #[error("it sent something else than expected")]
    OutOfTurn,
    #[error(
        "it speaks version {0} of the control protocol, we speak {VERSION}: run equal versions"
    )]
    Version(u32),
    #[error("its proof is wrong: give node and signaling the same control secret")]
    Proof,
    #[error("it says that it has {0} shards, 1 to {SHARDS_MAX} are possible")]
    Shards(u16),
    #[error("it says that it holds more than {NODE_MEMBERS_MAX} members")]
    Members,
    #[error("it took longer than {NODE_HELLO_TIMEOUT:?} to introduce itself")]
    Slow,
}

struct Link {
    number: u64,
    key: hmac::Key,
    handle: Handle,
}

/// Frames out of a byte stream.
struct Frames<R> {
    stream: R,
    bytes: Vec<u8>,
    /// How much of `bytes` was taken already.
    taken: usize,
    length_max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    async fn next(&mut self) -> Result<ToSignal, LinkError> {
        loop {
            let rest = &self.bytes[self.taken..];
            if let Some(prefix) = rest.first_chunk::<PREFIX>() {
                let length = u32::from_le_bytes(*prefix) as usize;
                if length > self.length_max {
                    return Err(control::FrameError::TooLong(length).into());
                }
            }
            if let Some((message, used)) = control::decode(rest)? {
                self.taken += used;
                return Ok(message);
            }
            self.bytes.drain(..self.taken);
            self.taken = 0;
            self.bytes.reserve(READ_CHUNK);
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(LinkError::Ended);
            }
        }
    }
}

impl Link {
    async fn run(self, stream: Box<dyn Stream>) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut frames =
            Frames { stream: reader, bytes: Vec::new(), taken: 0, length_max: HELLO_MAX };
        let hello = tokio::time::timeout(NODE_HELLO_TIMEOUT, self.shake(&mut frames, &mut writer));
        let (node, event, mut commands) = match hello.await.unwrap_or(Err(LinkError::Slow)) {
            Ok(introduced) => introduced,
            Err(error) => return tracing::warn!(%error, "a node was not taken in"),
        };
        tracing::info!(%node, "node is here");
        if !self.handle.send(event).await {
            return;
        }
        let ended = tokio::select! {
            Err(error) = self.read(node, &mut frames) => error,
            Err(error) = write(&mut writer, &mut commands) => error,
            else => LinkError::Ended,
        };
        tracing::warn!(%node, error = %ended, "node is gone");
        self.handle.send(Event::NodeLost { node, link: self.number }).await;
    }

    /// Challenge, hello, snapshot.
    async fn shake<R, W>(
        &self,
        frames: &mut Frames<R>,
        writer: &mut W,
    ) -> Result<(NodeId, Event, mpsc::Receiver<ToNode>), LinkError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let nonce: [u8; 32] = rand::random();
        let mut out = Vec::new();
        control::encode(&ToNode::Challenge { version: VERSION, nonce }, &mut out)?;
        writer.write_all(&out).await?;
        let ToSignal::Hello { version, proof, node, shards, .. } = frames.next().await? else {
            return Err(LinkError::OutOfTurn);
        };
        if version != VERSION {
            return Err(LinkError::Version(version));
        }
        // Compares in constant time.
        hmac::verify(&self.key, &nonce, &proof).map_err(|_| LinkError::Proof)?;
        if !(1..=SHARDS_MAX).contains(&usize::from(shards)) {
            return Err(LinkError::Shards(shards));
        }
        frames.length_max = antipode_base::limits::CONTROL_FRAME_MAX;
        let mut members = Vec::new();
        loop {
            let ToSignal::Snapshot { members: more, last } = frames.next().await? else {
                return Err(LinkError::OutOfTurn);
            };
            members.extend(more);
            if members.len() > NODE_MEMBERS_MAX {
                return Err(LinkError::Members);
            }
            if last {
                break;
            }
        }
        let (commands, queue) = mpsc::channel(NODE_QUEUE_MAX);
        let event = Event::NodeUp { node, link: self.number, shards, members, commands };
        Ok((node, event, queue))
    }

    async fn read<R: AsyncRead + Unpin>(
        &self,
        node: NodeId,
        frames: &mut Frames<R>,
    ) -> Result<(), LinkError> {
        loop {
            let event = match frames.next().await? {
                ToSignal::Notice { shard, notice } => Event::Notice { node, shard, notice },
                ToSignal::Stats { shard, stats } => Event::Stats { node, shard, stats },
                ToSignal::TcpStats(stats) => Event::TcpStats { node, stats },
                ToSignal::ProcessStats(stats) => Event::ProcessStats { node, stats },
                ToSignal::Hello { .. } | ToSignal::Snapshot { .. } => {
                    return Err(LinkError::OutOfTurn);
                }
            };
            if !self.handle.send(event).await {
                return Ok(());
            }
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    commands: &mut mpsc::Receiver<ToNode>,
) -> Result<(), LinkError> {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    let mut out = Vec::new();
    loop {
        if commands.recv_many(&mut batch, WRITE_BATCH).await == 0 {
            return Err(LinkError::Ended);
        }
        for message in batch.drain(..) {
            control::encode(&message, &mut out)?;
        }
        writer.write_all(&out).await?;
        out.clear();
    }
}
