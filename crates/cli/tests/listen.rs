//! Where `consort up` listens.
//!
//! For: the address, or the two, and the error where one is not available. Not for: what is served there.
//! Invariant: as in `common`.

mod common;

use std::net::TcpStream;

use common::Folder;
use consort_sdk::{Agent, Capability, Remote, Worker};
use consort_testkit::{http::Client, process::Server};

#[test]
fn one_address_serves_http_and_grpc() {
    let folder = Folder::new();
    let server = Server::start(common::binary(), &folder.path(), [] as [&str; 0]).unwrap();
    assert_eq!(server.address(), server.grpc_address());
    let status = Client::new(server.address()).get("/v1/status").unwrap();
    assert_eq!(status.status, 200, "{}", status.text());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let greet = Capability::from_fn("greet", |_, name: String| async move { Ok(format!("hello {name}")) });
        let remote = Remote::new(format!("http://{}", server.address()));
        let worker = Worker::new(remote).agent(Agent::new("greeter").capability(greet));
        tokio::pin! { let running = worker.run(std::future::pending()); }
        let known = tokio::task::spawn_blocking({
            let address = server.address();
            move || {
                let joined = |_: &u32| Client::new(address).get("/v1/agents/greeter").unwrap().status == 200;
                (0..u32::MAX).find(joined)
            }
        });
        tokio::select! {
            ended = &mut running => panic!("the worker has ended: {ended:?}"),
            known = known => assert!(known.unwrap().is_some()),
        }
    });
    assert!(server.stop().unwrap().success());
}

#[test]
fn grpc_may_have_an_address_of_its_own() {
    let folder = Folder::new();
    let server = Server::start(common::binary(), &folder.path(), ["--grpc-listen", "127.0.0.1:0"]).unwrap();
    assert_ne!(server.address(), server.grpc_address());
    assert!(TcpStream::connect(server.address()).is_ok() && TcpStream::connect(server.grpc_address()).is_ok());
    // Another server beside it is refused the port, with the setting that named it.
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
