//! The bytes around the frames: names, sizes, the head of a segment and its marks.
//!
//! For: telling our segments from anything else, and one segment from another. Not for: frames (`log::frame`).
//! Invariant: an ordinal is used once in a log, and a head never changes while its segment is part of the log.
//!
//! A segment is a file of fixed length: one page with the head, two pages with a mark each, then frames.
//! A mark says "up to here everything was durable when I was written": it turns the loss of a last frame into proven
//! damage. There are two, so that a mark that is torn while it is written leaves the older one.

use consort_log::{Files, LogError, SegmentFile, frame::Key};
use consort_types::Seq;

/// Where frames begin.
pub(crate) const DATA_START: u64 = 3 * PAGE_BYTES;
/// Marks keep apart from the head, and from each other, by the largest unit that disks write.
const PAGE_BYTES: u64 = 4096;
const MARK_BYTES: usize = 32;
const HEAD_BYTES: usize = 60;
const MAGIC: [u8; 8] = *b"CONSORTL";
const VERSION: u32 = 1;

/// How a log lays out its segments.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the first segment: small, so that a new log is there at once. Each next one is four times as large.
    pub first_segment_bytes: u64,
    /// Bytes of a segment once the log has grown.
    pub segment_bytes: u64,
    /// Whether the next segment is made in a thread of its own when the current one is half full. Without, it is
    /// made when it is needed, which is slower and wholly deterministic.
    pub prepare_ahead: bool,
    /// The id of the log, where a new one is made: 128 random bits that cannot be guessed.
    pub new_log_id: [u8; 16],
}

impl Options {
    /// The usual layout: segments of 1, 4, 16, 16, … MiB, prepared ahead.
    pub fn new(new_log_id: [u8; 16]) -> Self {
        Self { first_segment_bytes: 1 << 20, segment_bytes: 16 << 20, prepare_ahead: true, new_log_id }
    }

    /// The length of the segment with this ordinal, which must have room for a frame of `frame_bytes`.
    pub(crate) fn bytes_of(&self, ordinal: u64, frame_bytes: u64) -> u64 {
        let shift = (2 * ordinal.saturating_sub(1)).min(40);
        let usual = self.first_segment_bytes.saturating_mul(1 << shift).min(self.segment_bytes);
        usual.max(DATA_START + frame_bytes).next_multiple_of(PAGE_BYTES)
    }
}

/// The name of the segment with this ordinal.
pub(crate) fn name(ordinal: u64) -> String {
    format!("{ordinal:020}.log")
}

/// The name of a file that was a segment and may be one again.
pub(crate) fn spare_name(ordinal: u64) -> String {
    format!("{ordinal:020}.spare")
}

/// The name of a file that is becoming a segment.
pub(crate) fn new_name(ordinal: u64) -> String {
    format!("{ordinal:020}.new")
}

/// The ordinal in a file name with this ending.
pub(crate) fn ordinal_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    ours.then(|| digits.parse().ok()).flatten()
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) log_id: [u8; 16],
    pub(crate) ordinal: u64,
    /// The opening of the log that made the segment, counted from 1.
    pub(crate) epoch: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
}

impl Head {
    pub(crate) fn key(&self) -> Key {
        Key::new(self.log_id, self.ordinal, self.epoch)
    }

    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id);
        bytes[32..40].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.bytes.to_le_bytes());
        let check = crc32c::crc32c(&bytes[..56]);
        bytes[56..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads and checks the head of a file that is named as a segment.
    pub(crate) fn read(files: &dyn Files, file: &dyn SegmentFile, ordinal: u64) -> Result<Self, LogError> {
        let place = files.place(&name(ordinal));
        let mut bytes = [0; HEAD_BYTES];
        let count = file.read_at(&mut bytes, 0).map_err(|error| LogError::io(&place, &error))?;
        let version = u32_at(&bytes, 8);
        // A newer version may have another head, so its checksum is not asked.
        if bytes[..8] == MAGIC && version > VERSION {
            let what = format!("it has format `{version}`, this version of Consort reads up to `{VERSION}`");
            return Err(LogError::BadFormat { place, what });
        }
        if count < HEAD_BYTES || bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..56]) != u32_at(&bytes, 56) {
            return Err(LogError::damaged(place, 0, "the head of the segment fails its check"));
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&bytes[16..32]);
        let head = Self { log_id, ordinal: u64_at(&bytes, 32), epoch: u64_at(&bytes, 40), bytes: u64_at(&bytes, 48) };
        let length = file.len().map_err(|error| LogError::io(&place, &error))?;
        if head.ordinal != ordinal {
            let what = format!("it says that it is segment `{}`", head.ordinal);
            return Err(LogError::damaged(place, 32, what));
        }
        if length < head.bytes || head.bytes < DATA_START {
            let what = format!("the file has {length} bytes, its head says {}", head.bytes);
            return Err(LogError::damaged(place, length, what));
        }
        Ok(head)
    }
}

/// A place in a segment up to which everything was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Grows with each mark of the segment.
    pub(crate) number: u64,
    /// Offset behind the last durable frame.
    pub(crate) end: u64,
    /// The last durable record.
    pub(crate) last: Seq,
}

impl Mark {
    /// Where the mark is kept.
    pub(crate) fn offset(&self) -> u64 {
        PAGE_BYTES * (1 + self.number % 2)
    }

    pub(crate) fn encode(&self, key: Key) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.0.to_le_bytes());
        let check = key.check(&bytes[..28]);
        bytes[28..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The newest mark of a segment that passes its check.
    pub(crate) fn read(file: &dyn SegmentFile, key: Key) -> std::io::Result<Option<Self>> {
        let mut newest = None;
        for page in 1..=2 {
            let mut bytes = [0; MARK_BYTES];
            let count = file.read_at(&mut bytes, page * PAGE_BYTES)?;
            if count < MARK_BYTES || key.check(&bytes[..28]) != u32_at(&bytes, 28) {
                continue;
            }
            let mark = Self { number: u64_at(&bytes, 0), end: u64_at(&bytes, 8), last: Seq(u64_at(&bytes, 16)) };
            newest = newest.into_iter().chain([mark]).max_by_key(|mark: &Self| mark.number);
        }
        Ok(newest)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
