//! What tests use: a lab of their own that goes when they end.
