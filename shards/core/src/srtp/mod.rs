//! SRTP past str0m (RFC 3711, RFC 7714): for what clients send and get, and for the load harness.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `keys` | how DTLS's keys reach us |
//! | `gcm` | AES-GCM |
//! | `cipher` | key derivation, and the provider's ciphers |
//! | `seal` | sealing RTP and RTCP, opening RTCP |
//! | `opener` | opening RTP |

mod cipher;
pub(crate) mod gcm;
pub mod keys;
mod opener;
mod seal;

pub use opener::Opener;
pub use seal::Seal;

#[cfg(test)]
mod testing {
    use str0m::crypto::dtls::SrtpProfile;

    use super::keys::Keys;

    /// Those that we offer.
    pub(super) const PROFILES: [SrtpProfile; 3] = [
        SrtpProfile::AES128_CM_SHA1_80,
        SrtpProfile::AEAD_AES_128_GCM,
        SrtpProfile::AEAD_AES_256_GCM,
    ];

    /// What DTLS agreed on, as one side sees it.
    pub(super) fn agreed(profile: SrtpProfile, client: bool) -> Keys {
        let material = (0..profile.keying_material_len() as u8).collect();
        Keys { material, profile, client }
    }

    pub(super) fn hex(text: &str) -> Vec<u8> {
        let bytes = (0..text.len()).step_by(2);
        bytes.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits")).collect()
    }
}
