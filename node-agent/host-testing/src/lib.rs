//! What tests of the node agent share. Crates name this one in their development dependencies only.
//!
//! | module | for |
//! |---|---|
//! | [`allow_list`] | what a run may leave unproved |
//! | [`fake`] | a host in memory; its documentation says how far to believe it |
//! | [`contract`] | the rules that every host keeps, as cases that run on the fake and on Linux |
//! | [`fixture`] | a small cluster as input for the planner: bodies, settings, bindings |
//! | [`patience`] | how long a case waits on a machine that others use too |
//! | [`fuzz`] | hostile inputs for parsers |
//! | [`generate`] | random bodies and packets, which a seed repeats |

pub mod allow_list;
pub mod contract;
pub mod fake;
pub mod fixture;
pub mod fuzz;
pub mod generate;
pub mod patience;
