//! Where `consort up` listens.
//!
//! For: the two addresses, and what is said where one cannot be had. Not for: what is served there.
//! Invariant: as in `common`.

mod common;

use std::net::TcpStream;

use common::Folder;
use consort_testkit::process::Server;

#[test]
fn both_addresses_are_told_and_listened_on() {
    let folder = Folder::new();
    let server = Server::start(common::binary(), &folder.path(), [] as [&str; 0]).unwrap();
    assert_ne!(server.address(), server.grpc_address());
    assert!(TcpStream::connect(server.address()).is_ok() && TcpStream::connect(server.grpc_address()).is_ok());
    // Another server beside it is refused the port, and told which setting gave it.
    let other = Folder::new();
    let taken = server.grpc_address().to_string();
    let ended = other.run(&["up", "--port", "0", "--grpc-listen", &taken]);
    assert!(ended.code != 0 && ended.out.is_empty(), "{ended:?}");
    assert!(ended.err.contains(&taken) && ended.err.contains("`grpc-listen`"), "{}", ended.err);
    assert!(server.stop().unwrap().success());
}

#[test]
fn what_is_reached_from_elsewhere_needs_a_token() {
    let folder = Folder::new();
    let ended = folder.run(&["up", "--port", "0", "--grpc-listen", "0.0.0.0:0"]);
    assert!(ended.code != 0 && ended.err.contains("C0601") && ended.err.contains("`grpc-listen`"), "{}", ended.err);
    let ended = folder.run(&["up", "--port", "0", "--grpc-listen", "somewhere"]);
    assert!(ended.code != 0 && ended.err.contains("C0010") && ended.err.contains("`off`"), "{}", ended.err);
}
