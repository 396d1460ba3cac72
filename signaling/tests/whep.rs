//! What WHEP has beyond WHIP: layers and events.

// Helpers of tests are not tests to the linter: without this they may not unwrap.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

// It serves tests with WebSockets too.
#[allow(dead_code)]
mod stage;

use stage::http::{JSON, Stage, parse};
use stage::token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
