//! Rust source as a list of words and marks, each with its line.
//!
//! For: the few questions that tidy asks of source text. Not for: parsing; what is inside a macro looks like any code.
//! Invariant: nothing inside a comment, a string or a character literal becomes a token.

/// A word, a mark or a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// One character of punctuation.
    Mark(char),
    /// A string, character or number.
    Literal,
}

/// A token and its line.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

impl Token {
    /// Whether it is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    /// Whether it is this mark.
    pub(crate) fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub(crate) lines: usize,
}

/// The tokens of a source text.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, line: 1 };
    std::iter::from_fn(|| scanner.next()).collect()
}

/// The functions with a body, nested ones too, in order of their first line.
pub(crate) fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        // `fn(` is the type of a function pointer; only a declaration has a name.
        if token.is_word("fn")
            && let Some(Token { kind: Kind::Word(name), .. }) = tokens.get(i + 1)
            && let Some(open) = body(tokens, i + 2)
            && let Some(last) = closing(tokens, open)
        {
            let lines = tokens[last].line - token.line + 1;
            found.push(Function { name: name.clone(), line: token.line, lines });
        }
    }
    found
}

/// The index of the brace that opens the body; none for a declaration that ends in `;`.
fn body(tokens: &[Token], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            Kind::Mark('(' | '[') => depth += 1,
            Kind::Mark(')' | ']') => depth = depth.saturating_sub(1),
            Kind::Mark('{') if depth == 0 => return Some(i),
            Kind::Mark(';') if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The index of the brace that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.step();
        }
    }

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let line = self.line;
        let kind = match self.peek(0)? {
            '"' => self.string(),
            '\'' => self.character_or_lifetime(),
            c if c.is_ascii_digit() => self.number(),
            c if is_word(c) => self.word_or_prefixed_string(),
            mark => {
                self.step();
                Kind::Mark(mark)
            }
        };
        Some(Token { line, kind })
    }

    fn skip_blank(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => self.skip_while(char::is_whitespace),
                (Some('/'), Some('/')) => self.skip_while(|c| c != '\n'),
                (Some('/'), Some('*')) => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            let both = (self.peek(0), self.peek(1));
            match both {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.step();
            self.step();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> Kind {
        self.step();
        while let Some(c) = self.step() {
            match c {
                '\\' => drop(self.step()),
                '"' => break,
                _ => {}
            }
        }
        Kind::Literal
    }

    /// From the first `#` or the quote on: ends at a quote with as many `#` behind it.
    fn raw_string(&mut self) -> Kind {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.step();
        }
        self.step();
        while let Some(c) = self.step() {
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                self.at += hashes;
                break;
            }
        }
        Kind::Literal
    }

    /// `'x'` and `'\n'` are characters; `'a` is a lifetime, which no check needs.
    fn character_or_lifetime(&mut self) -> Kind {
        self.step();
        if self.peek(0) == Some('\\') {
            self.step();
            self.step();
            self.skip_while(|c| c != '\'');
            self.step();
        } else if self.peek(1) == Some('\'') {
            self.step();
            self.step();
        } else {
            self.skip_while(is_word);
        }
        Kind::Literal
    }

    fn number(&mut self) -> Kind {
        self.skip_while(is_word);
        // `1.5` is one number; `1..5` and `1.max(2)` are not.
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.step();
            self.skip_while(is_word);
        }
        Kind::Literal
    }

    fn word_or_prefixed_string(&mut self) -> Kind {
        let start = self.at;
        self.skip_while(is_word);
        let word: String = self.chars[start..self.at].iter().collect();
        match (word.as_str(), self.peek(0), self.peek(1)) {
            ("r" | "br" | "cr", Some('"'), _) | ("br" | "cr", Some('#'), _) | ("r", Some('#'), Some('#' | '"')) => {
                self.raw_string()
            }
            ("b" | "c", Some('"'), _) => self.string(),
            ("b", Some('\''), _) => self.character_or_lifetime(),
            ("r", Some('#'), _) => {
                self.step();
                self.word_or_prefixed_string()
            }
            _ => Kind::Word(word),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let words = tokens(text).into_iter().filter_map(|token| match token.kind {
            Kind::Word(word) => Some(word),
            Kind::Mark(_) | Kind::Literal => None,
        });
        words.collect()
    }

    #[test]
    fn comments_and_literals_hide_their_words() {
        for text in [
            "a // b",
            "a /* b /* c */ d */",
            r#"a "b \" c""#,
            r##"a r#"b " c"# "##,
            r#"a b"c""#,
            "a 'b'",
            r"a '\'' '\u{e9}' b'c'",
            "a 'é'",
            "a 0xff 1.5e3 1_000u64",
        ] {
            assert_eq!(words(text), ["a"], "{text}");
        }
        assert_eq!(words("a r#type 'life b"), ["a", "type", "b"]);
        assert_eq!(words("for i in 0..n {}"), ["for", "i", "in", "n"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let tokens = tokens("\"one\ntwo\" /*\n*/ here");
        assert_eq!(tokens.last().map(|token| token.line), Some(3));
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_closing_brace() {
        let text = "trait T { fn declared(&self) -> [u8; 4]; }\n\
                    fn outer(callback: fn(u8)) {\n    fn inner() { }\n    let brace = '{';\n}\n";
        let found = functions(&tokens(text));
        let expected = [("outer", 2, 4), ("inner", 3, 1)];
        let expected = expected.map(|(name, line, lines)| Function { name: name.to_owned(), line, lines });
        assert_eq!(found, expected);
    }

    #[test]
    fn unfinished_source_ends_quietly() {
        for text in ["fn f() {", "\"open", "/* open", "r#\"open", "'", "fn"] {
            assert!(functions(&tokens(text)).is_empty(), "{text}");
        }
    }
}
