//! Everything that can go wrong while a lab is built, used and taken down.

use std::io;
use std::path::PathBuf;

/// One variant per act that failed; the cause, where there is one, is the source.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The lab makes namespaces, links and cgroups, which the kernel allows only to root.
    #[error("the lab must run as root: it makes network namespaces, links and cgroups")]
    NotRoot,
    /// No lab lives in this directory.
    #[error("there is no lab in {dir}; make one with `lab up [--standalone] --dir {dir}`")]
    NoLab {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// A lab lives in this directory already.
    #[error("a lab is up in {dir}; take it down first with `lab down --dir {dir}`")]
    LabExists {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// The directory's path is too long for the unix sockets that live in it.
    #[error(
        "{dir} is too long: socket paths inside it would pass the kernel's 108 bytes; choose a shorter --dir"
    )]
    DirTooLong {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// A name that no node of the lab has.
    #[error("the lab has no node {name}; it has: {known}")]
    NoNode {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A name that no running pod of the lab has.
    #[error("the lab has no pod {name}")]
    NoPod {
        /// The `namespace/name` that was asked for.
        name: String,
    },
    /// A pod of that name runs already.
    #[error("the lab has a pod {name} already")]
    PodExists {
        /// The `namespace/name` that was asked for.
        name: String,
    },
    /// An argument that cannot be meant.
    #[error("{what} {value:?} is not usable: {why}")]
    Invalid {
        /// What the value is.
        what: &'static str,
        /// The value as given.
        value: String,
        /// What would be right.
        why: String,
    },
    /// An object that the definition of its kind refuses; nothing was written.
    #[error("the object is refused, as an API server would refuse it, and nothing was written")]
    Refused {
        /// What is wrong with it.
        #[source]
        source: posternctl::schema::SchemaError,
    },
    /// A program could not be started.
    #[error("could not start {program}")]
    Spawn {
        program: String,
        /// The error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        command: String,
        status: String,
        /// What it wrote to its error stream.
        stderr: String,
    },
    /// A file, folder or socket could not be used.
    #[error("could not {act} {path}")]
    File {
        /// What was tried: `read`, `write`, ...
        act: &'static str,
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A JSON document does not have the expected shape.
    #[error("could not understand the JSON of {what}")]
    Json {
        /// Where the document came from.
        what: String,
        /// The error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// A YAML document does not have the expected shape.
    #[error("could not understand the YAML of {what}")]
    YamlRead {
        /// Where the document came from.
        what: String,
        /// The error of the parser.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// An object could not be written as YAML.
    #[error("could not write {what} as YAML")]
    YamlWrite {
        what: String,
        /// The error of the writer.
        #[source]
        source: Box<serde_saphyr::SerializeError>,
    },
    /// A system call on a namespace, a socket or a process failed.
    #[error("could not {act}")]
    System {
        act: String,
        /// The error of the kernel.
        #[source]
        source: nix::Error,
    },
    /// A thread of the lab ended by a panic.
    #[error("the thread that should {act} ended by a panic")]
    ThreadLost {
        /// What the thread was for.
        act: &'static str,
    },
    /// A CNI plugin refused.
    #[error("CNI plugin {plugin} refused {verb} with code {code}: {message}")]
    Cni {
        plugin: String,
        /// ADD or DEL.
        verb: &'static str,
        /// The plugin's error code (11: try again later).
        code: u64,
        message: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds:.1} s{detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        seconds: f64,
        /// What was seen last, or empty.
        detail: String,
    },
    /// `down` left something behind.
    #[error("the lab left something behind: {}", left.join("; "))]
    Residue {
        /// One line per thing.
        left: Vec<String>,
    },
    /// A verb that needs an API server, in a lab that has none.
    #[error("{verb} needs an API server, and this lab was made with `lab up --standalone`")]
    NeedsApiServer { verb: &'static str },
    /// A verb of labs without an API server, in a lab that has one.
    #[error("{verb} is for labs without an API server; this one was made without `--standalone`")]
    NeedsStandalone { verb: &'static str },
    /// The API server, or the proxy before it, answered with a failure.
    #[error("the API server refused to {act} (status {code}): {message}")]
    ApiRefused {
        act: String,
        code: u16,
        /// The message of its answer.
        message: String,
    },
    /// The control plane is built from Go modules, and there is no usable Go.
    #[error(
        "the control plane is built from Go modules, and {found}: install Go from go.dev/dl (from 1.21 on it fetches \
         the version that is needed by itself; Debian's golang-go may be older, its backports are not), or name a \
         folder with etcd, kube-apiserver, kube-controller-manager and kubectl in KUBEBUILDER_ASSETS; \
         `lab up --standalone` needs neither"
    )]
    NoGo {
        /// What was found instead.
        found: String,
    },
    /// The Go compiler failed.
    #[error("`go build` of the control plane failed ({status}):\n{said}")]
    GoBuild {
        status: String,
        /// The last lines of its log.
        said: String,
    },
    /// The sources of the control plane are not where this program was built.
    #[error("there is no Go module in {folder}: set KUBEBUILDER_ASSETS, or build the lab again")]
    NoGoModule {
        /// Where they should be.
        folder: PathBuf,
    },
    /// A program that takes minutes to build, so nothing builds it on the way.
    #[error("{program} is not built yet: run `{target}`, which builds it first")]
    NotBuilt {
        program: &'static str,
        /// The make target that builds it.
        target: &'static str,
    },
    /// A program of the control plane is not in its folder.
    #[error("there is no {name} in {folder}")]
    NoControlProgram {
        name: String,
        /// The folder that was looked in.
        folder: PathBuf,
    },
    /// The signing key could not be written in its file format.
    #[error("could not encode the signing key: {why}")]
    Key {
        /// The error of the encoder.
        why: String,
    },
}

impl LabError {
    /// An error about a path, for `map_err`.
    pub fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }

    /// An error about a system call, for `map_err`.
    pub fn system(act: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let act = act.into();
        move |source| Self::System { act, source }
    }

    /// An error about a JSON document, for `map_err`.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Json { what, source }
    }
}

/// The error and all its causes on one line, for the edge of a program.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
