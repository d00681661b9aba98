//! How a group of records becomes checked bytes.
//!
//! For: the bytes between segment headers. Not for: where frames are kept, nor for what to do about a bad one.
//! Invariant: a frame decodes only under the key of the segment that it was written for, behind the frame that it
//! was written behind, and only when every bit is as it was.
//!
//! A frame is a header of [`HEADER_BYTES`] (little endian) and a body, filled with zeros to a multiple of 8:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `CFr1`; the digit is the version of the frame |
//! | 4 | 4 | length of the body, without the fill |
//! | 8 | 8 | sequence number of the first record |
//! | 16 | 4 | number of records |
//! | 20 | 4 | chain: the header checksum of the frame before, 0 in front of the first |
//! | 24 | 4 | CRC-32C of the body |
//! | 28 | 4 | CRC-32C of the key and of bytes 0 to 27 |
//!
//! The body holds, for each record: the difference of its time to the one before (first: to 0) as a zigzag LEB128,
//! its length as a LEB128, and its bytes.

use std::sync::Arc;

use consort_types::{Seq, Time, limits};

use crate::{LogError, Record};

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 32;
/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;
/// What a frame begins with.
pub const MAGIC: [u8; 4] = *b"CFr1";
/// Most bytes that a record needs beside its body: two LEB128 numbers.
const RECORD_EXTRA_BYTES_MAX: usize = 10 + 5;
/// Bytes of the largest frame.
pub const FRAME_BYTES_MAX: usize =
    HEADER_BYTES + limits::GROUP_BYTES_MAX + limits::GROUP_RECORDS_MAX * RECORD_EXTRA_BYTES_MAX + ALIGN;

/// What binds frames to their segment: frames of another segment, or of another log, never pass under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u32,
}

impl Key {
    /// The key of a segment: of the log's id (not guessable, so that a record's bytes cannot pose as a frame), of the
    /// segment's ordinal and of the epoch that made it.
    pub fn new(log_id: [u8; 16], ordinal: u64, epoch: u64) -> Self {
        let seed = crc32c::crc32c(&log_id);
        let seed = crc32c::crc32c_append(seed, &ordinal.to_le_bytes());
        Self { seed: crc32c::crc32c_append(seed, &epoch.to_le_bytes()) }
    }

    /// The checksum of bytes that belong to the segment.
    pub fn check(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed, bytes)
    }
}

/// A frame's header after it passed its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body, without the fill.
    pub body_bytes: u32,
    /// The first record.
    pub first: Seq,
    /// Number of records, at least 1.
    pub count: u32,
    /// The check of the frame before.
    pub chain: u32,
    body_check: u32,
    /// This header's own check: the chain of the next frame.
    pub check: u32,
}

impl Header {
    /// The last record of the frame.
    pub fn last(&self) -> Seq {
        Seq(self.first.0 + u64::from(self.count) - 1)
    }

    /// Bytes of the whole frame, fill included.
    pub fn frame_bytes(&self) -> u64 {
        (HEADER_BYTES + self.body_bytes as usize).next_multiple_of(ALIGN) as u64
    }

    /// Reads a header; `None` where the bytes are not one that was written under this key.
    pub fn decode(bytes: &[u8], key: Key) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let check = u32_at(bytes, 28);
        if bytes[..4] != MAGIC || key.check(&bytes[..28]) != check {
            return None;
        }
        let header = Self {
            body_bytes: u32_at(bytes, 4),
            first: Seq(u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32),
            count: u32_at(bytes, 16),
            chain: u32_at(bytes, 20),
            body_check: u32_at(bytes, 24),
            check,
        };
        let fits = header.frame_bytes() <= FRAME_BYTES_MAX as u64
            && (1..=limits::GROUP_RECORDS_MAX).contains(&(header.count as usize))
            && header.first.0 >= 1
            && header.first.0.checked_add(u64::from(header.count)).is_some();
        fits.then_some(header)
    }

    /// Whether these are the bytes of the body.
    pub fn matches(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc32c::crc32c(body) == self.body_check
    }

    /// The records of a body that [`Header::matches`]; `None` where they cannot be read all the same.
    pub fn records(&self, body: &[u8]) -> Option<Vec<Record>> {
        let mut rest = body;
        let mut time = 0_u64;
        let mut records = Vec::with_capacity((self.count as usize).min(limits::GROUP_RECORDS_MAX));
        for _ in 0..self.count {
            time = time.wrapping_add(unzigzag(take_leb128(&mut rest)?));
            let length = usize::try_from(take_leb128(&mut rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            records.push(Record { time: Time(time), body: Arc::from(bytes) });
            rest = after;
        }
        rest.is_empty().then_some(records)
    }
}

/// Refuses a group that is over a limit; returns the bytes of its frame.
pub fn check_group(group: &[Record]) -> Result<u64, LogError> {
    assert!(!group.is_empty(), "a group has at least one record");
    let too_large =
        |what, bytes: usize, limit: usize| LogError::TooLarge { what, bytes: bytes as u64, limit: limit as u64 };
    let (mut bytes, mut encoded, mut time) = (0, HEADER_BYTES, 0_u64);
    if group.len() > limits::GROUP_RECORDS_MAX {
        return Err(LogError::TooLarge {
            what: "number of records in the group",
            bytes: group.len() as u64,
            limit: limits::GROUP_RECORDS_MAX as u64,
        });
    }
    for record in group {
        let length = record.body.len();
        if length > limits::RECORD_BYTES_MAX {
            return Err(too_large("record", length, limits::RECORD_BYTES_MAX));
        }
        bytes += length;
        encoded += leb128_bytes(zigzag(record.time.0.wrapping_sub(time))) + leb128_bytes(length as u64) + length;
        time = record.time.0;
    }
    if bytes > limits::GROUP_BYTES_MAX {
        return Err(too_large("group", bytes, limits::GROUP_BYTES_MAX));
    }
    Ok(encoded.next_multiple_of(ALIGN) as u64)
}

/// Writes the frame of a group (which passed [`check_group`]) to the end of `out`; returns its header.
pub fn encode(out: &mut Vec<u8>, key: Key, first: Seq, chain: u32, group: &[Record]) -> Header {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let mut time = 0_u64;
    for record in group {
        put_leb128(out, zigzag(record.time.0.wrapping_sub(time)));
        put_leb128(out, record.body.len() as u64);
        out.extend_from_slice(&record.body);
        time = record.time.0;
    }
    let body = &out[start + HEADER_BYTES..];
    let (body_bytes, count) = (body.len() as u32, group.len() as u32);
    let body_check = crc32c::crc32c(body);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&body_bytes.to_le_bytes());
    header[8..16].copy_from_slice(&first.0.to_le_bytes());
    header[16..20].copy_from_slice(&count.to_le_bytes());
    header[20..24].copy_from_slice(&chain.to_le_bytes());
    header[24..28].copy_from_slice(&body_check.to_le_bytes());
    let check = key.check(&header[..28]);
    header[28..].copy_from_slice(&check.to_le_bytes());
    out[start..start + HEADER_BYTES].copy_from_slice(&header);
    out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
    Header { body_bytes, first, count, chain, body_check, check }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Small differences, backward or forward, become small numbers.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (0_u64.wrapping_sub(difference >> 63))
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ 0_u64.wrapping_sub(number & 1)
}

fn leb128_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_leb128(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_leb128(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Vec<Record> {
        vec![
            Record::new(Time(1_700_000_000_000_000), &b"one"[..]),
            Record::new(Time(1_700_000_000_000_007), vec![0; 300]),
            Record::new(Time(3), &b""[..]),
            Record::new(Time(u64::MAX), &b"end"[..]),
        ]
    }

    #[test]
    fn a_frame_gives_back_its_group_and_its_size_was_known_before() {
        let (key, group) = (Key::new([1; 16], 4, 2), group());
        let mut bytes = Vec::new();
        let header = encode(&mut bytes, key, Seq(9), 77, &group);
        assert_eq!(check_group(&group).unwrap(), bytes.len() as u64);
        assert_eq!(header.frame_bytes(), bytes.len() as u64);
        assert_eq!(Header::decode(&bytes, key), Some(header));
        let body = &bytes[HEADER_BYTES..HEADER_BYTES + header.body_bytes as usize];
        assert!(header.matches(body));
        assert_eq!(header.records(body).unwrap(), group);
        assert_eq!((header.last(), header.chain), (Seq(12), 77));
    }

    #[test]
    fn no_flipped_bit_and_no_other_key_passes() {
        let (key, group) = (Key::new([1; 16], 4, 2), group());
        let mut bytes = Vec::new();
        let header = encode(&mut bytes, key, Seq(9), 77, &group);
        for other in [Key::new([2; 16], 4, 2), Key::new([1; 16], 5, 2), Key::new([1; 16], 4, 3)] {
            assert_eq!(Header::decode(&bytes, other), None);
        }
        let used = HEADER_BYTES + header.body_bytes as usize;
        for bit in 0..used * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let passed = Header::decode(&bytes, key).is_some_and(|read| read.matches(&bytes[HEADER_BYTES..used]));
            assert!(!passed, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn limits_are_named_with_their_value() {
        let big = Record::new(Time(1), vec![0; limits::RECORD_BYTES_MAX + 1]);
        assert!(matches!(check_group(&[big]), Err(LogError::TooLarge { what: "record", .. })));
        let full = Record::new(Time(1), vec![0; limits::RECORD_BYTES_MAX]);
        let group = vec![full; limits::GROUP_BYTES_MAX / limits::RECORD_BYTES_MAX + 1];
        assert!(matches!(check_group(&group), Err(LogError::TooLarge { what: "group", .. })));
        let many = vec![Record::new(Time(1), &b""[..]); limits::GROUP_RECORDS_MAX + 1];
        assert!(matches!(check_group(&many), Err(LogError::TooLarge { limit: 1024, .. })));
    }
}
