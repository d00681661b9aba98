//! The replay rule against its vectors.
//!
//! For: that the Rust rule agrees with the vectors, wherever a document is kept. Not for: the callers of the rule.
//! Invariant: every call is compared both ways round, and with its inputs in place and by their hash.

mod vectors;

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use consort_types::{
    BlobHash, Code, Error, Payload, limits,
    replay::{is_same, is_same_document},
    worker::JournalRequest,
};

type Blobs = BTreeMap<BlobHash, Arc<[u8]>>;

fn by_hash(request: &JournalRequest, blobs: &mut Blobs) -> JournalRequest {
    let mut request = request.clone();
    if let JournalRequest::Call { input, .. } = &mut request {
        let bytes = input.bytes().unwrap();
        let (hash, len) = (BlobHash::of(bytes), bytes.len() as u64);
        blobs.insert(hash, Arc::from(bytes));
        *input = Payload::Blob { hash, len };
    }
    request
}

#[test]
fn requests_are_compared_as_the_vectors_say() {
    for vector in vectors::all() {
        let mut blobs = Blobs::new();
        let forms = |request: JournalRequest, blobs: &mut Blobs| [by_hash(&request, blobs), request];
        let recorded = forms(vector.recorded(), &mut blobs);
        let asked = forms(vector.asked(), &mut blobs);
        for (a, b) in recorded.iter().flat_map(|a| asked.iter().map(move |b| (a, b))) {
            for (a, b) in [(a, b), (b, a)] {
                let same = is_same(a, b, |hash| Ok(blobs.get(hash).cloned())).unwrap();
                assert_eq!(same, vector.same, "{}: {a:?}, {b:?}", vector.name);
            }
        }
    }
}

fn call(input: Payload) -> JournalRequest {
    JournalRequest::Call { capability: "a".into(), input, options: None }
}

#[test]
fn documents_are_read_only_where_their_hashes_do_not_decide() {
    let blob = |bytes: &[u8]| call(Payload::Blob { hash: BlobHash::of(bytes), len: bytes.len() as u64 });
    let reads = Cell::new(0);
    let nothing = |_: &BlobHash| {
        reads.set(reads.get() + 1);
        Ok(None)
    };
    let inline = call(Payload::inline(b"[1]".as_slice()));
    assert!(is_same(&blob(b"[1]"), &inline, nothing).unwrap() && is_same(&inline, &blob(b"[1]"), nothing).unwrap());
    assert!(is_same(&blob(b"[1]"), &blob(b"[1]"), nothing).unwrap());
    assert_eq!(reads.get(), 0);
    assert!(!is_same(&blob(b"[1]"), &blob(b"[ 1]"), nothing).unwrap(), "what cannot be had is no other document");
    assert_eq!(reads.get(), 1);
    let broken = is_same(&inline, &blob(b"[ 1]"), |_| Err(Error::new(Code::Disk, "the disk is missing")));
    assert_eq!(broken.unwrap_err().code, Code::Disk);
}

#[test]
fn what_is_no_document_is_the_same_as_equal_bytes_only() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_same_document(deep(limits::NESTING_DEPTH_MAX).as_bytes(), (deep(64) + " ").as_bytes()));
    for bad in ["", "{", "[1 2]", "01", "1.", "nul", "\"\\ud800\"", "NaN", &deep(100_000)] {
        assert!(is_same_document(bad.as_bytes(), bad.as_bytes()));
        assert!(!is_same_document(bad.as_bytes(), format!("{bad} ").as_bytes()), "{bad:.20}");
    }
    assert!(!is_same_document(b"\"\xff\"", b"\"\xff\" "));
}

#[test]
fn exponents_of_any_length_are_compared() {
    let huge = "9".repeat(40);
    let same = |a: &str, b: &str| is_same_document(a.as_bytes(), b.as_bytes());
    assert!(same(&format!("0e{huge}"), "-0e-1"));
    assert!(same(&format!("[1e{huge}]"), &format!("[1e{huge} ]")));
    assert!(!same(&format!("1e{huge}"), "1e9") && !same(&format!("1e-{huge}"), &format!("1e{huge}")));
    assert!(same("1e0000000000000000000002", "100"));
}
