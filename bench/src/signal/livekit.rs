//! LiveKit's client protocol: a WebSocket with protobuf frames, in its two forms.
//!
//! | | one peer connection, `/rtc/v1` | two, `/rtc` |
//! | --- | --- | --- |
//! | first offer | the client's, within the address | the server's, of the connection that receives |
//! | tracks of others | go to the client's sections; the server says when it needs more | new offers |
//! | own tracks | in the client's next offer | on the connection that sends, which the client offers |
//!
//! Either way a client announces its tracks, waits until all are known, and then offers them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antipode_base::limits::BENCH_STEP_TIMEOUT;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Say;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{self, Message};

use super::http::{self, reason};
use super::{Member, Peers, Stage, Steps, bearer, told};
use crate::client::peer::{Publish, Wanted};
use crate::error::BenchError;
use crate::media::codec::Codec;
use crate::media::source::{Shape, Source};

const WANTED: &str = "LiveKit's client protocol";
/// The version of the protocol that we speak.
const PROTOCOL: i32 = 15;
/// Sections of each kind in the very first offer, as the SDKs have them.
const FIRST_SECTIONS: usize = 3;
/// Sections of each kind that a server may ask for at once.
const SECTIONS_MAX: u32 = 256;
/// Pixels of what a viewer shows large and small: those of a camera's highest and lowest layer.
const TILE: (u32, u32) = (1_280, 720);
const THUMBNAIL: (u32, u32) = (320, 180);
/// Between pings, when the server names nothing.
const PING: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<TcpStream>;

/// See [`super::attend`]. `one`: with one peer connection.
///
/// # Errors
/// Why it could not join, or did not stay.
pub async fn attend(
    stage: &Stage,
    member: &Member,
    steps: &mut Steps,
    stop: &mut watch::Receiver<bool>,
    one: bool,
) -> Result<(), BenchError> {
    let mut session = Session::open(stage, member, one).await?;
    let deadline = Instant::now() + BENCH_STEP_TIMEOUT;
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        tokio::select! {
            frame = session.socket.next() => session.frame(frame).await?,
            news = session.peers.news() => session.peers.take(news, steps).await?,
            _ = pings.tick() => session.ping().await?,
            () = told(stop) => return session.leave().await,
            () = tokio::time::sleep_until(deadline), if !session.peers.stand() => {
                return Err(BenchError::Slow("ICE and DTLS of a client"));
            }
        }
    }
}

/// Opens the WebSocket. The token goes into a header, never into the URL.
async fn connect(
    stage: &Stage,
    member: &Member,
    url: &str,
    query: &str,
) -> Result<Socket, BenchError> {
    let stream = stage.server(member).connect(url).await?;
    let foreign =
        |fault: String| BenchError::Foreign { url: url.to_owned(), wanted: WANTED, fault };
    let target = format!("{}?{query}", url.replacen("http", "ws", 1));
    let mut request = target.into_client_request().map_err(|error| foreign(error.to_string()))?;
    request.headers_mut().insert(AUTHORIZATION, bearer(stage, member)?);
    let opened = timeout(BENCH_STEP_TIMEOUT, tokio_tungstenite::client_async(request, stream));
    match opened.await.map_err(|_| foreign("no answer".into()))? {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            http::expect_success(url, WANTED, answer.status().as_u16(), body)?;
            Err(foreign("it opens no WebSocket".into()))
        }
        Err(error) => Err(foreign(error.to_string())),
    }
}

/// The first offer as `/rtc/v1` takes it, in the address. LiveKit insists on the padding.
fn join_request(member: &Member, offer: proto::SessionDescription) -> String {
    let settings =
        proto::ConnectionSettings { auto_subscribe: member.subscribe, ..Default::default() };
    let info = proto::ClientInfo {
        sdk: proto::client_info::Sdk::Go as i32,
        protocol: PROTOCOL,
        ..Default::default()
    };
    let request = proto::JoinRequest {
        client_info: Some(info),
        connection_settings: Some(settings),
        publisher_offer: Some(offer),
        ..Default::default()
    };
    let wrapped = proto::WrappedJoinRequest {
        compression: proto::wrapped_join_request::Compression::None as i32,
        join_request: request.encode_to_vec(),
    };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

struct Session<'a> {
    stage: &'a Stage,
    member: &'a Member,
    url: String,
    socket: Socket,
    peers: Peers,
    /// With one peer connection.
    one: bool,
    /// Places in `peers`.
    subscriber: Option<usize>,
    publisher: Option<usize>,
    /// Candidates that came before their peer connection.
    early: Vec<(i32, String)>,
    /// Client ids of tracks that wait for `track_published`.
    announced: Vec<String>,
    /// Our offers so far; the last one waits for its answer.
    offers: u32,
    offered: bool,
    /// What the next offer is to add.
    wanted: Option<Wanted>,
    /// Video tracks of others, in the order in which they came.
    videos: Vec<String>,
}

impl<'a> Session<'a> {
    async fn open(stage: &'a Stage, member: &'a Member, one: bool) -> Result<Self, BenchError> {
        let url = stage.server(member).url(if one { "/rtc/v1" } else { "/rtc" });
        let mut peers = Peers::default();
        let query = if one {
            let name = format!("{}/both", member.identity);
            let peer = stage.crew.open(&name, stage.local(member)?).await?;
            let sections =
                |count: usize| if member.subscribe { count.min(FIRST_SECTIONS) } else { 0 };
            let receive = member.receive.map(sections);
            let wanted = Wanted { channel: true, receive, ..Wanted::default() };
            let offer = description("offer", 1, peer.offer(wanted).await?);
            peers.all.push(peer);
            format!("join_request={}", join_request(member, offer))
        } else {
            let subscribe = u8::from(member.subscribe);
            format!("auto_subscribe={subscribe}&sdk=go&protocol={PROTOCOL}&adaptive_stream=0")
        };
        let socket = connect(stage, member, &url, &query).await?;
        let place = one.then_some(0);
        Ok(Session {
            stage,
            member,
            url,
            socket,
            peers,
            one,
            subscriber: place,
            publisher: place,
            early: Vec::new(),
            announced: Vec::new(),
            offers: u32::from(one),
            offered: one,
            wanted: None,
            videos: Vec::new(),
        })
    }

    fn foreign(&self, fault: impl Into<String>) -> BenchError {
        BenchError::Foreign { url: self.url.clone(), wanted: WANTED, fault: fault.into() }
    }

    async fn frame(
        &mut self,
        frame: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<(), BenchError> {
        match frame {
            Some(Ok(Message::Binary(bytes))) => {
                let response = proto::SignalResponse::decode(bytes)
                    .map_err(|_| self.foreign("a frame that is no SignalResponse"))?;
                match response.message {
                    Some(message) => self.take(message).await,
                    // A message of a newer server.
                    None => Ok(()),
                }
            }
            Some(Ok(Message::Close(close))) => {
                let words = close.map(|close| reason(close.reason.as_bytes()));
                Err(BenchError::Ended(words.unwrap_or_else(|| "it closed the WebSocket".into())))
            }
            Some(Ok(Message::Text(_))) => Err(self.foreign("a frame of text")),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(BenchError::Ended(error.to_string())),
            None => Err(BenchError::Ended("the WebSocket is gone".into())),
        }
    }

    async fn take(&mut self, message: Say) -> Result<(), BenchError> {
        match message {
            Say::Join(join) => {
                for other in &join.other_participants {
                    self.learn(other);
                }
                self.tune().await?;
                if !self.one {
                    // As the SDKs do: the connection that sends stands with a data channel alone.
                    self.offer(Wanted { channel: true, ..Wanted::default() }).await?;
                }
                self.announce().await
            }
            Say::Offer(offer) => self.answer(offer).await,
            Say::Answer(answer) => self.accept(answer).await,
            Say::MediaSectionsRequirement(more) => {
                let more = [more.num_audios, more.num_videos];
                let receive = more.map(|count| count.min(SECTIONS_MAX) as usize);
                self.offer(Wanted { receive, ..Wanted::default() }).await
            }
            Say::Trickle(trickle) => {
                self.candidate(trickle);
                Ok(())
            }
            Say::TrackPublished(published) => {
                self.announced.retain(|cid| *cid != published.cid);
                if self.announced.is_empty() { self.publish().await } else { Ok(()) }
            }
            Say::Update(update) => {
                for other in &update.participants {
                    self.learn(other);
                }
                self.tune().await
            }
            Say::Leave(leave) => {
                let why = leave.reason().as_str_name();
                Err(BenchError::Ended(format!("it told the client to leave ({why})")))
            }
            _ => Ok(()),
        }
    }

    async fn say(&mut self, message: Ask) -> Result<(), BenchError> {
        let bytes = proto::SignalRequest { message: Some(message) }.encode_to_vec();
        let sent = self.socket.send(Message::Binary(bytes.into())).await;
        sent.map_err(|error| BenchError::Ended(error.to_string()))
    }

    /// In both forms, as the SDKs do it for older servers' sake.
    async fn ping(&mut self) -> Result<(), BenchError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = now.as_millis() as i64;
        self.say(Ask::Ping(timestamp)).await?;
        self.say(Ask::PingReq(proto::Ping { timestamp, rtt: 0 })).await
    }

    async fn leave(&mut self) -> Result<(), BenchError> {
        let leave = proto::LeaveRequest {
            reason: proto::DisconnectReason::ClientInitiated as i32,
            ..Default::default()
        };
        self.say(Ask::Leave(leave)).await?;
        // The other side may be quicker to close.
        let _ = self.socket.close(None).await;
        Ok(())
    }

    /// The server's offer, always of the peer connection that receives.
    async fn answer(&mut self, offer: proto::SessionDescription) -> Result<(), BenchError> {
        let at = match self.subscriber {
            Some(at) => at,
            None => {
                let at = self.open_peer("rx").await?;
                self.subscriber = Some(at);
                at
            }
        };
        let sdp = self.peers.all[at].answer(offer.sdp).await?;
        self.flush_early(proto::SignalTarget::Subscriber, at);
        let description = description("answer", offer.id, sdp);
        self.say(Ask::Answer(description)).await
    }

    async fn open_peer(&mut self, way: &str) -> Result<usize, BenchError> {
        let name = format!("{}/{way}", self.member.identity);
        let peer = self.stage.crew.open(&name, self.stage.local(self.member)?).await?;
        self.peers.all.push(peer);
        Ok(self.peers.all.len() - 1)
    }

    /// Announces what it will publish.
    async fn announce(&mut self) -> Result<(), BenchError> {
        for (index, shape) in self.member.publish.iter().enumerate() {
            let cid = format!("{}-{index}", self.member.identity);
            self.announced.push(cid.clone());
            self.say(Ask::AddTrack(add_track(cid, shape))).await?;
        }
        Ok(())
    }

    /// Every track has its name at the server: offers them.
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
        self.offer(Wanted { publish, ..Wanted::default() }).await
    }

    /// Offers, or remembers it for when the offer under way is answered.
    async fn offer(&mut self, wanted: Wanted) -> Result<(), BenchError> {
        if self.offered {
            let waiting = self.wanted.get_or_insert_default();
            waiting.publish.extend(wanted.publish);
            waiting.receive[0] += wanted.receive[0];
            waiting.receive[1] += wanted.receive[1];
            return Ok(());
        }
        let at = match self.publisher {
            Some(at) => at,
            None => {
                let at = self.open_peer("tx").await?;
                self.publisher = Some(at);
                at
            }
        };
        let sdp = self.peers.all[at].offer(wanted).await?;
        self.flush_early(proto::SignalTarget::Publisher, at);
        self.offers += 1;
        self.offered = true;
        self.say(Ask::Offer(description("offer", self.offers, sdp))).await
    }

    async fn accept(&mut self, answer: proto::SessionDescription) -> Result<(), BenchError> {
        let Some(at) = self.publisher.filter(|_| self.offered) else { return Ok(()) };
        self.peers.all[at].accept(answer.sdp).await?;
        self.offered = false;
        match self.wanted.take() {
            Some(wanted) => self.offer(wanted).await,
            None => Ok(()),
        }
    }

    fn candidate(&mut self, trickle: proto::TrickleRequest) {
        let init: Option<serde_json::Value> = serde_json::from_str(&trickle.candidate_init).ok();
        let line = init.as_ref().and_then(|init| init.get("candidate")?.as_str());
        let Some(line) = line.filter(|line| !line.is_empty()) else { return };
        let at = match trickle.target() {
            proto::SignalTarget::Publisher => self.publisher,
            proto::SignalTarget::Subscriber => self.subscriber,
        };
        match at {
            Some(at) => self.peers.all[at].candidate(line),
            // A server has two or three.
            None if self.early.len() < 16 => self.early.push((trickle.target, line.to_owned())),
            None => {}
        }
    }

    fn flush_early(&mut self, target: proto::SignalTarget, at: usize) {
        let peer = &self.peers.all[at];
        let of = |(to, _): &mut (i32, String)| *to == target as i32;
        self.early.extract_if(.., of).for_each(|(_, line)| peer.candidate(&line));
    }

    fn learn(&mut self, other: &proto::ParticipantInfo) {
        let video = proto::TrackType::Video as i32;
        for track in other.tracks.iter().filter(|track| track.r#type == video) {
            let own = other.identity == self.member.identity;
            if !own && !self.videos.contains(&track.sid) {
                self.videos.push(track.sid.clone());
            }
        }
    }

    /// Says how large it shows each video track, as SDKs say it: by its element's size.
    async fn tune(&mut self) -> Result<(), BenchError> {
        let Some(tiles) = self.stage.tiles.filter(|_| self.member.subscribe) else {
            return Ok(());
        };
        let (large, small) = self.videos.split_at(tiles.min(self.videos.len()));
        let sizes = [(large.to_vec(), TILE), (small.to_vec(), THUMBNAIL)];
        for (track_sids, (width, height)) in sizes {
            if !track_sids.is_empty() {
                let settings =
                    proto::UpdateTrackSettings { track_sids, width, height, ..Default::default() };
                self.say(Ask::TrackSetting(settings)).await?;
            }
        }
        Ok(())
    }
}

fn description(kind: &str, id: u32, sdp: String) -> proto::SessionDescription {
    let mid_to_track_id = HashMap::default();
    proto::SessionDescription { r#type: kind.to_owned(), sdp, id, mid_to_track_id }
}

fn add_track(cid: String, shape: &Shape) -> proto::AddTrackRequest {
    let Shape::Camera { codec, layers, .. } = shape else {
        return proto::AddTrackRequest {
            cid,
            name: "microphone".into(),
            r#type: proto::TrackType::Audio as i32,
            source: proto::TrackSource::Microphone as i32,
            ..Default::default()
        };
    };
    // The rids q, h and f stand for low, medium and high; a single layer is high.
    let single = layers.len() == 1;
    let layer = |(index, layer): (usize, &crate::media::source::Layer)| proto::VideoLayer {
        quality: (if single { 2 } else { index }) as i32,
        width: u32::from(layer.size.0),
        height: u32::from(layer.size.1),
        bitrate: layer.bitrate,
        ..Default::default()
    };
    let video: Vec<_> = layers.iter().enumerate().map(layer).collect();
    let top = layers.last().map_or((0, 0), |layer| layer.size);
    let name = if *codec == Codec::H264 { "h264" } else { "vp8" };
    proto::AddTrackRequest {
        cid: cid.clone(),
        name: "camera".into(),
        r#type: proto::TrackType::Video as i32,
        source: proto::TrackSource::Camera as i32,
        width: u32::from(top.0),
        height: u32::from(top.1),
        simulcast_codecs: vec![proto::SimulcastCodec {
            codec: name.into(),
            cid,
            layers: video.clone(),
            ..Default::default()
        }],
        layers: video,
        ..Default::default()
    }
}
