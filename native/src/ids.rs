//! Names that clients may use. They are ids, never paths: what parses here can't leave the directory it is joined to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

const MAX_ID_LENGTH: usize = 128;

/// A volume or an overlay: letters, digits, `.`, `_` and `-`, not starting with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// A raw snapshot file in the content directory: the 64 lower-case hex digits of its sha256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentId(String);

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !starts_well || text.len() > MAX_ID_LENGTH || !text.bytes().all(allowed) {
            return Err(Error::new(Code::InvalidArgument, format!("{text:?} is not an id")).hint(
                "use up to 128 letters, digits, dots, dashes and underscores; start with a letter or digit",
            ));
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for ContentId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(hex) {
            return Err(Error::new(Code::InvalidArgument, format!("{text:?} is not a content id"))
                .hint("use the 64 lower-case hex digits of the file's sha256"));
        }
        Ok(Self(text))
    }
}

macro_rules! text_of {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}
text_of!(Id);
text_of!(ContentId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_never_are_paths() {
        for text in ["", ".", "..", "a/b", "/a", "../a", ".hidden", "-x", "a\0b", "a b", "ä"] {
            assert!(Id::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(Id::try_from("a".repeat(129)).is_err());
        assert!(Id::try_from("0a.B_c-9".to_owned()).is_ok());
    }

    proptest! {
        #[test]
        fn what_parses_is_one_path_component(text in "\\PC{0,40}") {
            if let Ok(id) = Id::try_from(text) {
                let components: Vec<_> = std::path::Path::new(id.as_str()).components().collect();
                prop_assert!(matches!(components[..], [std::path::Component::Normal(_)]));
            }
        }

        #[test]
        fn content_ids_are_hex(text in "[0-9a-fA-F]{60,68}") {
            let fits = text.len() == 64 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
            prop_assert_eq!(ContentId::try_from(text).is_ok(), fits);
        }
    }
}
