//! Which way things go between Consort and the other side.
//!
//! For: the options of mirrors and bridges. Not for: what goes.
//! Invariant: a direction goes out, in, or both ways.

/// Which way things go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From Consort to the other side, and back.
    Both,
    /// Only to the other side.
    Out,
    /// Only from the other side.
    In,
}

impl Direction {
    /// Whether what the other side has is taken.
    pub fn is_in(self) -> bool {
        self != Self::Out
    }

    /// Whether things are sent to the other side.
    pub fn is_out(self) -> bool {
        self != Self::In
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Out => "out",
            Self::In => "in",
        }
    }
}
