//! Preemption as a table: nodes of two cores, what stands on them, who is nominated, a pod, and who goes where or why nobody does.

use crate::{
    cache::Cache,
    cases::{cpu, merged, node, pod},
    decide::{Decision, decide},
    nominated::Nominated,
    plugins::World,
    preempt::Preemption,
};
use coracle_client::{Kind, SharedView, Typed, memory::Memory};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use serde_json::{Value, json};

/// What a case says; nodes are `n0`, `n1`, …, of two cores if nothing else is said.
#[derive(Default)]
struct Case {
    nodes: Vec<Value>,
    /// Node index, name, priority, and what differs from a plain pod.
    placed: Vec<(usize, &'static str, i32, Value)>,
    /// Node index, name, priority and spec of pods for which room was made.
    nominated: Vec<(usize, &'static str, i32, Value)>,
    /// Per budget, the label `team` that it selects and what it allows.
    budgets: Vec<(&'static str, i32)>,
    /// The spec of the pod; its priority is 10 if nothing else is said.
    pod: Value,
    /// Where room was made for it before.
    own: Option<usize>,
    turn: usize,
}

fn important(name: &str, priority: i32, spec: &Value) -> Value {
    pod(name, &merged(json!({"priority": priority}), spec))
}

fn check(name: &str, case: &Case, wanted: &str) {
    let memory = Memory::new();
    let put = |change: Value| Typed::<Pod>::new(memory.put(&Pod::resource(), change)).unwrap();
    let (mut cache, mut nominated) = (Cache::default(), Nominated::default());
    for (index, change) in case.nodes.iter().enumerate() {
        cache.put_node(&Typed::new(memory.put(&Node::resource(), node(index, change))).unwrap());
    }
    for (on, name, priority, change) in &case.placed {
        let own = json!({"metadata": {"uid": format!("{name}-{on}")}});
        let placed = put(merged(merged(important(name, *priority, &json!({})), &own), change));
        cache.put_pod(placed.uid(), &format!("n{on}"), placed.view.clone());
    }
    for (on, name, priority, spec) in &case.nominated {
        let other = put(important(name, *priority, spec));
        nominated.put(other.uid(), &format!("n{on}"), other.view.clone());
    }
    for (index, (team, allowed)) in case.budgets.iter().enumerate() {
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": format!("b{index}"), "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"team": team}}}, "status": {"disruptionsAllowed": allowed}});
        memory.put(&PodDisruptionBudget::resource(), budget);
    }
    let wanting = put(important("wanting", 10, &case.pod));
    if let Some(own) = case.own {
        nominated.put(wanting.uid(), &format!("n{own}"), wanting.view.clone());
    }
    let view: SharedView = memory.clone();
    let found = match decide(&World::new(&cache, &nominated, &view), &wanting, case.turn) {
        Decision::Node(name) => name,
        Decision::Unschedulable { preemption: Preemption::Evict { node, victims }, .. } => {
            let names: Vec<&str> = victims.iter().filter_map(|victim| victim.metadata.name.as_deref()).collect();
            format!("{node} without {}", names.join(", "))
        }
        Decision::Unschedulable { why, preemption } => why + &preemption.said(),
    };
    assert_eq!(found, wanted, "{name}");
}

fn of(amount: &str) -> Value {
    json!({"spec": cpu(amount)})
}

fn nodes(count: usize) -> Vec<Value> {
    vec![json!({}); count]
}

#[test]
fn only_those_that_matter_less_go_and_no_more_than_needed() {
    let one = |placed: Vec<(usize, &'static str, i32, Value)>, pod: Value| Case {
        nodes: nodes(1),
        placed,
        pod,
        ..Case::default()
    };
    let none = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: ";
    let check = |name: &str, case: &Case, wanted: &str| check(name, case, &wanted.replace("NONE ", none));
    check("who fits evicts nobody", &one(vec![(0, "a", 1, of("1"))], cpu("1")), "n0");
    check("one that matters less", &one(vec![(0, "a", 1, of("2"))], cpu("1")), "n0 without a");
    let equal = one(vec![(0, "a", 10, of("2"))], cpu("1"));
    check("equals stay", &equal, "NONE 1 No preemption victims found for incoming pod.");
    let both = one(vec![(0, "a", 20, of("1500m")), (0, "b", 1, of("500m"))], cpu("1"));
    check("the greater leave too little", &both, "NONE 1 Insufficient cpu.");
    let small = one(vec![(0, "a", 5, of("1")), (0, "b", 1, of("1"))], cpu("1"));
    check("the more important stays", &small, "n0 without b");
    let large = one(vec![(0, "a", 1, of("1")), (0, "b", 5, of("1"))], cpu("2"));
    check("the most important is named first", &large, "n0 without b, a");
    let since = |when: &str| merged(of("1"), &json!({"status": {"startTime": when}}));
    let ages = vec![(0, "old", 1, since("2026-01-01T00:00:00Z")), (0, "new", 1, since("2026-01-02T00:00:00Z"))];
    check("who has run longer stays", &one(ages, cpu("1")), "n0 without new");
    let useless = one(vec![(0, "a", 1, of("1")), (0, "b", 1, json!({}))], cpu("1500m"));
    check("who is in nobody's way stays", &useless, "n0 without a");
    let never = one(vec![(0, "a", 1, of("2"))], merged(cpu("1"), &json!({"preemptionPolicy": "Never"})));
    let refused =
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.";
    check("a pod that is polite", &never, refused);
}

#[test]
fn what_no_pod_is_to_blame_for_is_not_cured_by_evictions() {
    let helpless = |nodes: Vec<Value>, pod: Value| Case {
        placed: (0..nodes.len()).map(|on| (on, ["a", "b"][on], 1, of("2"))).collect(),
        nodes,
        pod,
        ..Case::default()
    };
    check(
        "more than the node has",
        &helpless(nodes(2), cpu("3")),
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    );
    let cordoned = vec![json!({"spec": {"unschedulable": true}}), json!({})];
    check("a cordoned node beside a crowded one", &helpless(cordoned, cpu("1")), "n1 without b");
    check(
        "some so, some so",
        &Case {
            nodes: vec![json!({"spec": {"unschedulable": true}}), json!({})],
            placed: vec![(1, "a", 10, of("2"))],
            pod: cpu("1"),
            ..Case::default()
        },
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
    );
    check("no nodes", &Case { pod: cpu("1"), ..Case::default() }, "no nodes available to schedule pods");
}

#[test]
fn every_filter_sees_the_node_without_its_victims() {
    let port = json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let apart = |app: &str| {
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]}}})
    };
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    let one = |placed: Value, pod: Value| Case {
        nodes: nodes(1),
        placed: vec![(0, "a", 1, placed), (0, "b", 1, json!({"metadata": {"labels": {"app": "y"}}}))],
        pod,
        ..Case::default()
    };
    check("host ports", &one(json!({"spec": port}), port.clone()), "n0 without a");
    check("its own anti-affinity", &one(json!({}), apart("x")), "n0 without a");
    check("that of others", &one(json!({"spec": apart("x")}), json!({})), "n0 without a");
    let skewed =
        Case { nodes: vec![json!({}), json!({"status": {"allocatable": {"pods": "0"}}})], ..one(json!({}), spread) };
    check("spreading", &skewed, "n0 without a");
    let full = Case { nodes: vec![json!({"status": {"allocatable": {"pods": "2"}}})], ..one(json!({}), json!({})) };
    check("the number of pods", &full, "n0 without b");
}

#[test]
fn the_node_where_the_least_is_lost() {
    let on = |placed: Vec<(usize, &'static str, i32, Value)>| Case {
        nodes: nodes(placed.iter().map(|p| p.0 + 1).max().unwrap_or(0)),
        placed,
        pod: cpu("2"),
        ..Case::default()
    };
    let since = |amount: &str, when: &str| merged(of(amount), &json!({"status": {"startTime": when}}));
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let two = of("2");
    check(
        "a less important first victim",
        &on(vec![(0, "a", 5, two.clone()), (1, "b", 1, two.clone())]),
        "n1 without b",
    );
    let sums = vec![(0, "a", 5, of("1")), (0, "b", 4, of("1")), (1, "c", 5, of("1")), (1, "d", 1, of("1"))];
    check("a smaller sum", &on(sums), "n1 without c, d");
    let negative = vec![(0, "a", -5, of("1")), (0, "b", -5, of("1")), (1, "c", -5, two.clone())];
    check("many of a negative priority are no gain", &on(negative), "n1 without c");
    check("the later start", &on(vec![(0, "a", 1, since("2", early)), (1, "b", 1, since("2", late))]), "n1 without b");
    let halves = vec![
        (0, "a", 5, since("1", early)),
        (0, "b", 1, since("1", late)),
        (1, "c", 5, since("1", late)),
        (1, "d", 1, since("1", early)),
    ];
    check("of the most important victims", &on(halves), "n1 without c, d");
    let equal = || on(vec![(0, "a", 1, of("2")), (1, "b", 1, of("2")), (2, "c", 1, of("2"))]);
    for (turn, wanted) in [(0, "n0 without a"), (1, "n1 without b"), (2, "n2 without c"), (3, "n0 without a")] {
        check("equals in turn", &Case { turn, ..equal() }, wanted);
    }
}

#[test]
fn budgets_are_kept_where_that_can_be() {
    let team = |amount: &str| merged(of(amount), &json!({"metadata": {"labels": {"team": "a"}}}));
    let case = |allowed: i32, placed: Vec<(usize, &'static str, i32, Value)>, pod: Value| Case {
        nodes: nodes(placed.iter().map(|p| p.0 + 1).max().unwrap_or(0)),
        placed,
        budgets: vec![("a", allowed)],
        pod,
        ..Case::default()
    };
    let nodes_differ = || vec![(0, "a", 1, team("2")), (1, "b", 9, of("2"))];
    check("a budget counts more than a priority", &case(0, nodes_differ(), cpu("2")), "n1 without b");
    check("what it allows may go", &case(1, nodes_differ(), cpu("2")), "n0 without a");
    let mixed = || vec![(0, "a", 1, team("1")), (0, "b", 5, of("1"))];
    check("whom it protects stays first", &case(0, mixed(), cpu("1")), "n0 without b");
    check("what it allows stays last", &case(1, mixed(), cpu("1")), "n0 without a");
    check("need knows no budget", &case(0, mixed(), cpu("2")), "n0 without b, a");
    let several = vec![(0, "a", 1, team("1")), (0, "b", 1, team("1")), (1, "c", 9, team("2"))];
    check("the fewest violations", &case(1, several, cpu("2")), "n1 without c");
}

#[test]
fn room_that_was_made_is_kept() {
    let waiting = |priority: i32| Case {
        nodes: nodes(2),
        nominated: vec![(0, "first", priority, cpu("2"))],
        pod: cpu("1"),
        ..Case::default()
    };
    check("for those that matter as much", &waiting(10), "n1");
    check("not from those that matter more", &Case { turn: 0, ..waiting(9) }, "n0");
    let crowded = |priority: i32| Case { placed: vec![(1, "a", 1, of("2"))], ..waiting(priority) };
    check("nor by evictions", &crowded(10), "n1 without a");
    check("who matters more takes it", &crowded(9), "n0");
    let own =
        Case { nodes: nodes(2), own: Some(1), placed: vec![(1, "a", 1, of("1"))], pod: cpu("1"), ..Case::default() };
    check("the pod's own node comes before better ones", &own, "n1");
}

#[test]
fn nobody_is_evicted_while_victims_still_go() {
    let going = |reason: &str| {
        merged(
            of("2"),
            &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}}),
        )
    };
    let case = |reason: &str, own: Option<usize>| Case {
        nodes: nodes(2),
        placed: vec![(0, "a", 5, going(reason)), (1, "b", 1, of("2"))],
        pod: cpu("1"),
        own,
        ..Case::default()
    };
    let refused = "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node.";
    check("they go for it", &case("PreemptionByScheduler", Some(0)), refused);
    check("they go for another reason", &case("EvictionByEvictionAPI", Some(0)), "n1 without b");
    check("it waits for another node", &case("PreemptionByScheduler", Some(1)), "n1 without b");
    check("it waits for none", &case("PreemptionByScheduler", None), "n1 without b");
    let cordoned = Case {
        nodes: vec![json!({"spec": {"unschedulable": true}}), json!({})],
        ..case("PreemptionByScheduler", Some(0))
    };
    check("the node it waits for is no use any more", &cordoned, "n1 without b");
}

#[test]
fn enough_candidates_are_enough() {
    let case = |turn: usize| Case {
        nodes: nodes(150),
        placed: (0..150)
            .map(|on| (on, if on == 0 { "cheap" } else { "dear" }, i32::from(on > 0) * 5, of("2")))
            .collect(),
        pod: cpu("1"),
        turn,
        ..Case::default()
    };
    // by name: n0, n1, n10, n100, …
    check("the first hundred hold the cheap one", &case(0), "n0 without cheap");
    check("the hundred from the second don't", &case(1), "n1 without dear");
    check("the hundred from the fifty-second do again", &case(51), "n0 without cheap");
}
