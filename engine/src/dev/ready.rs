//! Waits until both children are up together, and then prints the links.

use std::future::pending;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::run_dir::RunDir;
use crate::config::Config;
use crate::ending::Ending;
use crate::notify::HTTP_LINE;

/// Bytes of the longest notice of a child.
const NOTICE_MAX: usize = 4_096;
/// How often signaling is asked whether a node is there.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// After this long the log says that we still wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns only with an error: after the links are printed there is nothing left to do.
pub(super) async fn announce(
    notices: UnixDatagram,
    mut config: Config,
    dir: &RunDir,
    ready_tx: &watch::Sender<bool>,
) -> Result<(), Ending> {
    let http = http_address(&notices).await.map_err(Ending::failed)?;
    if config.signal.bind != http {
        // The kernel chose the port. A restarted child must come back on the same one.
        config.signal.bind = http;
        dir.write_config(&config).map_err(Ending::Failed)?;
    }
    let http = reachable(http);
    let asked = Instant::now();
    let mut told = false;
    while !is_ready(http).await {
        if !told && asked.elapsed() > PATIENCE {
            tracing::warn!("no node is ready yet: http://{http}/readyz says why");
            told = true;
        }
        sleep(ASK_EVERY).await;
    }
    ready_tx.send_replace(true);
    print_links(http).map_err(Ending::failed)?;
    pending().await
}

async fn http_address(notices: &UnixDatagram) -> io::Result<SocketAddr> {
    let mut buffer = [0; NOTICE_MAX];
    loop {
        let length = notices.recv(&mut buffer).await?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let line = text.lines().find_map(|line| line.strip_prefix(HTTP_LINE)?.parse().ok());
        if let Some(address) = line {
            return Ok(address);
        }
    }
}

/// A browser on this host cannot open "every address", but it can open loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip =
        if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

async fn is_ready(http: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(http).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; b"HTTP/1.1 200".len()];
        stream.read_exact(&mut status).await?;
        io::Result::Ok(&status == b"HTTP/1.1 200")
    };
    matches!(timeout(ANSWER_MAX, ask).await, Ok(Ok(true)))
}

fn print_links(http: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\nAntipode is ready. Open both links, in two tabs or two browsers:\n")?;
    for name in ["alice", "bob"] {
        writeln!(out, "  http://{http}/?room=lobby&name={name}&auto=1")?;
    }
    writeln!(out, "\nWithout a WebSocket, for OBS, ffmpeg and players (docs/whip.md):\n")?;
    writeln!(out, "  publish  http://{http}/whip?room=lobby")?;
    writeln!(out, "  watch    http://{http}/whep?room=lobby")?;
    writeln!(out, "\nCtrl-C ends it.")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_an_address_that_a_browser_can_open() {
        let rows = [
            ("0.0.0.0:7880", "127.0.0.1:7880"),
            ("[::]:7880", "127.0.0.1:7880"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:2", "[::1]:2"),
        ];
        for (bound, link) in rows {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), link);
        }
    }
}
