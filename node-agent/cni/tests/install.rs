//! The program as the container beside the agent and an administrator call it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees tests only in test functions, not in what they call"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const LIST: &str = r#"{"cniVersion": "1.0.0", "name": "cluster", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}"#;

/// Both folders of a runtime.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        fs::create_dir(node.programs()).unwrap();
        fs::create_dir(node.configurations()).unwrap();
        node
    }

    fn programs(&self) -> PathBuf {
        self.0.path().join("bin")
    }

    fn configurations(&self) -> PathBuf {
        self.0.path().join("net.d")
    }

    fn list(&self, name: &str, text: &str) -> PathBuf {
        let path = self.configurations().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn install(&self) -> Command {
        let mut command = self.keep();
        command.arg("--once");
        command
    }

    fn keep(&self) -> Command {
        let mut command = program();
        command.arg("install");
        command.arg(format!("--program-folder={}", self.programs().display()));
        command.arg(self.configuration_folder());
        command.arg("--socket=/run/postern/agent.sock");
        command
    }

    fn remove(&self) -> Command {
        let mut command = program();
        command.args(["remove".to_owned(), self.configuration_folder()]);
        command
    }

    fn configuration_folder(&self) -> String {
        format!("--configuration-folder={}", self.configurations().display())
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern-cni"));
    command.stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn types(path: &Path) -> Vec<String> {
    let list: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let plugins = list["plugins"].as_array().unwrap();
    plugins
        .iter()
        .map(|one| one["type"].as_str().unwrap().to_owned())
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The program as it runs beside the agent.
struct Keeper {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Keeper {
    fn beside(node: &Node) -> Self {
        let mut child = node.keep().spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, said }
    }

    /// Reads what it says up to a line with this in it.
    fn says(&mut self, text: &str) {
        let mut before = Vec::new();
        for line in self.said.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return;
            }
            before.push(line);
        }
        panic!("it never said {text:?} but {before:#?}");
    }

    fn ends_on(mut self, signal: Signal) -> ExitStatus {
        let id = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(id, signal).unwrap();
        self.child.wait().unwrap()
    }
}

/// A test that fails leaves none behind.
impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const OURS: [&str; 3] = ["bridge", "portmap", "postern-cni"];

#[test]
fn beside_the_agent_it_puts_back_what_others_take_away_and_leaves_it_when_it_is_ended() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let node = Node::new();
        let used = node.list("10-cluster.conflist", LIST);
        let mut keeper = Keeper::beside(&node);
        keeper.says("10-cluster.conflist changed");
        assert_eq!(types(&used), OURS);

        node.list("10-cluster.conflist", LIST);
        keeper.says("10-cluster.conflist changed");
        assert_eq!(types(&used), OURS);

        let first = node.list("05-new.conflist", LIST);
        keeper.says("05-new.conflist changed");
        assert_eq!(types(&first), OURS);

        let program = node.programs().join("postern-cni");
        fs::remove_file(&program).unwrap();
        keeper.says("bin/postern-cni changed");
        assert!(program.is_file());

        assert!(keeper.ends_on(signal).success());
        assert_eq!(types(&first), OURS);
        assert!(program.is_file());
    }
}

#[test]
fn beside_the_agent_what_is_wrong_is_told_and_waited_for() {
    let node = Node::new();
    let foreign = node.list(
        "05-single.conf",
        r#"{"cniVersion": "1.0.0", "type": "bridge"}"#,
    );
    let used = node.list("10-cluster.conflist", &LIST[..40]);
    fs::remove_dir(node.programs()).unwrap();
    let mut keeper = Keeper::beside(&node);
    keeper.says("cannot write");
    fs::create_dir(node.programs()).unwrap();
    keeper.says("make a .conflist of it");
    fs::remove_file(foreign).unwrap();
    keeper.says("to be readable");
    fs::write(&used, LIST).unwrap();
    keeper.says("10-cluster.conflist changed");
    assert_eq!(types(&used), OURS);
    assert!(keeper.ends_on(Signal::SIGTERM).success());
}

#[test]
fn the_program_and_its_entry_are_put_in_place_and_nothing_else_is_left() {
    let node = Node::new();
    let used = node.list("10-cluster.conflist", LIST);
    let other = node.list("20-other.conflist", LIST);
    let output = node.install().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    assert_eq!(types(&used), ["bridge", "portmap", "postern-cni"]);
    assert_eq!(fs::read_to_string(other).unwrap(), LIST);
    assert_eq!(names(&node.programs()), ["postern-cni"]);
    assert_eq!(
        names(&node.configurations()),
        ["10-cluster.conflist", "20-other.conflist"]
    );
    let program = node.programs().join("postern-cni");
    let mode = fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(
        fs::read(program).unwrap(),
        fs::read(env!("CARGO_BIN_EXE_postern-cni")).unwrap()
    );
}

#[test]
fn a_second_installation_writes_nothing() {
    let node = Node::new();
    let used = node.list("10-cluster.conflist", LIST);
    node.install().output().unwrap();
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().ino()
    };
    let files = [used, node.programs().join("postern-cni")];
    let before = files.each_ref().map(|path| inode(path));
    let output = node.install().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files.each_ref().map(|path| inode(path)), before);
}

#[test]
fn a_list_that_only_its_owner_may_read_stays_so() {
    let node = Node::new();
    let used = node.list("10-cluster.conflist", LIST);
    fs::set_permissions(&used, fs::Permissions::from_mode(0o600)).unwrap();
    node.install().output().unwrap();
    let mode = fs::metadata(used).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_way_back_takes_our_entry_from_every_list_and_leaves_the_program() {
    let node = Node::new();
    let first = node.list("10-cluster.conflist", LIST);
    node.install().output().unwrap();
    // Somebody's list came to be the first one, and ours is still in the other.
    let second = node.list("05-new.conflist", LIST);
    node.install().output().unwrap();
    let output = node.remove().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(types(&first), ["bridge", "portmap"]);
    assert_eq!(types(&second), ["bridge", "portmap"]);
    assert_eq!(names(&node.programs()), ["postern-cni"]);
}

#[test]
fn a_list_that_cannot_be_edited_keeps_the_entry_in_no_other() {
    let node = Node::new();
    let used = node.list("10-cluster.conflist", LIST);
    node.install().output().unwrap();
    for name in ["00-broken.conflist", "05-broken.conflist"] {
        node.list(name, "{\"cniVer");
    }
    let output = node.remove().output().unwrap();
    assert!(!output.status.success());
    for says in [
        "00-broken.conflist: it is no JSON",
        "05-broken.conflist: it is no JSON",
    ] {
        assert!(said(&output).contains(says), "{}", said(&output));
    }
    assert_eq!(types(&used), ["bridge", "portmap"]);
}

#[test]
fn it_waits_for_a_list_that_is_not_there_and_for_one_that_is_half_written() {
    let node = Node::new();
    let mut child = node.install().spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let program = lines.next().unwrap().unwrap();
    assert!(program.contains("bin/postern-cni changed"), "{program}");
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.contains("waiting for a network configuration"),
        "{first}"
    );
    let used = node.list("10-cluster.conflist", &LIST[..40]);
    let second = lines.next().unwrap().unwrap();
    assert!(second.contains("to be readable"), "{second}");
    fs::write(&used, LIST).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(types(&used), ["bridge", "portmap", "postern-cni"]);
}

#[test]
fn one_plugin_without_a_list_is_refused_with_what_to_do() {
    let node = Node::new();
    node.list(
        "05-single.conf",
        r#"{"cniVersion": "1.0.0", "type": "bridge"}"#,
    );
    node.list("10-cluster.conflist", LIST);
    let output = node.install().output().unwrap();
    assert!(!output.status.success());
    assert!(
        said(&output).contains("make a .conflist of it"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_command_line_that_says_nothing_is_refused_and_changes_nothing() {
    let node = Node::new();
    let used = node.list("10-cluster.conflist", LIST);
    let cases = [
        (vec!["instal"], "is no verb"),
        (vec!["install", "--programs=/x"], "is no option of install"),
        (
            vec!["install", "--program-folder=/x"],
            "needs --configuration-folder",
        ),
        (
            vec!["remove", "--configuration-folder=net.d"],
            "is not an absolute path",
        ),
    ];
    for (arguments, says) in cases {
        let output = program().args(&arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            said(&output).contains(says),
            "{arguments:?}: {}",
            said(&output)
        );
    }
    assert_eq!(fs::read_to_string(used).unwrap(), LIST);
}
