//! The publisher of a lab without a control plane: the only caller of the compiler.

mod delay;
mod run;

pub use run::run;
