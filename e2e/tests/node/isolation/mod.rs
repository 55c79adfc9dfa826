//! Isolated nodes: one uplink at any instant, nothing by another one, and the operator is not locked out.

mod agent_task;
mod random;
mod safety;
mod switches;
mod uplinks;
