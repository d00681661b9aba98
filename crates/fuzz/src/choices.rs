//! Bytes read as decisions.
//!
//! For: targets that build something structured out of their input. Not for: making up bytes.
//! Invariant: any bytes are a valid list of decisions; where they end, every further decision is the first option.

/// Decisions, taken one after the other.
#[derive(Clone, Debug)]
pub struct Choices<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Choices<'b> {
    /// The decisions that these bytes encode.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether no byte is left.
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// A number below `end`; 0 where `end` is 0 or 1.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % end,
            _ => (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end,
        }
    }

    /// True once in `n` for evenly spread bytes, and never at the end of the bytes.
    pub fn once_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }

    /// Any number, small ones and the edges more often.
    pub fn number(&mut self) -> u64 {
        match self.byte() % 8 {
            0..=3 => u64::from(self.byte()),
            4 => u64::from(self.byte()) << 8 | u64::from(self.byte()),
            5 => u64::MAX - u64::from(self.byte()),
            6 => 1 << (self.byte() % 64),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// One of the options.
    ///
    /// # Panics
    /// Where there is none.
    pub fn pick<'o, T>(&mut self, options: &'o [T]) -> &'o T {
        &options[self.below(options.len())]
    }

    /// One of the words.
    ///
    /// # Panics
    /// Where there is none.
    pub fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// The bytes that are left.
    pub fn rest(&mut self) -> &'b [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::Choices;

    #[test]
    fn the_end_is_the_first_option_for_ever() {
        let mut choices = Choices::new(&[3, 1, 0]);
        assert_eq!(choices.pick(&['a', 'b', 'c']), &'a');
        assert_eq!(choices.below(1000), 256);
        assert!(choices.is_done() && choices.rest().is_empty());
        assert_eq!((choices.byte(), choices.below(9), choices.number(), choices.once_in(1)), (0, 0, 0, true));
        assert!(!choices.once_in(2));
    }
}
