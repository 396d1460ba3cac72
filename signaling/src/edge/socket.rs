//! One WebSocket, from its upgrade to the reason of its end.

use std::time::Duration;

use antipode_base::limits::{SIGNAL_FRAME_MAX, SIGNAL_PING_TIMEOUT};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_util::sync::CancellationToken;

use super::decode::{self, Inbound};
use super::encode;
use super::upgrade::Stream;
use crate::actor::{Ticket, ToSocket, read_clocks};
use crate::admission::{MessageRate, Refused};

/// How long a client may take for one of our messages, and for the last one.
const SEND_TIMEOUT: Duration = SIGNAL_PING_TIMEOUT;
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type WebSocket = WebSocketStream<Stream>;

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
            End::Done => (CloseCode::Normal, ""),
            End::Stopping => (CloseCode::Restart, "the server is stopping"),
            End::Text => (CloseCode::Unsupported, "messages are binary here"),
            End::Fault(Refused::MessageTooLong) => (CloseCode::Size, "a message is too long"),
            End::Fault(Refused::BadMessage) => (CloseCode::Invalid, "a message does not parse"),
            End::Fault(Refused::TooManyMessages) => (CloseCode::Policy, "too many messages"),
            End::Fault(Refused::SlowReader) => (CloseCode::Policy, "the client reads too slowly"),
            End::Fault(Refused::Silent) => (CloseCode::Policy, "the client fell silent"),
            End::Fault(_) => (CloseCode::Policy, "refused"),
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
        while let Some(Ok(_)) = socket.next().await {}
    }
}

async fn talk(socket: &mut WebSocket, ticket: &mut Ticket, stop: &CancellationToken) -> End {
    let rate = MessageRate::new();
    let mut silent_at = Instant::now() + SIGNAL_PING_TIMEOUT;
    let mut unsent = false;
    loop {
        let step = tokio::select! {
            // The actor stops by the same token and drops its ends: that it stops comes first.
            biased;
            () = stop.cancelled() => Err(End::Stopping),
            () = tokio::time::sleep_until(silent_at) => Err(End::Fault(Refused::Silent)),
            frame = ticket.frames.recv() => match frame {
                Some(ToSocket::Frame(bytes)) => send(socket, bytes).await,
                Some(ToSocket::Close) => Err(End::Done),
                None => Err(End::Fault(Refused::SlowReader)),
            },
            message = socket.next() => {
                silent_at = Instant::now() + SIGNAL_PING_TIMEOUT;
                match message {
                    None => Err(End::Peer),
                    Some(Err(error)) => Err(end_of(&error)),
                    Some(Ok(_)) if !rate.check() => Err(End::Fault(Refused::TooManyMessages)),
                    Some(Ok(message)) => receive(socket, ticket, message)
                        .await
                        .map(|answered| unsent |= answered),
                }
            }
            // Clients ping in two forms at once: what was asked together is answered together.
            () = std::future::ready(()), if unsent => {
                unsent = false;
                in_time(socket.flush()).await
            }
        };
        if let Err(end) = step {
            return end;
        }
    }
}

async fn send(socket: &mut WebSocket, message: Bytes) -> Result<(), End> {
    in_time(write(socket, message)).await
}

async fn in_time(sent: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    match timeout(SEND_TIMEOUT, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Peer),
        Err(_) => Err(End::Fault(Refused::SlowReader)),
    }
}

/// A binary message, in as many frames as it needs (RFC 6455 §5.4): the answer to a join names all who are
/// there, and the library keeps as much memory as its longest frame took for as long as the client stays.
async fn write<S>(socket: &mut WebSocketStream<S>, mut message: Bytes) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut kind = Data::Binary;
    while message.len() > SIGNAL_FRAME_MAX {
        let part = message.split_to(SIGNAL_FRAME_MAX);
        socket.send(Message::Frame(Frame::message(part, OpCode::Data(kind), false))).await?;
        kind = Data::Continue;
    }
    socket.send(Message::Frame(Frame::message(message, OpCode::Data(kind), true))).await
}

/// Returns whether there is an answer in the socket's buffer.
async fn receive(socket: &mut WebSocket, ticket: &Ticket, message: Message) -> Result<bool, End> {
    let bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(_) => return Err(End::Text),
        Message::Close(_) => return Err(End::Peer),
        // The library answers pings itself, and puts frames together.
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(false),
    };
    let now_ms = || read_clocks().unix_us / 1_000;
    match decode::frame(&bytes).map_err(|_| End::Fault(Refused::BadMessage))? {
        Inbound::Ping(_) => answer(socket, encode::pong(now_ms())).await,
        Inbound::PingReq(client_ms) => {
            answer(socket, encode::pong_response(client_ms, now_ms())).await
        }
        Inbound::Nothing(what) => {
            tracing::trace!(client = ticket.client.0, what, "message ignored");
            Ok(false)
        }
        Inbound::Request(request) => {
            if ticket.request(request).await {
                Ok(false)
            } else {
                Err(End::Stopping)
            }
        }
    }
}

/// Leaves it in the socket's buffer, as long as there is room ([`super::upgrade::config`]).
async fn answer<S>(socket: &mut WebSocketStream<S>, pong: Bytes) -> Result<bool, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = Frame::message(pong, OpCode::Data(Data::Binary), true);
    in_time(socket.feed(Message::Frame(frame))).await.map(|()| true)
}

/// What an error of the WebSocket library means.
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Fault(Refused::MessageTooLong),
        Error::Utf8(_) => End::Fault(Refused::BadMessage),
        _ => End::Peer,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::super::upgrade::config;
    use super::*;

    /// What a message of `len` bytes is on the wire.
    async fn on_the_wire(len: usize) -> Vec<u8> {
        let (ours, mut theirs) = duplex(64 * 1024);
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, Some(config())).await;
        write(&mut socket, vec![7; len].into()).await.unwrap();
        drop(socket);
        let mut wire = Vec::new();
        theirs.read_to_end(&mut wire).await.unwrap();
        wire
    }

    #[tokio::test]
    async fn a_short_message_is_one_frame() {
        assert_eq!(on_the_wire(3).await, [0x82, 3, 7, 7, 7]);
        assert_eq!(on_the_wire(0).await, [0x82, 0]);
        let longest = on_the_wire(SIGNAL_FRAME_MAX).await;
        assert_eq!(longest[..4], [0x82, 126, 0x10, 0]);
        assert_eq!(longest.len(), 4 + SIGNAL_FRAME_MAX);
    }

    #[tokio::test]
    async fn a_long_message_is_several_and_the_last_says_so() {
        let wire = on_the_wire(2 * SIGNAL_FRAME_MAX + 1).await;
        let frame = 4 + SIGNAL_FRAME_MAX;
        assert_eq!(wire[..4], [0x02, 126, 0x10, 0], "binary, and more follows");
        assert_eq!(wire[frame..frame + 4], [0x00, 126, 0x10, 0], "more of it");
        assert_eq!(wire[2 * frame..], [0x80, 1, 7], "the end of it");
    }

    #[tokio::test]
    async fn answers_to_both_pings_leave_together() {
        let (ours, mut theirs) = duplex(1_024);
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, Some(config())).await;
        let now_ms = 1_796_000_000_000;
        let pongs = [encode::pong(now_ms), encode::pong_response(now_ms - 20, now_ms)];
        for pong in &pongs {
            assert_eq!(answer(&mut socket, pong.clone()).await, Ok(true));
        }
        let mut wire = [0; 128];
        assert!(poll!(Box::pin(theirs.read(&mut wire))).is_pending(), "they wait for each other");
        in_time(socket.flush()).await.unwrap();
        let read = theirs.read(&mut wire).await.unwrap();
        let frame = |pong: &Bytes| [&[0x82, pong.len() as u8], &pong[..]].concat();
        assert_eq!(wire[..read], pongs.each_ref().map(frame).concat());
    }

    #[tokio::test]
    async fn a_long_message_arrives_as_one() {
        let (ours, theirs) = duplex(1_024);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, Some(config())).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let said: Bytes = (0..100_000_u32).map(|i| i as u8).collect();
        let (sent, heard) = tokio::join!(write(&mut server, said.clone()), client.next());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), Message::Binary(said));
    }
}
