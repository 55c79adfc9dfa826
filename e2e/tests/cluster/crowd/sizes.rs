//! How many objects the cases make.

pub(super) const NAMESPACES: usize = 10;
/// Policies of one namespace; of each five that select the same pod the last has the highest priority.
pub(super) const POLICIES: usize = 100;
/// Pods of one namespace, each with a label of its own.
pub(super) const PODS: usize = 20;
pub(super) const ALL_POLICIES: usize = NAMESPACES * POLICIES;
pub(super) const ALL_PODS: usize = NAMESPACES * PODS;
