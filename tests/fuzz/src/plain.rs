//! A cipher library that seals nothing.
//!
//! With it the fuzzer stands where an authenticated peer stands: its bytes are RTP, RTCP and SCTP as
//! they look once opened, and a handshake costs nothing. Lengths are those of AEAD_AES_128_GCM: a tag
//! of [`TAG`] zero bytes behind each SRTP packet. DTLS is one byte of record type before the data.
//! Hashes and HMACs are the real ones, so that STUN stays what it is.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, KeyingMaterial};
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, CryptoError, SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm,
    SupportedAes128CmSha1_80, from_feature_flags,
};

/// Bytes of the tag behind a packet.
pub const TAG: usize = 16;
/// Record type of application data (RFC 8446 §5.1), the first byte of each plain record.
pub const APPLICATION_DATA: u8 = 23;
/// Record type of an alert; here always `close_notify`.
pub const ALERT: u8 = 21;

static REAL: LazyLock<CryptoProvider> = LazyLock::new(from_feature_flags);

/// See the module's documentation.
pub fn crypto() -> CryptoProvider {
    CryptoProvider { srtp_provider: &PlainSrtp, dtls_provider: &PlainDtlsProvider, ..REAL.clone() }
}

#[derive(Debug)]
struct PlainSrtp;

impl SrtpProvider for PlainSrtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        REAL.srtp_provider.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &PlainGcm
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        REAL.srtp_provider.aead_aes_256_gcm()
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        REAL.srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        REAL.srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

#[derive(Debug)]
struct PlainGcm;

impl SupportedAeadAes128Gcm for PlainGcm {
    fn create_cipher(&self, _: [u8; 16], _: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(PlainGcm)
    }
}

impl AeadAes128GcmCipher for PlainGcm {
    fn encrypt(
        &mut self,
        _: &[u8; 12],
        _: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        output[..input.len()].copy_from_slice(input);
        output[input.len()..].fill(0);
        Ok(())
    }

    fn decrypt(
        &mut self,
        _: &[u8; 12],
        _: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = input.len() - TAG;
        output[..length].copy_from_slice(&input[..length]);
        Ok(length)
    }
}

/// The one certificate of everybody. It is never shown to the other side, so that a fuzzer may change
/// fingerprints and still get on.
const CERTIFICATE: &[u8] = b"plain";

#[derive(Debug)]
struct PlainDtlsProvider;

impl DtlsProvider for PlainDtlsProvider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Some(DtlsCert { certificate: CERTIFICATE.to_vec(), private_key: Vec::new() })
    }

    fn new_dtls(
        &self,
        _: &DtlsCert,
        _: Instant,
        _: DtlsVersion,
        _: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(PlainDtls::default()))
    }
}

#[derive(Debug)]
enum Step {
    Connected,
    Keys,
    Data(Vec<u8>),
    Packet(Vec<u8>),
    Closed,
}

#[derive(Debug, Default)]
struct PlainDtls {
    active: bool,
    steps: VecDeque<Step>,
    now: Option<Instant>,
}

impl PlainDtls {
    fn packet(&mut self, record: u8, data: &[u8]) {
        self.steps.push_back(Step::Packet([&[record], data].concat()));
    }
}

impl DtlsInstance for PlainDtls {
    fn set_active(&mut self, active: bool) {
        self.active = active;
        self.steps.extend([Step::Keys, Step::Connected]);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        match packet.split_first() {
            Some((&APPLICATION_DATA, data)) => self.steps.push_back(Step::Data(data.to_vec())),
            Some((&ALERT, _)) => self.steps.push_back(Step::Closed),
            _ => {}
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let copied = |data: &[u8], buffer: &'a mut [u8]| {
            let into = &mut buffer[..data.len()];
            into.copy_from_slice(data);
            &*into
        };
        match self.steps.pop_front() {
            Some(Step::Connected) => DtlsOutput::Connected,
            Some(Step::Keys) => {
                // Two keys of 16 bytes and two salts of 12 (RFC 7714 §12).
                let keys = KeyingMaterial::new(&[7; 56]);
                DtlsOutput::KeyingMaterial(keys, SrtpProfile::AEAD_AES_128_GCM)
            }
            Some(Step::Data(data)) => DtlsOutput::ApplicationData(copied(&data, buffer)),
            Some(Step::Packet(data)) => DtlsOutput::Packet(copied(&data, buffer)),
            Some(Step::Closed) => DtlsOutput::CloseNotify,
            None => {
                let now = self.now.unwrap_or_else(Instant::now);
                DtlsOutput::Timeout(now + Duration::from_secs(3_600))
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = Some(now);
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.packet(APPLICATION_DATA, data);
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        Some(ProtocolVersion::DTLS1_2)
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.packet(ALERT, &[]);
        Ok(())
    }
}
