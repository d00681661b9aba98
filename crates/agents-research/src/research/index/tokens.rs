//! Our terms as tokens of the index.
//!
//! For: giving the index the same terms that sentence scoring sees. Not for: deciding what a term is (`text::words` does).
//! Invariant: a token's text is one term, and its offsets lie in the text.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::research::text::words::Terms;

/// The tokenizer of every index.
#[derive(Clone, Default)]
pub(super) struct TermTokenizer {
    terms: Terms,
    buffer: String,
    spans: Vec<Span>,
    token: Token,
}

#[derive(Clone, Copy)]
struct Span {
    /// End of the term in the buffer; it begins where the one before ends.
    buffer_end: usize,
    start: usize,
    end: usize,
    position: usize,
}

impl Tokenizer for TermTokenizer {
    type TokenStream<'a> = TermStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream<'a> {
        self.buffer.clear();
        self.spans.clear();
        self.token.reset();
        let (buffer, spans) = (&mut self.buffer, &mut self.spans);
        self.terms.each(text, &mut |term, at| {
            buffer.push_str(term);
            spans.push(Span { buffer_end: buffer.len(), start: at.start, end: at.end, position: at.position });
        });
        TermStream { tokenizer: self, at: 0, from: 0 }
    }
}

/// The terms of one text.
pub(super) struct TermStream<'a> {
    tokenizer: &'a mut TermTokenizer,
    at: usize,
    from: usize,
}

impl TokenStream for TermStream<'_> {
    fn advance(&mut self) -> bool {
        let t = &mut *self.tokenizer;
        let Some(span) = t.spans.get(self.at) else { return false };
        t.token.text.clear();
        t.token.text.push_str(&t.buffer[self.from..span.buffer_end]);
        (t.token.offset_from, t.token.offset_to, t.token.position) = (span.start, span.end, span.position);
        self.from = span.buffer_end;
        self.at += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.tokenizer.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokenizer.token
    }
}
