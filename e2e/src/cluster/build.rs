//! Building the control plane from the Go module, once per version of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cluster::build_part::Part;
use crate::cluster::tools::{ETCD_VERSION, KUBERNETES_VERSION, Tools, cache, ready_folder};
use crate::lab::LabError;
use crate::lab::sandbox::command;

/// The names of the one program in its folder.
const NAMES: [&str; 8] = [
    "etcd",
    "etcdctl",
    "etcdutl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
];

/// Where the linker writes the version of servers and of clients; without it they are v0.0.0.
const VERSION_PACKAGES: [&str; 2] = [
    "k8s.io/component-base/version",
    "k8s.io/client-go/pkg/version",
];

/// How many lines of a compiler's output an error repeats.
const LINES_TOLD: usize = 20;

/// Finds the programs of the control plane: in the folder that `KUBEBUILDER_ASSETS` names, else in the cache, where
/// they are built first if this version of the module is not there. Each stage is passed to `on_stage`.
///
/// # Errors
/// `NoControlProgram` when the named folder lacks one; `NoGo`, `NoGoModule`, or `GoBuild` with the compiler's message.
pub fn prepare(on_stage: &mut dyn FnMut(&str)) -> Result<Tools, LabError> {
    let folder = match ready_folder()? {
        Some(folder) => folder,
        None => kept(Part::Upstream, on_stage)?,
    };
    let front = kept(Part::Front, on_stage)?.join(Part::Front.program());
    Ok(Tools { folder, front })
}

/// Finds Helm in the cache, where it is built first if this version of its module is not there.
///
/// # Errors
/// `NoGo`, `NoGoModule`, or `GoBuild` with the compiler's message.
pub fn prepare_helm(on_stage: &mut dyn FnMut(&str)) -> Result<PathBuf, LabError> {
    Ok(kept(Part::Helm, on_stage)?.join(Part::Helm.program()))
}

/// Helm where the cache has it; nothing is built.
///
/// # Errors
/// `NoGoModule`.
pub fn cached_helm() -> Result<Option<PathBuf>, LabError> {
    cached(Part::Helm)
}

/// The upstream programs of a node and of the cluster's resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePrograms {
    pub kubelet: PathBuf,
    pub coredns: PathBuf,
}

/// Finds kubelet and CoreDNS in the cache, where they are built first if this version of their modules is not there.
///
/// # Errors
/// `NoGo`, `NoGoModule`, or `GoBuild` with the compiler's message.
pub fn prepare_nodes(on_stage: &mut dyn FnMut(&str)) -> Result<NodePrograms, LabError> {
    let mut program = |part: Part| Ok(kept(part, on_stage)?.join(part.program()));
    Ok(NodePrograms {
        kubelet: program(Part::Kubelet)?,
        coredns: program(Part::Dns)?,
    })
}

/// Kubelet and CoreDNS where the cache has both; nothing is built.
///
/// # Errors
/// `NoGoModule`.
pub fn cached_nodes() -> Result<Option<NodePrograms>, LabError> {
    let both = cached(Part::Kubelet)?.zip(cached(Part::Dns)?);
    Ok(both.map(|(kubelet, coredns)| NodePrograms { kubelet, coredns }))
}

fn cached(part: Part) -> Result<Option<PathBuf>, LabError> {
    let program = cache().join(folder_name(part)?).join(part.program());
    Ok(program.exists().then_some(program))
}

/// The name of a part's folder in the cache: another version of the module has another one.
fn folder_name(part: Part) -> Result<String, LabError> {
    let digest = digest(&part.module(), part)?;
    Ok(match part {
        Part::Upstream => {
            format!("kubernetes-{KUBERNETES_VERSION}-etcd-{ETCD_VERSION}-{digest}")
        }
        Part::Front => format!("front-{digest}"),
        Part::Helm => format!("helm-{digest}"),
        Part::Kubelet => format!("kubelet-{KUBERNETES_VERSION}-{digest}"),
        Part::Dns => format!("coredns-{digest}"),
    })
}

/// The folder that holds this part, built if it is not there. Two labs that need it at once build it once.
fn kept(part: Part, on_stage: &mut dyn FnMut(&str)) -> Result<PathBuf, LabError> {
    let name = folder_name(part)?;
    let cache = cache();
    let folder = cache.join(&name);
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).map_err(LabError::file("create", &cache))?;
    let lock = cache.join(format!("{name}.lock"));
    let file = File::create(&lock).map_err(LabError::file("create", &lock))?;
    if file.try_lock().is_err() {
        on_stage("waiting for another build of the same program");
        file.lock().map_err(LabError::file("lock", &lock))?;
    }
    if folder.exists() {
        return Ok(folder);
    }
    let draft = tempfile::Builder::new().prefix("draft-").tempdir_in(&cache);
    let draft = draft.map_err(LabError::file("create a folder in", &cache))?;
    build(part, draft.path(), on_stage)?;
    let built = draft.keep();
    fs::rename(&built, &folder).map_err(LabError::file("move into place", &folder))?;
    // Nobody waits for it any more, and whoever comes now finds the folder.
    fs::remove_file(&lock).map_err(LabError::file("remove", &lock))?;
    Ok(folder)
}

fn build(part: Part, folder: &Path, on_stage: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    check_go()?;
    let [major, minor] =
        [0, 1].map(|place| KUBERNETES_VERSION.split('.').nth(place).unwrap_or("0"));
    let stamps = [
        ("gitVersion", format!("v{KUBERNETES_VERSION}")),
        ("gitMajor", major.to_owned()),
        ("gitMinor", minor.to_owned()),
    ];
    let mut flags = "-s -w".to_owned();
    for package in VERSION_PACKAGES {
        for (name, value) in &stamps {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    let mut go = Command::new("go");
    go.current_dir(part.module())
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags"])
        .arg(flags)
        .arg("-o")
        .arg(folder.join(part.program()))
        .arg(part.package());
    // The module says which Go it needs; one that is too old fetches that by itself unless somebody has forbidden it.
    if std::env::var_os("GOTOOLCHAIN").is_none() {
        go.env("GOTOOLCHAIN", "auto");
    }
    if part == Part::Dns {
        // It runs in an image without a C library.
        go.env("CGO_ENABLED", "0");
    }
    compile(&mut go, part, on_stage)?;
    if part == Part::Upstream {
        for name in NAMES {
            let path = folder.join(name);
            symlink(part.program(), &path).map_err(LabError::file("link", path))?;
        }
    }
    // A folder for temporary files is private; this one is for every user of the machine.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder, mode).map_err(LabError::file("open to others", folder))
}

/// Whether there is a Go that can at least fetch the one that is needed (it can since 1.21).
fn check_go() -> Result<(), LabError> {
    let output = command::output(Command::new("go").arg("version"), None);
    let Ok(output) = output else {
        return Err(LabError::NoGo {
            found: "there is no program `go`".to_owned(),
        });
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match go_minor(&said) {
        Some(minor) if minor < 21 => Err(LabError::NoGo {
            found: format!("`{said}` is too old to fetch a newer one"),
        }),
        _ => Ok(()),
    }
}

/// 26 of `go version go1.26.8 linux/amd64`.
fn go_minor(said: &str) -> Option<u32> {
    let version = said.split(' ').nth(2)?.strip_prefix("go1.")?;
    let digits = version.split(|letter: char| !letter.is_ascii_digit());
    digits.into_iter().next()?.parse().ok()
}

/// Runs the compiler and reports after each of its lines; the caller decides what it prints of them.
fn compile(go: &mut Command, part: Part, on_stage: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let what = part.stage();
    on_stage(what);
    let spawn = |source| LabError::Spawn {
        program: "go".to_owned(),
        source,
    };
    go.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = go.spawn().map_err(spawn)?;
    let mut progress = Progress::new(what);
    let mut lines = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let heard = listen(stderr);
        loop {
            match heard.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    progress.heard(&line);
                    lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            on_stage(&progress.message());
        }
    }
    let status = child.wait().map_err(spawn)?;
    if status.success() {
        return Ok(());
    }
    let tail = lines.len().saturating_sub(LINES_TOLD);
    Err(LabError::GoBuild {
        status: status.to_string(),
        said: lines[tail..].join("\n"),
    })
}

/// The compiler's lines as they come; the channel ends with them.
fn listen(stderr: ChildStderr) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

/// What a build has come to.
struct Progress {
    what: &'static str,
    packages: usize,
    at: String,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            packages: 0,
            at: "the list of packages".to_owned(),
        }
    }

    /// `go build -v` prints each package when it begins with it, and what it downloads.
    fn heard(&mut self, line: &str) {
        if !line.starts_with("go: ") {
            self.packages += 1;
        }
        self.at = line.to_owned();
    }

    fn message(&self) -> String {
        let (packages, at) = (self.packages, &self.at);
        format!("{}: {packages} packages, at {at}", self.what)
    }
}

/// What a part is made from, as 12 hexadecimal digits: its Go sources, `go.mod` and `go.sum`. The upstream programs are
/// made from the module's own folder alone, so that a change of the proxy does not build them again.
fn digest(module: &Path, part: Part) -> Result<String, LabError> {
    let mut sources = sources(module)?;
    let folders: &[&str] = match part {
        Part::Front => &["front", "cmd/front"],
        Part::Kubelet => &["cmd/kubelet"],
        Part::Upstream | Part::Helm | Part::Dns => &[],
    };
    for folder in folders {
        sources.extend(self::sources(&module.join(folder))?);
    }
    sources.sort();
    let mut hash = Sha256::new();
    if part == Part::Upstream {
        // Each is a link in the folder, so a folder of fewer names is another one.
        for name in NAMES {
            hash.update(name);
        }
    }
    for path in sources {
        let content = fs::read(&path).map_err(LabError::file("read", &path))?;
        let name = path.strip_prefix(module).unwrap_or(&path);
        hash.update(name.to_string_lossy().as_bytes());
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    let bytes = hash.finalize();
    Ok(bytes
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// What is compiled of one folder, without its tests.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let none = || LabError::NoGoModule {
        folder: folder.to_owned(),
    };
    let entries = fs::read_dir(folder).map_err(|_| none())?;
    let compiled = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let module = name == "go.mod" || name == "go.sum";
        module || (name.ends_with(".go") && !name.ends_with("_test.go"))
    });
    let compiled: Vec<PathBuf> = compiled.collect();
    if compiled.is_empty() {
        return Err(none());
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::{Part, digest, go_minor};

    #[test]
    fn the_version_of_go_is_read_from_what_it_says() {
        assert_eq!(go_minor("go version go1.26.8 linux/amd64"), Some(26));
        assert_eq!(go_minor("go version go1.19rc1 linux/amd64"), Some(19));
        assert_eq!(go_minor("gccgo"), None);
    }

    #[test]
    fn another_source_gives_another_folder_and_another_test_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("go.mod", "module x").unwrap();
        write("main.go", "package main").unwrap();
        let first = digest(folder.path(), Part::Upstream).unwrap();
        write("main_test.go", "package main").unwrap();
        assert_eq!(digest(folder.path(), Part::Upstream).unwrap(), first);
        write("main.go", "package main // more").unwrap();
        assert_ne!(digest(folder.path(), Part::Upstream).unwrap(), first);
    }

    #[test]
    fn the_modules_of_the_repository_have_every_part() {
        for part in [
            Part::Upstream,
            Part::Front,
            Part::Helm,
            Part::Kubelet,
            Part::Dns,
        ] {
            assert_eq!(digest(&part.module(), part).unwrap().len(), 12, "{part:?}");
        }
    }

    #[test]
    fn a_folder_without_sources_is_no_module() {
        let folder = tempfile::tempdir().unwrap();
        assert!(digest(folder.path(), Part::Upstream).is_err());
        assert!(digest(&folder.path().join("absent"), Part::Upstream).is_err());
    }
}
