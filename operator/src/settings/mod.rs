//! The administrator's settings: how they are written, and how a changed file is noticed.

mod file;
mod follow;

pub use file::{SettingsError, parse, read};
pub use follow::follow;
