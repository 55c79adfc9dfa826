//! The lab's signing key pair: `keys/signing.pem` for the publisher, `keys/trust.pem` for the agents.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};

use postern_intent::TrustedKeys;

use crate::lab::Lab;
use crate::lab::LabError;

impl Lab {
    /// The private key, PKCS#8 PEM (RFC 8410).
    #[must_use]
    pub fn signing_key(&self) -> PathBuf {
        self.dir.join("keys/signing.pem")
    }

    /// The public key that agents are installed with, SubjectPublicKeyInfo PEM (RFC 8410).
    #[must_use]
    pub fn trust_key(&self) -> PathBuf {
        self.dir.join("keys/trust.pem")
    }

    /// The keys that agents are installed with.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn trusted(&self) -> Result<TrustedKeys, LabError> {
        let path = self.trust_key();
        let pem = fs::read_to_string(&path).map_err(LabError::file("read", path))?;
        installed(&[pem])
    }

    pub(crate) fn make_keys(&self) -> Result<(), LabError> {
        let encode = |why: &dyn std::fmt::Display| LabError::Key {
            why: why.to_string(),
        };
        let key = SigningKey::from_bytes(&random()?);
        let private = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| encode(&error))?;
        let public = key
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| encode(&error))?;
        let (secret, trust) = (self.signing_key(), self.trust_key());
        fs::write(&secret, private.as_bytes()).map_err(LabError::file("write", &secret))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&secret, mode).map_err(LabError::file("protect", &secret))?;
        fs::write(&trust, public).map_err(LabError::file("write", &trust))
    }
}

/// The set of these public keys.
pub(crate) fn installed(pems: &[String]) -> Result<TrustedKeys, LabError> {
    TrustedKeys::installed(pems.iter().map(String::as_str)).map_err(|error| LabError::Key {
        why: error.to_string(),
    })
}

fn random() -> Result<[u8; 32], LabError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    let mut file = fs::File::open(path).map_err(LabError::file("open", path))?;
    file.read_exact(&mut bytes)
        .map_err(LabError::file("read", path))?;
    Ok(bytes)
}
