//! The administrator's settings: how they are written, what each key is, and how a changed file is noticed.

mod file;
mod follow;
mod known;
mod reference;
mod written;

pub use file::{SettingsError, parse, read};
pub use follow::follow;
pub use known::KnownSettings;
pub use reference::markdown;
