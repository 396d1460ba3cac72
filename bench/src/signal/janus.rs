//! Janus's videoroom over its WebSocket with JSON, for comparing: one session a client, one handle to
//! publish and one to receive.
//!
//! ```text
//!   create -> attach -> (room: create) -> join as publisher -> publish: our offer, its answer
//!                                            | who publishes, now and later
//!             attach -> join as subscriber: its offer -> start: our answer
//!                       subscribe: its next offer -> start
//! ```
//!
//! A reply has our transaction; requests that take long are acknowledged first and replied to later.

use std::collections::VecDeque;
use std::time::Duration;

use antipode_base::limits::BENCH_STEP_TIMEOUT;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

use super::http::{self, reason};
use super::{Member, Peers, Stage, Steps, told};
use crate::client::peer::{Publish, Wanted};
use crate::error::BenchError;
use crate::media::codec::Codec;
use crate::media::source::{Shape, Source};

const WANTED: &str = "Janus's videoroom";
/// It forgets a session after a minute of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A room exists already.
const ROOM_EXISTS: u64 = 427;
/// Events that wait while a reply is awaited.
const EVENTS_MAX: usize = 4_096;
/// Publishers of the rooms that we make.
const PUBLISHERS_MAX: u32 = 500;

type Socket = WebSocketStream<TcpStream>;

/// See [`super::attend`].
///
/// # Errors
/// Why it could not join, or did not stay.
pub async fn attend(
    stage: &Stage,
    member: &Member,
    steps: &mut Steps,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), BenchError> {
    let mut session = Session::open(stage, member).await?;
    session.enter().await?;
    let deadline = Instant::now() + BENCH_STEP_TIMEOUT;
    let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    loop {
        while let Some(event) = session.events.pop_front() {
            session.take(&event).await?;
        }
        tokio::select! {
            event = read(&mut session.socket, &session.url) => session.take(&event?).await?,
            news = session.peers.news() => session.peers.take(news, steps).await?,
            _ = alive.tick() => session.say(json!({"janus": "keepalive"})).await.map(drop)?,
            () = told(stop) => return session.say(json!({"janus": "destroy"})).await.map(drop),
            () = tokio::time::sleep_until(deadline), if !session.peers.stand() => {
                return Err(BenchError::Slow("ICE and DTLS of a client"));
            }
        }
    }
}

/// The next message.
async fn read(socket: &mut Socket, url: &str) -> Result<Value, BenchError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| BenchError::Foreign {
                    url: url.to_owned(),
                    wanted: WANTED,
                    fault: "a message that is no JSON".into(),
                });
            }
            Some(Ok(Message::Close(_))) | None => {
                return Err(BenchError::Ended("the WebSocket is gone".into()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(BenchError::Ended(error.to_string())),
        }
    }
}

struct Session<'a> {
    stage: &'a Stage,
    member: &'a Member,
    url: String,
    socket: Socket,
    peers: Peers,
    transactions: u64,
    session: u64,
    /// Handles to publish and to receive.
    own: u64,
    receiver: Option<u64>,
    /// The place in `peers` of what receives.
    receiving: Option<usize>,
    room: u32,
    events: VecDeque<Value>,
}

impl<'a> Session<'a> {
    async fn open(stage: &'a Stage, member: &'a Member) -> Result<Self, BenchError> {
        let url = stage.server(member).url("/");
        let stream = stage.server(member).connect(&url).await?;
        let foreign =
            |fault: String| BenchError::Foreign { url: url.clone(), wanted: WANTED, fault };
        let target = url.replacen("http", "ws", 1);
        let mut request = target.into_client_request().map_err(|e| foreign(e.to_string()))?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
        let opened = timeout(BENCH_STEP_TIMEOUT, tokio_tungstenite::client_async(request, stream));
        let socket = match opened.await.map_err(|_| foreign("no answer".into()))? {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                http::expect_success(&url, WANTED, answer.status().as_u16(), body)?;
                return Err(foreign("it opens no WebSocket".into()));
            }
            Err(error) => return Err(foreign(error.to_string())),
        };
        // Rooms have numbers there.
        let room = crc32fast::hash(stage.room(member).as_bytes()) >> 1;
        let mut session = Session {
            stage,
            member,
            url,
            socket,
            peers: Peers::default(),
            transactions: 0,
            session: 0,
            own: 0,
            receiver: None,
            receiving: None,
            room,
            events: VecDeque::new(),
        };
        let made = session.ask(json!({"janus": "create"})).await?;
        session.session = session.number(&made["data"]["id"])?;
        session.own = session.attach().await?;
        Ok(session)
    }

    fn foreign(&self, fault: impl Into<String>) -> BenchError {
        BenchError::Foreign { url: self.url.clone(), wanted: WANTED, fault: fault.into() }
    }

    fn number(&self, value: &Value) -> Result<u64, BenchError> {
        value.as_u64().ok_or_else(|| self.foreign("a reply without its number"))
    }

    /// Sends; returns the transaction.
    async fn say(&mut self, mut message: Value) -> Result<String, BenchError> {
        self.transactions += 1;
        let transaction = self.transactions.to_string();
        message["transaction"] = json!(transaction);
        if self.session != 0 {
            message["session_id"] = json!(self.session);
        }
        let sent = self.socket.send(Message::Text(message.to_string().into())).await;
        sent.map_err(|error| BenchError::Ended(error.to_string()))?;
        Ok(transaction)
    }

    /// Sends, and waits for the reply; what else comes is kept.
    async fn ask(&mut self, message: Value) -> Result<Value, BenchError> {
        let transaction = self.say(message).await?;
        let deadline = Instant::now() + BENCH_STEP_TIMEOUT;
        loop {
            let message = tokio::time::timeout_at(deadline, read(&mut self.socket, &self.url));
            let message = message.await.map_err(|_| BenchError::Slow("a reply of Janus"))??;
            if message["transaction"] == json!(transaction) {
                match message["janus"].as_str() {
                    Some("ack") => {}
                    Some("error") => {
                        let why = message["error"]["reason"].as_str().unwrap_or_default();
                        return Err(self.refusal(why));
                    }
                    Some(_) => return Ok(message),
                    None => return Err(self.foreign("a message that says not what it is")),
                }
            } else if self.events.len() < EVENTS_MAX {
                self.events.push_back(message);
            }
        }
    }

    fn refusal(&self, why: &str) -> BenchError {
        BenchError::Ended(format!("{} refuses: {}", self.url, reason(why.as_bytes())))
    }

    async fn attach(&mut self) -> Result<u64, BenchError> {
        let made = json!({"janus": "attach", "plugin": "janus.plugin.videoroom"});
        let made = self.ask(made).await?;
        self.number(&made["data"]["id"])
    }

    /// A request to the plugin. An error in the reply is one here, but for `pardon`.
    async fn request(
        &mut self,
        handle: u64,
        body: Value,
        jsep: Option<Value>,
        pardon: Option<u64>,
    ) -> Result<Value, BenchError> {
        let mut message = json!({"janus": "message", "handle_id": handle, "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let reply = self.ask(message).await?;
        let data = &reply["plugindata"]["data"];
        match data["error_code"].as_u64() {
            Some(code) if pardon != Some(code) => {
                Err(self.refusal(data["error"].as_str().unwrap_or_default()))
            }
            _ => Ok(reply),
        }
    }

    /// Makes the room if nobody has, joins it, publishes, and watches who is there.
    async fn enter(&mut self) -> Result<(), BenchError> {
        let h264 = |shape: &Shape| shape.codec() == Codec::H264;
        let codec = if self.member.publish.iter().any(h264) { "h264" } else { "vp8" };
        let create = json!({
            "request": "create", "room": self.room, "publishers": PUBLISHERS_MAX,
            "videocodec": codec, "audiocodec": "opus", "bitrate": 0, "fir_freq": 0,
        });
        self.request(self.own, create, None, Some(ROOM_EXISTS)).await?;
        let join = json!({
            "request": "join", "ptype": "publisher", "room": self.room,
            "display": self.member.identity,
        });
        let joined = self.request(self.own, join, None, None).await?;
        if !self.member.publish.is_empty() {
            self.publish().await?;
        }
        self.watch(&joined).await
    }

    async fn publish(&mut self) -> Result<(), BenchError> {
        let publish = self.member.publish.iter().enumerate().map(|(index, shape)| Publish {
            track: format!("{}-{index}", self.member.identity),
            source: Source::new(
                self.member.first_source + index as u32,
                self.stage.host,
                shape.clone(),
            ),
        });
        let publish = publish.collect();
        let name = format!("{}/tx", self.member.identity);
        let peer = self.stage.crew.open(&name, self.stage.local(self.member)?).await?;
        let offer = peer.offer(Wanted { publish, high_first: true, ..Wanted::default() }).await?;
        let jsep = json!({"type": "offer", "sdp": offer});
        let published = self.request(self.own, json!({"request": "publish"}), Some(jsep), None);
        let published = published.await?;
        peer.accept(self.description(&published)?).await?;
        self.peers.all.push(peer);
        Ok(())
    }

    fn description(&self, message: &Value) -> Result<String, BenchError> {
        let sdp = message["jsep"]["sdp"].as_str();
        sdp.map(str::to_owned).ok_or_else(|| self.foreign("a reply without a description"))
    }

    /// An event that nobody waited for.
    async fn take(&mut self, event: &Value) -> Result<(), BenchError> {
        match event["janus"].as_str() {
            Some("event") => self.watch(event).await,
            Some("hangup") => {
                let why = event["reason"].as_str().unwrap_or_default();
                Err(BenchError::Ended(format!("it hung up: {}", reason(why.as_bytes()))))
            }
            Some("timeout") => Err(BenchError::Ended("it forgot the session".into())),
            Some(_) => Ok(()),
            None => Err(self.foreign("a message that says not what it is")),
        }
    }

    /// Subscribes to the publishers that a message names.
    async fn watch(&mut self, message: &Value) -> Result<(), BenchError> {
        let publishers = message["plugindata"]["data"]["publishers"].as_array();
        let feed = |publisher: &Value| json!({"feed": publisher["id"]});
        let feeds: Vec<Value> = publishers.into_iter().flatten().map(feed).collect();
        if feeds.is_empty() || !self.member.subscribe {
            return Ok(());
        }
        let (handle, body) = match self.receiver {
            Some(handle) => (handle, json!({"request": "subscribe", "streams": feeds})),
            None => {
                let handle = self.attach().await?;
                self.receiver = Some(handle);
                let body = json!({
                    "request": "join", "ptype": "subscriber", "room": self.room, "streams": feeds,
                });
                (handle, body)
            }
        };
        let offered = self.request(handle, body, None, None).await?;
        // Without one, an offer under way will bring these too.
        let Ok(offer) = self.description(&offered) else { return Ok(()) };
        let at = match self.receiving {
            Some(at) => at,
            None => {
                let name = format!("{}/rx", self.member.identity);
                self.peers
                    .all
                    .push(self.stage.crew.open(&name, self.stage.local(self.member)?).await?);
                let at = self.peers.all.len() - 1;
                *self.receiving.insert(at)
            }
        };
        let answer = self.peers.all[at].answer(offer).await?;
        let jsep = json!({"type": "answer", "sdp": answer});
        self.request(handle, json!({"request": "start"}), Some(jsep), None).await.map(drop)
    }
}
