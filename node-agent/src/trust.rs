//! Public keys given at installation: files, or a folder of them. What the ledger has pinned counts more than both.

use std::path::{Path, PathBuf};

use postern_intent::TrustedKeys;
use postern_intent::keys::PublicKeyError;
use thiserror::Error;

/// Why the keys given at installation cannot be used.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The folder cannot be listed.
    #[error("the trust folder {path} cannot be read")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// There is no key in it.
    #[error(
        "the trust folder {path} has no *.pem: mount the ConfigMap with the operator's public keys there, or give \
         --trust-key"
    )]
    Empty { path: PathBuf },
    /// A file cannot be read.
    #[error("the trust key {path} cannot be read")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file is no key.
    #[error("the trust key {path} cannot be used")]
    Key {
        path: PathBuf,
        #[source]
        source: PublicKeyError,
    },
}

/// The keys of these files.
///
/// # Errors
/// [`TrustError`] for the first one that cannot be used.
pub fn in_files(paths: &[PathBuf]) -> Result<TrustedKeys, TrustError> {
    let mut texts = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|source| TrustError::File {
            path: path.clone(),
            source,
        })?;
        TrustedKeys::installed([text.as_str()]).map_err(unusable(path))?;
        texts.push(text);
    }
    let all = texts.iter().map(String::as_str);
    TrustedKeys::installed(all).map_err(unusable(Path::new("")))
}

/// The keys of all `*.pem` in a folder, by name.
///
/// # Errors
/// [`TrustError`]; a folder without any is one.
pub fn in_folder(folder: &Path) -> Result<TrustedKeys, TrustError> {
    let failed = |source| TrustError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(TrustError::Empty {
            path: folder.to_owned(),
        });
    }
    paths.sort();
    in_files(&paths)
}

fn unusable(path: &Path) -> impl Fn(PublicKeyError) -> TrustError + use<> {
    let path = path.to_owned();
    move |source| TrustError::Key {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;

    use super::*;

    fn pem(seed: u8) -> String {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        key.to_public_key_pem(LineEnding::LF).unwrap()
    }

    #[test]
    fn every_pem_of_the_folder_counts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("b.pem", pem(1)),
            ("a.pem", pem(2)),
            ("note.txt", "x".into()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        // A mounted ConfigMap has links, and a hidden folder that they lead to.
        let hidden = folder.path().join("..2026_11_23");
        std::fs::create_dir(&hidden).unwrap();
        std::fs::write(hidden.join("c.pem"), pem(3)).unwrap();
        std::os::unix::fs::symlink("..2026_11_23/c.pem", folder.path().join("c.pem")).unwrap();
        let keys = in_folder(folder.path()).unwrap();
        let wanted = TrustedKeys::installed([pem(1).as_str(), &pem(2), &pem(3)]).unwrap();
        assert_eq!(keys, wanted);
    }

    #[test]
    fn an_empty_folder_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = in_folder(folder.path()).unwrap_err();
        assert!(matches!(error, TrustError::Empty { .. }));
        assert!(error.to_string().contains("--trust-key"), "{error}");
    }

    #[test]
    fn the_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good.pem"), pem(1)).unwrap();
        std::fs::write(folder.path().join("zbad.pem"), "no key").unwrap();
        let error = in_folder(folder.path()).unwrap_err();
        assert!(error.to_string().contains("zbad.pem"), "{error}");
    }
}
