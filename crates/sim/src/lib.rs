//! The simulator: a whole partition in one thread on virtual time from one seed.
