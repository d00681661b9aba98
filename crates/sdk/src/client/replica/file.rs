//! The file of a replica: lines, each with a checksum, and a lock beside it.
//!
//! For: keeping a [`ReplicaState`] through crashes; `docs/replicas.md` has the format, which the three SDKs share. Not for:
//! what a line means.
//! Invariant: a line is on the disk when `commit` returns; one that was torn by a crash, which can only be the last, counts
//! as not written; damage elsewhere is an error and is not repaired.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use consort_types::{Code, Error, Result};

use super::{
    lock::{Lock, failed},
    part::{Line, Meta},
    state::{FORMAT, ReplicaState},
};

/// A file that is smaller is not compacted.
const COMPACT_BYTES: usize = 64 * 1024;

/// Of what a file is the replica.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) space: String,
    pub(crate) name: String,
    pub(crate) prefix: String,
}

/// An open file, and its state.
#[derive(Debug)]
pub(crate) struct ReplicaFile {
    path: PathBuf,
    pub(crate) state: ReplicaState,
    /// None where it could not be written: what it has is not known then.
    file: Option<File>,
    size: usize,
    live: usize,
    _lock: Lock,
}

impl ReplicaFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path, header: &Header) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| failed(path, &error))?;
        let lock = Lock::acquire(&path)?;
        let mut opened = Self { state: ReplicaState::default(), file: None, size: 0, live: 0, _lock: lock, path };
        if opened.path.exists() {
            opened.read(header)?;
        } else {
            let Header { space, name, prefix } = header.clone();
            let (space, name, prefix) = (Some(space), Some(name), Some(prefix));
            let meta = Meta { format: Some(FORMAT), space, name, prefix, ..Meta::default() };
            opened.state.fold(Line { meta: Some(meta), ..Line::default() });
            opened.rewrite()?;
        }
        Ok(opened)
    }

    /// Appends a line, and then does what it says.
    pub(crate) fn commit(&mut self, line: Line) -> Result<()> {
        if line == Line::default() {
            return Ok(());
        }
        let Some(mut file) = self.file.take() else {
            let path = self.path.display();
            let message = format!("the replica `{path}` could not be written before, so what it has is not known");
            return Err(Error::new(Code::ReplicaDamaged, message).hint("open it again"));
        };
        let data = encode(&line)?;
        file.write_all(&data).and_then(|()| file.sync_data()).map_err(|error| failed(&self.path, &error))?;
        self.file = Some(file);
        self.state.fold(line);
        self.size += data.len();
        if self.size > 2 * self.live.max(COMPACT_BYTES) { self.rewrite() } else { Ok(()) }
    }

    fn read(&mut self, header: &Header) -> Result<()> {
        let data = fs::read(&self.path).map_err(|error| failed(&self.path, &error))?;
        let mut number = 0;
        while let Some(len) = data[self.size..].iter().position(|byte| *byte == b'\n') {
            number += 1;
            let Some(line) = decode(&data[self.size..self.size + len]) else {
                if data[self.size + len..].iter().any(|byte| *byte != b'\n') {
                    return Err(self.damaged(&format!("line {number} does not fit its checksum")));
                }
                break;
            };
            self.state.fold(line);
            self.size += len + 1;
        }
        self.check(header)?;
        let cut = || -> io::Result<File> {
            let file = OpenOptions::new().append(true).open(&self.path)?;
            file.set_len(self.size as u64)?;
            Ok(file)
        };
        self.file = Some(cut().map_err(|error| failed(&self.path, &error))?);
        for line in self.state.lines() {
            self.live += encode(&line)?.len();
        }
        Ok(())
    }

    /// Refuses a file of another format, and one of another replica.
    fn check(&self, header: &Header) -> Result<()> {
        let meta = &self.state.meta;
        if meta.format != Some(FORMAT) {
            let format = meta.format.map_or_else(|| "none".to_owned(), |format| format.to_string());
            return Err(self.damaged(&format!("its format is `{format}`, this version knows {FORMAT}")));
        }
        let parts = [
            ("space", &meta.space, &header.space),
            ("name", &meta.name, &header.name),
            ("prefix", &meta.prefix, &header.prefix),
        ];
        for (name, found, wanted) in parts {
            let found = found.as_deref().unwrap_or_default();
            if found != wanted {
                let path = self.path.display();
                let message = format!("the file `{path}` is a replica with the {name} `{found}`, not `{wanted}`");
                return Err(Error::new(Code::ReplicaTaken, message).hint("use a file of its own for each replica"));
            }
        }
        Ok(())
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(Code::ReplicaDamaged, format!("the replica `{}` is damaged: {why}", self.path.display()))
            .hint("keep the file to see what it holds, and open another one: it begins with what the server has")
    }

    /// Writes the file again, without what is over, and puts it in the place of the old one.
    fn rewrite(&mut self) -> Result<()> {
        self.file = None;
        let mut data = Vec::new();
        for line in self.state.lines() {
            data.extend(encode(&line)?);
        }
        let fresh = PathBuf::from(format!("{}.new", self.path.display()));
        let replace = || -> io::Result<File> {
            let mut file = File::create(&fresh)?;
            file.write_all(&data)?;
            file.sync_data()?;
            fs::rename(&fresh, &self.path)?;
            sync_folder(&self.path)?;
            Ok(file)
        };
        self.file = Some(replace().map_err(|error| failed(&self.path, &error))?);
        self.size = data.len();
        self.live = data.len();
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// A line as it is in the file.
pub(crate) fn encode(line: &Line) -> Result<Vec<u8>> {
    let text = serde_json::to_vec(line)
        .map_err(|error| Error::new(Code::BadJson, format!("a line of a replica cannot be written: {error}")))?;
    Ok([format!("{:08x} ", checksum(&text)).as_bytes(), &text, b"\n"].concat())
}

/// A line without its end; none where it does not fit its checksum.
pub(crate) fn decode(data: &[u8]) -> Option<Line> {
    let (sum, text) = data.split_at_checked(9)?;
    (sum == format!("{:08x} ", checksum(text)).as_bytes()).then(|| serde_json::from_slice(text).ok())?
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// The CRC-32 of some bytes: that of zlib.
fn checksum(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |value: u32, byte| (value >> 8) ^ CRC[((value ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn header() -> Header {
        Header { space: "team".to_owned(), name: "laptop".to_owned(), prefix: String::new() }
    }

    fn put(file: &mut ReplicaFile, key: &str, value: Value) {
        file.commit(file.state.write(key, Some(value))).unwrap();
    }

    fn keys(path: &Path) -> Vec<String> {
        ReplicaFile::open(path, &header()).unwrap().state.rows.into_keys().collect()
    }

    #[test]
    fn files_of_every_sdk_are_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdks/replicas");
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let replicas: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "replica")).collect();
        assert!(!replicas.is_empty());
        for path in replicas {
            let mut state = ReplicaState::default();
            for line in fs::read(&path).unwrap().split_inclusive(|byte| *byte == b'\n') {
                if let Some(line) = line.strip_suffix(b"\n") {
                    state.fold(decode(line).unwrap());
                }
            }
            let expected: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
            assert_eq!(json!({ "meta": state.meta, "rows": state.rows }), expected, "{}", path.display());
            // And what is written again says the same.
            let mut again = ReplicaState::default();
            for line in state.lines() {
                again.fold(decode(encode(&line).unwrap().strip_suffix(b"\n").unwrap()).unwrap());
            }
            assert_eq!((again.meta, again.rows), (state.meta, state.rows));
        }
    }

    #[test]
    fn a_torn_tail_counts_as_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let mut file = ReplicaFile::open(&path, &header()).unwrap();
        put(&mut file, "a", json!(1));
        put(&mut file, "b", json!(2));
        drop(file);
        let data = fs::read(&path).unwrap();
        for cut in (1..40).step_by(3) {
            for tail in ["", "\0\0\0"] {
                fs::write(&path, [&data[..data.len() - cut], tail.as_bytes()].concat()).unwrap();
                put(&mut ReplicaFile::open(&path, &header()).unwrap(), "c", json!(3));
                assert_eq!(keys(&path), ["a", "c"]);
            }
        }
    }

    #[test]
    fn damage_and_files_of_others_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let mut file = ReplicaFile::open(&path, &header()).unwrap();
        put(&mut file, "a", json!(1));
        let taken = ReplicaFile::open(&path, &header()).unwrap_err();
        assert_eq!(taken.code, Code::ReplicaTaken);
        put(&mut file, "b", json!(2));
        drop(file);
        let other = Header { prefix: "a/".to_owned(), ..header() };
        assert_eq!(ReplicaFile::open(&path, &other).unwrap_err().code, Code::ReplicaTaken);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"a\"", "\"A\"")).unwrap();
        let damaged = ReplicaFile::open(&path, &header()).unwrap_err();
        assert_eq!(damaged.code, Code::ReplicaDamaged);
        assert!(damaged.message.contains("line 2"), "{damaged}");
        fs::write(&path, "").unwrap();
        assert_eq!(ReplicaFile::open(&path, &header()).unwrap_err().code, Code::ReplicaDamaged);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_is_compacted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let mut file = ReplicaFile::open(&path, &header()).unwrap();
        for number in 0..200 {
            put(&mut file, "large", json!([number, "x".repeat(1000)]));
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * COMPACT_BYTES as u64 + 2000);
        drop(file);
        let file = ReplicaFile::open(&path, &header()).unwrap();
        assert_eq!(file.state.visible("large").unwrap()[0], json!(199));
    }
}
