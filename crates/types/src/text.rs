//! Texts that are kept or shown in part.
//!
//! For: cutting a text at a limit, and the message of a panic. Not for: refusing a text that is too long (see
//! [`crate::bounds`]).
//! Invariant: a text is cut between two characters, never inside one.

use std::any::Any;

/// Shortens a text to at most `max` bytes, at the end of a character.
pub fn truncate(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}

/// The text, or its beginning of at most `max` bytes with an ellipsis behind it.
pub fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(max)])
}

/// The message of a panic, as [`std::panic::catch_unwind`] returns it.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the panic has no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let cut = |text: &str, max| {
            let mut owned = text.to_owned();
            truncate(&mut owned, max);
            assert_eq!(shortened(text, max).trim_end_matches('…'), owned);
            owned
        };
        assert_eq!((cut("aä", 3).as_str(), cut("aä", 2).as_str(), cut("ä", 1).as_str()), ("aä", "a", ""));
        assert_eq!((shortened("aä", 3), shortened("aäb", 3)), ("aä".to_owned(), "aä…".to_owned()));
    }

    #[test]
    fn a_panic_has_its_message() {
        let of = |message: Box<dyn Any + Send>| panic_message(&*message).to_owned();
        assert_eq!((of(Box::new("text")), of(Box::new("owned".to_owned()))), ("text".into(), "owned".into()));
        assert_eq!(of(Box::new(1_u8)), "the panic has no message");
    }
}
