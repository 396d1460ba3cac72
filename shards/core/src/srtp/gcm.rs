//! AES-GCM for SRTP (RFC 7714) by `ring`, for str0m and for our own way out.
//!
//! Of what was measured it seals a packet of media fastest, and a key is one piece of memory beside its
//! owner's, which can be asked for before it is needed ([`antipode_base::near`]): that of AWS-LC, which str0m
//! brings along and which still does all the rest, lies behind two more pointers.

use std::panic::{RefUnwindSafe, UnwindSafe};

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
};

/// Bytes of the tag behind a packet, whatever the key (RFC 7714 §12).
const TAG: usize = 16;
const IV: usize = 12;

/// A provider whose SRTP seals by these; all else is as it was.
pub(crate) fn with_gcm(crypto: CryptoProvider) -> CryptoProvider {
    CryptoProvider { srtp_provider: &AT_ONCE, ..crypto }
}

/// The same for str0m, which makes eight keys with each session and uses none for one that publishes
/// nothing: they are expanded when they are used, from 32 bytes to 544.
pub(crate) fn with_lazy_gcm(crypto: CryptoProvider) -> CryptoProvider {
    CryptoProvider { srtp_provider: &LAZY, ..crypto }
}

/// See the module's documentation.
#[derive(Debug)]
struct Gcm {
    lazy: bool,
}

static AT_ONCE: Gcm = Gcm { lazy: false };
static LAZY: Gcm = Gcm { lazy: true };

impl Gcm {
    fn kept(&self) -> &'static Gcm {
        if self.lazy { &LAZY } else { &AT_ONCE }
    }
}

impl SrtpProvider for Gcm {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        from_feature_flags().srtp_provider.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        self.kept()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        self.kept()
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAeadAes128Gcm for Gcm {
    fn create_cipher(&self, key: [u8; 16], _: bool) -> Box<dyn AeadAes128GcmCipher> {
        if self.lazy {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&key);
            Box::new(Key(Lazy::Plain(&AES_128_GCM, bytes)))
        } else {
            Box::new(Key(expanded(&AES_128_GCM, &key)))
        }
    }
}

impl SupportedAeadAes256Gcm for Gcm {
    fn create_cipher(&self, key: [u8; 32], _: bool) -> Box<dyn AeadAes256GcmCipher> {
        if self.lazy {
            Box::new(Key(Lazy::Plain(&AES_256_GCM, key)))
        } else {
            Box::new(Key(expanded(&AES_256_GCM, &key)))
        }
    }
}

/// What can be made ready to seal and open with.
trait Expand: Send + Sync + UnwindSafe + RefUnwindSafe {
    fn expand(&mut self) -> &LessSafeKey;
}

impl Expand for LessSafeKey {
    fn expand(&mut self) -> &LessSafeKey {
        self
    }
}

/// A key that may never be used.
enum Lazy {
    Plain(&'static Algorithm, [u8; 32]),
    Expanded(Box<LessSafeKey>),
}

impl Expand for Lazy {
    fn expand(&mut self) -> &LessSafeKey {
        if let Lazy::Plain(algorithm, bytes) = self {
            *self = Lazy::Expanded(Box::new(expanded(algorithm, &bytes[..algorithm.key_len()])));
        }
        match self {
            Lazy::Expanded(key) => key,
            Lazy::Plain(..) => unreachable!("it was expanded above"),
        }
    }
}

fn expanded(algorithm: &'static Algorithm, key: &[u8]) -> LessSafeKey {
    let key = UnboundKey::new(algorithm, key).expect("its length is the algorithm's");
    LessSafeKey::new(key)
}

/// One key, of either length.
struct Key<E>(E);

impl<E> std::fmt::Debug for Key<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        out.write_str("Key")
    }
}

impl<E: Expand> Key<E> {
    /// `output`: as long as the input and the tag behind it.
    fn seal(
        &mut self,
        iv: &[u8; IV],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        let room = output.get_mut(..input.len() + TAG).ok_or_else(too_short)?;
        let (text, end) = room.split_at_mut(input.len());
        text.copy_from_slice(input);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let sealed = self.0.expand().seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        let tag = sealed.map_err(|_| CryptoError::Other("the text is too long".into()))?;
        end.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Returns how long the text is.
    fn open(
        &mut self,
        iv: &[u8; IV],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let (text, tag) = input.split_last_chunk::<TAG>().ok_or_else(too_short)?;
        let room = output.get_mut(..text.len()).ok_or_else(too_short)?;
        room.copy_from_slice(text);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let joined;
        let aad = match aads {
            [one] => *one,
            several => {
                joined = several.concat();
                &joined[..]
            }
        };
        let key = self.0.expand();
        let opened =
            key.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), room, 0..);
        opened.map_err(|_| CryptoError::Other("it is not authentic".into()))?;
        Ok(text.len())
    }
}

fn too_short() -> CryptoError {
    CryptoError::Other("too short for a tag".into())
}

impl<E: Expand> AeadAes128GcmCipher for Key<E> {
    fn encrypt(
        &mut self,
        iv: &[u8; IV],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; IV],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl<E: Expand> AeadAes256GcmCipher for Key<E> {
    fn encrypt(
        &mut self,
        iv: &[u8; IV],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; IV],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::hex;

    /// RFC 7714 §16.1.1 and §16.2.1: header, plain text, and what becomes of it.
    const HEADER: &str = "8040f17b8041f8d35501a0b2";
    const TEXT: &str =
        "47616c6c696120657374206f6d6e697320646976697361 20696e2070617274657320747265 73";
    const IV_OF_BOTH: &str = "51753c6580c2726f20718414";

    fn text() -> Vec<u8> {
        hex(&TEXT.replace(' ', ""))
    }

    fn iv() -> [u8; IV] {
        hex(IV_OF_BOTH).try_into().unwrap()
    }

    #[test]
    fn seals_as_rfc_7714_does() {
        seals_as_it_does(&AT_ONCE);
        seals_as_it_does(&LAZY);
    }

    fn seals_as_it_does(gcm: &Gcm) {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8);
        let want = [
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ];
        let (header, text) = (hex(HEADER), text());
        let mut of_128 = gcm.aead_aes_128_gcm().create_cipher(key[..16].try_into().unwrap(), true);
        let mut of_256 = gcm.aead_aes_256_gcm().create_cipher(key, true);
        let mut sealed = [vec![0; text.len() + TAG], vec![0; text.len() + TAG]];
        of_128.encrypt(&iv(), &header, &text, &mut sealed[0]).unwrap();
        of_256.encrypt(&iv(), &header, &text, &mut sealed[1]).unwrap();
        assert_eq!(sealed, want.map(hex));
        let mut out = vec![0; text.len()];
        assert_eq!(of_256.decrypt(&iv(), &[&header], &sealed[1], &mut out).ok(), Some(text.len()));
        assert_eq!(out, text);
        let halves = header.split_at(5);
        let halves = [halves.0, halves.1];
        assert_eq!(of_128.decrypt(&iv(), &halves, &sealed[0], &mut out).ok(), Some(text.len()));
        for bit in [0, text.len() * 8, sealed[0].len() * 8 - 1] {
            let mut other = sealed[0].clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(of_128.decrypt(&iv(), &[&header], &other, &mut out).is_err(), "bit {bit}");
        }
        assert!(of_128.decrypt(&iv(), &[&header], &sealed[0][..TAG - 1], &mut out).is_err());
        assert!(of_128.encrypt(&iv(), &header, &text, &mut out).is_err(), "no room for the tag");
    }
}
