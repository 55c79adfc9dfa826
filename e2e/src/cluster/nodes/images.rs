//! The images that nodes have: Postern's own, and two of the lab. No registry is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::NodePrograms;
use crate::lab::sandbox::command;
use crate::lab::{Binaries, Lab, LabError};

/// What holds the namespaces of a pod, and what the lab's pods are made of: a busybox.
pub(super) const PAUSE: &str = "lab:1";

/// The cluster's resolver.
pub(super) const COREDNS: &str = "coredns:1";

/// A busybox without libraries, of Debian's package `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";

/// The images of Postern.
const PRODUCT: [&str; 3] = ["postern-operator", "postern-agent", "postern-tunnel"];

/// The folder of Postern's images, where `make images` puts them: beside the folder of this program's profile.
///
/// # Errors
/// When the running program cannot be found.
pub(in crate::cluster) fn product_images() -> Result<PathBuf, LabError> {
    let program = Binaries::locate()?.lab();
    let target = program.ancestors().nth(2).unwrap_or(Path::new("/"));
    Ok(target.join("images"))
}

impl Lab {
    /// Every archive that a node imports.
    pub(super) fn node_images(&self, programs: &NodePrograms) -> Result<Vec<PathBuf>, LabError> {
        let folder = self.plane_dir().join("images");
        let product = product_images()?;
        let mut archives = Vec::new();
        for image in PRODUCT {
            let path = product.join(format!("{image}.tar"));
            path.metadata()
                .map_err(LabError::file("find the image", &path))?;
            archives.push(path);
        }
        let busybox = Path::new(BUSYBOX);
        let lab = [
            (busybox, "bin/busybox"),
            (busybox, "bin/sh"),
            (busybox, "bin/sleep"),
        ];
        archives.push(archive(&folder, PAUSE, &lab, &["/bin/sleep", "infinity"])?);
        let coredns = [(programs.coredns.as_path(), "coredns")];
        archives.push(archive(&folder, COREDNS, &coredns, &["/coredns"])?);
        Ok(archives)
    }
}

/// Makes an archive of some files, by the script that makes Postern's own.
fn archive(
    folder: &Path,
    name: &str,
    files: &[(&Path, &str)],
    entrypoint: &[&str],
) -> Result<PathBuf, LabError> {
    let short = name.rsplit('/').next().unwrap_or(name).replace(':', "-");
    let root = folder.join(&short);
    for (from, to) in files {
        let to = root.join(to);
        let parent = to.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(LabError::file("create", parent))?;
        fs::copy(from, &to).map_err(LabError::file("copy", *from))?;
    }
    let out = folder.join(format!("{short}.tar"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/images/archive.sh");
    let mut make = Command::new(script);
    make.arg(&root).args([name, "0"]).arg(&out).args(entrypoint);
    command::run(&mut make)?;
    Ok(out)
}
