//! Opening a log after whatever ended the process before.
//!
//! For: finding the last acknowledged record, and telling a torn tail from damage. Not for: verifying every frame of
//! a long log (replay does, when it reads them). Invariant: nothing is cut while there is a proof that it was durable.
//!
//! One group is written at a time, and the next only after the one before was synced. So at most one frame was never
//! acknowledged, and it is the last. A bad frame is a torn tail, and cut, unless one of these proves that it had been
//! durable: a later frame of the log (in this segment or a later one), or a mark behind it.

use std::{collections::VecDeque, sync::Arc};

use consort_log::{
    Files, LogError, SegmentFile,
    frame::{ALIGN, Header},
};
use consort_types::Seq;

use crate::{
    prepare::{Prepared, prepare},
    read::{Found, Position, Reader, Sealed},
    segment::{self, DATA_START, Head, Mark, Options},
};

/// The segment that takes the groups.
pub(crate) struct Active {
    pub(crate) head: Head,
    pub(crate) file: Box<dyn SegmentFile>,
    /// Its first record; none while it holds no frame.
    pub(crate) first: Option<Seq>,
    /// Where the next frame goes.
    pub(crate) at: Position,
    /// The newest mark, where there is one.
    pub(crate) mark: Option<Mark>,
}

impl Active {
    /// A segment without frames, in which the log continues.
    pub(crate) fn start(prepared: Prepared, next: Seq, chain: u32) -> Self {
        let at = Position { offset: DATA_START, next, chain };
        Self { head: prepared.head, file: prepared.file, first: None, at, mark: None }
    }

    /// Notes durably that everything up to here is durable.
    pub(crate) fn set_mark(&mut self) -> std::io::Result<()> {
        if self.first.is_none() || self.mark.is_some_and(|mark| mark.end == self.at.offset) {
            return Ok(());
        }
        let number = self.mark.map_or(0, |mark| mark.number) + 1;
        let mark = Mark { number, end: self.at.offset, last: Seq(self.at.next.0 - 1) };
        self.file.write_at(&mark.encode(self.head.key()), mark.offset())?;
        self.file.sync_data()?;
        self.mark = Some(mark);
        Ok(())
    }
}

/// A log that is ready for appends.
pub(crate) struct Recovered {
    pub(crate) sealed: VecDeque<Sealed>,
    pub(crate) active: Active,
    /// The segment that was prepared to come next.
    pub(crate) next: Option<Prepared>,
    /// Files to make segments of.
    pub(crate) spares: Vec<String>,
    /// Counts the openings of the log that made a segment.
    pub(crate) epoch: u64,
}

/// Opens the log in a folder; makes a new one where the folder holds none.
pub(crate) fn recover(files: &Arc<dyn Files>, options: &Options) -> Result<Recovered, LogError> {
    let files = &**files;
    let names = files.list().map_err(|error| LogError::io(files.place(""), &error))?;
    for name in names.iter().filter(|name| segment::ordinal_of(name, ".new").is_some()) {
        files.remove(name).map_err(|error| LogError::io(files.place(name), &error))?;
    }
    let spares: Vec<String> = names.iter().filter(|n| segment::ordinal_of(n, ".spare").is_some()).cloned().collect();
    let ordinals: Vec<u64> = names.iter().filter_map(|name| segment::ordinal_of(name, ".log")).collect();
    if ordinals.is_empty() && spares.is_empty() {
        return create(files, options);
    }
    check_complete(files, &ordinals)?;
    // A name that is seen need not be durable: the process before may have ended between a rename and its sync.
    files.sync_dir().map_err(|error| LogError::io(files.place(""), &error))?;
    let mut segments = Vec::with_capacity(ordinals.len());
    for ordinal in ordinals {
        segments.push(Segment::look(files, ordinal)?);
    }
    let epoch = segments.iter().map(|segment| segment.head.epoch).max().unwrap_or_default() + 1;
    let log_id = segments[0].head.log_id;
    if let Some(segment) = segments.iter().find(|segment| segment.head.log_id != log_id) {
        return Err(LogError::damaged(&segment.place, 16, "the segment belongs to another log"));
    }
    let next = take_prepared(files, &mut segments)?;
    let tail = segments.pop().expect("at least one segment is left");
    let (reader, head) = Reader::open(files, tail.head.ordinal)?;
    let active = recover_tail(reader, head)?;
    let sealed = sealed_segments(&segments, &active)?;
    Ok(Recovered { sealed, active, next, spares, epoch })
}

/// What is known of a segment from its first bytes.
struct Segment {
    place: String,
    head: Head,
    /// Its first frame, where that has a good header.
    first: Option<Header>,
}

impl Segment {
    /// Looks at a segment without keeping its file open: a log may have more segments than a process may open files.
    fn look(files: &dyn Files, ordinal: u64) -> Result<Self, LogError> {
        let (mut reader, head) = Reader::open(files, ordinal)?;
        let first = reader.header(DATA_START)?;
        Ok(Self { place: reader.place().to_owned(), head, first })
    }
}

fn create(files: &dyn Files, options: &Options) -> Result<Recovered, LogError> {
    let head = Head { log_id: options.new_log_id, ordinal: 1, epoch: 1, bytes: options.bytes_of(1, 0) };
    let active = Active::start(prepare(files, head, None)?, Seq(1), 0);
    Ok(Recovered { sealed: VecDeque::new(), active, next: None, spares: Vec::new(), epoch: 1 })
}

/// Makes a log whose next record is `first`. Its segment is the second one, because that of a first begins with record 1.
pub(crate) fn begin(files: &dyn Files, options: &Options, first: Seq) -> Result<Active, LogError> {
    let names = files.list().map_err(|error| LogError::io(files.place(""), &error))?;
    let ours = |name: &&String| [".log", ".spare"].iter().any(|ending| segment::ordinal_of(name, ending).is_some());
    if let Some(name) = names.iter().find(ours) {
        return Err(LogError::BadFormat { place: files.place(name), what: "a log is there already".to_owned() });
    }
    let head = Head { log_id: options.new_log_id, ordinal: 2, epoch: 1, bytes: options.bytes_of(2, 0) };
    Ok(Active::start(prepare(files, head, None)?, first, 0))
}

/// Refuses a log of which a segment file is missing.
fn check_complete(files: &dyn Files, ordinals: &[u64]) -> Result<(), LogError> {
    let gap = ordinals.windows(2).find(|pair| pair[0] + 1 != pair[1]).map(|pair| pair[0] + 1);
    let gone = if ordinals.is_empty() { Some(1) } else { gap };
    gone.map_or(Ok(()), |ordinal| {
        Err(LogError::damaged(files.place(&segment::name(ordinal)), 0, "the segment file is missing"))
    })
}

/// Takes the last segment off the list where it was only prepared and holds no frame yet.
fn take_prepared(files: &dyn Files, segments: &mut Vec<Segment>) -> Result<Option<Prepared>, LogError> {
    let [.., below, last] = segments.as_slice() else { return Ok(None) };
    let (mut reader, head) = Reader::open(files, last.head.ordinal)?;
    if has_frames(&mut reader)? {
        return Ok(None);
    }
    let (mut below, _) = Reader::open(files, below.head.ordinal)?;
    if !has_frames(&mut below)? {
        // A segment is prepared only once the one before it holds an acknowledged frame.
        return Err(LogError::damaged(below.place(), DATA_START, "the first frame of the segment fails its check"));
    }
    segments.pop();
    Ok(Some(Prepared { head, file: reader.into_file() }))
}

/// Whether a segment begins with a whole frame; refuses one that does not but must.
fn has_frames(reader: &mut Reader) -> Result<bool, LogError> {
    let start = Position { offset: DATA_START, next: Seq::ZERO, chain: 0 };
    if matches!(reader.look(start, false)?, Found::Frame(_)) {
        return Ok(true);
    }
    check_torn(reader, start)?;
    Ok(false)
}

/// Refuses a bad frame that is proven to have been durable.
fn check_torn(reader: &mut Reader, at: Position) -> Result<(), LogError> {
    let proof = match reader.stray(at.offset + ALIGN as u64)? {
        Some((offset, header)) => Some(format!("record `{}` follows at offset `{offset}`", header.first)),
        None => reader
            .mark()?
            .filter(|mark| mark.end > at.offset)
            .map(|mark| format!("the segment was durable up to record `{}`, offset `{}`", mark.last, mark.end)),
    };
    proof.map_or(Ok(()), |proof| {
        let what = format!("the frame of record `{}` fails its check, yet {proof}", at.next.max(Seq(1)));
        Err(LogError::damaged(reader.place(), at.offset, what))
    })
}

/// Walks the last segment that holds frames, cuts what is torn, and makes the rest durable beyond doubt.
fn recover_tail(mut reader: Reader, head: Head) -> Result<Active, LogError> {
    let mut at = Position { offset: DATA_START, next: Seq(1), chain: 0 };
    let (mut first, mut last): (Option<Seq>, Option<(u64, Header)>) = (None, None);
    loop {
        // Only the very first frame of a log has a known predecessor: none.
        let chained = first.is_some() || head.ordinal == 1;
        match reader.look(at, chained)? {
            Found::Frame(header) => {
                first = first.or(Some(header.first));
                last = Some((at.offset, header));
                at = at.behind(&header);
            }
            Found::Stranger(header) => {
                let what = format!("record `{}` is where `{}` was expected", header.first, at.next);
                return Err(LogError::damaged(reader.place(), at.offset, what));
            }
            Found::BadBody | Found::Nothing => break,
        }
    }
    if first.is_none() && head.ordinal > 1 {
        return Err(LogError::damaged(reader.place(), DATA_START, "the log's only segment holds no frame"));
    }
    check_torn(&mut reader, at)?;
    let mark = reader.mark()?;
    let unconfirmed = last.filter(|_| mark.is_none_or(|mark| mark.end != at.offset));
    if let Some((offset, header)) = unconfirmed {
        confirm(&mut reader, offset, &header)?;
    }
    let place = reader.place().to_owned();
    let mut active = Active { head, file: reader.into_file(), first, at, mark };
    active.set_mark().map_err(|error| LogError::io(place, &error))?;
    Ok(active)
}

/// Writes the last frame again, as it is, and syncs it. The frame may be one that was never synced, or whose sync
/// failed: the system then still shows it, but a further sync would not write it. Only a further write is synced.
fn confirm(reader: &mut Reader, offset: u64, header: &Header) -> Result<(), LogError> {
    let frame = reader.bytes(offset, header.frame_bytes() as usize)?.to_vec();
    let file = reader.file();
    let written = file.write_at(&frame, offset).and_then(|()| file.sync_data());
    written.map_err(|error| reader.io(&error))
}

/// The first records of the segments before the active one.
fn sealed_segments(segments: &[Segment], active: &Active) -> Result<VecDeque<Sealed>, LogError> {
    let mut sealed: VecDeque<Sealed> = VecDeque::with_capacity(segments.len());
    for segment in segments {
        let header = segment.first.filter(|header| {
            let rises = sealed.back().is_none_or(|before| before.first < header.first);
            rises && active.first.is_none_or(|after| header.first < after)
        });
        let Some(header) = header else {
            let what = "the first frame of the segment fails its check";
            return Err(LogError::damaged(&segment.place, DATA_START, what));
        };
        let Head { ordinal, bytes, .. } = segment.head;
        sealed.push_back(Sealed { ordinal, first: header.first, bytes });
    }
    Ok(sealed)
}
