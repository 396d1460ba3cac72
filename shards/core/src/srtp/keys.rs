//! The keys that DTLS agrees on, for a second reader.
//!
//! str0m takes the keying material from its DTLS instance and shows it to nobody. Our own egress
//! needs it too, so the DTLS instance is wrapped: what it hands to str0m, it also leaves here. The
//! hand-over goes through a thread-local cell, because str0m stands between the two ends and takes
//! only providers without state; whoever polls a str0m to its
//! timeout empties it before the next one is polled.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Instant;

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

use super::gcm;

thread_local! {
    static HANDED: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

/// Keying material of one session (RFC 5764 §4.2): both master keys, then both master salts, the
/// DTLS client's first.
pub struct Keys {
    /// The bytes in that order.
    pub(crate) material: Vec<u8>,
    /// What they are for.
    pub(crate) profile: SrtpProfile,
    /// Whether we are the DTLS client.
    pub(crate) client: bool,
}

/// The material that the last poll of a session's str0m brought, if it did.
pub fn take() -> Option<Keys> {
    HANDED.with_borrow_mut(Option::take)
}

/// The provider whose DTLS instances show their keys, and whose SRTP is sealed by [`gcm`].
pub fn provider() -> CryptoProvider {
    static PROVIDER: LazyLock<CryptoProvider> =
        LazyLock::new(|| showing(gcm::with_gcm(crate::dtls::curves::provider())));
    PROVIDER.clone()
}

/// The same with the DTLS that knows RSA too.
#[cfg(feature = "rsa")]
pub(crate) fn provider_rsa() -> CryptoProvider {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(|| {
        let crypto = str0m::crypto::from_feature_flags();
        let crypto = gcm::with_gcm(crypto);
        showing(CryptoProvider { dtls_provider: &crate::dtls::rsa::OpenSsl, ..crypto })
    });
    PROVIDER.clone()
}

/// Built without it.
#[cfg(not(feature = "rsa"))]
pub(crate) fn provider_rsa() -> CryptoProvider {
    provider()
}

/// The same of any provider. str0m wants it to live for ever, so each call keeps some bytes for good.
pub(crate) fn showing(crypto: CryptoProvider) -> CryptoProvider {
    let dtls_provider: &'static Showing = Box::leak(Box::new(Showing(crypto.dtls_provider)));
    CryptoProvider { dtls_provider, ..crypto }
}

#[derive(Debug)]
struct Showing(&'static dyn DtlsProvider);

impl DtlsProvider for Showing {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = self.0.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(ShowingInstance { inner }))
    }
}

#[derive(Debug)]
struct ShowingInstance {
    inner: Box<dyn DtlsInstance>,
}

impl DtlsInstance for ShowingInstance {
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        let output = self.inner.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let material = material.as_ref().to_vec();
            let keys = Keys { material, profile: *profile, client };
            HANDED.with_borrow_mut(|handed| *handed = Some(keys));
        }
        output
    }

    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
