//! What nodes and pods are made of: namespaces, control groups, processes and CNI plugins.

pub mod cgroup;
pub mod cni;
pub mod command;
pub mod netns;
pub mod process;
