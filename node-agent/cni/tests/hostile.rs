//! Configurations and results that no runtime writes.

use std::path::Path;

use postern_cni::{Attached, Configuration, Environment};
use postern_host_testing::fuzz::{Corpus, InputForm};

fn corpus() -> Corpus {
    Corpus::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
}

#[test]
fn no_configuration_breaks_the_plugin_and_a_socket_is_always_an_absolute_path() {
    corpus().feed(InputForm::Json, |input| {
        let Ok(configuration) = Configuration::parse(input) else {
            return;
        };
        assert!(configuration.socket().is_absolute());
        drop(configuration.valid_container_ids());
        if let Ok(previous) = configuration.previous()
            && let Ok(attached) = Attached::read(previous.get(), "eth0", |name| name == "cni0")
        {
            assert!(!attached.addresses.is_empty());
        }
    });
}

#[test]
fn no_variable_names_a_container_or_interface_that_is_a_path() {
    let inputs = [
        "c1",
        "eth0",
        "../../etc",
        "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c",
    ];
    let corpus = Corpus::of(inputs.map(|text| text.as_bytes().to_vec()).into());
    corpus.feed(InputForm::Bytes, |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let environment = Environment::from_lookup(|_| Some(text.clone()));
        if let Ok(attachment) = environment.attachment() {
            for part in [&attachment.container_id, &attachment.ifname] {
                assert!(
                    !part.contains('/') && part != ".." && !part.is_empty(),
                    "{part}"
                );
            }
        }
        drop((
            environment.command().is_ok(),
            environment.pod(),
            environment.netns().is_ok(),
        ));
    });
}
