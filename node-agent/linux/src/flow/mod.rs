mod entry;
mod wire;

pub(crate) use entry::answered_by;
