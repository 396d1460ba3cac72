//! Requests by plain HTTP, and a node that answers each offer.

use antipode_base::command::Command;
use antipode_base::ids::ShardId;
use antipode_base::notice::Notice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::stage::{Node, Server, token};

/// What publishers and players post.
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n";
pub const SAME: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
pub const SDP: &str = "application/sdp";
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
pub const JSON: &str = "application/json";

/// A request's answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of = self.headers.iter().filter(|(known, _)| known == name);
        of.map(|(_, value)| value.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub fn detail(&self) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        &self.body
    }
}

/// A signaling process and a node that answers its offers.
pub struct Stage {
    pub server: Server,
    pub commands: mpsc::UnboundedReceiver<Command>,
    answering: tokio::task::JoinHandle<()>,
}

pub fn answer_of(offer: &str, number: usize) -> String {
    let mut out = String::from("v=0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n");
    for section in offer.split("\r\nm=").skip(1) {
        let mid = section.split("a=mid:").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let media = section.lines().next().unwrap();
        out.push_str(&format!(
            "m={media}\r\na=mid:{mid}\r\na=ice-ufrag:00own{number}\r\na=ice-pwd:our-own-password\r\n\
             a=rtcp-mux\r\na=recvonly\r\na=candidate:1 1 udp 1 192.0.2.7 7882 typ host\r\n"
        ));
    }
    out
}

impl Stage {
    pub async fn new() -> Self {
        Self::of(Server::start_with(|config| config.admission.connects_per_s = 0).await).await
    }

    pub async fn of(server: Server) -> Self {
        let mut node = Node::join(&server, 1, vec![]).await;
        let (commands_tx, commands) = mpsc::unbounded_channel();
        let answering = tokio::spawn(async move {
            for number in 1.. {
                let (session, id, sdp) = node
                    .until(|command| match command {
                        Command::Offer { session, id, sdp } => Some((*session, *id, sdp.clone())),
                        other => {
                            // The test may be over.
                            let _ = commands_tx.send(other.clone());
                            None
                        }
                    })
                    .await;
                let sdp = answer_of(&sdp, number);
                let notice = Notice::Answer { session, id, sdp, slots: vec![] };
                node.notice(ShardId(0), notice).await;
            }
        });
        Stage { server, commands, answering }
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        exchange(&self.server, method, path, headers, body).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", SDP)];
        self.ask("POST", path, &headers, body).await
    }

    /// A publisher's resource and its first tag.
    pub async fn publish(&self) -> (String, String) {
        let answer = self.post("/whip/lobby", &token("lobby", "studio"), OFFER).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        (answer.header("location").to_owned(), answer.header("etag").to_owned())
    }

    pub async fn play(&self) -> Answer {
        let offer = OFFER.replace("sendonly", "recvonly");
        let answer = self.post("/whep/lobby", &token("lobby", "wall"), &offer).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    pub async fn on(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let identity = if path.starts_with("/whip") { "studio" } else { "wall" };
        let bearer = format!("Bearer {}", token("lobby", identity));
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(more);
        self.ask(method, path, &headers, body).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

pub async fn exchange(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // A refusal may come before all of the body was taken.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    parse(&String::from_utf8(text).unwrap())
}

pub fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}
