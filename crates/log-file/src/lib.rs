//! The log on local files: group commit over zeroed, recycled segments.
