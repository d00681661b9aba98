//! Quotes into Markdown and back.
//!
//! For: rendering a quote so that it shows as it reads, and recovering it from a rendered report. Not for: parsing Markdown.
//! Invariant: `unescape(escape(text)) == text` for every text without line breaks.

/// Characters that Markdown could take for markup.
const SPECIAL: &[char] = &['\\', '*', '_', '[', ']', '<', '>', '|', '~'];

/// A quote as Markdown: code spans stay, everything that could be markup is escaped.
pub(crate) fn escape(text: &str) -> String {
    let balanced = text.matches('`').count().is_multiple_of(2);
    let mut out = String::with_capacity(text.len() + 8);
    let mut in_code = false;
    for (i, c) in text.char_indices() {
        if c == '`' {
            if balanced {
                in_code = !in_code;
            } else {
                out.push('\\');
            }
        } else if !in_code && needs_escape(text, i, c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn needs_escape(text: &str, at: usize, c: char) -> bool {
    let next = text[at + c.len_utf8()..].chars().next();
    match c {
        '!' => next == Some('['),
        '#' | '+' | '-' => at == 0,
        '&' => next.is_some_and(|n| n.is_ascii_alphabetic() || n == '#'),
        _ => SPECIAL.contains(&c),
    }
}

/// The quote behind rendered Markdown.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_code = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if !in_code => match chars.peek() {
                Some(&n) if n.is_ascii_punctuation() => {
                    out.push(n);
                    chars.next();
                }
                _ => out.push(c),
            },
            '`' => {
                in_code = !in_code;
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// White space runs become one space; ends are trimmed.
pub(crate) fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_undone_by_unescaping() {
        for text in
            ["`Vec<T>` is a_b <T> *x* [1] a|b", "# head & &amp; \\ tail", "odd ` tick_", "- a > b!", "C:\\dir\\_x"]
        {
            assert_eq!(unescape(&escape(text)), text, "{}", escape(text));
        }
    }

    #[test]
    fn code_spans_stay_readable() {
        assert_eq!(escape("use `a_b<T>` not <T>"), "use `a_b<T>` not \\<T\\>");
    }
}
