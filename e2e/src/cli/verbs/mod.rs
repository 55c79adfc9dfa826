//! One file for each verb; two verbs that differ in a word share one.

pub(crate) mod apiserver;
pub(crate) mod apply;
pub(crate) mod controlplane;
pub(crate) mod demo;
pub(crate) mod etcd;
pub(crate) mod kubeconfig;
pub(crate) mod kubectl;
pub(crate) mod node;
pub(crate) mod nodeport;
pub(crate) mod operator;
pub(crate) mod pod;
pub(crate) mod process;
pub(crate) mod proof;
pub(crate) mod publisher;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod watch;
pub(crate) mod world;
