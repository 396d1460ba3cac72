//! What several tests need: the signaling side of the control connection, and a patient socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antipode_base::command::{Command, Grants, OpenSession, Role};
use antipode_base::control::{self, Memo, ToNode, ToSignal, VERSION};
use antipode_base::ids::{MemberId, NodeId, RoomId, SessionId, ShardId};
use aws_lc_rs::hmac;

use crate::config::ControlAddress;

/// Nothing on loopback takes this long; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SECRET: &[u8] = b"a secret of tests";
const NONCE: [u8; 32] = [7; 32];

/// Listens where a node dials.
pub(crate) struct Signaling {
    path: PathBuf,
    listener: UnixListener,
}

impl Signaling {
    pub(crate) fn listen() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("antipode-runtime-test-{}-{count}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket in the temporary folder");
        Signaling { path, listener }
    }

    pub(crate) fn address(&self) -> ControlAddress {
        ControlAddress::Unix(self.path.clone())
    }

    /// The next connection, before a word is said.
    pub(crate) fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().expect("the node dials");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Peer { stream, input: Vec::new() }
    }

    /// The next connection, greeted; its hello is right. Also gives the node and its snapshot.
    pub(crate) fn greet(&self) -> (Peer, NodeId, Vec<Memo>) {
        let mut peer = self.accept();
        peer.send(&challenge(VERSION));
        let ToSignal::Hello { version, proof, node, .. } = peer.receive() else {
            panic!("the first message is a hello")
        };
        assert_eq!(version, VERSION);
        assert!(is_proof(SECRET, &proof), "the proof is that of the secret");
        let ToSignal::Snapshot { members, .. } = peer.receive() else {
            panic!("the second message is a snapshot")
        };
        (peer, node, members)
    }
}

impl Drop for Signaling {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(crate) fn challenge(version: u32) -> ToNode {
    ToNode::Challenge { version, nonce: NONCE }
}

pub(crate) fn is_proof(secret: &[u8], proof: &[u8; 32]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &NONCE, proof).is_ok()
}

/// One connection of a node.
pub(crate) struct Peer {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Peer {
    pub(crate) fn send(&mut self, message: &ToNode) {
        let mut bytes = Vec::new();
        control::encode(message, &mut bytes).expect("it encodes");
        self.stream.write_all(&bytes).expect("the node reads");
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the node reads");
    }

    pub(crate) fn command(&mut self, shard: u16, command: Command) {
        self.send(&ToNode::Command { shard: ShardId(shard), command });
    }

    pub(crate) fn receive(&mut self) -> ToSignal {
        self.try_receive().expect("the node is still there")
    }

    /// `None`: the node hung up.
    pub(crate) fn try_receive(&mut self) -> Option<ToSignal> {
        loop {
            if let Some((message, length)) = control::decode(&self.input).expect("it decodes") {
                self.input.drain(..length);
                return Some(message);
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("waiting for the node: {error}"),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// Waits for the message in which `wanted` sees something.
    pub(crate) fn wait_for<T>(&mut self, mut wanted: impl FnMut(&ToSignal) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.receive()) {
                return found;
            }
        }
    }
}

pub(crate) fn open(session: u64) -> Command {
    Command::OpenSession(OpenSession {
        session: SessionId(session),
        member: MemberId(session),
        room: RoomId(1),
        role: Role::Both,
        grants: Grants { publish: true, subscribe: true, publish_data: true },
        identity: "someone".into(),
        sid: "PA_someone".into(),
        audio_top: 0,
        rsa: false,
    })
}

pub(crate) fn memo(member: u64, sessions: &[u64]) -> Memo {
    Memo {
        member: MemberId(member),
        room: RoomId(1),
        shard: ShardId(0),
        sessions: sessions.iter().copied().map(SessionId).collect(),
        bytes: vec![member as u8; 3],
    }
}

/// Receives one datagram; the socket has a timeout. A process with io_uring threads is interrupted
/// at times, and a socket with a timeout says so.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.expect("a datagram comes"),
        }
    }
}
