mod entry;
mod wire;
