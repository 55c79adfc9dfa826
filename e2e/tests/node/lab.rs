//! The lab is a cluster: pods reach what pods reach, names resolve, and nothing of it stays.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_e2e::lab::{Exec, Lab, PodOptions, Programs, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{TestLab, exit, wait_until};

const DEADLINE: Duration = Duration::from_secs(20);

/// Asks port 7 over TCP with the shell's own means and answers the source address that was seen.
fn seen_by(lab: &TestLab, pod: &str, address: &str, port: u16) -> String {
    let script =
        format!("exec 3<>/dev/tcp/{address}/{port}; echo x >&3; read -t 3 -u 3 a p; echo $a");
    lab.exec_ok(Exec::Pod(pod), &["timeout", "5", "bash", "-c", &script])
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn pods_reach_the_world_each_other_and_services_in_both_families() {
    let lab = TestLab::bare().unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program.ancestors().nth(2).unwrap().join("lab");
    let serve = |name: &str, node: &str| {
        let dir = lab.dir().as_os_str();
        let command = [
            program.as_os_str(),
            "--dir".as_ref(),
            dir,
            "run".as_ref(),
            "world".as_ref(),
        ];
        lab.pod_on(name, &PodOptions::on(node).command(command))
            .unwrap()
    };
    let (near, far) = (serve("default/near", "n1"), serve("default/far", "n2"));
    let client = lab.pod_on("default/client", &PodOptions::on("n1")).unwrap();
    let node = lab.node("n1").unwrap();
    for (index, family) in ["IPv4", "IPv6"].iter().enumerate() {
        let (own, node) = (
            client.addresses[index].to_string(),
            node.addresses()[index].to_string(),
        );
        // The bridge plugin's rule masquerades what leaves the node's own pod range, towards other pods too.
        for (server, source) in [(&near, &own), (&far, &node)] {
            let address = server.addresses[index];
            wait_until(DEADLINE, "a listening pod", || {
                let probe = format!("exec 3<>/dev/tcp/{address}/7");
                Ok(lab
                    .exec(Exec::Node("n1"), &["bash", "-c", &probe])?
                    .status
                    .success()
                    .then_some(()))
            })
            .unwrap();
            assert_eq!(
                seen_by(&lab, "default/client", &address.to_string(), 7),
                *source,
                "{family}"
            );
        }
        let world = client.world[index];
        assert_eq!(
            seen_by(&lab, "default/client", &world.to_string(), 7),
            node,
            "{family}: masqueraded by the CNI"
        );
        let services = [
            ["10.96.0.10", "10.96.0.20"],
            ["fd00:10:96::10", "fd00:10:96::20"],
        ][index];
        for (service, to) in services.iter().zip([far.addresses[index], world]) {
            let name = format!("s-{}", service.replace([':', '.'], "-"));
            let address = Some(service.parse().unwrap());
            lab.create_service(&name, address, 80, (to, 7), TrafficPolicy::Cluster)
                .unwrap();
        }
        assert_eq!(
            seen_by(&lab, "default/client", services[0], 80),
            node,
            "{family}"
        );
        assert_eq!(
            seen_by(&lab, "default/client", services[1], 80),
            node,
            "{family}"
        );
    }
}

#[test]
fn the_world_reaches_a_node_port_and_its_answer_is_counted_as_a_reply() {
    let lab = TestLab::bare().unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program
        .ancestors()
        .nth(2)
        .unwrap()
        .join("lab")
        .display()
        .to_string();
    let command = [
        program.as_str(),
        "--dir",
        &lab.dir().display().to_string(),
        "run",
        "world",
    ];
    let server = lab
        .pod_on("default/server", &PodOptions::on("n1").command(command))
        .unwrap();
    lab.create_service(
        "web",
        None,
        30080,
        (server.addresses[0], 7),
        TrafficPolicy::Local,
    )
    .unwrap();
    let address = lab.node("n1").unwrap().ipv4();
    let script =
        format!("exec 3<>/dev/tcp/{address}/30080; echo x >&3; read -t 3 -u 3 a p; echo $a");
    wait_until(DEADLINE, "an answer from the node port", || {
        let output = lab.exec(Exec::World, &["timeout", "5", "bash", "-c", &script])?;
        Ok(output
            .status
            .success()
            .then(|| assert_eq!(output.stdout, b"192.168.10.1\n")))
    })
    .unwrap();
    let packets = lab.packets().unwrap();
    assert!(packets.replies > 0, "{packets:?}");
    assert_eq!(packets.faults(), Vec::<String>::new());
}

#[test]
fn the_resolver_pod_serves_cluster_names_and_the_world_its_own() {
    let lab = TestLab::bare().unwrap();
    lab.create_service(
        "web",
        Some("10.96.0.10".parse().unwrap()),
        80,
        ("10.244.2.2".parse().unwrap(), 7),
        TrafficPolicy::Cluster,
    )
    .unwrap();
    let pod = lab.pod_on("default/client", &PodOptions::on("n2")).unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program
        .ancestors()
        .nth(2)
        .unwrap()
        .join("lab")
        .display()
        .to_string();
    let resolve = |server: &str, name: &str| {
        let output = lab.exec(
            Exec::Pod("default/client"),
            &[&program, "resolve", "--server", server, name],
        )?;
        Ok(output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    let resolve =
        |server: &str, name: &str| wait_until(DEADLINE, name, || resolve(server, name)).unwrap();
    assert_eq!(
        resolve("10.96.0.53", "web.default.svc.cluster.local"),
        "10.96.0.10"
    );
    assert_eq!(
        resolve("fd00:10:96::53", "web.default.svc.cluster.local"),
        "10.96.0.10"
    );
    let node = lab.node("n2").unwrap();
    assert_eq!(
        resolve(&pod.world[2].to_string(), "whoami.world.test"),
        node.ipv4().to_string()
    );
}

#[test]
fn a_pods_objects_appear_as_a_kubelet_writes_them_and_go_with_it() {
    let lab = TestLab::bare().unwrap();
    let pod = lab
        .pod_on("shop/web", &PodOptions::on("n2").label("app", "web"))
        .unwrap();
    let object = lab.object("Pod", "shop", "web").unwrap().unwrap();
    assert_eq!(object["spec"]["nodeName"], "n2");
    assert_eq!(object["metadata"]["labels"]["app"], "web");
    assert_eq!(object["metadata"]["uid"], pod.uid.as_str());
    assert_eq!(
        object["status"]["podIPs"][1]["ip"],
        pod.addresses[1].to_string()
    );
    assert!(lab.object("Namespace", "", "shop").unwrap().is_some());
    lab.delete_pod("shop/web").unwrap();
    assert_eq!(lab.object("Pod", "shop", "web").unwrap(), None);
    assert!(!lab.namespace(&pod.sandbox()).path().exists());
    let wanted = PodOptions {
        addresses: pod.addresses.clone(),
        ..PodOptions::on("n2")
    };
    assert_eq!(
        lab.pod_on("shop/next", &wanted).unwrap().addresses,
        pod.addresses,
        "an address can be asked for"
    );
}

#[test]
fn a_changed_spec_makes_a_new_generation_and_an_equal_one_does_not() {
    let lab = TestLab::bare().unwrap();
    let policy = |priority: u8| {
        format!(
            "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{name: p}}\nspec:\n  priority: {priority}\n  \
             podSelector: {{}}\n  route: {{type: NodeUplink}}\n  defaultAction: Allow\n"
        )
    };
    let read = || lab.object("EgressPolicy", "default", "p").unwrap().unwrap()["metadata"].clone();
    lab.apply_yaml(&policy(1)).unwrap();
    let first = read();
    lab.apply_yaml(&policy(1)).unwrap();
    assert_eq!(read(), first);
    lab.apply_yaml(&policy(2)).unwrap();
    assert_eq!(
        (&read()["uid"], &read()["generation"]),
        (&first["uid"], &2.into())
    );
    lab.delete_yaml(&policy(2)).unwrap();
    lab.apply_yaml(&policy(2)).unwrap();
    assert_ne!(
        read()["uid"],
        first["uid"],
        "a new object of the same name is another one"
    );
}

/// What makes the exit `eu` wrong, and the answer: of the structure, and of a rule.
const REFUSED: [(&str, &str); 3] = [
    (
        "mtu: 100",
        "spec.mtu: Invalid value: 100: should be at least 1280",
    ),
    ("bedtime: night", "unknown field \"spec.bedtime\""),
    ("paths: [Relay]", "path Relay needs relay.nodeSelector"),
];

#[test]
fn an_object_that_its_definition_refuses_is_answered_in_its_words_and_nothing_is_written() {
    let lab = TestLab::bare().unwrap();
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    let before = lab.object("ExitNode", "", "eu").unwrap();
    let file = lab.dir().join("refused.yaml");
    let program = std::env::current_exe().unwrap();
    let program = program.ancestors().nth(2).unwrap().join("lab");
    for (further, words) in REFUSED {
        let bad = exit("eu", "gw-1", "").replace("---\n", &format!("  {further}\n---\n"));
        std::fs::write(&file, exit("new", "gw-1", "") + &bad).unwrap();
        let output = Command::new(&program)
            .arg("--dir")
            .args([lab.dir(), Path::new("apply"), Path::new("--file"), &file])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert_eq!(lab.object("ExitNode", "", "eu").unwrap(), before);
        assert_eq!(lab.object("ExitNode", "", "new").unwrap(), None);
    }
}

#[test]
fn two_labs_live_side_by_side_and_down_leaves_nothing_of_either() {
    let options = UpOptions {
        nodes: 2,
        gateways: 1,
        programs: Programs::Bare,
        ..UpOptions::default()
    };
    let folder = tempfile::Builder::new()
        .prefix("plab-")
        .tempdir_in("/tmp")
        .unwrap();
    let links = || {
        std::fs::read_to_string("/proc/self/net/dev")
            .unwrap()
            .lines()
            .count()
    };
    let before = links();
    let labs: Vec<Lab> = ["a", "b"]
        .map(|name| Lab::up(&folder.path().join(name), &options, &mut |_| {}).unwrap())
        .into();
    for lab in &labs {
        let pod = lab
            .create_pod("default", "web", &PodOptions::on("n1"))
            .unwrap();
        assert_eq!(pod.addresses[0].to_string(), "10.244.1.3");
    }
    assert_eq!(
        links(),
        before,
        "no link appears outside the lab's namespaces"
    );
    let groups: Vec<_> = labs.iter().map(|lab| lab.state().unwrap().cgroup).collect();
    for lab in &labs {
        lab.down().unwrap();
        assert!(!lab.dir().exists());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(&folder.path().display().to_string()),
        "{mounts}"
    );
    assert!(groups.iter().all(|group| !group.exists()));
}

#[test]
fn down_fails_when_a_process_stays_in_a_namespace_of_the_lab() {
    let options = UpOptions {
        nodes: 1,
        gateways: 0,
        programs: Programs::Bare,
        ..UpOptions::default()
    };
    let folder = tempfile::Builder::new()
        .prefix("plab-")
        .tempdir_in("/tmp")
        .unwrap();
    let lab = Lab::up(folder.path(), &options, &mut |_| {}).unwrap();
    let mut stray = lab
        .command(Exec::Node("n1"), &["sleep".into(), "60".into()])
        .unwrap()
        .spawn()
        .unwrap();
    wait_until(DEADLINE, "the stray process in the namespace", || {
        let link = std::fs::read_to_string(format!("/proc/{}/comm", stray.id()));
        Ok(link.is_ok_and(|name| name.trim() == "sleep").then_some(()))
    })
    .unwrap();
    let error = lab.down().unwrap_err().to_string();
    stray.kill().unwrap();
    stray.wait().unwrap();
    assert!(
        error.contains(&format!("process {}", stray.id())),
        "{error}"
    );
    lab.down().unwrap();
}
