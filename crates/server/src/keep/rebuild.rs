//! Opening the store, and making it again where it cannot be opened.
//!
//! For: a store that is missing, damaged, or behind the log, in a folder whose log and snapshots have it all. Not for:
//! damage of the log, or blobs, which are nowhere else in the folder.
//! Invariant: nothing is deleted; the parts of a damaged store get another name beside the new ones, and what was wrong
//! and what was done is told at `warn`.

use consort_log::Log;
use consort_log_file::FileLog;
use consort_store::{Row, Store as _, StoreError};
use consort_store_fjall::{BlobFolder, FjallStore};
use consort_types::{Code, Error, Result, Seq};

use super::{
    archive::{Archive, on_thread},
    restore::BLOBS,
    verify::{check_blobs, verify},
};
use crate::{Settings, local::DataFolder};

/// Whether a damaged store may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mending {
    Allowed,
    /// The damage is the answer.
    Forbidden,
}

/// Opens the store of a data folder; makes it again where it is missing, damaged or behind the log.
pub(crate) fn open_store(folder: &DataFolder, log: &dyn Log, mending: Mending) -> Result<FjallStore> {
    match open_fitting(folder, log)? {
        Ok(store) => Ok(store),
        Err(why) if mending == Mending::Forbidden => Err(why),
        Err(why) => make_again(folder, log, &why),
    }
}

/// The store, or what is wrong with it.
fn open_fitting(folder: &DataFolder, log: &dyn Log) -> Result<Result<FjallStore>> {
    if log.last() > Seq::ZERO && !FjallStore::exists(&folder.store()) {
        return Ok(Err(Error::new(Code::Damaged, format!("`{}` is missing", folder.store().display()))
            .hint("restore the folder from a backup")));
    }
    match FjallStore::open(&folder.store()) {
        Ok(store) if store.applied()?.next() < log.first() => {
            let message = format!(
                "the store `{}` ends at record `{}`, but the log begins at `{}`",
                folder.store().display(),
                store.applied()?,
                log.first()
            );
            Ok(Err(Error::new(Code::Damaged, message).hint("restore the folder from a backup")))
        }
        Ok(store) => Ok(Ok(store)),
        Err(error @ StoreError::Damaged { .. }) => Ok(Err(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// Where the rows of a store can come from.
enum Source {
    Snapshot(Seq),
    /// The log begins with the first record.
    Log,
}

fn make_again(folder: &DataFolder, log: &dyn Log, why: &Error) -> Result<FjallStore> {
    let archive = Archive::at(&folder.snapshots());
    let source = archive.as_ref().map_or(None, |archive| newest_good(archive, log));
    let source = source.or_else(|| (log.first() <= Seq(1)).then_some(Source::Log)).ok_or_else(|| {
        let message =
            format!("{}; no snapshot is whole and joins the log, which begins at `{}`", why.message, log.first());
        Error::new(why.code, message).hint("restore the folder from a backup: `consort restore`")
    })?;
    let (from, aside) = if let (Source::Snapshot(record), Ok(archive)) = (&source, &archive) {
        let manifest = archive.manifest(*record)?;
        (*record, FjallStore::rebuild(&folder.store(), *record, archive.rows(&manifest))?)
    } else {
        let none = std::iter::empty::<Result<Vec<Row>>>();
        (Seq::ZERO, FjallStore::rebuild(&folder.store(), Seq::ZERO, none)?)
    };
    let of = if from > Seq::ZERO { format!("the snapshot at record {from} and ") } else { String::new() };
    let aside: Vec<String> = aside.iter().map(|path| path.display().to_string()).collect();
    let aside =
        if aside.is_empty() { "nothing was left of it".to_owned() } else { format!("it is now {}", aside.join(", ")) };
    tracing::warn!(
        "the store could not be used ({}); {aside}; it is made again from {of}records {} to {} of the log",
        why.message,
        from.next(),
        log.last()
    );
    let store = FjallStore::open(&folder.store())?;
    tell_missing_blobs(folder, &store)?;
    Ok(store)
}

/// The newest snapshot that is whole and from which the log continues.
fn newest_good(archive: &Archive, log: &dyn Log) -> Option<Source> {
    let joins = |record: &Seq| record.next() >= log.first() && *record <= log.last();
    archive.records().ok()?.into_iter().filter(joins).find_map(|record| {
        let faults = match archive.manifest(record) {
            Ok(manifest) => verify(archive, &manifest).faults.into_iter().map(|fault| fault.what).collect(),
            Err(error) => vec![error.message],
        };
        match faults.first() {
            None => Some(Source::Snapshot(record)),
            Some(what) => {
                tracing::warn!("the snapshot at record {record} is not used: {what}");
                None
            }
        }
    })
}

/// Blobs are not in snapshots: those that went with the store are lost to the folder.
fn tell_missing_blobs(folder: &DataFolder, store: &FjallStore) -> Result<()> {
    let blobs = BlobFolder::at(folder.store().join(BLOBS));
    let (_, faults) = check_blobs(&*store.snapshot()?, &blobs)?;
    if let Some(first) = faults.first() {
        tracing::warn!(
            "{} blobs are missing or damaged, and only a backup has them, such as {}: {}",
            faults.len(),
            first.path.display(),
            first.what
        );
    }
    Ok(())
}

/// Makes the store again where reading all of it finds damage; whether it did. Nothing may have the folder's log or store
/// open, and the caller has the folder's lock.
pub(crate) fn mend_damaged(folder: &DataFolder) -> Result<bool> {
    let log = FileLog::open(&folder.log())?;
    let store = open_store(folder, &log, Mending::Allowed)?;
    let Err(why) = store.read_all() else { return Ok(false) };
    drop(store);
    make_again(folder, &log, &why.into())?;
    Ok(true)
}

/// Makes the store of the settings' data folder again, whatever state it is in; what it was is moved aside. The next start
/// applies the records of the log since the snapshot; returns that last record of the log.
///
/// # Errors
/// [`Code::Locked`] where a process has the folder open, [`Code::FolderNotFound`] where there is none, and
/// [`Code::Damaged`] where neither a snapshot nor the log has everything.
pub async fn rebuild_store(settings: &Settings) -> Result<Seq> {
    let folder = DataFolder::at(settings.data_dir());
    if !folder.exists() {
        let message = format!("there is no data folder at `{}`", folder.path().display());
        return Err(Error::new(Code::FolderNotFound, message).hint("name it with `--data-dir`"));
    }
    on_thread(move || {
        let _lock = folder.lock()?;
        let log = FileLog::open(&folder.log())?;
        make_again(&folder, &log, &Error::new(Code::Damaged, "an operator has it made again"))?;
        Ok(log.last())
    })
    .await
}
