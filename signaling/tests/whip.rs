//! WHIP (RFC 9725) and WHEP from outside: each status and header that the documents ask for, over real
//! sockets, with a node that answers as a shard does but has no media.

// Helpers of tests are not tests to the linter: without this they may not unwrap.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

// It serves tests with WebSockets too.
#[path = "stage/http.rs"]
mod http;
#[allow(dead_code)]
mod stage;

use std::time::{SystemTime, UNIX_EPOCH};

use antipode_base::command::{Command, Role};
use antipode_base::limits::{HTTP_FRAGMENT_MAX, HTTP_OFFER_MAX, HTTP_PATCHES_BURST};
use antipode_signaling::token::{TokenRequest, mint};
use antipode_signaling::{ApiKey, IceConfig};
use http::*;
use stage::{Server, key, token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn token_that(change: impl FnOnce(&mut TokenRequest)) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut request = TokenRequest::new("lobby", "studio", now, 600);
    change(&mut request);
    mint(&key(), &request)
}

/// RFC 9725 §4.2, §4.3.2, §4.4.1: the answer to an offer.
#[tokio::test]
async fn a_post_makes_a_session() {
    let mut stage = Stage::new().await;
    let answer = stage.post("/whip/lobby", &token("lobby", "studio"), OFFER).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), SDP);
    let location = answer.header("location");
    let id = location.strip_prefix("/whip/lobby/").expect(location);
    assert!(id.len() >= 22 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(answer.header("etag"), "\"00own1\"", "a strong tag of the ICE session");
    assert_eq!(answer.header("accept-patch"), FRAGMENT);
    assert!(answer.body.starts_with("v=0\r\n") && answer.body.contains("a=candidate:"));
    assert_eq!(answer.body.matches("a=rtcp-mux-only\r\n").count(), 2, "in each section");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let exposed = answer.header("access-control-expose-headers");
    for name in ["Location", "ETag", "Link", "Accept-Patch", "Retry-After"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let mut seen = Vec::new();
    while let Ok(command) = stage.commands.try_recv() {
        seen.push(command);
    }
    let opened = |role| seen.iter().any(|c| matches!(c, Command::OpenSession(o) if o.role == role));
    assert!(opened(Role::Publish), "{seen:?}");
    let published = seen.iter().filter(|c| matches!(c, Command::Publish { .. })).count();
    assert_eq!(published, 2);
}

/// RFC 9725 §4.2: other types and malformed offers.
#[tokio::test]
async fn an_offer_that_is_none_is_refused() {
    let stage = Stage::new().await;
    let bearer = format!("Bearer {}", token("lobby", "studio"));
    for (kind, body, status, says) in [
        (Some("text/plain"), OFFER, 415, "application/sdp"),
        (None, OFFER, 415, "application/sdp"),
        (Some(SDP), "", 400, "line 1"),
        (Some(SDP), "hello", 400, "line 1"),
        (Some(SDP), &OFFER.replace("m=video 9", "m=video x"), 400, "line 13"),
        (Some(SDP), &OFFER.replace("sendonly", "recvonly"), 400, "sendonly"),
        (Some(SDP), &OFFER.replace("a=ice-pwd", "a=pwd"), 400, "a=ice-pwd"),
        (Some(SDP), &OFFER.replace("opus", "speex"), 422, "line 9"),
        (Some(SDP), &OFFER.replace("opus", "speex").replace("VP8", "theora"), 406, "line 9"),
        (Some(SDP), &"v".repeat(HTTP_OFFER_MAX + 1), 413, "longer"),
    ] {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(kind.map(|kind| ("content-type", kind)));
        let answer = stage.ask("POST", "/whip/lobby", &headers, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.detail().contains(says), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    // 406 would promise players an offer of ours.
    let player = OFFER.replace("sendonly", "recvonly").replace("opus", "speex");
    let player = player.replace("VP8", "theora");
    let answer = stage.post("/whep/lobby", &token("lobby", "wall"), &player).await;
    assert_eq!(answer.status, 422);
    let (_, metrics) = stage.server.get("/metrics").await;
    for line in ["antipode_signal_members 0", "antipode_signal_refused_total{reason=\"type\"} 2"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
}

/// RFC 9725 §4.7 and RFC 6750 §3.
#[tokio::test]
async fn a_token_is_needed_and_must_grant_it() {
    let stage = Stage::new().await;
    let answer = stage.ask("POST", "/whip/lobby", &[("content-type", SDP)], OFFER).await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, "Bearer realm=\"antipode\"")
    );
    let foreign = ApiKey { key: "devkey".into(), secret: "another".into() };
    let forged = mint(&foreign, &TokenRequest::new("lobby", "studio", 0, u64::MAX / 2));
    let expired = token_that(|request| request.expires_s -= 10_000);
    for bad in [forged.as_str(), &expired, "nonsense"] {
        let answer = stage.post("/whip/lobby", bad, OFFER).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        assert!(!answer.body.contains(bad), "no part of a token is repeated");
    }
    let mute = token_that(|request| request.permissions.publish = false);
    let blind = token_that(|request| request.permissions.subscribe = false);
    let other = token("vault", "studio");
    let none = token("", "studio");
    let player = OFFER.replace("sendonly", "recvonly");
    for (path, token, offer) in [
        ("/whip/lobby", &mute, OFFER),
        ("/whep/lobby", &blind, &player),
        ("/whip/lobby", &other, OFFER),
        ("/whip/v1", &none, OFFER),
    ] {
        let answer = stage.post(path, token, offer).await;
        assert_eq!(answer.status, 403, "{path} {answer:?}");
    }
    let answer = stage.post("/whip/v1", &token("lobby", "studio"), OFFER).await;
    assert_eq!(answer.status, 201);
    assert!(answer.header("location").starts_with("/whip/lobby/"), "{answer:?}");
    let path = format!("/whip/lobby?access_token={}", token("lobby", "studio"));
    let answer = stage.ask("POST", &path, &[("content-type", SDP)], OFFER).await;
    assert_eq!(answer.status, 201, "for players that cannot send headers");
    assert!(!answer.header("location").contains("access_token"));
}

/// RFC 9725 §4.1 and §4.2: GET, HEAD, OPTIONS, and what there is not.
#[tokio::test]
async fn the_other_methods() {
    let stage = Stage::new().await;
    let (session, _) = stage.publish().await;
    let player = stage.play().await.header("location").to_owned();
    for (method, path, status) in [
        ("GET", "/whip/lobby", 204),
        ("GET", session.as_str(), 204),
        ("GET", player.as_str(), 204),
        ("GET", "/whep/lobby", 200),
        ("HEAD", "/whep/lobby", 200),
    ] {
        let answer = stage.on(method, path, &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{method} {path}");
    }
    let head = stage.ask("HEAD", "/whep/lobby", &[], "").await;
    assert_eq!(head.header("content-type"), SDP, "by which players know an endpoint");
    for (path, methods) in [
        ("/whip/lobby", "GET, HEAD, OPTIONS, POST"),
        (&session, "DELETE, GET, HEAD, OPTIONS, PATCH"),
        (&player, "DELETE, GET, HEAD, OPTIONS, PATCH, POST"),
        (&format!("{player}/layers"), "OPTIONS, POST"),
    ] {
        let preflight = [("origin", "https://a.test"), ("access-control-request-method", "POST")];
        let answer = stage.ask("OPTIONS", path, &preflight, "").await;
        assert_eq!(answer.status, 200, "without a token");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-methods"), methods);
        let allowed = answer.header("access-control-allow-headers");
        assert!(["Authorization", "Content-Type", "If-Match"].iter().all(|h| allowed.contains(h)));
        let posts = if methods.contains("POST") { SDP } else { "" };
        assert_eq!(answer.header("accept-post"), posts);
        assert_eq!(answer.all("link"), Vec::<&str>::new(), "no ICE servers without a token");
        let answer = stage.on("PUT", path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, methods), "{path}");
    }
}

/// RFC 9725 §4.3.1 and §4.3.2.
#[tokio::test]
async fn candidates_are_taken_with_their_tag() {
    let stage = Stage::new().await;
    let (session, tag) = stage.publish().await;
    let kind = ("content-type", FRAGMENT);
    for (more, body, status) in [
        (vec![kind, ("if-match", &*tag)], SAME, 204),
        (vec![kind, ("if-match", "*")], SAME, 204),
        (vec![kind], SAME, 428),
        (vec![kind, ("if-match", "\"other\"")], SAME, 412),
        (vec![("content-type", SDP), ("if-match", &*tag)], SAME, 415),
        (vec![("if-match", &*tag)], SAME, 415),
        (vec![kind, ("if-match", &*tag)], "hello", 400),
        (vec![kind, ("if-match", &*tag)], &"a".repeat(HTTP_FRAGMENT_MAX + 1), 413),
    ] {
        let answer = stage.on("PATCH", &session, &more, body).await;
        assert_eq!(answer.status, status, "{more:?} {answer:?}");
        assert_eq!(answer.header("etag"), "");
        if status == 204 {
            assert_eq!(answer.body, "");
        } else {
            answer.detail();
        }
    }
    let strange = SAME.replace("udp", "carrier-pigeon").replace("192.0.2.1", "nobody.invalid");
    let answer = stage.on("PATCH", &session, &[kind, ("if-match", &tag)], &strange).await;
    assert_eq!(answer.status, 204, "a candidate that nobody can use is no error");
}

/// RFC 9725 §4.3.3.
#[tokio::test]
async fn other_credentials_restart_ice() {
    let stage = Stage::new().await;
    let (session, tag) = stage.publish().await;
    let fresh = SAME.replace("abcd", "efgh");
    let kind = ("content-type", FRAGMENT);
    let answer = stage.on("PATCH", &session, &[kind, ("if-match", "\"*\"")], &fresh).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, FRAGMENT));
    assert_eq!(answer.header("etag"), "\"00own2\"");
    assert!(!answer.header("etag").is_empty() && answer.header("etag") != tag);
    assert_eq!(
        answer.body,
        "a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
         a=ice-ufrag:00own2\r\na=ice-pwd:our-own-password\r\n\
         a=candidate:1 1 udp 1 192.0.2.7 7882 typ host\r\na=end-of-candidates\r\n"
    );
    let stale = stage.on("PATCH", &session, &[kind, ("if-match", &tag)], &fresh).await;
    assert_eq!(stale.status, 412, "the first ICE session is over");
    let again = stage.on("PATCH", &session, &[kind, ("if-match", "\"00own2\"")], &fresh).await;
    assert_eq!(again.status, 204, "these are the credentials of now");
}

/// RFC 9725 §4.2: DELETE; and what is not there.
#[tokio::test]
async fn a_session_ends_once() {
    let stage = Stage::new().await;
    let (session, _) = stage.publish().await;
    let mallory = format!("Bearer {}", token("lobby", "mallory"));
    let answer = stage.ask("DELETE", &session, &[("authorization", &mallory)], "").await;
    assert_eq!(answer.status, 404, "it is somebody else's, which nobody is told");
    assert_eq!(stage.ask("DELETE", &session, &[], "").await.status, 401);
    // Its token's time is over, but it was let in; and a tag does not matter here.
    let old = format!("Bearer {}", token_that(|request| request.expires_s -= 10_000));
    let more = [("authorization", old.as_str()), ("if-match", "\"other\"")];
    assert_eq!(stage.ask("DELETE", &session, &more, "").await.status, 200);
    let kind = ("content-type", FRAGMENT);
    let unknown = "/whip/lobby/0123456789abcdefghijkl";
    let mut bodies = Vec::new();
    for path in [session.as_str(), unknown] {
        for (method, more) in [("DELETE", vec![]), ("GET", vec![]), ("PATCH", vec![kind])] {
            let answer = stage.on(method, path, &more, SAME).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            bodies.push(answer.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "nothing tells that it ever was");
}

/// RFC 9725 §4.5.
#[tokio::test]
async fn whoever_finds_no_room_is_told_where_or_when() {
    let bearer = format!("Bearer {}", token("lobby", "studio"));
    let headers = [("authorization", bearer.as_str()), ("content-type", SDP)];
    let alone = Server::start().await;
    let elsewhere = Some("https://two.test".to_owned());
    let one = Server::start_with(|config| config.whip_redirect = elsewhere).await;
    let path = "/whep/lobby?audio=none&x=y";
    let player = OFFER.replace("sendonly", "recvonly");
    // Both wait for a node as long as a join does.
    let (later, answer) = tokio::join!(
        exchange(&alone, "POST", "/whip/lobby", &headers, OFFER),
        exchange(&one, "POST", path, &headers, &player),
    );
    assert_eq!(later.status, 503, "no node came in time");
    assert!(later.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(answer.status, 307, "not 301 or 302, by which a POST becomes a GET");
    assert_eq!(answer.header("location"), "https://two.test/whep/lobby?audio=none&x=y");
}

/// RFC 9725 §4.6.
#[tokio::test]
async fn ice_servers_are_links() {
    let server = Server::start_with(|config| {
        config.ice = IceConfig {
            stun: vec!["stun:stun.test".into()],
            turn: vec!["turn:turn.test?transport=tcp".into()],
            turn_secret: b"north".to_vec(),
            turn_ttl: std::time::Duration::from_secs(60),
        };
    });
    let stage = Stage::of(server.await).await;
    let answer = stage.post("/whip/lobby", &token("lobby", "studio"), OFFER).await;
    let links = answer.all("link");
    assert_eq!(links[0], "<stun:stun.test>; rel=\"ice-server\"");
    assert!(
        links[1].starts_with("<turn:turn.test?transport=tcp>; rel=\"ice-server\"; username=\"")
    );
    assert!(
        links[1].contains("; credential=\"") && links[1].ends_with("credential-type=\"password\"")
    );
}

#[tokio::test]
async fn a_flood_of_patches_is_slowed() {
    let stage = Stage::new().await;
    let (session, tag) = stage.publish().await;
    let more = [("content-type", FRAGMENT), ("if-match", tag.as_str())];
    let mut slowed = None;
    for _ in 0..HTTP_PATCHES_BURST * 4 {
        let answer = stage.on("PATCH", &session, &more, SAME).await;
        if answer.status != 204 {
            slowed = Some(answer);
            break;
        }
    }
    let slowed = slowed.expect("it is never slowed");
    assert_eq!(slowed.status, 429);
    assert!(!slowed.header("retry-after").is_empty());
}

/// The extensions of WHEP.
#[tokio::test]
async fn a_player_has_layers_and_events() {
    let stage = Stage::new().await;
    let answer = stage.play().await;
    let at = answer.header("location").to_owned();
    let links = answer.all("link");
    let core = "urn:ietf:params:whep:ext:core";
    assert_eq!(links[0], format!("<{at}/layers>; rel=\"{core}:layer\""));
    let events = "events=\"active,inactive,layers,viewercount\"";
    assert_eq!(links[1], format!("<{at}/events>; rel=\"{core}:server-sent-events\"; {events}"));

    let layers = format!("{at}/layers");
    let json = ("content-type", JSON);
    for (more, body, status) in [
        (vec![json], "{}", 200),
        (vec![json], "{\"mediaId\":\"1\",\"rid\":\"q\"}", 200),
        (vec![json], "{\"encodingId\":7}", 400),
        (vec![json], "nonsense", 400),
        (vec![], "{}", 415),
    ] {
        assert_eq!(stage.on("POST", &layers, &more, body).await.status, status, "{body}");
    }
    let events = format!("{at}/events");
    let answer = stage.on("POST", &events, &[json], "[\"layers\"]").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, &*format!("{events}?events=layers"))
    );
    assert_eq!(stage.on("POST", &events, &[json], "[\"weather\"]").await.status, 400);
    assert_eq!(stage.on("POST", &events, &[json], "{}").await.status, 400);
    let (whip, _) = stage.publish().await;
    let wrong = whip.replace("/whip/", "/whep/");
    for rest in ["/layers", "/events"] {
        let answer = stage.on("POST", &format!("{wrong}{rest}"), &[json], "").await;
        assert!([400, 404].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(stage.on("GET", &format!("{wrong}/events"), &[], "").await.status, 404);
    assert_eq!(stage.on("DELETE", &at, &[], "").await.status, 200);
    assert_eq!(stage.on("GET", &events, &[], "").await.status, 404);
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_with_the_player() {
    let stage = Stage::new().await;
    let at = stage.play().await.header("location").to_owned();
    let token = token("lobby", "wall");
    let mut stream = TcpStream::connect(stage.server.address).await.unwrap();
    let request = format!(
        "GET {at}/events?access_token={token} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("event: viewercount") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let head = parse(&text);
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert!(text.contains("event: layers\ndata: {\"1\":[]}\n\n"), "{text}");
    assert!(!text.contains("event: inactive") && !text.contains("event: active"), "{text}");
    assert_eq!(stage.on("DELETE", &at, &[], "").await.status, 200);
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "it ends in order: {text}");
}
