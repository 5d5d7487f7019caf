//! The host as a whole, from any of its doors: it ends by one SHUTDOWN, and its doors can be moved.

mod common;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::client::Client;
use common::ports::Ports;
use common::server::{Server, Shape, stand_in};
use common::wait_for;

const UNABLE: &str = "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. \
                      Check server logs.";

fn is_open(ip: &str, port: u16) -> bool {
    TcpStream::connect((ip, port)).is_ok()
}

fn closes(ip: &str, port: u16) -> bool {
    wait_for(Duration::from_secs(5), || (!is_open(ip, port)).then_some(())).is_some()
}

#[test]
fn shutdown_by_any_door_ends_the_host() {
    for (shape, door) in [
        (Shape::Standalone(2), 0),
        (Shape::Host(2), 0),
        (Shape::Host(2), 1),
        (Shape::Host(2), 2),
        (Shape::Node, 0),
    ] {
        let mut server = Server::shoal(shape, &[]);
        let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
        others.iter_mut().for_each(|c| assert_eq!(c.cmd("PING").text(), "PONG"));
        let port = if stand_in() { server.port() } else { server.port() + door };
        let mut client = Client::connect(port).expect("a connection");
        assert!(client.call(&["SHUTDOWN", "NOSAVE"]).is_err(), "SHUTDOWN was answered");
        let status = wait_for(Duration::from_secs(10), || server.child.try_wait().expect("a child's state"));
        assert_eq!(status.and_then(|s| s.code()), Some(0), "{shape:?} by {door}; it said:\n{}", server.log());
        assert!(!server.log().contains("panicked at"), "{}", server.log());
    }
}

#[test]
fn the_front_door_moves_to_another_port() {
    for shape in [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(2)] {
        let server = Server::shoal(shape, &[]);
        let others = Ports::take();
        let [new, taken] = [others.base, others.base + 1];
        let _holder = TcpListener::bind(("0.0.0.0", taken)).expect("a free port");
        let mut client = server.client();
        client.cmd("SET key value");

        assert_eq!(client.cmd(&format!("CONFIG SET port {taken}")).text(), UNABLE, "{shape:?}");
        assert_eq!(client.cmd("CONFIG GET port").items()[1], Some(server.port().to_string().into_bytes()));
        assert_eq!(server.client().cmd("GET key").text(), "value");

        assert_eq!(client.cmd(&format!("CONFIG SET port {new}")).text(), "OK", "{shape:?}");
        assert!(closes("127.0.0.1", server.port()), "{shape:?}: the old port is still open");
        for _ in 0..8 {
            let mut moved = Client::connect(new).expect("the new port is open");
            assert_eq!(moved.cmd("GET key").text(), "value");
            assert!(moved.cmd("INFO server").text().contains(&format!("tcp_port:{new}\r\n")));
        }
        assert_eq!(client.cmd("GET key").text(), "value", "a client from before is served");
        if shape == Shape::Host(2) && !stand_in() {
            assert_eq!(server.own_client(1).cmd("PING").text(), "PONG");
        }
        assert_eq!(client.cmd(&format!("CONFIG SET port {}", server.port())).text(), "OK");
        assert_eq!(server.client().cmd("GET key").text(), "value");

        assert_eq!(client.cmd("CONFIG SET port 0").text(), "OK");
        assert!(closes("127.0.0.1", server.port()));
        assert_eq!(client.cmd("GET key").text(), "value");
    }
}

#[test]
fn a_nodes_own_port_stays() {
    if stand_in() {
        return; // Redis moves it
    }
    let server = Server::shoal(Shape::Node, &[]);
    let mut client = server.client();
    let text = client.cmd("CONFIG SET port 1").text();
    assert!(text.contains("'port') - This port is the node's address in its cluster"), "{text}");
    assert_eq!(server.client().cmd("PING").text(), "PONG");
}

#[test]
fn doors_open_on_other_addresses() {
    for shape in [Shape::Standalone(2), Shape::Host(2)] {
        let server = Server::shoal(shape, &["--bind", "127.0.0.1"]);
        let port = server.port();
        let mut client = server.client();
        assert!(!is_open("127.0.0.8", port));

        let both = client.call(&["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.8"]).expect("a reply");
        assert_eq!(both.text(), "OK", "{shape:?}");
        assert!(is_open("127.0.0.8", port) && is_open("127.0.0.1", port));

        let failed = client.cmd("CONFIG SET bind 203.0.113.7").text();
        let want = "ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.";
        assert_eq!(failed, want, "{shape:?}");
        assert!(is_open("127.0.0.8", port) && is_open("127.0.0.1", port), "{shape:?}: not as it was");

        assert_eq!(client.cmd("CONFIG SET bind 127.0.0.8").text(), "OK");
        assert!(closes("127.0.0.1", port), "{shape:?}: the old address is still open");
        assert_eq!(client.cmd("PING").text(), "PONG");
        if !stand_in() && shape == Shape::Host(2) {
            assert!(is_open("127.0.0.8", port + 2) && !is_open("127.0.0.1", port + 2));
        }
    }
}
