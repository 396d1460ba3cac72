//! str0m's own DTLS, that is dimpl's, with one configuration for all sessions of a thread.
//!
//! str0m makes a new one for each session, and dimpl proves each by making and agreeing on keys of all its
//! curves: 0.9 ms of CPU.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use dimpl::{Config, Dtls, DtlsCertificate};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider};

thread_local! {
    static SHARED: RefCell<Option<(Option<usize>, Arc<Config>)>> = const { RefCell::new(None) };
}

/// str0m's cryptography with this DTLS.
pub fn provider() -> CryptoProvider {
    CryptoProvider { dtls_provider: &Curves, ..str0m::crypto::from_feature_flags() }
}

/// See the module's documentation.
#[derive(Debug)]
struct Curves;

impl DtlsProvider for Curves {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let DtlsCert { certificate, private_key } = cert.clone();
        let (config, cert) = (shared(mtu)?, DtlsCertificate { certificate, private_key });
        let dtls = match version {
            DtlsVersion::Dtls12 => Dtls::new_12(config, cert, now),
            DtlsVersion::Dtls13 => Dtls::new_13(config, cert, now),
            DtlsVersion::Auto => Dtls::new_auto(config, cert, now),
            _ => return Err(CryptoError::Other(format!("no DTLS of version {version}"))),
        };
        Ok(Box::new(Instance(dtls)))
    }
}

fn shared(mtu: Option<usize>) -> Result<Arc<Config>, CryptoError> {
    SHARED.with_borrow_mut(|shared| {
        if let Some((_, config)) = shared.as_ref().filter(|(of, _)| *of == mtu) {
            return Ok(Arc::clone(config));
        }
        // ICE has shown that the peer is where it says it is: a cookie would only repeat that.
        let builder = Config::builder().use_server_cookie(false);
        let builder = mtu.into_iter().fold(builder, |builder, mtu| builder.mtu(mtu));
        let built = builder.build().map_err(|error| CryptoError::Other(error.to_string()))?;
        let config = Arc::new(built);
        *shared = Some((mtu, Arc::clone(&config)));
        Ok(config)
    })
}

struct Instance(Dtls);

impl fmt::Debug for Instance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Curves")
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_length_share_a_configuration() {
        let one = shared(Some(1_200)).expect("a configuration");
        assert!(Arc::ptr_eq(&one, &shared(Some(1_200)).expect("the same")));
        assert_eq!(shared(Some(1_300)).expect("another").mtu(), 1_300);
        assert!(!Arc::ptr_eq(&one, &shared(None).expect("another")));
    }
}
