//! Opening RTP: the receiver's half, in a shard and in the load harness.

use str0m::crypto::{
    AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80, CryptoProvider, Sha1HmacProvider,
};

use super::cipher::{CTR_SLACK, Cipher, Master, RTP};
use super::keys::Keys;

/// One direction of one session. It keeps no replay list: numbers are told apart by whoever counts them.
pub struct Opener {
    cipher: Cipher,
    hmac: &'static dyn Sha1HmacProvider,
}

impl Opener {
    /// `None` for a profile that we do not offer, or material of the wrong length.
    pub fn new(provider: &CryptoProvider, keys: &Keys) -> Option<Self> {
        let (_, theirs) = Master::of(keys)?;
        let cipher = theirs.cipher(provider, keys.profile, RTP, false)?;
        Some(Opener { cipher, hmac: provider.sha1_hmac_provider })
    }

    /// Opens the payload of one packet, whose header with CSRCs and extension takes `header` bytes, into
    /// `out`, whatever is there. `ext_seq` holds the rollover counter. `None` when it is not authentic.
    pub fn rtp<'out>(
        &mut self,
        sealed: &[u8],
        header: usize,
        ssrc: u32,
        ext_seq: u64,
        out: &'out mut Vec<u8>,
    ) -> Option<&'out [u8]> {
        let (head, body) = sealed.split_at_checked(header)?;
        if out.len() < body.len() + CTR_SLACK {
            out.resize(body.len() + CTR_SLACK, 0);
        }
        let (roc, seq) = ((ext_seq >> 16) as u32, ext_seq as u16);
        let length = match &mut self.cipher {
            Cipher::Gcm128 { salt, aead } => {
                body.len().checked_sub(AeadAes128Gcm::TAG_LEN)?;
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, roc, seq);
                aead.decrypt(&iv, &[head], body, out).ok()?
            }
            Cipher::Gcm256 { salt, aead } => {
                body.len().checked_sub(AeadAes256Gcm::TAG_LEN)?;
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, roc, seq);
                aead.decrypt(&iv, &[head], body, out).ok()?
            }
            Cipher::Cm { salt, auth, ctr } => {
                let end = body.len().checked_sub(Aes128CmSha1_80::HMAC_TAG_LEN)?;
                let (signed, tag) = sealed.split_at(header + end);
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                if !Aes128CmSha1_80::rtp_verify(hmac, auth, signed, ext_seq, tag) {
                    return None;
                }
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, ext_seq);
                ctr.decrypt(&iv, &body[..end], out).ok()?;
                end
            }
        };
        out.get(..length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Seal;
    use crate::srtp::testing::{PROFILES, agreed};

    #[test]
    fn what_was_sealed_opens_and_a_flipped_bit_does_not() {
        let provider = str0m::crypto::from_feature_flags();
        let header = [0x80, 96, 0, 7, 0, 0, 0, 1, 0x12, 0x34, 0x56, 0x78];
        let (ssrc, ext_seq) = (0x1234_5678, 3 << 16 | 7);
        for profile in PROFILES {
            let keys = |client| agreed(profile, client);
            let mut seal = Seal::new(&provider, &keys(false)).unwrap();
            let mut opener = Opener::new(&provider, &keys(true)).unwrap();
            let mut out = Vec::new();
            for payload in [&b"a picture"[..], b"", &[9; 1_200]] {
                let sealed = seal.rtp(Vec::new(), &header, payload, ssrc, ext_seq);
                let mut open = |sealed: &[u8], ext_seq| {
                    opener.rtp(sealed, header.len(), ssrc, ext_seq, &mut out).map(<[u8]>::to_vec)
                };
                assert_eq!(open(&sealed, ext_seq).as_deref(), Some(payload), "{profile:?}");
                assert_eq!(open(&sealed, 4 << 16 | 7), None, "{profile:?}: another rollover");
                for at in (0..sealed.len()).step_by(7) {
                    let mut broken = sealed.clone();
                    broken[at] ^= 1;
                    assert_eq!(open(&broken, ext_seq), None, "{profile:?} byte {at}");
                    assert_eq!(open(&sealed[..at], ext_seq), None, "{profile:?} cut {at}");
                }
            }
        }
    }
}
