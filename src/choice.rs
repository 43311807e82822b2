//! Choices between a few words. The configuration, the flags, the help, the messages and the reports share them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A choice between a few words.
pub trait Choice: FromStr<Err = UnknownWord> + Clone + Send + Sync + 'static {
    /// The words, in the order in which messages and help list them.
    const WORDS: &'static [&'static str];
}

/// A word that a choice does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}`: expected one of {}", words.join(", "))]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The words that the choice has.
    pub words: &'static [&'static str],
}

macro_rules! choice {
    ($(#[$about:meta])* $choice:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $choice {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $choice {
            /// All of them, in the order in which messages and help list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Choice for $choice {
            const WORDS: &'static [&'static str] = &[$($word,)+];
        }

        impl FromStr for $choice {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { word: word.to_owned(), words: Self::WORDS }),
                }
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.name())
            }
        }
    };
}

choice! {
    /// The backend that is to run a network.
    BackendChoice {
        /// The native engine, or tract for networks with parts that the native engine does not know.
        #[default]
        Auto = "auto",
        /// The engine of this program.
        Native = "native",
        /// tract.
        Tract = "tract",
    }
}

choice! {
    /// The instruction set that the native engine is to use.
    IsaChoice {
        /// The best one that the processor has.
        #[default]
        Auto = "auto",
        /// Plain Rust; the compiler vectorises it as the target allows.
        Scalar = "scalar",
        /// x86-64 with AVX2 and FMA, 256 bits.
        Avx2 = "avx2",
        /// x86-64 with AVX-512 F and VL, 512 bits.
        Avx512 = "avx512",
        /// 64-bit ARM, 128 bits.
        Neon = "neon",
    }
}

choice! {
    /// How the native engine trades memory for speed.
    MemoryMode {
        /// Fast: weights are kept in the form in which they are used.
        #[default]
        Fast = "fast",
        /// Less memory, slower: weights of Winograd convolutions are kept as they are, and transformed at each use.
        Lean = "lean",
    }
}

choice! {
    /// How the packets of an RTSP camera travel.
    RtspTransport {
        /// Over TCP, in the connection of the session.
        #[default]
        Tcp = "tcp",
        /// Over UDP.
        Udp = "udp",
        /// UDP first, then multicast, then TCP.
        Auto = "auto",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_name_in_text_and_in_files() {
        assert_eq!(IsaChoice::ALL.len(), IsaChoice::WORDS.len());
        for (choice, word) in IsaChoice::ALL.iter().zip(IsaChoice::WORDS) {
            assert_eq!(word.parse::<IsaChoice>().unwrap(), *choice);
            let json = serde_json::to_string(choice).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<IsaChoice>(&json).unwrap(), *choice);
            assert_eq!(choice.to_string(), *word);
        }
    }

    #[test]
    fn an_unknown_word_is_an_error_that_lists_those_there_are() {
        assert_eq!("Lean".parse::<MemoryMode>().unwrap_err().to_string(), "`Lean`: expected one of fast, lean");
        assert!("".parse::<BackendChoice>().is_err());
    }
}
