//! What only the inside of a running node shows.

use super::*;

#[test]
fn seeds_are_remembered_once_they_were_joined_and_not_before() {
    let start = |name| Gossip::start(GossipConfig::local(name).bind(([127, 0, 0, 1], 0))).unwrap();
    let (a, b) = (start("a"), start("b"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = closed.local_addr().unwrap();
    drop(closed);
    for at in 0..100 {
        b.join([format!("no-such-host-{at}.invalid:1")]).unwrap_err();
    }
    b.join([silent.to_string()]).unwrap_err();
    assert_eq!(b.running.seeds.to_vec(), Vec::<String>::new());
    let addr = a.local().addr.to_string();
    b.join([&addr]).unwrap();
    assert_eq!(b.running.seeds.to_vec(), [addr]);
}
