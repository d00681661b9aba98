//! The generated code matches the `.proto` files.
//!
//! Write it with `CONSORT_WRITE_PROTO=1 cargo test -p consort-proto`.

use std::path::{Path, PathBuf};

use prost::Message as _;

const FILES: [&str; 2] = ["consort/v1/common.proto", "consort/v1/worker.proto"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The code and the descriptors that the `.proto` files make.
fn generate(into: &Path) -> (String, Vec<u8>) {
    let files = protox::compile(FILES, [root().join("proto")]).unwrap();
    // Comments are for readers of the sources; reflection does not need them.
    let mut bare = files.clone();
    bare.file.iter_mut().for_each(|file| file.source_code_info = None);
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".consort.v1")
        .out_dir(into)
        .compile_fds(files)
        .unwrap();
    (std::fs::read_to_string(into.join("consort.v1.rs")).unwrap(), bare.encode_to_vec())
}

#[test]
fn the_generated_code_is_current() {
    let folder = tempfile::tempdir().unwrap();
    let (code, descriptors) = generate(folder.path());
    let (code_file, descriptors_file) = (root().join("src/generated.rs"), root().join("src/descriptors.bin"));
    if std::env::var_os("CONSORT_WRITE_PROTO").is_some() {
        std::fs::write(&code_file, &code).unwrap();
        std::fs::write(&descriptors_file, &descriptors).unwrap();
    }
    let hint = "run `CONSORT_WRITE_PROTO=1 cargo test -p consort-proto`";
    assert!(std::fs::read_to_string(code_file).unwrap() == code, "src/generated.rs is not current: {hint}");
    assert!(std::fs::read(descriptors_file).unwrap() == descriptors, "src/descriptors.bin is not current: {hint}");
}
