//! Making segments before they are needed.
//!
//! For: files whose blocks are all allocated and written, so that a group changes no metadata of the file system.
//! Not for: writing frames. Invariant: a file gets a segment's name only after its head and its length are durable,
//! and this returns only after the name is.

use std::io;

use consort_log::{Files, LogError, SegmentFile};

use crate::segment::{self, DATA_START, Head};

/// Bytes of zeros that are written, and synced, at once: small enough to let a group's sync pass in between.
const CHUNK_BYTES: usize = 512 * 1024;

/// A segment that is part of the log and holds no frame yet.
pub(crate) struct Prepared {
    pub(crate) head: Head,
    pub(crate) file: Box<dyn SegmentFile>,
}

/// Makes a segment, out of a spare file (which is long enough) where one is given, and in place of a segment of the
/// same ordinal that holds no frame. A failure leaves the log as it was, except for
/// [`LogError::Poisoned`]: the folder's own state is unknown then.
pub(crate) fn prepare(files: &dyn Files, head: Head, spare: Option<&str>) -> Result<Prepared, LogError> {
    let (new, name) = (segment::new_name(head.ordinal), segment::name(head.ordinal));
    let refused = |error: &io::Error| LogError::io(files.place(&new), error);
    let file = build(files, head, spare, &new).map_err(|error| refused(&error))?;
    files.rename(&new, &name).map_err(|error| refused(&error))?;
    files.sync_dir().map_err(|error| LogError::Poisoned { why: format!("syncing the folder of the log: {error}") })?;
    Ok(Prepared { head, file })
}

fn build(files: &dyn Files, head: Head, spare: Option<&str>, new: &str) -> io::Result<Box<dyn SegmentFile>> {
    match files.remove(new) {
        // A leaving of an attempt that did not end.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let zeros = vec![0; CHUNK_BYTES.min(head.bytes as usize)];
    let file = if let Some(spare) = spare {
        files.rename(spare, new)?;
        let file = files.open(new)?;
        // The old frames stay: none of them passes under the new head's key.
        file.write_at(&zeros[..DATA_START as usize], 0)?;
        file
    } else {
        let file = files.create(new)?;
        for start in (0..head.bytes).step_by(CHUNK_BYTES) {
            // What was written before is synced first; the sync of the head takes the last chunk with it.
            if start > 0 {
                file.sync_data()?;
            }
            file.write_at(&zeros[..zeros.len().min((head.bytes - start) as usize)], start)?;
        }
        file
    };
    file.write_at(&head.encode(), 0)?;
    file.sync_data()?;
    Ok(file)
}
