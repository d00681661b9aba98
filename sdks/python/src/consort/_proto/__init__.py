"""Generated protobuf code. Not for: users of the package; it may change with any version."""
