//! The block ciphers of a session, with the keys that they are given (RFC 3711 §4.3).
//!
//! They are those of the provider that str0m uses too.

use antipode_base::near;
use str0m::crypto::dtls::SrtpProfile;
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoProvider,
};

use super::keys::Keys;

/// What is derived from a master key (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Bytes that the CTR implementation wants behind its output.
pub(super) const CTR_SLACK: usize = 15;

/// What a cipher needs: its key, the key that authenticates where the cipher does not, its salt.
pub(super) const RTP: [Label; 3] = [Label::RtpKey, Label::RtpAuth, Label::RtpSalt];
pub(super) const RTCP: [Label; 3] = [Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt];

/// One direction of RTP or RTCP.
pub(super) enum Cipher {
    Gcm128 { salt: [u8; 12], aead: Box<dyn AeadAes128GcmCipher> },
    Gcm256 { salt: [u8; 12], aead: Box<dyn AeadAes256GcmCipher> },
    Cm { salt: [u8; 14], auth: [u8; 20], ctr: Box<dyn Aes128CmSha1_80Cipher> },
}

impl Cipher {
    /// Brings near what lies behind its pointer.
    pub(super) fn fetch_behind(&self) {
        match self {
            Cipher::Gcm128 { aead, .. } => near::fetch(&**aead),
            Cipher::Gcm256 { aead, .. } => near::fetch(&**aead),
            Cipher::Cm { ctr, .. } => near::fetch(&**ctr),
        }
    }
}

/// One side's master key and salt.
pub(super) struct Master<'a> {
    key: &'a [u8],
    salt: &'a [u8],
}

impl<'a> Master<'a> {
    /// Ours and the peer's; `None` for a profile that we do not offer, or material of the wrong length.
    pub(super) fn of(keys: &'a Keys) -> Option<(Self, Self)> {
        let (key, salt) = match keys.profile {
            SrtpProfile::AES128_CM_SHA1_80 => (16, 14),
            SrtpProfile::AEAD_AES_128_GCM => (16, 12),
            SrtpProfile::AEAD_AES_256_GCM => (32, 12),
            _ => return None,
        };
        let material = &keys.material;
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let side = |client: bool| {
            let (at_key, at_salt) = if client { (0, 0) } else { (key, salt) };
            let salts = &material[2 * key..];
            Master { key: &material[at_key..at_key + key], salt: &salts[at_salt..at_salt + salt] }
        };
        Some((side(keys.client), side(!keys.client)))
    }

    /// `labels`: [`RTP`] or [`RTCP`].
    pub(super) fn cipher(
        &self,
        provider: &CryptoProvider,
        profile: SrtpProfile,
        [key, auth, salt]: [Label; 3],
        encrypt: bool,
    ) -> Option<Cipher> {
        let srtp = provider.srtp_provider;
        Some(match profile {
            SrtpProfile::AEAD_AES_128_GCM => Cipher::Gcm128 {
                salt: self.derive(provider, salt),
                aead: srtp.aead_aes_128_gcm().create_cipher(self.derive(provider, key), encrypt),
            },
            SrtpProfile::AEAD_AES_256_GCM => Cipher::Gcm256 {
                salt: self.derive(provider, salt),
                aead: srtp.aead_aes_256_gcm().create_cipher(self.derive(provider, key), encrypt),
            },
            SrtpProfile::AES128_CM_SHA1_80 => Cipher::Cm {
                salt: self.derive(provider, salt),
                auth: self.derive(provider, auth),
                ctr: srtp.aes_128_cm_sha1_80().create_cipher(self.derive(provider, key), encrypt),
            },
            _ => return None,
        })
    }

    /// RFC 3711 §4.3.1 and §4.3.3, with a key derivation rate of zero.
    fn derive<const N: usize>(&self, provider: &CryptoProvider, label: Label) -> [u8; N] {
        let srtp = provider.srtp_provider;
        let mut input = [0u8; 16];
        input[..self.salt.len()].copy_from_slice(self.salt);
        input[7] ^= label as u8;
        let mut out = [0; N];
        for (block, chunk) in out.chunks_mut(16).enumerate() {
            input[14..].copy_from_slice(&(block as u16).to_be_bytes());
            // The provider's ECB pads: its output is a block longer.
            let mut stream = [0u8; 32];
            if self.key.len() == 16 {
                srtp.srtp_aes_128_ecb_round(self.key, &input, &mut stream);
            } else {
                srtp.srtp_aes_256_ecb_round(self.key, &input, &mut stream);
            }
            chunk.copy_from_slice(&stream[..chunk.len()]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::hex;

    #[test]
    fn derives_the_keys_of_rfc_3711_b_3() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let master = Master { key: &key, salt: &salt };
        let provider = str0m::crypto::from_feature_flags();
        let cipher: [u8; 16] = master.derive(&provider, Label::RtpKey);
        assert_eq!(cipher.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let salt: [u8; 14] = master.derive(&provider, Label::RtpSalt);
        assert_eq!(salt.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth: [u8; 20] = master.derive(&provider, Label::RtpAuth);
        assert_eq!(auth.to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }
}
