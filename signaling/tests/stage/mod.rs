//! A signaling process in this one, a node that speaks the real control protocol over the real
//! socket, and clients that speak the real client protocol over real WebSockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use antipode_base::command::Command;
use antipode_base::control::{self, Memo, ToNode, ToSignal, VERSION};
use antipode_base::ids::{MemberId, NodeId, ShardId};
use antipode_base::notice::Notice;
use antipode_signaling::config::{AdmissionLimits, ApiKey, ControlListen, IceConfig, SignalConfig};
use antipode_signaling::token::{self, TokenRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Tell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub const SECRET: &[u8] = b"between node and signaling";

/// A running signaling process, as far as others can tell.
pub struct Server {
    pub address: SocketAddr,
    pub control: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    _folder: Option<tempfile::TempDir>,
}

pub fn key() -> ApiKey {
    ApiKey { key: "devkey".into(), secret: "secret".into() }
}

pub fn config(control: PathBuf) -> SignalConfig {
    SignalConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        control: ControlListen::Unix(control),
        control_secret: SECRET.to_vec(),
        keys: vec![key()],
        spread: false,
        dev_page: true,
        ice: IceConfig::default(),
        audio_top: 0,
        whip_redirect: None,
        admission: AdmissionLimits::default(),
        process: None,
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut SignalConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path().join("control"));
        change(&mut config);
        let mut server = Self::run(config).await;
        server._folder = Some(folder);
        server
    }

    pub async fn run(config: SignalConfig) -> Self {
        let ControlListen::Unix(control) = config.control.clone() else { panic!("a Unix socket") };
        let (ready_tx, ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            antipode_signaling::serve(config, ready_tx, stopped).await.unwrap();
        });
        let address = ready.await.unwrap();
        Server { address, control, stop: Some(stop), running, _folder: None }
    }

    /// As a signal to end does.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.running).await.unwrap();
    }

    /// One request by hand; gives status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await
    }

    pub async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or(0), body.to_owned())
    }
}

pub fn token(room: &str, identity: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    token::mint(&key(), &TokenRequest::new(room, identity, now, 600))
}

/// A node without media: it keeps memos, as the real one does, and does what the test says.
pub struct Node {
    stream: UnixStream,
    bytes: Vec<u8>,
    pub memos: BTreeMap<MemberId, Memo>,
    pub commands: VecDeque<(ShardId, Command)>,
}

impl Node {
    pub async fn join(server: &Server, id: u64, held: Vec<Memo>) -> Self {
        let mut node = Self::introduce(server, id, VERSION, SECRET).await;
        node.send(&ToSignal::Snapshot { members: held, last: true }).await;
        node
    }

    /// The hello alone.
    pub async fn introduce(server: &Server, id: u64, version: u32, secret: &[u8]) -> Self {
        let stream = UnixStream::connect(&server.control).await.unwrap();
        let mut node =
            Node { stream, bytes: Vec::new(), memos: BTreeMap::new(), commands: VecDeque::new() };
        let Some(ToNode::Challenge { nonce, .. }) = node.read().await else {
            panic!("signaling speaks first")
        };
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let proof = aws_lc_rs::hmac::sign(&key, &nonce).as_ref().try_into().unwrap();
        let media = vec![([127, 0, 0, 1], 7882).into()];
        let node_id = NodeId(id);
        node.send(&ToSignal::Hello { version, proof, node: node_id, shards: 2, media }).await;
        node
    }

    /// `None`: signaling closed the link.
    pub async fn read(&mut self) -> Option<ToNode> {
        loop {
            if let Some((message, used)) = control::decode(&self.bytes).unwrap() {
                self.bytes.drain(..used);
                return Some(message);
            }
            if self.stream.read_buf(&mut self.bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn send(&mut self, message: &ToSignal) {
        let mut out = Vec::new();
        control::encode(message, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    pub async fn notice(&mut self, shard: ShardId, notice: Notice) {
        self.send(&ToSignal::Notice { shard, notice }).await;
    }

    /// Reads until a command that `pick` wants, keeping memos that pass by.
    pub async fn until<T>(&mut self, pick: impl Fn(&Command) -> Option<T>) -> T {
        loop {
            match self.read().await.expect("the link ended") {
                ToNode::Command { shard, command } => {
                    let picked = pick(&command);
                    self.commands.push_back((shard, command));
                    if let Some(picked) = picked {
                        return picked;
                    }
                }
                ToNode::Memo(memo) => drop(self.memos.insert(memo.member, memo)),
                ToNode::Challenge { .. } => panic!("a second challenge"),
            }
        }
    }

    /// Reads until a memo of that member.
    pub async fn memo(&mut self, member: MemberId) -> Memo {
        loop {
            match self.read().await.expect("the link ended") {
                ToNode::Memo(memo) if memo.member == member => return memo,
                ToNode::Memo(memo) => drop(self.memos.insert(memo.member, memo)),
                ToNode::Command { shard, command } => self.commands.push_back((shard, command)),
                ToNode::Challenge { .. } => panic!("a second challenge"),
            }
        }
    }
}

/// A client on `/rtc/v1`.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

pub fn join_request(request: &proto::JoinRequest) -> String {
    let wrapped =
        proto::WrappedJoinRequest { compression: 0, join_request: request.encode_to_vec() };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

pub fn first_join() -> proto::JoinRequest {
    proto::JoinRequest {
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: true,
            ..Default::default()
        }),
        publisher_offer: Some(proto::SessionDescription {
            r#type: "offer".into(),
            sdp: "v=0".into(),
            id: 1,
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn path(token: &str, request: &proto::JoinRequest) -> String {
    format!("/rtc/v1?access_token={token}&join_request={}", join_request(request))
}

impl Client {
    pub async fn join(server: &Server, room: &str, identity: &str) -> Self {
        Self::open(server, &path(&token(room, identity), &first_join())).await
    }

    pub async fn resume(server: &Server, room: &str, identity: &str, sid: &str) -> Self {
        let request = proto::JoinRequest {
            reconnect: true,
            participant_sid: sid.into(),
            ..Default::default()
        };
        Self::open(server, &path(&token(room, identity), &request)).await
    }

    pub async fn open(server: &Server, path: &str) -> Self {
        let url = format!("ws://{}{path}", server.address);
        Client { socket: connect_async(url).await.unwrap().0 }
    }

    pub async fn ask(&mut self, message: Ask) {
        let request = proto::SignalRequest { message: Some(message) };
        self.raw(Message::Binary(request.encode_to_vec().into())).await;
    }

    /// The server may have closed already; then the message is lost, as on any network.
    pub async fn raw(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    pub async fn next(&mut self) -> Tell {
        match self.socket.next().await.expect("the WebSocket ended").unwrap() {
            Message::Binary(bytes) => {
                let response = proto::SignalResponse::decode(bytes).unwrap();
                response.message.expect("a message of this version")
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reads until a message that `pick` wants.
    pub async fn until<T>(&mut self, pick: impl Fn(Tell) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.next().await) {
                return picked;
            }
        }
    }

    pub async fn joined(&mut self) -> proto::JoinResponse {
        match self.next().await {
            Tell::Join(join) => join,
            other => panic!("{other:?} came first"),
        }
    }

    /// Reads to the end.
    pub async fn closed(mut self) -> Option<CloseFrame> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}
