//! Keys as PEM files: PKCS#8 for signing (RFC 8410), SubjectPublicKeyInfo for trust.

use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use postern_intent::TrustedKeys;
use postern_intent::keys::PublicKeyError;
use thiserror::Error;

/// Why a key cannot be had.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("key file {path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It holds no Ed25519 private key.
    #[error("{path:?} is not the PEM of an Ed25519 private key")]
    Private {
        path: PathBuf,
        #[source]
        source: ed25519_dalek::pkcs8::Error,
    },
    /// It holds no usable Ed25519 public key.
    #[error("{path:?} cannot be trusted")]
    Public {
        path: PathBuf,
        #[source]
        source: PublicKeyError,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// A key cannot be written as PEM.
    #[error("the private key cannot be encoded")]
    EncodePrivate(#[source] ed25519_dalek::pkcs8::Error),
    /// A key cannot be written as PEM.
    #[error("the public key cannot be encoded")]
    EncodePublic(#[source] ed25519_dalek::pkcs8::spki::Error),
}

/// Makes a signing key from the system's random bytes.
///
/// # Errors
/// [`KeyFileError::Random`].
pub fn generate() -> Result<SigningKey, KeyFileError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyFileError::Random)?;
    Ok(SigningKey::from_bytes(&secret))
}

/// Reads a signing key.
///
/// # Errors
/// [`KeyFileError::Read`] or [`KeyFileError::Private`].
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyFileError> {
    let pem = read(path)?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|source| KeyFileError::Private {
        path: path.to_owned(),
        source,
    })
}

/// Reads signing keys, one from each file.
///
/// # Errors
/// As [`read_signing_key`].
pub fn read_signing_keys(paths: &[PathBuf]) -> Result<Vec<SigningKey>, KeyFileError> {
    paths.iter().map(|path| read_signing_key(path)).collect()
}

/// Reads trusted keys, one from each file.
///
/// # Errors
/// [`KeyFileError::Read`] or [`KeyFileError::Public`].
pub fn read_trusted_keys(paths: &[PathBuf]) -> Result<TrustedKeys, KeyFileError> {
    let mut pems = Vec::new();
    for path in paths {
        let pem = read(path)?;
        // Judged one by one, so that the error names the file.
        TrustedKeys::installed([pem.as_str()]).map_err(|source| KeyFileError::Public {
            path: path.clone(),
            source,
        })?;
        pems.push(pem);
    }
    let path = paths.first().cloned().unwrap_or_default();
    TrustedKeys::installed(pems.iter().map(String::as_str))
        .map_err(|source| KeyFileError::Public { path, source })
}

/// Reads trusted keys, one from each file, and adds those that belong to signing keys.
///
/// # Errors
/// As [`read_trusted_keys`] and [`trust_in`].
pub fn read_trust(paths: &[PathBuf], signing: &[SigningKey]) -> Result<TrustedKeys, KeyFileError> {
    // Judged one by one, so that the error names the file.
    read_trusted_keys(paths)?;
    let files = paths.iter().map(|path| read(path));
    let own = signing.iter().map(public_pem);
    let pems = files.chain(own).collect::<Result<Vec<_>, _>>()?;
    let path = paths.first().cloned().unwrap_or_default();
    TrustedKeys::installed(pems.iter().map(String::as_str))
        .map_err(|source| KeyFileError::Public { path, source })
}

/// The keys that belong to signing keys.
///
/// # Errors
/// [`KeyFileError::EncodePublic`] or [`KeyFileError::Public`].
pub fn trust_in(keys: &[SigningKey]) -> Result<TrustedKeys, KeyFileError> {
    let pems = keys.iter().map(public_pem).collect::<Result<Vec<_>, _>>()?;
    let public = |source| KeyFileError::Public {
        path: PathBuf::from("signing key"),
        source,
    };
    TrustedKeys::installed(pems.iter().map(String::as_str)).map_err(public)
}

/// The PEM of a signing key, in version 1 of PKCS#8: OpenSSL 3.0 cannot read version 2, which carries the public key.
///
/// # Errors
/// [`KeyFileError::EncodePrivate`].
pub fn private_pem(key: &SigningKey) -> Result<String, KeyFileError> {
    let pair = KeypairBytes {
        secret_key: key.to_bytes(),
        public_key: None,
    };
    let pem = pair
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(KeyFileError::EncodePrivate)?;
    Ok(pem.to_string())
}

/// The PEM of a signing key's public half.
///
/// # Errors
/// [`KeyFileError::EncodePublic`].
pub fn public_pem(key: &SigningKey) -> Result<String, KeyFileError> {
    key.verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(KeyFileError::EncodePublic)
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    fs::read_to_string(path).map_err(|source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    })
}
