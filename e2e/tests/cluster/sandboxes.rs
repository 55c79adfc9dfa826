//! The page about sandboxes: its commands as they are written, and packets of its policy with names of the lab's world.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster sandboxes::`, as root; the first run builds Kubernetes.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Binaries, Exec, Lab, PodOptions, PodRecord};
use postern_e2e::proof::harness::{TestLab, wait_until};

use crate::plane::{LONG, await_account, cluster};

const PAGE: &str = include_str!("../../../docs/sandboxes.md");
const SAMPLE: &str = include_str!("../../../deploy/sandbox/sandbox.yaml");
const WHO: Exec<'_> = Exec::Pod("sandboxes/agent");

/// The commands of the page, block by block.
fn blocks() -> Vec<Vec<&'static str>> {
    let blocks = PAGE.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.map(|block| block.lines().collect()).collect()
}

/// Runs a command of the page at the top of the repository; what it prints.
fn run(lab: &Lab, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut program = match words[0] {
        "kubectl" => lab.kubectl(&words[1..]).unwrap(),
        "posternctl" => lab.posternctl(&words[1..]).unwrap(),
        other => panic!("{other} is no program of the page: {line}"),
    };
    program.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = command::output(&mut program, None).unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{line}: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{line}");
    text
}

fn in_pod(lab: &Lab, arguments: &[&str]) -> (bool, String) {
    let program = Binaries::locate().unwrap().lab().display().to_string();
    let output = lab.exec(WHO, &[&[&*program], arguments].concat()).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success(), text)
}

/// What the pod is told for a name, whatever resolver it asks.
fn told(lab: &Lab, resolver: IpAddr, name: &str, kind: &str) -> String {
    let resolver = resolver.to_string();
    in_pod(
        lab,
        &["resolve", "--server", &resolver, "--kind", kind, name],
    )
    .1
}

/// Which source the world sees; none: nothing comes back.
fn connects(lab: &Lab, to: SocketAddr) -> Option<String> {
    let to = to.to_string();
    let probe = ["probe", &to, "--protocol", "tcp", "--timeout", "500ms"];
    let (answered, seen) = in_pod(lab, &probe);
    answered.then_some(seen)
}

/// The policy of the page with the port of the world's echo and names of the world: the pod's own addresses.
fn with_names_of_the_world(pod: &PodRecord) -> (String, [String; 3]) {
    let four = pod.world[0].to_string().replace('.', "-");
    let IpAddr::V6(six) = pod.world[1] else {
        panic!("{:?}", pod.world);
    };
    let six = six.segments().map(|part| format!("{part:x}"));
    let names = [
        format!("a-{four}.api.world.test"),
        format!("b-{}.git.world.test", six.join("-")),
        format!("a-{four}.packages.world.test"),
    ];
    let mut text = SAMPLE.replace("port: 443", "port: 7");
    text = text.replace(
        "[9.9.9.9, 149.112.112.112]",
        &format!("['{}']", pod.world[2]),
    );
    for (written, name) in ["api", "git", "packages"].iter().zip(&names) {
        text = text.replace(&format!("{written}.example.com"), name);
    }
    assert!(!text.contains("example.com"), "{text}");
    (text, names)
}

/// Those of the page.
const UPSTREAMS: [&str; 2] = ["9.9.9.9", "149.112.112.112"];

fn prove_packets(lab: &TestLab, pod: &PodRecord) {
    let (policy, [api, git, packages]) = with_names_of_the_world(pod);
    lab.apply_yaml(&policy).unwrap();
    let resolver = pod.world[2];
    let [four, six] = [pod.world[0], pod.world[1]];
    let seven = |address| SocketAddr::new(address, 7);
    wait_until(LONG, "the names of the world in force", || {
        Ok((told(lab, resolver, &packages, "A") == four.to_string()).then_some(()))
    })
    .unwrap();
    assert_eq!(told(lab, resolver, &api, "A"), four.to_string());
    let gateway = lab.node("gw-1").unwrap().addresses();
    assert_eq!(connects(lab, seven(four)), Some(gateway[0].to_string()));
    assert_eq!(connects(lab, seven(six)), None, "no answer named it yet");
    assert_eq!(told(lab, resolver, &git, "AAAA"), six.to_string());
    assert_eq!(connects(lab, seven(six)), Some(gateway[1].to_string()));

    assert_eq!(connects(lab, SocketAddr::new(four, 80)), None);
    for other in ["evil.world.test", "x.api.world.test", "api.world.test"] {
        for server in [resolver, pod.world[3]] {
            assert_eq!(told(lab, server, other, "A"), "NXDOMAIN", "{other}");
        }
    }
    assert_eq!(connects(lab, seven(resolver)), None, "by its number");
    let mut packets = lab.packets().unwrap();
    // While the policy names the resolvers of the page, the probes of its exit ask them.
    let probed = UPSTREAMS.map(|address| address.parse::<IpAddr>().unwrap());
    packets
        .unowned
        .retain(|of| !(of.node == "gw-1" && of.port == 53 && probed.contains(&of.destination)));
    assert_eq!(packets.faults(), Vec::<String>::new());
}

#[test]
fn a_sandbox_reaches_its_three_names_and_nothing_else_and_the_page_runs_as_it_is_written() {
    let lab = cluster();
    let blocks = blocks();
    assert_eq!(blocks.len(), 4, "{blocks:#?}");
    for line in &blocks[0] {
        run(&lab, line);
    }
    await_account(&lab, "sandboxes").unwrap();
    let options = PodOptions::on("n1").label("app", "agent");
    let pod = lab.pod_on("sandboxes/agent", &options).unwrap();
    for line in &blocks[1] {
        run(&lab, line);
    }
    let told: Vec<String> = blocks[2].iter().map(|line| run(&lab, line)).collect();
    assert!(
        told[0].contains("it leaves by exit eu") && told[0].contains("rule names"),
        "{told:#?}"
    );
    for refused in &told[1..] {
        assert!(refused.contains("it is refused"), "{refused}");
    }
    run(&lab, blocks[3][0]);
    prove_packets(&lab, &pod);
}
