//! DTLS by OpenSSL, for peers whose certificate has an RSA key.
//!
//! Everybody else's DTLS is str0m's own, which knows elliptic curves alone: every browser makes such
//! keys, as RFC 8827 §6.5 asks. GStreamer's and some cameras' are of RSA. Our certificate is the same for
//! both kinds of peers. An association here takes about 65 KiB, 50 more than str0m's own.
//!
//! Trap: OpenSSL repeats lost flights by its own clock, the operating system's. It looks at the clock
//! when it is called, so [`Instance::handle_timeout`] calls it now and then as long as a handshake lasts.
//! No session whose time is simulated may have this DTLS.
//!
//! Who comes here has shown the password of its session by STUN, and nothing more. So whatever OpenSSL
//! would keep of its datagrams is bounded before ([`Gate`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use antipode_base::limits::{
    DATAGRAM_MAX, DTLS_HANDSHAKE_DATAGRAMS_MAX, DTLS_HANDSHAKE_SEALED_MAX, DTLS_MESSAGE_MAX,
    DTLS_OUTGOING_MAX,
};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};

/// Forward secrecy and authenticated ciphers. The server's key decides between the two kinds: ours is of
/// an elliptic curve, a peer's may be of RSA.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                       ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
                       ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
const GROUPS: &str = "X25519:P-256:P-384";
/// What a peer's certificate may sign with.
const SIGNATURES: &str = "ECDSA+SHA256:RSA+SHA256:RSA-PSS+SHA256:\
                          ECDSA+SHA384:RSA+SHA384:RSA-PSS+SHA384:\
                          ECDSA+SHA512:RSA+SHA512:RSA-PSS+SHA512";
/// RFC 7714 and RFC 5764 §4.1.2, the best first.
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";
/// Content types (RFC 5246 §6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// How often OpenSSL may look at its clock. It waits for a second first, then for twice as long each time
/// (RFC 6347 §4.2.4.1).
const LOOK: Duration = Duration::from_millis(250);
/// Nothing is due.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

thread_local! {
    /// Settings and parsed keys of one certificate, for all sessions that show it: a shard has one.
    static SHARED: RefCell<Option<(Vec<u8>, SslContext)>> = const { RefCell::new(None) };
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct OpenSsl;

impl DtlsProvider for OpenSsl {
    /// It is given one.
    fn generate_certificate(&self) -> Option<DtlsCert> {
        None
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        if version == DtlsVersion::Dtls12 {
            match Instance::new(cert, now, mtu) {
                Ok(instance) => return Ok(Box::new(instance)),
                // A setting of the machine's (openssl.cnf) may forbid what we need.
                Err(error) => tracing::error!(%error, "no OpenSSL: peers with RSA cannot connect"),
            }
        }
        super::curves::provider().dtls_provider.new_dtls(cert, now, version, mtu)
    }
}

fn shared(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    SHARED.with_borrow_mut(|shared| {
        if let Some((_, context)) = shared.as_ref().filter(|(of, _)| *of == cert.certificate) {
            return Ok(context.clone());
        }
        let context = context(cert)?;
        *shared = Some((cert.certificate.clone(), context.clone()));
        Ok(context)
    })
}

fn context(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::dtls())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    context.set_groups_list(GROUPS)?;
    context.set_sigalgs_list(SIGNATURES)?;
    context.set_tlsext_use_srtp(SRTP_PROFILES)?;
    // Each must show a certificate. Whose it is, str0m finds out by the fingerprint in the description
    // (RFC 8122 §6); who signed it says nothing.
    let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    context.set_verify_callback(mode, |_, _| true);
    context.set_private_key(&*PKey::private_key_from_der(&cert.private_key)?)?;
    context.set_certificate(&*X509::from_der(&cert.certificate)?)?;
    context.set_options(
        SslOptions::NO_QUERY_MTU
            | SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    // 6 KiB of each session, which lies idle after its handshake.
    context.set_mode(SslMode::RELEASE_BUFFERS);
    Ok(context.build())
}

/// What OpenSSL takes for its socket: one datagram in, some out.
#[derive(Default)]
struct Wire {
    /// Empty: there is none.
    incoming: Vec<u8>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Wire {
    /// One datagram, whole or cut, as from a socket.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.incoming.len().min(buf.len());
        buf[..length].copy_from_slice(&self.incoming[..length]);
        self.incoming.clear();
        Ok(length)
    }
}

impl Write for Wire {
    /// What does not fit is lost, as on any path.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < DTLS_OUTGOING_MAX {
            self.outgoing.push_back(buf.to_vec());
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What may reach OpenSSL before the peer is known. It keeps pieces of messages, and sealed records that
/// it cannot open yet, for when their time comes.
struct Gate {
    datagrams_left: usize,
    sealed_left: usize,
}

impl Gate {
    fn new() -> Self {
        Gate {
            datagrams_left: DTLS_HANDSHAKE_DATAGRAMS_MAX,
            sealed_left: DTLS_HANDSHAKE_SEALED_MAX,
        }
    }

    /// What a handshake may take of a datagram: the records before the first that is broken, or is none
    /// of a handshake. Data may come along with a peer's last message; it is sent again.
    ///
    /// A record (RFC 6347 §4.1) and the messages in it (§4.2.2) are
    ///
    /// ```text
    ///  type(1) version(2) epoch(2) number(6) length(2) | type(1) size(3) seq(2) at(3) length(3) piece | ...
    /// ```
    fn admit<'a>(&mut self, datagram: &'a [u8]) -> &'a [u8] {
        let Some(left) = self.datagrams_left.checked_sub(1) else { return &[] };
        self.datagrams_left = left;
        let mut rest = datagram;
        while let Some((head, after)) = rest.split_at_checked(13) {
            let length = usize::from(u16::from_be_bytes([head[11], head[12]]));
            let Some((body, after)) = after.split_at_checked(length) else { break };
            let sealed = head[3..5] != [0, 0];
            let good = match head[0] {
                CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE if sealed => self.admit_sealed(),
                CHANGE_CIPHER_SPEC | ALERT => true,
                HANDSHAKE => admits_messages(body),
                _ => false,
            };
            if !good {
                break;
            }
            rest = after;
        }
        &datagram[..datagram.len() - rest.len()]
    }

    fn admit_sealed(&mut self) -> bool {
        let left = self.sealed_left.checked_sub(1);
        self.sealed_left = left.unwrap_or(0);
        left.is_some()
    }
}

/// Whether a record has whole pieces of messages, and none of a message above [`DTLS_MESSAGE_MAX`].
fn admits_messages(mut record: &[u8]) -> bool {
    while let Some((head, after)) = record.split_at_checked(12) {
        let number = |at: usize| u32::from_be_bytes([0, head[at], head[at + 1], head[at + 2]]);
        let (size, length) = (number(1) as usize, number(9) as usize);
        if size > DTLS_MESSAGE_MAX || length > after.len() {
            return false;
        }
        record = &after[length..];
    }
    record.is_empty()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// Our close_notify went out, or there was no need for one.
    Closed,
    /// Nothing will come of it.
    Failed,
}

enum Event {
    PeerCert(Vec<u8>),
    Connected,
    Keys(KeyingMaterial, SrtpProfile),
    Data(Vec<u8>),
    CloseNotify,
}

/// One DTLS association.
struct Instance {
    stream: SslStream<Wire>,
    gate: Gate,
    active: bool,
    phase: Phase,
    /// The peer's close_notify came.
    closing: bool,
    events: VecDeque<Event>,
    now: Instant,
    look_at: Instant,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    fn new(cert: &DtlsCert, now: Instant, mtu: Option<usize>) -> Result<Self, ErrorStack> {
        let mut ssl = Ssl::new(&*shared(cert)?)?;
        if let Some(mtu) = mtu.and_then(|mtu| u32::try_from(mtu).ok()) {
            ssl.set_mtu(mtu)?;
        }
        Ok(Instance {
            stream: SslStream::new(ssl, Wire::default())?,
            gate: Gate::new(),
            active: false,
            phase: Phase::Handshake,
            closing: false,
            events: VecDeque::new(),
            now,
            look_at: now,
        })
    }

    /// Lets OpenSSL do what it can with the datagram at hand, if any.
    fn drive(&mut self) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Handshake {
            let done = if self.active { self.stream.connect() } else { self.stream.accept() };
            match done {
                Ok(()) => self.opened()?,
                Err(error) if waits(&error) => {}
                Err(error) => return Err(self.failed("the handshake failed", &error)),
            }
        }
        while self.phase == Phase::Open && !self.closing {
            let mut buf = [0; DATAGRAM_MAX];
            match self.stream.ssl_read(&mut buf) {
                Ok(length) => self.events.push_back(Event::Data(buf[..length].to_vec())),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.closing = true;
                    self.events.push_back(Event::CloseNotify);
                }
                Err(error) if waits(&error) => break,
                Err(error) => return Err(self.failed("the peer broke DTLS", &error)),
            }
        }
        // What OpenSSL did not ask for is of no use later.
        self.stream.get_mut().incoming.clear();
        Ok(())
    }

    /// The handshake is done. The certificate goes first: keys are of no use when it is another's.
    fn opened(&mut self) -> Result<(), DtlsImplError> {
        self.phase = Phase::Open;
        let (certificate, material, profile) =
            self.agreed().map_err(|error| self.failed("there are no keys", &error))?;
        self.events.push_back(Event::PeerCert(certificate));
        self.events.push_back(Event::Connected);
        self.events.push_back(Event::Keys(material, profile));
        Ok(())
    }

    fn agreed(&self) -> Result<(Vec<u8>, KeyingMaterial, SrtpProfile), String> {
        let ssl = self.stream.ssl();
        let profile = ssl.selected_srtp_profile().and_then(|profile| known(profile.id()));
        let profile = profile.ok_or("no SRTP profile was agreed on")?;
        let certificate = ssl.peer_certificate().ok_or("the peer has no certificate")?;
        let certificate = certificate.to_der().map_err(|error| error.to_string())?;
        let mut material = vec![0; profile.keying_material_len()];
        ssl.export_keying_material(&mut material, EXPORTER, None)
            .map_err(|error| error.to_string())?;
        Ok((certificate, KeyingMaterial::new(&material), profile))
    }

    /// An alert may still wait to be sent; the next timeout after it tells str0m.
    fn failed(&mut self, what: &str, why: &dyn fmt::Display) -> DtlsImplError {
        tracing::debug!(%why, "DTLS by OpenSSL: {what}");
        self.phase = Phase::Failed;
        self.look_at = self.now;
        self.stream.get_mut().incoming.clear();
        DtlsImplError::ConnectionClosed
    }
}

/// Whether OpenSSL only waits for the next datagram.
fn waits(error: &Error) -> bool {
    error.code() == ErrorCode::WANT_READ
}

fn known(profile: SrtpProfileId) -> Option<SrtpProfile> {
    match profile {
        SrtpProfileId::SRTP_AEAD_AES_128_GCM => Some(SrtpProfile::AEAD_AES_128_GCM),
        SrtpProfileId::SRTP_AEAD_AES_256_GCM => Some(SrtpProfile::AEAD_AES_256_GCM),
        SrtpProfileId::SRTP_AES128_CM_SHA1_80 => Some(SrtpProfile::AES128_CM_SHA1_80),
        _ => None,
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    /// str0m begins a handshake of ours with an empty datagram.
    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        let packet = match self.phase {
            Phase::Handshake if packet.is_empty() => packet,
            Phase::Handshake => self.gate.admit(packet),
            Phase::Open => packet,
            Phase::Closed | Phase::Failed => return Ok(()),
        };
        self.stream.get_mut().incoming.extend_from_slice(packet);
        self.drive()
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if let Some(packet) = self.stream.get_mut().outgoing.pop_front() {
            // It keeps to the MTU, which is smaller than any buffer for datagrams.
            let Some(out) = buf.get_mut(..packet.len()) else {
                return DtlsOutput::BufferTooSmall { needed: packet.len() };
            };
            out.copy_from_slice(&packet);
            return DtlsOutput::Packet(out);
        }
        match self.events.pop_front() {
            Some(Event::PeerCert(bytes)) => give(buf, &bytes, DtlsOutput::PeerCert),
            Some(Event::Connected) => DtlsOutput::Connected,
            Some(Event::Keys(material, profile)) => DtlsOutput::KeyingMaterial(material, profile),
            Some(Event::Data(bytes)) => give(buf, &bytes, DtlsOutput::ApplicationData),
            Some(Event::CloseNotify) => DtlsOutput::CloseNotify,
            None => DtlsOutput::Timeout(match self.phase {
                Phase::Handshake | Phase::Failed => self.look_at,
                Phase::Open | Phase::Closed => self.now + NEVER,
            }),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        if self.phase == Phase::Failed && self.stream.get_ref().outgoing.is_empty() {
            return Err(DtlsImplError::ConnectionClosed);
        }
        if self.phase == Phase::Handshake && now >= self.look_at {
            self.look_at = now + LOOK;
            // What it fails of is told by the next timeout, behind the alert.
            let _ = self.drive();
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        match self.phase {
            Phase::Handshake => Ok(0),
            Phase::Open => self
                .stream
                .ssl_write(data)
                .map_err(|error| self.failed("data could not be sealed", &error)),
            Phase::Closed | Phase::Failed => Err(DtlsImplError::ConnectionClosed),
        }
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        let done = self.phase == Phase::Open || self.phase == Phase::Closed;
        done.then_some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        (self.closing || self.phase == Phase::Closed) && !self.is_closed()
    }

    fn is_closed(&self) -> bool {
        let over = matches!(self.phase, Phase::Closed | Phase::Failed);
        over && self.stream.get_ref().outgoing.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Open {
            // It sends a close_notify and does not wait for the peer's.
            let _ = self.stream.shutdown();
        }
        if self.phase != Phase::Failed {
            self.phase = Phase::Closed;
        }
        Ok(())
    }
}

/// A copy in the caller's buffer, if it fits. What does not is gone: the caller gives up.
fn give<'a>(
    buf: &'a mut [u8],
    bytes: &[u8],
    wrap: impl FnOnce(&'a [u8]) -> DtlsOutput<'a>,
) -> DtlsOutput<'a> {
    let Some(out) = buf.get_mut(..bytes.len()) else {
        return DtlsOutput::BufferTooSmall { needed: bytes.len() };
    };
    out.copy_from_slice(bytes);
    wrap(out)
}

#[cfg(test)]
pub(crate) mod tests;
