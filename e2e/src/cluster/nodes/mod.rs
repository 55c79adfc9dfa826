//! Nodes with an upstream kubelet and containerd each, in the network and mount namespaces of a node of the lab.
//!
//! | part | for |
//! |---|---|
//! | `root` | what a node has of a machine of its own: folders, control groups, CNI programs |
//! | `runtime` | containerd and the kubelet: configuration, start, images |
//! | `images` | the archives of the lab's own images, and where those of Postern are |
//! | `registration` | the start of all of it, up to nodes that are ready |
//! | `resolver` | CoreDNS as kubeadm installs it |
//! | `containers` | pods as containers, and their network namespaces by the names of the lab |

mod containers;
mod images;
mod registration;
mod resolver;
mod root;
mod runtime;
