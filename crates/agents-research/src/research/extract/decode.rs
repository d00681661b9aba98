//! Bytes of a text file into text.
//!
//! For: UTF-8 and UTF-16 with or without a mark, the encoding that a page declares, and Windows-1252 (of which Latin-1
//! is a part) for what is none of these. Not for: guessing among other encodings, or changing characters: a quote keeps
//! those of its file.
//! Invariant: a line of the file is a line of the text, so that places hold, and no replacement character is made up.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::Unread;

/// Bytes in which a zero says that a file is binary, and in which a page declares its encoding.
const LOOKED_AT: usize = 8_192;

/// The text of a file; `declares` says whether its format can name an encoding inside itself.
pub(super) fn decode(bytes: &[u8], declares: bool) -> Result<Cow<'_, str>, Unread> {
    if bytes.starts_with(&[0xff, 0xfe, 0, 0]) || bytes.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(Unread::Utf32);
    }
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return Ok(whole(encoding, &bytes[mark..]));
    }
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    if start.contains(&0) {
        return unmarked_utf16(start).map(|encoding| whole(encoding, bytes)).ok_or(Unread::Binary);
    }
    match declared(start).filter(|_| declares) {
        Some(encoding) => Ok(whole(encoding, bytes)),
        None => Ok(utf8(bytes)),
    }
}

/// All bytes in one encoding. Where some are not in it, the file says something untrue of itself, or is damaged.
fn whole<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Cow<'a, str> {
    if encoding == UTF_8 {
        return utf8(bytes);
    }
    let (text, damaged) = encoding.decode_without_bom_handling(bytes);
    match damaged {
        false => text,
        true if std::str::from_utf8(bytes).is_ok() => utf8(bytes),
        // What cannot be read gives a space: a replacement character would stand in quotes, and is not in the file.
        true => Cow::Owned(text.replace('\u{fffd}', " ")),
    }
}

/// UTF-8; what is not UTF-8 is Windows-1252, in which every byte is a character: all of an old file, or the few places
/// where text was pasted into a new one.
fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&WINDOWS_1252.decode_without_bom_handling(chunk.invalid()).0);
    }
    Cow::Owned(text)
}

/// The byte order of UTF-16 without its mark: the zeros of the start are nearly all at odd places, or at even ones.
fn unmarked_utf16(start: &[u8]) -> Option<&'static Encoding> {
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = (start.len() / 4).max(8);
    if odd >= many && even * 20 < odd {
        Some(UTF_16LE)
    } else if even >= many && odd * 20 < even {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The encoding that `<meta charset>`, `<meta http-equiv>` or the XML declaration at the start of a page names.
fn declared(start: &[u8]) -> Option<&'static Encoding> {
    // Only what is ASCII matters here, and one byte stays one character.
    let text: String = start.iter().map(|b| if b.is_ascii() { b.to_ascii_lowercase() as char } else { '?' }).collect();
    let xml = text.trim_start().strip_prefix("<?xml").and_then(|t| t.split_once("?>")).map(|(inside, _)| inside);
    let of_xml = xml.and_then(|inside| value(inside, "encoding"));
    let label = of_xml.or_else(|| {
        let mut rest = text.as_str();
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.split_once("-->")?.1;
                continue;
            }
            let (tag, after) = rest.split_once('>')?;
            if let Some(found) = tag.strip_prefix("<meta").and_then(|inside| value(inside, "charset")) {
                return Some(found);
            }
            rest = after;
        }
        None
    })?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    // A page whose declaration could be read as ASCII is not in UTF-16, whatever it says.
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

/// The value behind `key =`, with or without quotes.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find(key)? + key.len()..];
        if let Some(found) = rest.trim_start().strip_prefix('=') {
            let found = found.trim_start().trim_start_matches(['"', '\'']);
            let end = found.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/'));
            return Some(&found[..end.unwrap_or(found.len())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        decode(bytes, true).expect("text").into_owned()
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn reads_the_common_encodings_and_takes_the_mark_away() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(text(&utf16("\u{feff}Öl\n2", order)), "Öl\n2");
            assert_eq!(text(&utf16("The pump was replaced in May.\n", order)), "The pump was replaced in May.\n");
        }
        assert_eq!(text("\u{feff}# Tariff".as_bytes()), "# Tariff");
        assert_eq!(text(b"caf\xe9 \x80 5"), "café € 5");
        assert_eq!(text("cafe\u{301} ﬁn".as_bytes()), "cafe\u{301} ﬁn", "a quote keeps the characters of its file");
        assert_eq!(text("ÄÖÜäöü".as_bytes()), "ÄÖÜäöü");
    }

    #[test]
    fn a_declaration_wins_over_a_guess_and_a_false_one_does_not() {
        let page = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
        for head in [
            "<?xml version='1.0' encoding='koi8-r'?>",
            "<META CHARSET=koi8-r>",
            "<!-- <meta charset=utf-8> --><meta http-equiv=\"Content-Type\" content=\"text/html; charset=KOI8-R\">",
        ] {
            assert!(text(&page(head, b"\xcd\xc9\xd2")).ends_with("мир"), "{head}");
        }
        assert!(text(&page("<meta charset=utf-8>", b"S\xf8ren")).ends_with("Søren"));
        assert!(text(&page("<meta charset=shift_jis>", "日本語 é".as_bytes())).ends_with("日本語 é"));
        assert_eq!(decode(b"<meta charset=koi8-r>\xe9", false).expect("text"), "<meta charset=koi8-r>é");
    }

    #[test]
    fn damaged_places_make_no_replacement_characters() {
        for bytes in
            [&b"na\xc3\xafve caf\xe9"[..], b"\xff\xfea\x00\x00\xd8b\x00c", b"<meta charset=shift_jis>\x81\x20\xff"]
        {
            assert!(!text(bytes).contains('\u{fffd}'), "{bytes:?}");
        }
        assert_eq!(text(b"na\xc3\xafve caf\xe9"), "naïve café");
    }

    #[test]
    fn what_is_no_text_says_what_it_is() {
        assert!(matches!(decode(&[0, 159, 146, 150], false), Err(Unread::Binary)));
        assert!(matches!(decode(b"\xff\xfe\0\0a\0\0\0", false), Err(Unread::Utf32)));
    }
}
