//! What one compile asks the next one to know, kept in ConfigMaps. Losing it loosens nothing.
//!
//! | module | for | needs a client |
//! |---|---|---|
//! | [`contents`] | what is remembered, and which page holds which part | no: pure |
//! | [`page`] | one ConfigMap: packing, unpacking, its format | no: pure |
//! | [`store`] | loading at the beginning of a term, and what has to be written | no: pure |
//! | [`save`] | the writes | yes |
//!
//! The policies of a namespace are in one page of sixteen, so that a namespace whose page the API server refuses stops
//! neither the other namespaces nor the publishing. The compiler bounds what it remembers of a namespace.

mod contents;
mod page;
mod save;
mod store;

pub use contents::{MemoryContents, PageName};
pub use page::PageError;
pub(super) use save::{MemoryWrite, SavedMemory};
pub use store::{LoadedMemory, MemoryStore, UnwrittenPage};
