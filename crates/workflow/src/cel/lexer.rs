//! The words of an expression.
//!
//! For: the parser. Not for: meaning.
//! Invariant: a token's span lies on character boundaries of the text.

use std::ops::Range;

use super::problem::Problem;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(u64),
    Double(f64),
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

impl Token {
    /// How a message names it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Int(number) => format!("`{number}`"),
            Self::Double(number) => format!("`{number}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end of the expression".to_owned(),
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ",", ":",
    "?", ".",
];

/// All tokens of a text, ended by [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Problem> {
    let mut lexer = Lexer { text, at: 0 };
    let mut list = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        list.push((token, start..lexer.at));
        if end {
            return Ok(list);
        }
    }
}

/// Where the `}}` is that ends an expression: the first outside of texts and of braces of its own. Where the words
/// make no sense, the first at all, so that the parser can say what is wrong.
pub fn closing(text: &str) -> Option<usize> {
    let mut lexer = Lexer { text, at: 0 };
    let mut braces = 0_usize;
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        match lexer.next() {
            Ok(Token::Sign("{")) => braces += 1,
            Ok(Token::Sign("}")) if braces > 0 => braces -= 1,
            Ok(Token::Sign("}")) if lexer.rest().starts_with('}') => return Some(start),
            Ok(Token::End) | Err(_) => return text.find("}}"),
            Ok(_) => {}
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn next(&mut self) -> Result<Token, Problem> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let second = rest[first.len_utf8()..].chars().next();
        match first {
            '\'' | '"' => self.text(false),
            'r' | 'R' if matches!(second, Some('\'' | '"')) => {
                self.at += 1;
                self.text(true)
            }
            'b' | 'B' if matches!(second, Some('\'' | '"')) => {
                Err(self.problem("bytes literals are not supported").hint("write a text without the `b` in front"))
            }
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.name()),
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            _ => self.sign(first),
        }
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        Problem::new("expression-syntax", message, self.at..self.at + length)
    }

    fn name(&mut self) -> Token {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        Token::Name(name)
    }

    fn sign(&mut self, first: char) -> Result<Token, Problem> {
        if let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        let problem = self.problem(format!("`{}` has no meaning in an expression", first.escape_debug()));
        Err(match first {
            '=' => problem.hint("compare with `==`"),
            '&' => problem.hint("write `&&`"),
            '|' => problem.hint("write `||`"),
            '$' => problem.hint("`${{` is not repeated inside an expression"),
            _ => problem,
        })
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let rest = self.rest();
        if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            let number = u64::from_str_radix(&digits[..end], 16);
            return self.int(2 + end, number.ok());
        }
        let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
        let mut end = digits(0);
        let mut double = false;
        if rest[end..].starts_with('.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
            double = true;
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
                double = true;
            }
        }
        if !double {
            let number = rest[..end].parse().ok();
            return self.int(end, number);
        }
        let number: f64 = rest[..end].parse().unwrap_or(f64::INFINITY);
        if !number.is_finite() {
            return Err(self.problem("the number is too large"));
        }
        self.at += end;
        Ok(Token::Double(number))
    }

    /// An integer of `length` bytes, and the `u` that CEL allows behind it (signed and unsigned are one type here).
    fn int(&mut self, length: usize, number: Option<u64>) -> Result<Token, Problem> {
        let Some(number) = number else {
            return Err(self.problem(format!("the number does not fit, the largest is {}", u64::MAX)));
        };
        self.at += length;
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
        }
        if self.rest().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err(self.problem("a number ends in a letter"));
        }
        Ok(Token::Int(number))
    }

    fn text(&mut self, raw: bool) -> Result<Token, Problem> {
        let start = self.at;
        let quote = &self.rest()[..1];
        let triple = quote.repeat(3);
        let quote = if self.rest().starts_with(&triple) { triple } else { quote.to_owned() };
        self.at += quote.len();
        let mut text = String::new();
        loop {
            if self.rest().starts_with(&quote) {
                self.at += quote.len();
                return Ok(Token::Text(text));
            }
            match self.rest().chars().next() {
                Some('\\') if !raw => text.push(self.escape()?),
                Some('\n') if quote.len() == 1 => break,
                Some(c) => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
                None => break,
            }
        }
        Err(Problem::new("expression-syntax", "the text is not closed", start..self.at)
            .hint(format!("end it with `{quote}`")))
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let rest = self.rest();
        let kind = rest[1..].chars().next().unwrap_or(' ');
        let digits = |count: usize, radix: u32| {
            let text = rest.get(2..2 + count)?;
            char::from_u32(u32::from_str_radix(text, radix).ok()?).map(|c| (c, 2 + count))
        };
        let found = match kind {
            'n' => Some(('\n', 2)),
            't' => Some(('\t', 2)),
            'r' => Some(('\r', 2)),
            'a' => Some(('\x07', 2)),
            'b' => Some(('\x08', 2)),
            'f' => Some(('\x0c', 2)),
            'v' => Some(('\x0b', 2)),
            '\\' | '\'' | '"' | '`' | '?' => Some((kind, 2)),
            'x' | 'X' => digits(2, 16),
            'u' => digits(4, 16),
            'U' => digits(8, 16),
            _ => None,
        };
        let Some((c, length)) = found else {
            return Err(self
                .problem("unknown escape in a text")
                .hint("write `\\\\` for a backslash, or put `r` before the text"));
        };
        self.at += length;
        Ok(c)
    }
}
