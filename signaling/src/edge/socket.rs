//! One WebSocket, from its upgrade to the reason of its end.

use std::time::Duration;

use antipode_base::limits::SIGNAL_PING_TIMEOUT;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::decode::{self, Inbound};
use super::encode;
use crate::actor::{Ticket, ToSocket, read_clocks};
use crate::admission::{MessageRate, Refused};

/// How long a client may take for one of our messages, and for the last one.
const SEND_TIMEOUT: Duration = SIGNAL_PING_TIMEOUT;
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a WebSocket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed, or the connection broke: nobody is left to tell.
    Peer,
    /// Everything was said.
    Done,
    /// We are stopping.
    Stopping,
    /// A text frame: this protocol is binary.
    Text,
    /// The peer is at fault.
    Fault(Refused),
}

impl End {
    fn close(self) -> Option<CloseFrame> {
        // RFC 6455 §7.4.1.
        let (code, reason) = match self {
            End::Peer => return None,
            End::Done => (close_code::NORMAL, ""),
            End::Stopping => (close_code::RESTART, "the server is stopping"),
            End::Text => (close_code::UNSUPPORTED, "messages are binary here"),
            End::Fault(Refused::MessageTooLong) => (close_code::SIZE, "a message is too long"),
            End::Fault(Refused::BadMessage) => (close_code::INVALID, "a message does not parse"),
            End::Fault(Refused::TooManyMessages) => (close_code::POLICY, "too many messages"),
            End::Fault(Refused::SlowReader) => (close_code::POLICY, "the client reads too slowly"),
            End::Fault(Refused::Silent) => (close_code::POLICY, "the client fell silent"),
            End::Fault(_) => (close_code::POLICY, "refused"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }

    /// For the refusal counter.
    pub(crate) fn refused(self) -> Option<Refused> {
        match self {
            End::Fault(refused) => Some(refused),
            End::Text => Some(Refused::BadMessage),
            End::Peer | End::Done | End::Stopping => None,
        }
    }
}

/// Serves one WebSocket until its end; says whether the peer was at fault.
pub(crate) async fn serve(
    mut socket: WebSocket,
    mut ticket: Ticket,
    stop: CancellationToken,
) -> Option<Refused> {
    let end = talk(&mut socket, &mut ticket, &stop).await;
    tracing::debug!(client = ticket.client.0, ?end, "websocket ends");
    ticket.finish().await;
    if let Some(close) = end.close() {
        // The peer may be gone, or not reading: then there is nothing more to do for it.
        let _ = timeout(CLOSE_TIMEOUT, close_with(&mut socket, close)).await;
    }
    end.refused()
}

/// Sends the close frame and waits for the peer's, so that the connection is not reset under it.
async fn close_with(socket: &mut WebSocket, close: CloseFrame) {
    if socket.send(Message::Close(Some(close))).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

async fn talk(socket: &mut WebSocket, ticket: &mut Ticket, stop: &CancellationToken) -> End {
    let rate = MessageRate::new();
    let mut silent_at = Instant::now() + SIGNAL_PING_TIMEOUT;
    loop {
        let step = tokio::select! {
            // The actor stops by the same token and drops its ends: that it stops comes first.
            biased;
            () = stop.cancelled() => Err(End::Stopping),
            () = tokio::time::sleep_until(silent_at) => Err(End::Fault(Refused::Silent)),
            frame = ticket.frames.recv() => match frame {
                Some(ToSocket::Frame(bytes)) => send(socket, Message::Binary(bytes)).await,
                Some(ToSocket::Close) => Err(End::Done),
                None => Err(End::Fault(Refused::SlowReader)),
            },
            message = socket.recv() => {
                silent_at = Instant::now() + SIGNAL_PING_TIMEOUT;
                match message {
                    None => Err(End::Peer),
                    Some(Err(error)) => Err(end_of(&error)),
                    Some(Ok(_)) if !rate.check() => Err(End::Fault(Refused::TooManyMessages)),
                    Some(Ok(message)) => receive(socket, ticket, message).await,
                }
            }
        };
        if let Err(end) = step {
            return end;
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Peer),
        Err(_) => Err(End::Fault(Refused::SlowReader)),
    }
}

async fn receive(socket: &mut WebSocket, ticket: &Ticket, message: Message) -> Result<(), End> {
    let bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(_) => return Err(End::Text),
        Message::Close(_) => return Err(End::Peer),
        // The library answers pings itself.
        Message::Ping(_) | Message::Pong(_) => return Ok(()),
    };
    let now_ms = || read_clocks().unix_us / 1_000;
    match decode::frame(&bytes).map_err(|_| End::Fault(Refused::BadMessage))? {
        Inbound::Ping(_) => send(socket, Message::Binary(encode::pong(now_ms()))).await,
        Inbound::PingReq(client_ms) => {
            let pong = encode::pong_response(client_ms, now_ms());
            send(socket, Message::Binary(pong)).await
        }
        Inbound::Nothing(what) => {
            tracing::trace!(client = ticket.client.0, what, "message ignored");
            Ok(())
        }
        Inbound::Request(request) => {
            if ticket.request(request).await {
                Ok(())
            } else {
                Err(End::Stopping)
            }
        }
    }
}

/// What an error of the WebSocket library means.
fn end_of(error: &axum::Error) -> End {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<tungstenite::Error>() {
            return match error {
                tungstenite::Error::Capacity(_) => End::Fault(Refused::MessageTooLong),
                tungstenite::Error::Utf8(_) => End::Fault(Refused::BadMessage),
                _ => End::Peer,
            };
        }
        source = inner.source();
    }
    End::Peer
}
