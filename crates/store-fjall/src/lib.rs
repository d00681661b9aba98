//! The store on a local folder, kept by fjall.
