//! The server API over real sockets: who is removed is gone, and does not come back with the token of
//! before.

// Helpers of tests are not tests to the linter: without this they may not unwrap.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "stage/http.rs"]
// It serves other tests too.
#[allow(dead_code)]
mod http;
#[allow(dead_code)]
mod stage;

use std::time::{SystemTime, UNIX_EPOCH};

use antipode_signaling::token::{TokenRequest, mint};
use http::{Answer, Stage};
use stage::{key, token};

const REMOVE: &str = "/twirp/livekit.RoomService/RemoveParticipant";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn backend(room: &str, admin: bool) -> String {
    // Server libraries sign without an identity.
    let mut request = TokenRequest::new(room, "", now_s(), 60);
    request.permissions.admin = admin;
    mint(&key(), &request)
}

async fn remove(stage: &Stage, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    stage.ask("POST", REMOVE, &headers, body).await
}

#[tokio::test]
async fn a_removed_publisher_is_gone_and_its_token_with_it() {
    let stage = Stage::new().await;
    let (publisher, _) = stage.publish().await;
    let player = stage.play().await;
    let player = player.header("location");
    let studio = r#"{"room":"lobby","identity":"studio"}"#;
    for (token, status) in [
        (String::new(), 401),
        (backend("lobby", false), 403),
        (backend("other", true), 403),
        (token("lobby", "studio"), 403),
    ] {
        let answer = remove(&stage, &token, studio).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(stage.on("GET", &publisher, &[], "").await.status, 204, "nothing happened");
    }
    let answer = remove(&stage, &backend("lobby", true), studio).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{answer:?}");
    assert_eq!(stage.on("DELETE", &publisher, &[], "").await.status, 404);
    assert_eq!(stage.on("GET", player, &[], "").await.status, 204, "another one stays");

    let again = stage.post("/whip/lobby", &token("lobby", "studio"), http::OFFER).await;
    assert_eq!(again.status, 401, "{again:?}");
    assert!(again.detail().contains("revoked"), "{again:?}");
    // Signed later than what was revoked, by a clock within the usual tolerance.
    let mut request = TokenRequest::new("lobby", "studio", now_s() + 60, 600);
    request.permissions.publish = true;
    let later = stage.post("/whip/lobby", &mint(&key(), &request), http::OFFER).await;
    assert_eq!(later.status, 201, "{later:?}");

    let answer =
        remove(&stage, &backend("lobby", true), r#"{"room":"lobby","identity":"x"}"#).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.body.contains("not_found"), "{answer:?}");
}

#[tokio::test]
async fn all_players_of_a_token_go() {
    let stage = Stage::new().await;
    let players = [stage.play().await, stage.play().await];
    let wall = r#"{"room":"lobby","identity":"wall"}"#;
    assert_eq!(remove(&stage, &backend("lobby", true), wall).await.status, 200);
    for player in players {
        let answer = stage.on("DELETE", player.header("location"), &[], "").await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}
