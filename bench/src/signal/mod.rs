//! How clients come to a server: one async function a protocol, which joins, tells how far it is,
//! and stays until it is told to leave.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`livekit`] | the WebSocket protocol of LiveKit's SDKs, with one peer connection or two |
//! | [`whip`] | WHIP to publish, WHEP to watch
//! | [`janus`] | Janus's videoroom, for comparing
//! | [`http`] | one request over HTTP/1.1 |

pub mod http;
pub mod janus;
pub mod livekit;
pub mod whip;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antipode_signaling::token::{TokenRequest, mint};
use hyper::header::HeaderValue;
use tokio::sync::{mpsc, watch};

use crate::client::crew::{Crew, PeerHandle, local_towards};
use crate::client::worker::News;
use crate::error::BenchError;
use crate::media::source::Shape;

/// How long a token is valid; a run may be as long.
const TOKEN_TTL_S: u64 = 24 * 3600;

/// Between two attempts of a client that lost the server.
const REJOIN_MIN: Duration = Duration::from_millis(100);
/// See [`REJOIN_MIN`].
const REJOIN_MAX: Duration = Duration::from_secs(1);

/// What a server speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// LiveKit's client protocol, which Antipode speaks as well, with one peer connection a client.
    Livekit,
    /// The same with two, as older SDKs have it.
    LivekitTwo,
    /// WHIP for publishers, WHEP for viewers: one camera and all microphones of a room.
    Whip,
    /// Janus's videoroom over its WebSocket.
    Janus,
}

impl Protocol {
    /// For the report.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Livekit => "LiveKit's protocol",
            Protocol::LivekitTwo => "LiveKit's protocol with two peer connections",
            Protocol::Whip => "WHIP and WHEP",
            Protocol::Janus => "Janus's videoroom",
        }
    }
}

/// One client.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its server's place among those of the run.
    pub server: usize,
    /// Its room's number; 0 is the run's own.
    pub room: u32,
    /// Unique in the room.
    pub identity: String,
    /// The number of its first source; the others follow it.
    pub first_source: u32,
    /// What it publishes.
    pub publish: Vec<Shape>,
    /// Whether it receives the others' tracks.
    pub subscribe: bool,
    /// How many of sound and of video it can get, where the protocol wants that said.
    pub receive: [usize; 2],
}

/// What all clients share.
pub struct Stage {
    /// Who speaks with the server.
    pub protocol: Protocol,
    /// The servers, at least one.
    pub servers: Vec<http::Server>,
    /// Keys of the API.
    pub key: antipode_signaling::ApiKey,
    /// The room.
    pub room: String,
    /// Video tracks that a viewer shows large; thumbnails of the others.
    pub tiles: Option<usize>,
    /// Where WHIP is served, with `{room}` and `{identity}`.
    pub whip_path: String,
    /// Where WHEP is served.
    pub whep_path: String,
    /// The workers.
    pub crew: Crew,
    /// The clock's owner, as marks name it.
    pub host: u32,
    /// Clients that lost the server join anew, as SDKs do.
    pub rejoin: bool,
    /// Where the clients' sockets are bound; towards the server when left out.
    pub source_ip: Option<IpAddr>,
}

impl Stage {
    /// A client's server.
    pub fn server(&self, member: &Member) -> &http::Server {
        &self.servers[member.server]
    }

    /// A client's room.
    pub fn room(&self, member: &Member) -> String {
        match member.room {
            0 => self.room.clone(),
            number => format!("{}-{number}", self.room),
        }
    }

    /// Where a client's socket is bound.
    ///
    /// # Errors
    /// There is no way to the server.
    pub fn local(&self, member: &Member) -> Result<SocketAddr, BenchError> {
        match self.source_ip {
            Some(ip) => Ok(SocketAddr::new(ip, 0)),
            None => {
                let server = self.server(member).address;
                local_towards(server).map_err(BenchError::host("a way to the server"))
            }
        }
    }
}

/// How far a client is.
#[derive(Debug)]
pub enum Progress {
    /// All of its peer connections stand, so long after it began.
    Connected(Duration),
    /// Its first packet of media came, so long after it began.
    FirstMedia(Duration),
    /// It is over before it was told to leave.
    Failed {
        /// Who.
        identity: String,
        /// Why.
        error: BenchError,
        /// Whether it had stood.
        stood: bool,
    },
    /// It stood, lost the server, and tries to come back.
    Away,
    /// It is back.
    Back,
    /// It left as it was told.
    Left,
}

/// Runs one client until `stop` says true, and tells how far it is.
pub async fn attend(
    stage: Arc<Stage>,
    member: Member,
    progress: mpsc::Sender<Progress>,
    mut stop: watch::Receiver<bool>,
) {
    let identity = member.identity.clone();
    let mut steps = Steps {
        began: Instant::now(),
        progress: progress.clone(),
        stood: false,
        away: false,
        media: false,
    };
    let mut pause = REJOIN_MIN;
    let last = loop {
        let error = match join(&stage, &member, &mut steps, &mut stop).await {
            Ok(()) => break Progress::Left,
            Err(error) if stage.rejoin && steps.stood => error,
            Err(error) => break Progress::Failed { identity, error, stood: steps.stood },
        };
        if matches!(error, BenchError::WorkerGone) {
            break Progress::Failed { identity, error, stood: true };
        }
        if !std::mem::replace(&mut steps.away, true) {
            pause = REJOIN_MIN;
            let _ = progress.send(Progress::Away).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(REJOIN_MAX),
            () = told(&mut stop) => break Progress::Left,
        }
    };
    // The run may be over.
    let _ = progress.send(last).await;
}

/// Joins once, and stays.
async fn join(
    stage: &Stage,
    member: &Member,
    steps: &mut Steps,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), BenchError> {
    match stage.protocol {
        Protocol::Livekit => livekit::attend(stage, member, steps, stop, true).await,
        Protocol::LivekitTwo => livekit::attend(stage, member, steps, stop, false).await,
        Protocol::Janus => janus::attend(stage, member, steps, stop).await,
        Protocol::Whip => whip::attend(stage, member, steps, stop).await,
    }
}

/// A fresh token of a member, as a header that no log shows.
fn bearer(stage: &Stage, member: &Member) -> Result<HeaderValue, BenchError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let grant =
        TokenRequest::new(&stage.room(member), &member.identity, now.as_secs(), TOKEN_TTL_S);
    let text = format!("Bearer {}", mint(&stage.key, &grant));
    let mut value = HeaderValue::try_from(text).map_err(|_| BenchError::Flag {
        flag: "--api-key",
        fault: "it makes a token that is no header".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Waits until a line says true; a closed line says so too.
pub async fn told(line: &mut watch::Receiver<bool>) {
    let _ = line.wait_for(|said| *said).await;
}

/// Tells the run how far a client is.
pub struct Steps {
    /// When it began.
    pub began: Instant,
    progress: mpsc::Sender<Progress>,
    /// It has stood, ever.
    stood: bool,
    /// It has lost the server since.
    away: bool,
    media: bool,
}

impl Steps {
    /// All peer connections stand since `at`.
    pub async fn connected(&mut self, at: Instant) {
        self.stood = true;
        let took = at.saturating_duration_since(self.began);
        let back = std::mem::take(&mut self.away);
        let said = if back { Progress::Back } else { Progress::Connected(took) };
        let _ = self.progress.send(said).await;
    }

    /// Media came; only the first time is told.
    pub async fn media(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.media, true) {
            let took = at.saturating_duration_since(self.began);
            let _ = self.progress.send(Progress::FirstMedia(took)).await;
        }
    }
}

/// The peers of one client, and which of them stand.
#[derive(Default)]
pub struct Peers {
    /// In the order in which they were opened.
    pub all: Vec<PeerHandle>,
    connected: usize,
    told: bool,
}

impl Peers {
    /// The next piece of news of any of them; pends when there are none.
    pub async fn news(&mut self) -> Option<News> {
        if self.all.is_empty() {
            return std::future::pending().await;
        }
        let each = self.all.iter_mut().map(|peer| Box::pin(peer.news.recv()));
        futures_util::future::select_all(each).await.0
    }

    /// Takes a piece of news: tells what it means for the client.
    ///
    /// # Errors
    /// A peer connection failed.
    pub async fn take(&mut self, news: Option<News>, steps: &mut Steps) -> Result<(), BenchError> {
        match news {
            Some(News::Connected(at)) => {
                self.connected += 1;
                if self.connected == self.all.len() && !self.told {
                    self.told = true;
                    steps.connected(at).await;
                }
            }
            Some(News::FirstMedia(at)) => steps.media(at).await,
            Some(News::Closed) => {
                return Err(BenchError::Ended("its peer connection closed".into()));
            }
            None => return Err(BenchError::WorkerGone),
        }
        Ok(())
    }

    /// Whether all stand.
    pub fn stand(&self) -> bool {
        self.told
    }
}
