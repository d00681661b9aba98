//! The HTTP/JSON interface: translate, authenticate, call the engine.
