//! The laboratory: a cluster of namespaces with a world behind it, and a counter that misses nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern_e2e::cli::main()
}
