//! WHIP (RFC 9725) for clients that publish, and WHEP, its mirror image, for those that watch: one
//! offer by POST, one answer, and a DELETE at the end. Nothing is trickled: our offers are complete.

use antipode_base::limits::BENCH_STEP_TIMEOUT;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Uri};
use tokio::sync::watch;
use tokio::time::Instant;

use super::http::{self, Server};
use super::{Member, Peers, Stage, Steps, bearer, told};
use crate::client::peer::{Publish, Wanted};
use crate::error::BenchError;
use crate::media::source::Source;

const SDP: &str = "application/sdp";

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
    let (bearer, server) = (bearer(stage, member)?, stage.server(member));
    let mut peers = Peers::default();
    let publishes = !member.publish.is_empty();
    let template = if publishes { &stage.whip_path } else { &stage.whep_path };
    let path =
        template.replace("{room}", &stage.room(member)).replace("{identity}", &member.identity);
    let way = if publishes { "tx" } else { "rx" };
    let name = format!("{}/{way}", member.identity);
    let peer = stage.crew.open(&name, stage.local(member)?).await?;
    let publish = member.publish.iter().enumerate().map(|(index, shape)| Publish {
        track: format!("{}-{index}", member.identity),
        source: Source::new(member.first_source + index as u32, stage.host, shape.clone()),
    });
    let receive = if member.subscribe { member.receive } else { [0, 0] };
    let offer =
        peer.offer(Wanted { publish: publish.collect(), receive, ..Wanted::default() }).await?;
    let (answer, resource) = post(server, &path, offer, &bearer).await?;
    let joined = async {
        peer.accept(answer).await?;
        peers.all.push(peer);
        stay(&mut peers, steps, stop).await
    };
    let ended = joined.await;
    // A resource that is left behind would keep the server busy until its own clock ends it.
    let deleted = delete(server, &resource, &bearer).await;
    ended.and(deleted)
}

async fn stay(
    peers: &mut Peers,
    steps: &mut Steps,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), BenchError> {
    let deadline = Instant::now() + BENCH_STEP_TIMEOUT;
    loop {
        tokio::select! {
            news = peers.news() => peers.take(news, steps).await?,
            () = told(stop) => return Ok(()),
            () = tokio::time::sleep_until(deadline), if !peers.stand() => {
                return Err(BenchError::Slow("ICE and DTLS of a client"));
            }
        }
    }
}

/// RFC 9725 §4.2: 201 with the answer, and the resource in Location. Returns both.
async fn post(
    server: &Server,
    path: &str,
    offer: String,
    bearer: &HeaderValue,
) -> Result<(String, String), BenchError> {
    const WANTED: &str = "WHIP or WHEP";
    let url = server.url(path);
    let foreign = |fault: &str| BenchError::Foreign {
        url: server.url(path),
        wanted: WANTED,
        fault: fault.to_owned(),
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", server.prefix))
        .header(CONTENT_TYPE, SDP)
        .header(AUTHORIZATION, bearer)
        .body(Full::new(Bytes::from(offer)))
        .map_err(|_| foreign("the path is none"))?;
    let answer = http::send(server, request, BENCH_STEP_TIMEOUT).await?;
    let status = answer.status().as_u16();
    http::expect_success(&url, WANTED, status, answer.body())?;
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    if status != 201 {
        return Err(foreign(&format!("it answers {status} where 201 is due")));
    }
    if !header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with(SDP)) {
        return Err(foreign("its answer is no application/sdp"));
    }
    let location = header(LOCATION).ok_or_else(|| foreign("its answer has no Location"))?;
    let resource = path_of(location).ok_or_else(|| foreign("its Location is no URL"))?;
    let sdp = String::from_utf8(answer.into_body().to_vec());
    Ok((sdp.map_err(|_| foreign("its answer is no text"))?, resource))
}

/// Location may be a whole URL or a path from the root; the resource is asked for at the same
/// server (RFC 9725 §4.2 leaves it the choice, and none of those that are compared moves it).
fn path_of(location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    Some(uri.path_and_query()?.as_str().to_owned()).filter(|path| path.starts_with('/'))
}

async fn delete(server: &Server, resource: &str, bearer: &HeaderValue) -> Result<(), BenchError> {
    let url = format!("http://{}{resource}", server.authority);
    let request = Request::builder()
        .method(Method::DELETE)
        .uri(resource)
        .header(AUTHORIZATION, bearer)
        .body(Full::new(Bytes::new()))
        .map_err(|_| BenchError::Description(format!("{resource} is no path")))?;
    let answer = http::send(server, request, BENCH_STEP_TIMEOUT).await?;
    let status = answer.status().as_u16();
    http::expect_success(&url, "an end by DELETE", status, answer.body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let rows = [
            ("/whip/a/1?x=2", Some("/whip/a/1?x=2")),
            ("http://host:80/whip/a/1", Some("/whip/a/1")),
            ("", None),
            ("a b", None),
        ];
        for (location, want) in rows {
            assert_eq!(path_of(location).as_deref(), want, "{location:?}");
        }
    }
}
