//! Names in a sentence: a condition is for people, and has 32 KiB at most.

use std::fmt::Display;

/// How many names a message gives.
const NAMED: usize = 3;

/// The first names in their order, and how many more there are.
pub fn first_names<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let mut names = names.into_iter();
    let first: Vec<String> = names
        .by_ref()
        .take(NAMED)
        .map(|name| name.to_string())
        .collect();
    let first = first.join(", ");
    match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::first_names;

    #[test]
    fn three_are_named_and_the_others_counted() {
        assert_eq!(first_names(["a"]), "a");
        assert_eq!(first_names(["a", "b", "c"]), "a, b, c");
        assert_eq!(first_names(["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
