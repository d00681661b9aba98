//! The shell around the machine: partition loop, dispatcher, timers, watches.
