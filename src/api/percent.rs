//! Percent-decoding of path segments and of header names.

/// Decodes `%xx`; `None` for an incomplete escape, for bytes that are not UTF-8 and for control characters.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { 16 * digit(rest.next()?)? + digit(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decode;

    #[test]
    fn escapes_are_decoded_and_broken_ones_refused() {
        assert_eq!(decode("%2A").as_deref(), Some("*"));
        assert_eq!(decode("a%20b%e2%82%ac").as_deref(), Some("a b€"));
        for broken in ["%", "%2", "%zz", "%ff", "a%00", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = decode(&text);
        }

        #[test]
        fn every_byte_escaped_gives_the_text_back(text in "[^\\p{Cc}]{0,40}") {
            let hex = plimsoll_core::hex::encode(text.as_bytes());
            let escaped: String = hex.as_bytes().chunks(2).flat_map(|pair| ["%", std::str::from_utf8(pair).unwrap()]).collect();
            prop_assert_eq!(decode(&escaped), Some(text));
        }
    }
}
