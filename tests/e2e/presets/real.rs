//! A preset against the real thing: llama.cpp's server, which wants its API key.

use claviger_tests::World;
use claviger_tests::peers::Llama;

use crate::models;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn llama_cpp_itself_takes_what_its_preset_injects() {
    let proof = models::llama_cpp();
    let mut world = World::new();
    world.canary.clone_from(&proof.keys[0].1);
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    let mut stage = Stage::start(proof, world, llama.cleartext().port());
    let mut client = stage.client(&stage.proof.drivers[0]);
    assert!(client.turn(), "{}\n{}", client.said(), llama.log());
    assert!(stage.change("inject = [{ header = \"x-other-key\" }]"));
    assert!(!client.turn(), "{}", client.said());
    client.end(&stage.proof);
    stage.end();
}
