//! Promise 6: what is refused is the address that would be dialled, however it was named.

use claviger_tests::origin::echo;
use claviger_tests::{Origin, World};

use crate::wire::{client, connect, tcp};

/// Hosts whose addresses are not for the public: by name, in every spelling, embedded in IPv6.
fn hosts(port: u16) -> Vec<String> {
    [
        "localhost",
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "[2001:db8::1]",
        "[::ffff:169.254.169.254]",
    ]
    .iter()
    .map(|host| format!("{host}:{port}"))
    .collect()
}

/// Spellings that some resolvers take for 127.0.0.1; they are no host at all.
const ODD: [&str; 9] =
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.01", "[::1%lo]", "①27.0.0.1"];

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_services_do_not_reach_private_addresses() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["localhost", "127.0.0.1"], &["http/1.1"], echo(&world.canary)).await;
    let hosts = hosts(origin.port());
    world.seal("api", &world.canary, &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut text = world.usual(origin.port(), "").split("[service.api]").next().unwrap().to_owned();
    text += "[credential.key]\nkind = \"static\"\nvalue = \"secret://sealed/api\"\n";
    for (number, host) in hosts.iter().enumerate() {
        text += &format!(
            "[service.s{number}]\nhosts = [\"{host}\"]\nca = \"ca.pem\"\ninject = [\"bearer\"]\n\
             [allow.s{number}]\nwho = \"app\"\nto = \"s{number}\"\nops = \"*\"\nuse = \"key\"\n"
        );
    }
    world.configure(&text);
    let proxy = world.start();
    for (number, host) in hosts.iter().enumerate() {
        let request = client().get(proxy.gateway(&format!("/s{number}/v1/x"))).bearer_auth(world.token("app"));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert!(status == 403 && body.contains("address_refused"), "{host}: {status} {body}");
    }
    let finished = proxy.records("finished", hosts.len());
    assert!(finished.iter().all(|record| record["code"] == "address_refused"), "{finished:?}");
    // Listed, the same host is reached: the address is what was refused.
    let local = format!("hosts = [\"{}\"]", hosts[0]);
    world.configure(&text.replace(&local, &format!("{local}\nallow_addresses = [\"127.0.0.1\", \"::1\"]")));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(origin.connections(), 0);
    let request = client().get(proxy.gateway("/s0/v1/x")).bearer_auth(world.token("app"));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_tunnels_do_not_reach_private_addresses() {
    for (unmatched, expected) in [("tunnel", "address_refused"), ("refuse", "unknown_service")] {
        let world = World::new();
        let origin = Origin::start(&world.ca, &["localhost"], &["http/1.1"], echo("own")).await;
        world.seal("api", &world.canary, &["api.test"]);
        let usual = world.usual(1, "");
        let (before, after) = usual.split_once("[listener.forward]").unwrap();
        let more = format!("authenticate = [\"ci\"]\nunmatched = \"{unmatched}\"");
        world.configure(&format!("{before}[listener.forward]{}", after.replacen("authenticate = [\"ci\"]", &more, 1)));
        let proxy = world.start();
        let proof = format!("Proxy-Authorization: Bearer {}\r\n", world.token("app"));
        for host in hosts(origin.port()) {
            let refused = connect(tcp(proxy.address("forward")).await, &host, &proof).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{host}: a tunnel"));
            assert!(refused.starts_with("HTTP/1.1 403 "), "{host}: {refused}");
        }
        let codes: Vec<_> = proxy.records("decided", 25).iter().map(|record| record["code"].clone()).collect();
        assert!(codes.iter().all(|code| code == expected), "{codes:?}");
        for host in ODD {
            let host = format!("{host}:{}", origin.port());
            let refused = connect(tcp(proxy.address("forward")).await, &host, &proof).await.err();
            assert!(refused.is_some_and(|refused| !refused.starts_with("HTTP/1.1 2")), "{host}: a tunnel");
        }
        assert_eq!(origin.connections(), 0);
    }
}
