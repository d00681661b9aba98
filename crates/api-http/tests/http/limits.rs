//! The serve loop against clients that are slow, silent, greedy or many.
//!
//! For: that each costs no more than its own connection. Not for: how long anything takes.
//! Invariant: a test waits only for the server to do what it must do at last.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use consort_api_http::{ApiConfig, ServeConfig};
use consort_testkit::wait_until;
use consort_types::limits;

use crate::support::Server;

/// Soon enough for a test, whatever the machine.
const SOON: Duration = Duration::from_millis(50);

fn server(config: ServeConfig) -> Server {
    Server::with(ApiConfig::default(), config)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream
}

/// All that the server sends until it closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_head_that_trickles_is_given_up() {
    let server = server(ServeConfig { request_timeout: SOON, ..ServeConfig::default() });
    for head in ["", "GET /v1/runs HTTP/1.1\r\nhost: local"] {
        let mut stream = connect(&server);
        stream.write_all(head.as_bytes()).unwrap();
        let answer = rest(&mut stream);
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(server.client().get("/healthz").unwrap().status, 200);
}

#[test]
fn a_body_that_trickles_is_answered_408() {
    let server = server(ServeConfig { body_timeout: SOON, ..ServeConfig::default() });
    let mut stream = connect(&server);
    let head =
        "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("C0024"), "{answer}");
}

#[test]
fn a_body_that_declares_too_much_is_refused_unread() {
    let server = server(ServeConfig::default());
    let mut stream = connect(&server);
    let length = limits::HTTP_BODY_BYTES_MAX + 1;
    let head = format!(
        "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("C0006"), "{answer}");
}

#[test]
fn a_chunked_body_is_counted_while_it_arrives() {
    let server = server(ServeConfig::default());
    let mut stream = connect(&server);
    let head = "POST /v1/runs/01J8Z3K4M5N6P7Q8R9S0T1V2W3/cancel HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    // The server may close before all is sent.
    let _ = (0..6).try_for_each(|_| stream.write_all(chunk.as_bytes()));
    let answer = rest(&mut stream);
    assert!(answer.is_empty() || (answer.starts_with("HTTP/1.1 413") && answer.contains("C0007")), "{answer}");
    assert_eq!(server.client().get("/healthz").unwrap().status, 200);
}

#[test]
fn a_head_without_end_is_refused() {
    let server = server(ServeConfig::default());
    let mut stream = connect(&server);
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(4 * limits::HTTP_HEAD_BYTES_MAX)
    );
    let _ = stream.write_all(head.as_bytes());
    let answer = rest(&mut stream);
    assert!(!answer.contains("200 OK"), "{answer}");
}

/// What is sent back for a head, without more.
fn answer_to(server: &Server, head: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(head.as_bytes()).unwrap();
    rest(&mut stream)
}

#[test]
fn a_head_may_be_as_large_as_the_limit_says_and_no_larger() {
    let server = server(ServeConfig::default());
    let of_bytes = |bytes: usize| {
        let (begin, end) = ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: ", "\r\n\r\n");
        format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };
    let max = limits::HTTP_HEAD_BYTES_MAX;
    let taken = answer_to(&server, &of_bytes(max));
    assert!(taken.starts_with("HTTP/1.1 200 OK"), "{taken}");
    let refused = answer_to(&server, &of_bytes(max + 1));
    assert!(refused.starts_with("HTTP/1.1 431 ") && refused.contains("application/problem+json"), "{refused}");
    assert!(refused.contains("65536") && refused.contains("\"hint\""), "{refused}");
}

#[test]
fn what_is_no_http_is_refused_in_words() {
    let server = server(ServeConfig::default());
    for head in ["HELLO\r\n\r\n", "GET /healthz HTTP/1.1\r\nhost localhost\r\n\r\n", "\u{16}\u{3}\u{1} TLS\r\n\r\n"] {
        let answer = answer_to(&server, head);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("application/problem+json"), "{head}: {answer}");
        assert!(answer.contains("C0001") && answer.ends_with('}'), "{head}: {answer}");
    }
}

#[test]
fn peers_that_ask_nothing_keep_none_out_that_asks() {
    let server = server(ServeConfig { http1_connections_max: 2, ..ServeConfig::default() });
    let silent: Vec<TcpStream> = (0..8).map(|_| connect(&server)).collect();
    for path in ["/healthz", "/readyz", "/v1/status"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = answer_to(&server, &head);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
    // Those that went, went in the order in which they had come.
    for mut gone in silent.into_iter().take(6) {
        assert_eq!(rest(&mut gone), "");
    }
}

#[test]
fn one_connection_too_many_is_sent_away_and_a_seat_is_given_again() {
    let server = server(ServeConfig { http1_connections_max: 1, ..ServeConfig::default() });
    let mut first = connect(&server);
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut begin = [0; 15];
    first.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let answer = rest(&mut connect(&server));
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1") && answer.contains("C0401"),
        "{answer}"
    );
    drop(first);
    wait_until("a free seat", || server.client().get("/healthz").ok().filter(|answer| answer.status == 200));
}

#[test]
fn a_server_that_stops_waits_for_nobody_for_ever() {
    let mut server = server(ServeConfig { drain_timeout: SOON, ..ServeConfig::default() });
    let mut stuck = connect(&server);
    stuck.write_all(b"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{").unwrap();
    // Another request has been answered: so the loop has taken the one before, too.
    assert_eq!(server.client().get("/healthz").unwrap().status, 200);
    server.stop();
    assert_eq!(rest(&mut stuck), "");
    assert!(TcpStream::connect(server.address).is_err());
}
