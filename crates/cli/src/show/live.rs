//! The live view: a block of lines at the terminal's end, redrawn in place.
//!
//! For: following a run on a terminal. Not for: the content of the block.
//! Invariant: what is drawn never has more lines than the terminal, and no line is wider than it, so that moving up finds
//! the block's start; the whole block is written at once, so that it does not flicker.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use super::style::{cut_painted, terminal_size};

/// A block that is redrawn.
#[derive(Default)]
pub(crate) struct Live {
    lines: usize,
}

impl Live {
    /// Replaces the block; each line is cut to the terminal's width.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        // The last column stays free: some terminals wrap there.
        let out = self.block(lines, terminal_size().0.saturating_sub(1).max(1));
        write(&out);
    }

    fn block(&mut self, lines: &[String], width: usize) -> String {
        let mut out = self.back();
        for line in lines {
            let line = cut_painted(line, width);
            // Each line is cleared behind its end instead of the whole block before: nothing flickers.
            let _ = writeln!(out, "{line}\x1b[K");
        }
        out.push_str("\x1b[J");
        self.lines = lines.len();
        out
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        if self.lines == 0 {
            return;
        }
        let mut out = self.back();
        out.push_str("\x1b[J");
        self.lines = 0;
        write(&out);
    }

    /// Leaves the block where it is; the next one is drawn below.
    pub(crate) fn leave(&mut self) {
        self.lines = 0;
    }

    fn back(&self) -> String {
        if self.lines == 0 { String::new() } else { format!("\x1b[{}F", self.lines) }
    }
}

fn write(text: &str) {
    let mut err = io::stderr().lock();
    // A closed terminal shows nothing.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::style::width;

    #[test]
    fn no_line_is_wider_than_the_terminal_so_that_moving_up_finds_the_start() {
        let lines = ["\x1b[1mtalk\x1b[0m 漢字漢字漢字漢字".to_owned(), "x".repeat(100), "short".to_owned()];
        let mut live = Live::default();
        for columns in [5, 12, 40] {
            let drawn = live.block(&lines, columns);
            let shown: Vec<&str> = drawn.lines().collect();
            for line in &shown[..3] {
                let plain = ["\x1b[3F", "\x1b[K", "\x1b[1m", "\x1b[0m"]
                    .iter()
                    .fold((*line).to_owned(), |l, code| l.replace(code, ""));
                assert!(width(&plain) <= columns, "{columns}: {line:?}");
            }
            assert_eq!(live.back(), "\x1b[3F");
        }
    }
}
