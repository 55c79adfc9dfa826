//! Files of wg-quick(8), as providers give them, turned into an ExitNode and a Secret.
//!
//! | module | for |
//! |---|---|
//! | `read` | sections, keys and values |
//! | `imported` | what they become, and what of them cannot be honoured |

mod imported;
mod read;

pub use imported::{ImportNames, ImportedExit, import};
pub use read::ConfError;
