//! WireGuard devices: the kernel's where it has them, and the userspace protocol against a process that keeps it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::path::Path;

use namespace::{node_key, run, within};
use postern_host::{Links as _, Nature, Tunnels as _};
use postern_host_testing::allow_list;
use postern_intent::WgKey;
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use postern_plan::host::{TunnelBackend, TunnelConfig, TunnelLink, TunnelPeer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

async fn host(run_dir: &Path, backend: BackendPreference) -> LinuxHost {
    let options = LinuxOptions {
        run_dir: run_dir.to_owned(),
        private_key: node_key(),
        backend,
    };
    LinuxHost::new(options)
}

fn key(byte: u8) -> WgKey {
    PrivateKey::from_bytes([byte; 32]).public().unwrap()
}

fn peer(byte: u8, prefix: &str) -> TunnelPeer {
    TunnelPeer {
        public_key: key(byte),
        endpoint: Some("192.0.2.1:51850".parse().unwrap()),
        allowed_ips: vec![prefix.parse().unwrap()],
        keepalive_seconds: Some(5),
    }
}

fn config(mut peers: Vec<TunnelPeer>) -> TunnelConfig {
    peers.sort_by_key(|peer| peer.public_key);
    TunnelConfig {
        interface: "pst-c-eu".parse().unwrap(),
        listen_port: Some(51850),
        fwmark: 0x70,
        own_key: None,
        peers,
    }
}

fn link(backend: TunnelBackend) -> TunnelLink {
    TunnelLink {
        name: "pst-c-eu".parse().unwrap(),
        mtu: 1420,
        backend,
    }
}

/// `ip link add type wireguard` works exactly when the host found WireGuard, and a kernel device is what it was
/// configured to be, as `wg` shows it.
#[test]
fn the_kernel_serves_devices_where_it_can_and_is_not_asked_where_it_cannot() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path(), BackendPreference::KernelFirst).await;
        let asked = std::process::Command::new("ip")
            .args(["link", "add", "w", "type", "wireguard"])
            .output()
            .unwrap();
        let backend = host.tunnel_backend().await.unwrap();
        assert_eq!(backend == TunnelBackend::Kernel, asked.status.success());
        match backend {
            TunnelBackend::Kernel => kernel_device(&host).await,
            TunnelBackend::Userspace => {
                allow_list::absent("kernel-wireguard");
                let refused = host
                    .add_link(&link(TunnelBackend::Kernel))
                    .await
                    .unwrap_err();
                assert_eq!(refused.nature(), Nature::Unsupported);
            }
        }
    });
}

async fn kernel_device(host: &LinuxHost) {
    let device = link(TunnelBackend::Kernel).name;
    assert_eq!(host.read_tunnel(&device).await.unwrap(), None);
    host.add_link(&link(TunnelBackend::Kernel)).await.unwrap();
    for peers in [
        vec![peer(1, "0.0.0.0/0"), peer(2, "fd00::/8")],
        vec![peer(3, "0.0.0.0/0")],
        Vec::new(),
    ] {
        let wanted = config(peers);
        host.configure_tunnel(&wanted).await.unwrap();
        let seen = host.read_tunnel(&device).await.unwrap().unwrap();
        assert_eq!(seen.public_key, node_key().public());
        assert_eq!((seen.listen_port, seen.fwmark), (51850, 0x70));
        assert_eq!(
            seen.peers
                .into_iter()
                .map(|seen| seen.peer)
                .collect::<Vec<_>>(),
            wanted.peers
        );
        let shown = run("wg", &["show", "pst-c-eu", "peers"]);
        assert!(
            wanted
                .peers
                .iter()
                .all(|peer| shown.contains(&peer.public_key.to_string())),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), wanted.peers.len());
    }
    host.configure_tunnel(&config(vec![peer(4, "10.0.0.0/8")]))
        .await
        .unwrap();
    host.remove_peer(&device, &key(4)).await.unwrap();
    host.remove_peer(&device, &key(4)).await.unwrap();
    assert_eq!(host.read_tunnel(&device).await.unwrap().unwrap().peers, []);
}

/// A process that answers each request with a text of the test, and passes the request on to the test.
fn process(run_dir: &Path, answers: Vec<&'static str>) -> tokio::task::JoinHandle<Vec<String>> {
    std::fs::create_dir_all(run_dir.join("wireguard")).unwrap();
    let listener = UnixListener::bind(run_dir.join("wireguard/pst-c-eu.sock")).unwrap();
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.ends_with("\n\n") {
                text.push(char::from(stream.read_u8().await.unwrap()));
            }
            asked.push(text);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    })
}

fn hex(key: &WgKey) -> String {
    key.bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn the_old_peer_is_removed_by_a_request_of_its_own_before_anything_else_is_set() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path(), BackendPreference::Userspace).await;
        let device = format!("public_key={}\nerrno=0\n\n", hex(&key(1)));
        let process = process(
            folder.path(),
            vec![
                Box::leak(device.into_boxed_str()),
                "errno=0\n\n",
                "errno=0\n\n",
            ],
        );
        host.configure_tunnel(&config(vec![peer(2, "0.0.0.0/0")]))
            .await
            .unwrap();
        let asked = process.await.unwrap();
        assert_eq!(asked[0], "get=1\n\n");
        assert_eq!(
            asked[1],
            format!("set=1\npublic_key={}\nremove=true\n\n", hex(&key(1)))
        );
        assert!(asked[2].contains(&format!(
            "public_key={}\nendpoint=192.0.2.1:51850\n",
            hex(&key(2))
        )));
        assert!(
            folder.path().join("tunnels/pst-c-eu").exists(),
            "the process was asked to serve it"
        );
    });
}

#[test]
fn an_error_of_the_process_has_its_number() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path(), BackendPreference::Userspace).await;
        let process = process(folder.path(), vec!["errno=0\n\n", "errno=98\n\n"]);
        let error = host
            .configure_tunnel(&config(Vec::new()))
            .await
            .unwrap_err();
        assert_eq!(error.errno(), Some(98));
        process.await.unwrap();
    });
}

#[test]
fn a_socket_that_a_killed_process_left_behind_serves_nothing() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path(), BackendPreference::Userspace).await;
        drop(process(folder.path(), Vec::new()).await.unwrap());
        assert_eq!(
            host.read_tunnel(&link(TunnelBackend::Userspace).name)
                .await
                .unwrap(),
            None
        );
    });
}

#[test]
fn a_dismissed_tunnel_is_no_longer_asked_for() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path(), BackendPreference::Userspace).await;
        let request = folder.path().join("tunnels/pst-c-eu");
        std::fs::create_dir_all(folder.path().join("tunnels")).unwrap();
        std::fs::write(&request, "").unwrap();
        host.dismiss_tunnel(&link(TunnelBackend::Userspace).name)
            .await
            .unwrap();
        assert!(!request.exists());
    });
}
