//! Bytes of a text file into text.
//!
//! For: UTF-8, UTF-16 with its mark, and Windows-1252 (of which Latin-1 is a part), in composed form. Not for: guessing
//! among other encodings.
//! Invariant: a line of the file is a line of the text, so that places hold.

use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Bytes in which a zero says that a file is binary.
const LOOKED_AT: usize = 8_192;

/// The text, or `None` where the file is binary.
pub(super) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0,
        None if bytes.iter().take(LOOKED_AT).any(|b| *b == 0) => return None,
        None => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if is_nearly_utf8(bytes) => String::from_utf8_lossy(bytes),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        },
    };
    Some(if is_nfc(&text) { text } else { Cow::Owned(text.nfc().collect()) })
}

/// Whether a file is UTF-8 with a few damaged places: most of its bytes beyond ASCII belong to whole characters.
fn is_nearly_utf8(bytes: &[u8]) -> bool {
    let beyond = bytes.iter().filter(|b| !b.is_ascii()).count();
    let lost: usize = bytes.utf8_chunks().map(|c| c.invalid().len()).sum();
    lost * 4 < beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_common_encodings() {
        let utf16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain("Öl\n2".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(decode(&utf16).as_deref(), Some("Öl\n2"));
        assert_eq!(decode(b"caf\xe9 \x80 5").as_deref(), Some("café € 5"));
        assert_eq!(decode("cafe\u{301}".as_bytes()).as_deref(), Some("café"));
        assert_eq!(decode("ÄÖÜäöü".as_bytes()).as_deref(), Some("ÄÖÜäöü"));
        assert_eq!(decode(&[0, 159, 146, 150]), None);
    }
}
