//! The publisher and the command line on real files.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod again;
mod damaged;
mod doctor;
mod documented;
mod explained;
mod folder;
mod graph;
mod imported;
mod install;
mod overview;
mod packet;
mod packet_agrees;
mod packet_cluster;
mod packet_short;
mod packet_tiers;
mod plan;
mod publish;
mod samples;
mod served;
mod shipped;
mod uninstall;
mod verbs;
