//! How str0m is set up for every session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use antipode_base::ids::ShardId;
use antipode_base::limits::{DATA_BUFFERED_MAX, DATA_PACKET_MAX, QUALITY_INTERVAL};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::ice::StunMessage;
use str0m::net::TcpType;
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, IceCreds, Rtc};

use crate::forward::Rewriter;
use crate::io::{Datagram, Transmit};
use crate::session::{allocations, descriptors};
use crate::shard::ShardConfig;
use crate::srtp::{gcm, keys};
use crate::stun;

/// Letters and digits: a subset of ice-char (RFC 8839 §5.4) that survives every URL and log.
const ICE_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Random characters of a ufrag behind the shard's two digits: 83 bits.
const UFRAG_RANDOM: usize = 14;
/// Characters of a password: 190 bits; RFC 8445 §5.3 asks for 128.
const PASSWORD: usize = 32;

/// What all sessions of a shard share.
pub(crate) struct SessionSetup {
    shard: ShardId,
    candidates: Vec<Candidate>,
    provider: CryptoProvider,
    /// str0m's, for peers whose keys are of curves, and for all.
    str0ms: [Arc<CryptoProvider>; 2],
    certificate: DtlsCert,
    rng: SmallRng,
}

impl SessionSetup {
    /// Makes the shard's certificate.
    ///
    /// # Panics
    /// Without a usable candidate, or when the cipher library cannot make a certificate.
    pub(crate) fn new(config: &ShardConfig) -> Self {
        let str0ms = [keys::provider(), keys::provider_rsa()].map(gcm::with_lazy_gcm);
        Self::with_crypto(config, keys::provider(), str0ms)
    }

    /// The same with cipher libraries of the caller's choice, for us and for str0m; all have to read the
    /// certificate that the first one makes.
    pub(crate) fn with_crypto(
        config: &ShardConfig,
        provider: CryptoProvider,
        str0ms: [CryptoProvider; 2],
    ) -> Self {
        let udp = config.candidates.iter().filter_map(|at| Candidate::host(*at, "udp").ok());
        let mut candidates: Vec<Candidate> = udp.collect();
        assert!(!candidates.is_empty(), "a shard needs an address that clients can reach");
        // Behind those of UDP; their type preference is lower too, so a client with both takes UDP.
        candidates.extend(config.candidates_tcp.iter().filter_map(|at| passive(*at)));
        let str0ms = str0ms.map(Arc::new);
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .expect("the cipher library that we build with makes certificates");
        let rng = SmallRng::seed_from_u64(config.seed);
        let shard = config.shard;
        SessionSetup { shard, candidates, provider, str0ms, certificate, rng }
    }

    /// Fresh credentials whose ufrag carries the shard.
    pub(crate) fn credentials(&self) -> IceCreds {
        let shard = format!("{:02x}", self.shard.0);
        IceCreds { ufrag: shard + &random(UFRAG_RANDOM), pass: random(PASSWORD) }
    }

    /// Whether a STUN message bears the integrity of these credentials (RFC 8489 §14.5).
    pub(crate) fn verifies(&self, stun: &[u8], credentials: &IceCreds) -> bool {
        let hmac = self.provider.sha1_hmac_provider;
        StunMessage::parse(stun).is_ok_and(|message| {
            message.verify(credentials.pass.as_bytes(), |key, text| hmac.sha1_hmac(key, text))
        })
    }

    /// The answer to a check that bears the integrity of these credentials.
    pub(crate) fn answer(
        &self,
        check: &Datagram<'_>,
        credentials: &IceCreds,
        mut buffer: Vec<u8>,
    ) -> Transmit {
        let Datagram { transport, source, local, bytes, .. } = *check;
        let hmac = self.provider.sha1_hmac_provider;
        let sign = |text: &[u8]| hmac.sha1_hmac(credentials.pass.as_bytes(), &[text]);
        stun::write_answer(bytes, source, sign, &mut buffer);
        Transmit { transport, local, destination: source, bytes: buffer }
    }

    /// Where a new slot's numbers begin.
    pub(crate) fn numbering(&mut self) -> Rewriter {
        Rewriter::new(self.rng.random())
    }

    /// The ciphers.
    pub(crate) fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// Where a stream of repeats begins.
    pub(crate) fn repair_seq(&mut self) -> u16 {
        self.rng.random()
    }

    /// A peer connection that waits for its first offer or answer. `rsa`: the peer's certificate may
    /// have an RSA key.
    pub(crate) fn build(&self, rsa: bool, credentials: IceCreds, now: Instant) -> Rtc {
        let [curves, all] = &self.str0ms;
        let provider = if rsa { all } else { curves };
        let mut rtc = Rtc::builder()
            .set_crypto_provider(provider.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_local_ice_credentials(credentials)
            // Our addresses are known to clients, so the client does the checking (RFC 8445 §2.5).
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_stats_interval(Some(QUALITY_INTERVAL))
            .set_sctp_max_buffered_amount(DATA_BUFFERED_MAX)
            .set_sctp_max_message_size(DATA_PACKET_MAX as u32)
            .set_extension_map(extensions())
            .clear_codecs()
            // Redundant sound too (RFC 2198).
            .enable_opus(true, true)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .enable_vp9(true)
            .enable_av1(true)
            .enable_h265(true)
            .build(now);
        for candidate in &self.candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        rtc
    }
}

/// A place where we wait for the client's connection (RFC 6544 §4.5).
fn passive(at: SocketAddr) -> Option<Candidate> {
    Candidate::builder().tcp().tcptype(TcpType::Passive).host(at).build().ok()
}

/// Header extensions and the ids that we offer; answers take the client's ids.
///
/// str0m lets one id overwrite another without a word: a test looks at the result.
fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(5, allocations::extension());
    map.set(10, Extension::RtpStreamId);
    map.set(11, Extension::RepairedRtpStreamId);
    map.set(12, descriptors::extension());
    map.set(13, Extension::VideoOrientation);
    map
}

/// The shard in a ufrag that one of this node's shards chose.
pub(crate) fn shard_of(ufrag: &[u8]) -> Option<ShardId> {
    let digits = std::str::from_utf8(ufrag.get(..2)?).ok()?;
    u16::from_str_radix(digits, 16).ok().map(ShardId)
}

fn random(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ICE_CHARS[rng.random_range(0..ICE_CHARS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_extension_overwrites_another() {
        let map = extensions();
        let names: Vec<_> = map.iter().map(|(id, ext)| (id, ext.as_uri().to_owned())).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        let uris: std::collections::HashSet<_> = names.iter().map(|(_, uri)| uri).collect();
        assert_eq!(uris.len(), names.len());
    }

    fn config(shard: u16) -> ShardConfig {
        ShardConfig {
            shard: ShardId(shard),
            shards: 1,
            candidates: vec!["127.0.0.1:7882".parse().unwrap()],
            candidates_tcp: vec!["127.0.0.1:7881".parse().unwrap()],
            seed: 1,
        }
    }

    #[test]
    fn tcp_is_offered_behind_udp_and_below_it() {
        let setup = SessionSetup::new(&config(0));
        let lines: Vec<String> =
            setup.candidates.iter().map(|candidate| candidate.to_sdp_string()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(" udp ") && lines[0].ends_with(" 127.0.0.1 7882 typ host"));
        let tail = " 127.0.0.1 7881 typ host tcptype passive";
        assert!(lines[1].contains(" tcp ") && lines[1].ends_with(tail), "{lines:?}");
        assert!(setup.candidates[0].prio() > setup.candidates[1].prio(), "{lines:?}");
    }

    #[test]
    fn a_ufrag_carries_its_shard() {
        for shard in [0, 9, 16, 255] {
            let setup = SessionSetup::new(&config(shard));
            let credentials = setup.credentials();
            assert_eq!(shard_of(credentials.ufrag.as_bytes()), Some(ShardId(shard)));
            assert_ne!(credentials, setup.credentials());
        }
        assert_eq!(shard_of(b"zz12"), None);
        assert_eq!(shard_of(b"0"), None);
    }
}
