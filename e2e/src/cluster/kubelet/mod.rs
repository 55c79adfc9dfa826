//! The process that makes pods out of Pod objects and takes them down again, for all nodes of the lab.
//!
//! It does what a kubelet does, in its order: it admits a pod that is bound to a node, calls CNI ADD until that
//! succeeds, starts the process, writes the addresses into the status; on deletion it ends the process, calls CNI DEL
//! and removes the object. It has no container runtime: a pod's first process is the command of its first container,
//! as a program of this machine. One that ends by itself is not started again, and its pod's status does not change. A
//! pod of the host network is reported as running and no more.

mod end_signal;
mod lifecycle;
mod run;
mod status;

pub(crate) use run::kubelet;
