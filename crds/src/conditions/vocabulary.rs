//! How a list of words with their sentences becomes an enum.

/// Makes an enum of words: each variant's sentence is its documentation and what [`sentence`] returns.
macro_rules! vocabulary {
    ($(#[$attribute:meta])* $name:ident { $($word:ident: $sentence:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = $sentence] $word,)+
        }

        impl $name {
            /// Every word, in the order of their definition.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word as it stands in a condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// What the word means.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$word => $sentence,)+
                }
            }

            /// The word that is spelled so.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }
    };
}

pub(crate) use vocabulary;
