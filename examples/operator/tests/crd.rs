//! The definition beside the sources is the one that the types make.

#[test]
fn the_definition_is_fresh() {
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_site-operator")).arg("crd").output().expect("it runs");
    let printed = String::from_utf8(printed.stdout).expect("text");
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/crd.yaml");
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(kept, &printed).expect("it can be written");
    }
    assert_eq!(printed, std::fs::read_to_string(kept).unwrap_or_default(), "UPDATE_CASES=1 makes it again");
}
