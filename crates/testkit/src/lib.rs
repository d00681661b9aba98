//! Fakes and harness that tests share.
