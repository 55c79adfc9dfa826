//! The signed document that tells one node what to do.
