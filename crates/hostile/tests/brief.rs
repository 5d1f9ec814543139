//! Every target on its seeds and on some mutations of them. `HOSTILE_ROUNDS` says how many.

use coracle_hostile::{Mutations, all};

#[test]
fn no_input_brings_a_reader_down() {
    let rounds = std::env::var("HOSTILE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    for target in all() {
        let seeds = target.seeds.iter().map(|seed| seed.to_vec());
        for (round, input) in seeds.chain(Mutations::of(target).take(rounds)).enumerate() {
            let run = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(run.is_ok(), "{} {round}: {:?}", target.name, String::from_utf8_lossy(&input));
        }
    }
}

/// `fuzz/` has a target for each of ours, and no other.
#[test]
fn every_target_is_fuzzed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
    let manifest = std::fs::read_to_string(format!("{dir}/Cargo.toml")).unwrap();
    let mut listed: Vec<&str> =
        manifest.lines().filter_map(|l| l.strip_prefix("path = \"targets/")?.strip_suffix(".rs\"")).collect();
    let mut ours: Vec<&str> = all().map(|t| t.name).collect();
    listed.sort_unstable();
    ours.sort_unstable();
    assert_eq!(listed, ours);
    for name in ours {
        let source = std::fs::read_to_string(format!("{dir}/targets/{name}.rs")).unwrap();
        assert!(source.contains(&format!("coracle_hostile::run({name:?}, input)")), "{name}");
    }
}

/// A stack that overflows ends the whole program: no reader may recurse as deep as a stranger likes.
#[test]
fn no_depth_brings_a_reader_down() {
    const OPENINGS: &[(&str, &str)] = &[
        ("[", ""),
        ("[", "]"),
        ("{\"a\":", "}"),
        ("(", ")"),
        ("!", ""),
        ("-", ""),
        ("- ", ""),
        ("a: {", "}"),
        ("[?(@", ")]"),
        ("..", ""),
        ("[0,0]", ""),
        ("a.b(", ")"),
        ("x ? y : ", ""),
        ("not in (", ")"),
        ("{\"items\":", "}"),
        ("{\"properties\":{\"a\":", "}}"),
        ("%25", ""),
        ("/..", ""),
    ];
    for target in all() {
        for (open, close) in OPENINGS {
            for times in [100, 3_000, 50_000] {
                (target.run)(format!("{}1{}", open.repeat(times), close.repeat(times)).as_bytes());
            }
        }
    }
}
