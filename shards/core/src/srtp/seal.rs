//! SRTP and SRTCP (RFC 3711, RFC 7714): sealing RTP and RTCP, opening RTCP.
//!
//! ```text
//!   |<---------- authenticated ---------->|
//!   | RTP header, extension | payload     | tag |          AEAD: 16 bytes, HMAC-SHA1: 10
//!                           |<-encrypted->|
//!   | first 8 bytes of RTCP | the rest    | tag | E, index |   AEAD
//!   | first 8 bytes of RTCP | the rest    | E, index | tag |   HMAC-SHA1
//! ```
//!
//! Every SSRC has exactly one sealer, and that is ours: str0m knows of no stream when it would report on it.

use antipode_base::limits::RTCP_SENDERS_MAX;
use antipode_base::near;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80, CryptoProvider, Sha1HmacProvider,
};

use super::cipher::{CTR_SLACK, Cipher, Master, RTCP, RTP};
use super::keys::Keys;

/// The E bit and the 31 bits of the SRTCP index (RFC 3711 §3.4).
const SRTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Both directions of one session.
pub struct Seal {
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_in: Cipher,
    srtcp_index: u32,
    heard: Vec<Heard>,
    hmac: &'static dyn Sha1HmacProvider,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        f.debug_struct("Seal").field("srtcp_index", &self.srtcp_index).finish_non_exhaustive()
    }
}

impl Seal {
    /// `None` for a profile that we do not offer, or material of the wrong length.
    pub fn new(provider: &CryptoProvider, keys: &Keys) -> Option<Self> {
        let (ours, theirs) = Master::of(keys)?;
        Some(Seal {
            rtp: ours.cipher(provider, keys.profile, RTP, true)?,
            rtcp: ours.cipher(provider, keys.profile, RTCP, true)?,
            rtcp_in: theirs.cipher(provider, keys.profile, RTCP, false)?,
            srtcp_index: 0,
            heard: Vec::new(),
            hmac: provider.sha1_hmac_provider,
        })
    }

    /// Brings near what [`Seal::rtp`] needs.
    pub(crate) fn fetch_behind(&self) {
        self.rtp.fetch_behind();
    }

    /// Brings near what [`Seal::open_rtcp`] needs.
    pub(crate) fn fetch_opener(&self) {
        self.rtcp_in.fetch_behind();
        near::fetch(&self.heard[..]);
    }

    /// Seals one RTP packet into `out`, whatever is there. `header` is complete, `ext_seq` holds the
    /// rollover counter.
    pub fn rtp(
        &mut self,
        mut out: Vec<u8>,
        header: &[u8],
        payload: &[u8],
        ssrc: u32,
        ext_seq: u64,
    ) -> Vec<u8> {
        let (start, end) = (header.len(), header.len() + payload.len());
        let (roc, seq) = ((ext_seq >> 16) as u32, ext_seq as u16);
        match &mut self.rtp {
            Cipher::Gcm128 { salt, aead } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, roc, seq);
                room(&mut out, header, end + AeadAes128Gcm::TAG_LEN);
                aead.encrypt(&iv, header, payload, &mut out[start..]).expect("room was made");
                out
            }
            Cipher::Gcm256 { salt, aead } => {
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, roc, seq);
                room(&mut out, header, end + AeadAes256Gcm::TAG_LEN);
                aead.encrypt(&iv, header, payload, &mut out[start..]).expect("room was made");
                out
            }
            Cipher::Cm { salt, auth, ctr } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, ext_seq);
                room(&mut out, header, end + CTR_SLACK);
                ctr.encrypt(&iv, payload, &mut out[start..]).expect("room was made");
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtp_hmac(hmac, auth, &mut out, ext_seq, end);
                out.truncate(end + Aes128CmSha1_80::HMAC_TAG_LEN);
                out
            }
        }
    }

    /// Seals one compound RTCP packet of at least 8 bytes.
    pub fn rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let index = self.srtcp_index;
        self.srtcp_index = (self.srtcp_index + 1) & !ENCRYPTED;
        let ssrc = ssrc_of(plain);
        let word = (ENCRYPTED | index).to_be_bytes();
        let (head, body) = plain.split_at(8);
        let mut out = Vec::new();
        match &mut self.rtcp {
            Cipher::Gcm128 { salt, aead } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                room(&mut out, head, plain.len() + AeadAes128Gcm::TAG_LEN);
                aead.encrypt(&iv, &aad(head, word), body, &mut out[8..]).expect("room was made");
                out.extend_from_slice(&word);
                out
            }
            Cipher::Gcm256 { salt, aead } => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                room(&mut out, head, plain.len() + AeadAes256Gcm::TAG_LEN);
                aead.encrypt(&iv, &aad(head, word), body, &mut out[8..]).expect("room was made");
                out.extend_from_slice(&word);
                out
            }
            Cipher::Cm { salt, auth, ctr } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, u64::from(index));
                room(&mut out, head, plain.len() + CTR_SLACK);
                ctr.encrypt(&iv, body, &mut out[8..]).expect("room was made");
                out.truncate(plain.len());
                out.extend_from_slice(&word);
                let end = out.len();
                out.resize(end + Aes128CmSha1_80::HMAC_TAG_LEN, 0);
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtcp_hmac(hmac, auth, &mut out, end);
                out
            }
        }
    }

    /// Opens one SRTCP packet of the peer into `out`, whatever is there. `None` when it is not authentic, or
    /// not encrypted: we never negotiate that. And when it came before (RFC 3711 §3.3.2): what proves that
    /// the peer is still there must not be provable by whoever once overheard it.
    pub fn open_rtcp<'a>(&mut self, sealed: &[u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.open(sealed, out)?;
        let behind = match self.rtcp_in {
            Cipher::Gcm128 { .. } | Cipher::Gcm256 { .. } => 0,
            Cipher::Cm { .. } => Aes128CmSha1_80::HMAC_TAG_LEN,
        };
        let (rest, _) = sealed.split_at_checked(sealed.len().checked_sub(behind)?)?;
        let index = u32::from_be_bytes(*rest.last_chunk()?) & !ENCRYPTED;
        self.is_news(ssrc_of(out), index).then_some(out)
    }

    fn is_news(&mut self, ssrc: u32, index: u32) -> bool {
        if let Some(heard) = self.heard.iter_mut().find(|heard| heard.ssrc == ssrc) {
            return heard.note(index);
        }
        if self.heard.len() == RTCP_SENDERS_MAX {
            self.heard.remove(0);
        }
        self.heard.push(Heard { ssrc, newest: index, seen: 1 });
        true
    }

    fn open(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match &mut self.rtcp_in {
            Cipher::Gcm128 { salt, aead } => {
                let (head, body, word, index) = split_aead(sealed, AeadAes128Gcm::TAG_LEN)?;
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc_of(head), index);
                room(out, head, 8 + body.len() - AeadAes128Gcm::TAG_LEN);
                aead.decrypt(&iv, &[&aad(head, word)], body, &mut out[8..]).ok().map(drop)
            }
            Cipher::Gcm256 { salt, aead } => {
                let (head, body, word, index) = split_aead(sealed, AeadAes256Gcm::TAG_LEN)?;
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc_of(head), index);
                room(out, head, 8 + body.len() - AeadAes256Gcm::TAG_LEN);
                aead.decrypt(&iv, &[&aad(head, word)], body, &mut out[8..]).ok().map(drop)
            }
            Cipher::Cm { salt, auth, ctr } => {
                let (signed, tag) = sealed
                    .split_at_checked(sealed.len().checked_sub(Aes128CmSha1_80::HMAC_TAG_LEN)?)?;
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                if !Aes128CmSha1_80::rtcp_verify(hmac, auth, signed, tag) {
                    return None;
                }
                let (plain, word) =
                    signed.split_at_checked(signed.len().checked_sub(SRTCP_INDEX)?)?;
                let word = u32::from_be_bytes(*word.first_chunk()?);
                let (head, body) = plain.split_at_checked(8)?;
                if word & ENCRYPTED == 0 {
                    return None;
                }
                let index = u64::from(word & !ENCRYPTED);
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc_of(head), index);
                room(out, head, plain.len() + CTR_SLACK);
                ctr.decrypt(&iv, body, &mut out[8..]).ok()?;
                out.truncate(plain.len());
                Some(())
            }
        }
    }
}

/// Which packets of one sender came: bit n is the one `n` before the newest.
#[derive(Debug)]
struct Heard {
    ssrc: u32,
    newest: u32,
    seen: u64,
}

impl Heard {
    /// Notes one. `false` when it came before, or is too old to tell.
    fn note(&mut self, index: u32) -> bool {
        if index > self.newest {
            self.seen = self.seen.checked_shl(index - self.newest).unwrap_or(0) | 1;
            self.newest = index;
            return true;
        }
        let bit = 1u64.checked_shl(self.newest - index).unwrap_or(0);
        let news = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        news
    }
}

/// The head, the encrypted rest with its tag, and the last word as bytes and as an index.
type SplitAead<'a> = (&'a [u8], &'a [u8], [u8; SRTCP_INDEX], u32);

fn split_aead(sealed: &[u8], tag: usize) -> Option<SplitAead<'_>> {
    let (rest, word) = sealed.split_at_checked(sealed.len().checked_sub(SRTCP_INDEX)?)?;
    let word: [u8; SRTCP_INDEX] = *word.first_chunk()?;
    let (head, body) = rest.split_at_checked(8)?;
    let value = u32::from_be_bytes(word);
    (body.len() >= tag && value & ENCRYPTED != 0).then_some((head, body, word, value & !ENCRYPTED))
}

fn aad(head: &[u8], word: [u8; SRTCP_INDEX]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(head);
    aad[8..].copy_from_slice(&word);
    aad
}

fn ssrc_of(rtcp: &[u8]) -> u32 {
    rtcp.get(4..8)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Makes a buffer so long and puts `start` there. What was behind it stays: it will be written over.
fn room(out: &mut Vec<u8>, start: &[u8], length: usize) {
    let whole = length + SRTCP_INDEX + Aes128CmSha1_80::HMAC_TAG_LEN;
    out.reserve(whole.saturating_sub(out.len()));
    out.resize(length, 0);
    out[..start.len()].copy_from_slice(start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::{PROFILES, agreed, hex};

    #[test]
    fn rtcp_goes_round_and_a_flipped_bit_does_not() {
        let provider = str0m::crypto::from_feature_flags();
        let report = hex("80c900011234567800000001020304050607080900000000");
        for profile in PROFILES {
            let keys = |client| agreed(profile, client);
            let mut server = Seal::new(&provider, &keys(false)).unwrap();
            let mut client = Seal::new(&provider, &keys(true)).unwrap();
            let mut out = Vec::new();
            for _ in 0..3 {
                let sealed = client.rtcp(&report);
                // Whatever is there: nothing, less and more than what is opened.
                for left in [0, 9, 2_000] {
                    out.resize(left, 0xee);
                    assert_eq!(server.open(&sealed, &mut out), Some(()), "{profile:?}");
                    assert_eq!(out, report, "{profile:?} over {left}");
                }
                let opened = server.open_rtcp(&sealed, &mut out);
                assert_eq!(opened, Some(&report[..]), "{profile:?}");
                assert_eq!(
                    server.open_rtcp(&sealed, &mut out),
                    None,
                    "{profile:?}: it came before"
                );
                for at in 0..sealed.len() {
                    let mut broken = sealed.clone();
                    broken[at] ^= 1;
                    assert_eq!(server.open(&broken, &mut out), None, "{profile:?} byte {at}");
                }
                for cut in 0..sealed.len() {
                    assert_eq!(
                        server.open(&sealed[..cut], &mut out),
                        None,
                        "{profile:?} cut {cut}"
                    );
                }
            }
            assert!(
                Seal::new(&provider, &Keys { material: vec![0; 5], profile, client: true })
                    .is_none()
            );
        }
    }

    #[test]
    fn what_came_before_is_no_news() {
        let mut heard = Heard { ssrc: 1, newest: 10, seen: 1 };
        for (index, news) in [
            (10, false),
            (11, true),
            (11, false),
            (9, true),
            (9, false),
            (74, true),
            (11, false),
            (12, true),
            (10, false),
            (500, true),
            (74, false),
            (437, true),
            (436, false),
        ] {
            assert_eq!(heard.note(index), news, "{index}");
        }
    }
}
