//! The control plane from outside: real sockets, a node that speaks the real control protocol.

// Helpers of tests are not tests to the linter: without this they may not unwrap.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod stage;

use antipode_base::command::Command;
use antipode_base::control::{ToSignal, VERSION};
use antipode_base::ids::{SessionId, ShardId, TrackId};
use antipode_base::limits::{SIGNAL_MESSAGE_MAX, SIGNAL_RATE_BURST};
use antipode_base::media::{Codec, Layer};
use antipode_base::notice::{LayerInfo, Notice, Slot};
use antipode_base::stats::ProcessStats;
use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Tell;
use stage::{Client, Node, SECRET, Server, config, first_join, path, token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

fn opened(command: &Command) -> Option<SessionId> {
    match command {
        Command::OpenSession(open) => Some(open.session),
        _ => None,
    }
}

fn camera() -> proto::AddTrackRequest {
    proto::AddTrackRequest {
        cid: "cam".into(),
        r#type: proto::TrackType::Video as i32,
        source: proto::TrackSource::Camera as i32,
        ..Default::default()
    }
}

/// Of the camera; found again in the memo once the track is live.
const MID: &str = "the camera's section";

async fn publish(client: &mut Client, node: &mut Node, session: SessionId) -> (TrackId, String) {
    client.ask(Ask::AddTrack(camera())).await;
    let track = node
        .until(|command| match command {
            Command::Publish { track, client_id, .. } if client_id == "cam" => Some(*track),
            _ => None,
        })
        .await;
    let layer = LayerInfo { layer: Layer::BASE, rid: String::new(), ssrc: 5, repair_ssrc: 6 };
    let (mid, codec, layers) = (MID.to_owned(), Codec::Vp8, vec![layer]);
    node.notice(ShardId(0), Notice::TrackLive { session, track, mid, codec, layers }).await;
    let sid = client
        .until(|message| match message {
            Tell::TrackPublished(published) => published.track.map(|track| track.sid),
            _ => None,
        })
        .await;
    (track, sid)
}

#[tokio::test]
async fn a_call_from_the_join_to_the_goodbye() {
    let server = Server::start().await;
    let mut node = Node::join(&server, 1, vec![]).await;
    let mut alice = Client::join(&server, "lobby", "alice").await;
    let joined = alice.joined().await;
    let room = joined.room.unwrap();
    assert!(room.sid.starts_with("RM_") && room.name == "lobby");
    assert_eq!((joined.ping_interval, joined.ping_timeout), (5, 15));
    assert!(joined.fast_publish && !joined.subscriber_primary);
    let info = joined.server_info.unwrap();
    assert_eq!((info.protocol, info.version.as_str()), (17, env!("CARGO_PKG_VERSION")));
    assert!(matches!(alice.next().await, Tell::RefreshToken(_)));

    let session = node.until(opened).await;
    let offered = |command: &Command| matches!(command, Command::Offer { id: 1, .. }).then_some(());
    node.until(offered).await;
    let (track, sid) = publish(&mut alice, &mut node, session).await;

    let mut bob = Client::join(&server, "lobby", "bob").await;
    let joined = bob.joined().await;
    assert_eq!(joined.other_participants[0].tracks[0].sid, sid);
    assert_eq!(joined.other_participants[0].tracks[0].mime_type, "video/VP8");
    let bob_session = node
        .until(|command| match command {
            Command::Subscribe(subscribe) if subscribe.track == track => Some(subscribe.session),
            _ => None,
        })
        .await;
    let slots = vec![Slot { mid: "3".into(), track }];
    let (id, sdp) = (1, "v=0 answer".to_owned());
    node.notice(ShardId(0), Notice::Answer { session: bob_session, id, sdp, slots }).await;
    let answer = bob
        .until(|message| match message {
            Tell::Answer(answer) => Some(answer),
            _ => None,
        })
        .await;
    assert_eq!(
        (answer.r#type.as_str(), answer.id, answer.sdp.as_str()),
        ("answer", 1, "v=0 answer")
    );
    assert_eq!(answer.mid_to_track_id["3"], sid);

    bob.ask(Ask::PingReq(proto::Ping { timestamp: 42, rtt: 0 })).await;
    let pong = |message| matches!(message, Tell::PongResp(pong) if pong.last_ping_timestamp == 42);
    bob.until(|message| pong(message).then_some(())).await;

    bob.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    assert_eq!(bob.closed().await.unwrap().code, CloseCode::Normal);
    let gone = |info: &proto::ParticipantInfo| {
        info.identity == "bob" && info.state == proto::participant_info::State::Disconnected as i32
    };
    alice
        .until(|message| match message {
            Tell::Update(update) => update.participants.iter().any(gone).then_some(()),
            _ => None,
        })
        .await;
    let closed = |command: &Command| match command {
        Command::CloseSession { session, .. } => Some(*session),
        _ => None,
    };
    assert_eq!(node.until(closed).await, bob_session);
}

#[tokio::test]
async fn a_broken_websocket_is_taken_up_again() {
    let server = Server::start().await;
    let mut node = Node::join(&server, 1, vec![]).await;
    let mut alice = Client::join(&server, "lobby", "alice").await;
    let me = alice.joined().await.participant.unwrap();
    let session = node.until(opened).await;
    let (_, sid) = publish(&mut alice, &mut node, session).await;
    // Without a closing handshake, as when a network goes.
    drop(alice);
    let mut again = Client::resume(&server, "lobby", "alice", &me.sid).await;
    assert!(matches!(again.next().await, Tell::Reconnect(_)));
    let Tell::Update(update) = again.next().await else { panic!() };
    assert_eq!(update.participants[0].sid, me.sid);
    assert_eq!(update.participants[0].tracks[0].sid, sid);

    let mut stranger = Client::resume(&server, "lobby", "alice", "PA_nobody").await;
    let Tell::Leave(leave) = stranger.next().await else { panic!() };
    assert_eq!(leave.action, proto::leave_request::Action::Reconnect as i32);
    assert_eq!(stranger.closed().await.unwrap().code, CloseCode::Normal);
}

#[tokio::test]
async fn the_next_process_takes_over_from_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("control"));
    let server = Server::run(config.clone()).await;
    let mut node = Node::join(&server, 1, vec![]).await;
    let mut alice = Client::join(&server, "lobby", "alice").await;
    let me = alice.joined().await.participant.unwrap();
    let (session, member) = node
        .until(|command| match command {
            Command::OpenSession(open) => Some((open.session, open.member)),
            _ => None,
        })
        .await;
    let (track, sid) = publish(&mut alice, &mut node, session).await;
    let mut memo = node.memo(member).await;
    while !String::from_utf8_lossy(&memo.bytes).contains(MID) {
        memo = node.memo(member).await;
    }
    server.stop().await;
    assert_eq!(alice.closed().await.unwrap().code, CloseCode::Restart);

    let server = Server::run(config).await;
    // The client comes first and waits for the node.
    let resuming = Client::resume(&server, "lobby", "alice", &me.sid);
    let (mut again, mut node) = tokio::join!(resuming, Node::join(&server, 1, vec![memo]));
    assert!(matches!(again.next().await, Tell::Reconnect(_)));
    let Tell::Update(update) = again.next().await else { panic!() };
    assert_eq!(update.participants[0].sid, me.sid);
    assert_eq!(update.participants[0].tracks[0].sid, sid);
    again.ask(Ask::Offer(proto::SessionDescription { id: 9, ..Default::default() })).await;
    let offered = |command: &Command| match command {
        Command::Offer { session, id: 9, .. } => Some(*session),
        _ => None,
    };
    assert_eq!(node.until(offered).await, session);
    let publishes = |(_, command): &(ShardId, Command)| match command {
        Command::Publish { track, client_id, .. } => Some((*track, client_id.clone())),
        _ => None,
    };
    let published: Vec<_> = node.commands.iter().filter_map(publishes).collect();
    assert_eq!(published, [(track, "cam".to_owned())], "the same, said again; nothing new");
}

#[tokio::test]
async fn each_breach_has_its_close_code() {
    let server = Server::start().await;
    let _node = Node::join(&server, 1, vec![]).await;
    let huge = Message::Binary(vec![0; SIGNAL_MESSAGE_MAX + 1].into());
    let garbage = Message::Binary(vec![0xff; 16].into());
    let text = Message::Text("{}".into());
    for (what, message, code) in [
        ("too long", huge, CloseCode::Size),
        ("garbage", garbage, CloseCode::Invalid),
        ("text", text, CloseCode::Unsupported),
    ] {
        let mut client = Client::join(&server, "lobby", what).await;
        client.raw(message).await;
        let close = client.closed().await.unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(close.code, code, "{what}");
        assert!(!close.reason.is_empty(), "{what}");
    }
    let mut flood = Client::join(&server, "lobby", "flood").await;
    for _ in 0..SIGNAL_RATE_BURST * 2 {
        flood.ask(Ask::Trickle(proto::TrickleRequest::default())).await;
    }
    assert_eq!(flood.closed().await.unwrap().code, CloseCode::Policy);
}

#[tokio::test]
async fn the_door_says_why_it_stays_shut() {
    let server = Server::start_with(|config| config.dev_page = false).await;
    let good = token("lobby", "alice");
    let join = first_join();
    let bad = format!("{}x", good);
    for (what, path, status) in [
        ("no token", "/rtc/v1/validate".to_owned(), 401),
        ("a bad token", path(&bad, &join).replace("/rtc/v1", "/rtc/v1/validate"), 401),
        ("a good one", path(&good, &join).replace("/rtc/v1", "/rtc/v1/validate"), 200),
        ("a good one on /rtc", format!("/rtc/validate?access_token={good}"), 200),
        ("another room", format!("/rtc/validate?access_token={good}&room=vault"), 401),
        ("no WebSocket", path(&good, &join), 400),
        ("no join request", format!("/rtc/v1?access_token={good}"), 400),
        ("a bad one", format!("/rtc/v1/validate?access_token={good}&join_request=%21"), 400),
        ("life", "/livez".to_owned(), 200),
        ("no node", "/readyz".to_owned(), 503),
        ("no page that mints", "/dev/token".to_owned(), 404),
    ] {
        let (found, body) = server.get(&path).await;
        assert_eq!(found, status, "{what}: {body}");
        assert!(!body.is_empty() || status == 404, "{what}");
        assert!(!body.contains(&good[good.len() - 20..]), "{what} repeats the token");
    }
    let _node = Node::join(&server, 1, vec![]).await;
    while server.get("/readyz").await.0 != 200 {
        tokio::task::yield_now().await;
    }
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("antipode_signal_refused_total{reason=\"token\"} 3"), "{metrics}");
}

#[tokio::test]
async fn what_node_and_signaling_use_is_told_under_the_usual_names() {
    let of = |cpu_us| ProcessStats { cpu_us, ..ProcessStats::default() };
    let server = Server::start_with(|config| {
        config.process = Some(|| ProcessStats { cpu_us: 500_000, ..ProcessStats::default() });
    })
    .await;
    let mut node = Node::join(&server, 1, vec![]).await;
    node.send(&ToSignal::ProcessStats(of(2_500_000))).await;
    let name = "process_cpu_seconds_total";
    let metrics = loop {
        let (_, metrics) = server.get("/metrics").await;
        if metrics.contains(&format!("{name}{{process=\"node\"")) {
            break metrics;
        }
        tokio::task::yield_now().await;
    };
    let sum = |sum: f64, line: &str| match line.strip_prefix(name) {
        Some(rest) => sum + rest.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("one"),
        None => sum,
    };
    assert_eq!(metrics.lines().fold(0.0, sum), 3.0, "{metrics}");
    drop(node);
    // A node that is gone uses nothing any more.
    while server.get("/metrics").await.1.contains("process=\"node\"") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn too_many_from_one_address_wait_outside() {
    let server = Server::start_with(|config| {
        config.admission.connects_per_s = 1;
        config.admission.connects_burst = 2;
    })
    .await;
    let path = format!("/rtc/validate?access_token={}", token("lobby", "alice"));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(server.get(&path).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(server.get("/livez").await.0, 200, "who watches over it is let in");
}

#[tokio::test]
async fn a_page_mints_its_token_in_development_and_for_itself_alone() {
    let server = Server::start().await;
    let _node = Node::join(&server, 1, vec![]).await;
    let ask = |extra: &str, body: &str| {
        format!(
            "POST /dev/token HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{extra}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let json = "content-type: application/json\r\n";
    let body = r#"{"room":"lobby","name":"alice"}"#;
    let (status, text) = server.ask(&ask(json, body)).await;
    assert_eq!(status, 200, "{text}");
    let token = text.split('"').nth(3).unwrap();
    let mut client = Client::open(&server, &path(token, &first_join())).await;
    let me = client.joined().await.participant.unwrap();
    assert!(me.identity.starts_with("alice-") && me.name == "alice", "{me:?}");

    let foreign = format!("{json}origin: http://evil.test\r\n");
    let own = format!("{json}origin: http://here\r\n");
    for (what, extra, body, want) in [
        ("its own page", own.as_str(), body, 200),
        ("another page", foreign.as_str(), body, 403),
        ("a plain form", "content-type: text/plain\r\n", body, 415),
        ("no name", json, r#"{"room":"lobby","name":""}"#, 400),
        ("more than asked for", json, r#"{"room":"a","name":"b","admin":true}"#, 422),
    ] {
        assert_eq!(server.ask(&ask(extra, body)).await.0, want, "{what}");
    }
}

#[tokio::test]
async fn a_node_must_prove_itself() {
    let server = Server::start().await;
    for (what, version, secret) in
        [("another secret", VERSION, &b"guess"[..]), ("another version", VERSION + 1, SECRET)]
    {
        let mut node = Node::introduce(&server, 1, version, secret).await;
        assert_eq!(node.read().await, None, "{what}");
    }
    assert_eq!(server.get("/readyz").await.0, 503);

    // Nobody unproven makes us hold a large frame.
    let mut stream = tokio::net::UnixStream::connect(&server.control).await.unwrap();
    stream.write_all(&(1u32 << 20).to_le_bytes()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap_or(0);
    assert!(rest.len() < 200, "a challenge, and then the end");
}

/// Time stands still until everybody waits, and then jumps: ten seconds take none.
#[tokio::test(start_paused = true)]
async fn one_who_sends_its_head_slowly_is_cut_off() {
    let server = Server::start().await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost: te").await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(slow.read_to_end(&mut rest).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_a_node_but_not_for_ever() {
    let server = Server::start().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        path(&token("lobby", "alice"), &first_join())
    );
    let (status, body) = server.ask(&request).await;
    assert_eq!((status, body.contains("node")), (503, true), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_but_keeps_its_place_for_a_while() {
    let server = Server::start().await;
    let mut node = Node::join(&server, 1, vec![]).await;
    let client = Client::join(&server, "lobby", "alice").await;
    node.until(opened).await;
    assert_eq!(client.closed().await.unwrap().code, CloseCode::Policy);
    let closed = |command: &Command| matches!(command, Command::CloseSession { .. }).then_some(());
    node.until(closed).await;
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_mend() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut second = config(folder.path().join("control"));
    second.bind = server.address;
    let serve = |config| {
        let (ready, _) = tokio::sync::oneshot::channel();
        antipode_signaling::serve(config, ready, std::future::pending())
    };
    let error = serve(second.clone()).await.unwrap_err().to_string();
    assert!(error.starts_with("bind: ") && error.contains("choose another"), "{error}");

    second.bind.set_port(0);
    second.control = antipode_signaling::ControlListen::Unix(server.control.clone());
    let error = serve(second).await.unwrap_err().to_string();
    assert!(error.starts_with("control: "), "{error}");
}
