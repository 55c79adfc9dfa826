//! The words that users and programs share: kinds, names, selectors, conditions.
