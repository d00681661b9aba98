//! Walking the frames of segments.
//!
//! For: one way to read frames, for replay and for recovery. Not for: deciding what a bad frame means in the tail
//! (see `recover`). Invariant: a record is given out only from a frame that passed its checks and continues the one
//! before it.

use std::{collections::VecDeque, io, sync::Arc};

use consort_log::{
    Files, LogError, Record, SegmentFile,
    frame::{self, HEADER_BYTES, Header, Key},
};
use consort_types::Seq;

use crate::segment::{self, DATA_START, Head, Mark};

/// Most bytes that are read at once. A reader begins with [`WINDOW_BYTES_FIRST`] and doubles: many segments are only
/// looked at, few are read.
const WINDOW_BYTES: usize = 128 * 1024;
const WINDOW_BYTES_FIRST: usize = 4096;

/// Where the next frame must be, and what it must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    /// The first record of the next frame.
    pub(crate) next: Seq,
    /// The check of the frame before.
    pub(crate) chain: u32,
}

impl Position {
    /// The position behind a frame that begins here.
    pub(crate) fn behind(self, header: &Header) -> Self {
        Self { offset: self.offset + header.frame_bytes(), next: header.last().next(), chain: header.check }
    }
}

/// What is at a position.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole frame that continues the one before.
    Frame(Header),
    /// A header that passes its check, but whose body does not.
    BadBody,
    /// A whole frame of this segment that does not continue the one before.
    Stranger(Header),
    /// No frame of this segment.
    Nothing,
}

/// A segment that is open for reading.
pub(crate) struct Reader {
    file: Box<dyn SegmentFile>,
    place: String,
    key: Key,
    window: Vec<u8>,
    window_start: u64,
    window_bytes: usize,
}

impl Reader {
    /// Opens the segment with this ordinal.
    pub(crate) fn open(files: &dyn Files, ordinal: u64) -> Result<(Self, Head), LogError> {
        let place = files.place(&segment::name(ordinal));
        let file = files.open(&segment::name(ordinal)).map_err(|error| LogError::io(&place, &error))?;
        let head = Head::read(files, &*file, ordinal)?;
        let (key, window) = (head.key(), Vec::new());
        Ok((Self { file, place, key, window, window_start: 0, window_bytes: WINDOW_BYTES_FIRST }, head))
    }

    pub(crate) fn file(&self) -> &dyn SegmentFile {
        &*self.file
    }

    pub(crate) fn into_file(self) -> Box<dyn SegmentFile> {
        self.file
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The newest mark.
    pub(crate) fn mark(&self) -> Result<Option<Mark>, LogError> {
        Mark::read(&*self.file, self.key).map_err(|error| self.io(&error))
    }

    pub(crate) fn io(&self, error: &io::Error) -> LogError {
        LogError::io(&self.place, error)
    }

    /// The bytes at an offset; fewer where the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], LogError> {
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + count as u64 > window_end {
            self.window.resize(count.max(self.window_bytes), 0);
            self.window_bytes = WINDOW_BYTES.min(self.window_bytes * 2);
            let read = self.file.read_at(&mut self.window, offset);
            let read = read.map_err(|error| LogError::io(&self.place, &error))?;
            self.window.truncate(read);
            self.window_start = offset;
        }
        let start = (offset - self.window_start) as usize;
        let end = (start + count).min(self.window.len());
        Ok(&self.window[start..end])
    }

    /// The header at an offset, where one passes its check.
    pub(crate) fn header(&mut self, offset: u64) -> Result<Option<Header>, LogError> {
        let key = self.key;
        Ok(Header::decode(self.bytes(offset, HEADER_BYTES)?, key))
    }

    /// The body of the frame at an offset, where it passes its check.
    fn body(&mut self, offset: u64, header: &Header) -> Result<Option<&[u8]>, LogError> {
        let body = self.bytes(offset + HEADER_BYTES as u64, header.body_bytes as usize)?;
        Ok(header.matches(body).then_some(body))
    }

    /// Looks at a position. Where `chained` is false any frame counts as continuing.
    pub(crate) fn look(&mut self, at: Position, chained: bool) -> Result<Found, LogError> {
        let Some(header) = self.header(at.offset)? else { return Ok(Found::Nothing) };
        if self.body(at.offset, &header)?.is_none() {
            return Ok(Found::BadBody);
        }
        let continues = !chained || (header.first == at.next && header.chain == at.chain);
        Ok(if continues { Found::Frame(header) } else { Found::Stranger(header) })
    }

    /// The records of a frame that was [`Found`] here.
    fn records(&mut self, offset: u64, header: &Header) -> Result<Vec<Record>, LogError> {
        let place = self.place.clone();
        let records = self.body(offset, header)?.and_then(|body| header.records(body));
        records.ok_or_else(|| LogError::damaged(place, offset, "the frame's records cannot be read"))
    }

    /// Finds the first frame header of this segment at or behind `offset`, whatever record it begins with: an older
    /// one left in place could end up right behind a later append, and would be taken for damage then.
    pub(crate) fn stray(&mut self, offset: u64) -> Result<Option<(u64, Header)>, LogError> {
        let key = self.key;
        let mut start = offset.next_multiple_of(frame::ALIGN as u64);
        loop {
            let bytes = self.bytes(start, WINDOW_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let usable = bytes.len() - HEADER_BYTES;
            for at in (0..=usable).step_by(frame::ALIGN).filter(|at| bytes[*at..at + 4] == frame::MAGIC) {
                if let Some(header) = Header::decode(&bytes[at..], key) {
                    return Ok(Some((start + at as u64, header)));
                }
            }
            start += (usable as u64 + 1).next_multiple_of(frame::ALIGN as u64);
        }
    }
}

/// A segment of the log as the log keeps it in mind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    pub(crate) ordinal: u64,
    /// Its first record.
    pub(crate) first: Seq,
    /// Length of its file.
    pub(crate) bytes: u64,
}

/// The records of a log, from one on to its end.
pub(crate) struct Replay {
    files: Arc<dyn Files>,
    /// The segments still to be read.
    segments: VecDeque<Sealed>,
    reader: Option<Reader>,
    at: Position,
    /// Whether `at` says what the next frame must be; not so in front of the first.
    chained: bool,
    from: Seq,
    last: Seq,
    ready: VecDeque<(Seq, Record)>,
    ended: bool,
}

impl Replay {
    /// Reads `from ..= last` out of segments that are in order and of which the first holds `from`.
    pub(crate) fn new(files: Arc<dyn Files>, segments: VecDeque<Sealed>, from: Seq, last: Seq) -> Self {
        let next = segments.front().map_or(from, |segment| segment.first);
        let at = Position { offset: DATA_START, next, chain: 0 };
        let ended = from > last;
        Self { files, segments, reader: None, at, chained: false, from, last, ready: VecDeque::new(), ended }
    }

    /// Reads the next frame into `ready`, unless it lies before `from`.
    fn advance(&mut self) -> Result<(), LogError> {
        let Some(reader) = &mut self.reader else { return self.next_segment() };
        let header = match reader.header(self.at.offset)? {
            Some(header) if !self.chained || (header.first == self.at.next && header.chain == self.at.chain) => header,
            // Either the segment ends here, or the frame is bad: the next segment's first frame tells which.
            _ => return self.next_segment(),
        };
        if header.first != self.at.next {
            let what = format!("record `{}` is missing, the frame begins with `{}`", self.at.next, header.first);
            return Err(LogError::damaged(reader.place(), self.at.offset, what));
        }
        if header.last() >= self.from {
            if !matches!(reader.look(self.at, self.chained)?, Found::Frame(_)) {
                // Damage, or the cut head of a frame that was too torn to keep and did not get written over.
                return self.next_segment();
            }
            let records = reader.records(self.at.offset, &header)?;
            let numbered = records.into_iter().zip(header.first.0..).map(|(record, seq)| (Seq(seq), record));
            let (from, last) = (self.from, self.last);
            self.ready.extend(numbered.filter(|(seq, _)| (from..=last).contains(seq)));
        }
        self.at = self.at.behind(&header);
        self.chained = true;
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), LogError> {
        let missing = self.at.next;
        let damaged_here = |reader: &Reader, offset| {
            LogError::damaged(reader.place(), offset, format!("the frame of record `{missing}` fails its check"))
        };
        let Some(segment) = self.segments.pop_front() else {
            let reader = self.reader.as_ref().expect("a replay that is not at its end has a segment");
            return Err(damaged_here(reader, self.at.offset));
        };
        if let Some(reader) = self.reader.as_ref().filter(|_| segment.first != missing) {
            return Err(damaged_here(reader, self.at.offset));
        }
        let (mut reader, _) = Reader::open(&*self.files, segment.ordinal)?;
        self.at.offset = DATA_START;
        if !matches!(reader.look(self.at, self.chained)?, Found::Frame(_)) {
            return Err(damaged_here(&reader, DATA_START));
        }
        self.reader = Some(reader);
        Ok(())
    }
}

impl Iterator for Replay {
    type Item = Result<(Seq, Record), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((seq, record)) = self.ready.pop_front() {
                self.ended |= seq >= self.last;
                return Some(Ok((seq, record)));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.advance() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}
