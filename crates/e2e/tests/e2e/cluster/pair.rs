//! Step 5: two containers of a pod share network and processes.

use super::PAIR;
use coracle_testkit::in_world;

#[test]
fn over_loopback_and_by_signal() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        kubectl.apply(PAIR);
        kubectl.ok("wait pod/pair --for=condition=Ready --timeout=60s");
        let logs = |container: &str, wanted: &str| {
            let words = ["logs", "pair", "-c", container, "-f"];
            let log = std::fs::File::create(world.dir().join(container)).unwrap();
            kubectl.command(&words).start(log).line_with(|line| line.contains(wanted))
        };
        logs("client", "got the signal");
        logs("server", "SIGUSR1 number 1");
        let said = kubectl.ok("exec pair -c client -- /coracle app get 127.0.0.1:9000 /");
        assert!(said.contains("\"signals\":1"), "{said}");
        assert_eq!(
            super::containers(&kubectl.json("get pod pair")).iter().map(|(_, restarts)| restarts).sum::<u64>(),
            0
        );
    });
}
