//! Workloads W1 to W5, measured beside the disk's own fdatasync.
