//! Vocabulary of conditions.
