//! A real API server in the lab: etcd, kube-apiserver, kube-controller-manager, and the programs around them.
//!
//! ```text
//!  agents, operators ──► front (LAN address :6443) ──► kube-apiserver (loopback of `cp`) ──► etcd
//!  kubectl of the lab ─────────────────────────────────────►│ ▲
//!  the lab itself ─────► front's admin socket ──────────────┘ │
//!  a program outside ──► forwarder (127.0.0.1:PORT) ──────────┘
//! ```
//!
//! | part | for |
//! |---|---|
//! | `tools`, `build`, `build_part` | where the programs are; building them once from the Go module beside this crate |
//! | `start`, `stop` | keys, files and processes in the namespace `cp`; stopping and starting parts of it; snapshots |
//! | `api`, `http` | the lab's own client of the API server, over a unix socket |
//! | `front` | faults, cuts and counts |
//! | `kubeconfig`, `token`, `forward` | how others reach the API server |
//! | `kubectl` | what users would type |
//! | `proxy` | kube-proxy on every node |
//! | `objects`, `services`, `pods` | nodes, namespaces, services and pods as objects |
//! | `kubelet` | the process that makes pods out of Pod objects and takes them down again |
//! | `nodes` | upstream kubelets and containerd instead of it |
//! | `programs`, `operators` | what the manifests install, and the programs as their pods would run them |
//! | `collector` | where the traces of operators and the decisions that agents record go, in a lab that was made with one |
//! | `join` | the places where `up` and the verbs turn here |

mod api;
mod build;
mod build_part;
mod collector;
mod forward;
mod front;
mod http;
mod join;
mod kubeconfig;
mod kubectl;
mod kubelet;
mod nodes;
mod objects;
mod operators;
mod pods;
mod programs;
mod proxy;
mod services;
mod start;
mod stop;
mod token;
mod tools;

pub use api::{Api, PatchKind};
pub use build::{NodePrograms, cached_helm, cached_nodes, prepare, prepare_helm, prepare_nodes};
pub use front::{Fault, OpenWatch, RequestCount, RequestCounts};
pub use join::start_programs_on_cluster;
pub use kubeconfig::{Endpoint, Kubeconfigs, endpoint, kubeconfigs, write_kubeconfig};
pub use operators::{OPERATORS, operator_name};
pub(crate) use services::service_object;
pub use stop::Bump;
pub use token::{BoundPod, token};
pub use tools::{KUBERNETES_VERSION, Tools};

pub(crate) use forward::forward;
pub(crate) use kubelet::kubelet;
