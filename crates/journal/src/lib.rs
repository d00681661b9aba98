//! Records of the log, their encoding, the log trait and its conformance suite.
