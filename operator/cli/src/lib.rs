//! The command line for people who run Postern, and the publisher that works on a folder of files.
//!
//! | module | for |
//! |---|---|
//! | [`approval`] | words of giving a consent, wherever approvals are kept |
//! | [`cluster`] | a cluster, as a person with a kubeconfig reaches it |
//! | [`doctor`] | findings about a cluster, each with an act |
//! | [`explained`] | why a pod of a cluster leaves as it does, by what a person may read |
//! | [`files`] | a folder with manifests and reports in, signed envelopes out |
//! | `full_name` | names of objects for people |
//! | [`graph`] | which traffic goes where, drawn |
//! | [`install`] | whether a cluster can have Postern, before anything is installed |
//! | [`keys`] | signing keys and trusted keys as PEM files |
//! | `leader` | whether an operator leads, by its Lease |
//! | [`plan`] | what a body would change on its node |
//! | [`schema`] | what an API server would answer to an object of the users' kinds |
//! | [`overview`] | the state of policies, exits and nodes of a cluster, by what its objects say |
//! | [`uninstall`] | taking Postern away, step by step |
//! | [`verbs`] | one file for each verb |
//! | [`output`] | tables for people, JSON and YAML for programs |

pub mod approval;
pub mod cluster;
pub mod doctor;
pub mod explained;
pub mod files;
mod full_name;
pub mod graph;
pub mod install;
pub mod keys;
mod leader;
pub mod output;
pub mod overview;
pub mod plan;
pub mod schema;
pub mod uninstall;
pub mod verbs;
pub mod wireguard_conf;
