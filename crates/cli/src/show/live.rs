//! The live view: a block of lines at the terminal's end, redrawn in place.
//!
//! For: following a run on a terminal. Not for: the content of the block.
//! Invariant: what is drawn never has more lines than the terminal, so that moving up finds the block's start; the
//! whole block is written at once, so that it does not flicker.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

/// A block that is redrawn.
#[derive(Default)]
pub(crate) struct Live {
    lines: usize,
}

impl Live {
    /// Replaces the block.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let mut out = self.back();
        for line in lines {
            // Each line is cleared behind its end instead of the whole block before: nothing flickers.
            let _ = writeln!(out, "{line}\x1b[K");
        }
        out.push_str("\x1b[J");
        self.lines = lines.len();
        write(&out);
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
