//! docs/conformance.md: the state of each of upstream's conformance tests. A run's results are merged into the page; tests that
//! the run did not have keep their state.

use crate::metadata::root;
use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, fs, path::PathBuf};

const MARKS: [(&str, &str); 3] = [("- [x] ", "pass"), ("- [ ] ", "fail"), ("- [?] ", "have not been run")];

/// What older releases of the suite call some tests, in parts, and what they are called now.
const RENAMED: [(&str, &str); 7] = [
    ("Docker Containers should", "Containers should"),
    ("(docker cmd)", "(container cmd)"),
    ("(docker entrypoint)", "(container entrypoint)"),
    ("a busybox Pod with hostAliases", "an agnhost Pod with hostAliases"),
    ("Services should provide secure master", "API Server should provide secure master"),
    ("Services should test the lifecycle of an Endpoint", "Endpoints should test the lifecycle of an Endpoint"),
    ("Kubectl client Kubectl logs should be able", "Kubectl logs logs should be able"),
];

fn page() -> PathBuf {
    root().join("docs/conformance.md")
}

/// Merges `results`, lines of `name <tab> passed|failed <tab> …`, as a runner of upstream's suite writes them.
///
/// # Errors
/// When a file cannot be read, or a result is neither passed nor failed.
pub fn merge(results: &str) -> Result<()> {
    let text = fs::read_to_string(results).with_context(|| format!("{results} cannot be read"))?;
    let page = page();
    let before = fs::read_to_string(&page).with_context(|| format!("{} cannot be read", page.display()))?;
    fs::write(&page, merged(&before, &text)?).with_context(|| format!("{} cannot be written", page.display()))
}

fn merged(page: &str, results: &str) -> Result<String> {
    let mut passed = BTreeMap::new();
    for line in results.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(result)) = (fields.next(), fields.next()) else { continue };
        let result = match result {
            "passed" => true,
            "failed" => false,
            other => bail!("{name}: {other:?} is neither \"passed\" nor \"failed\""),
        };
        let name = RENAMED.iter().fold(plain(name), |name, (old, new)| name.replace(old, new));
        passed.insert(name, result);
    }
    let mut lines: Vec<String> = page.lines().map(str::to_string).collect();
    for line in &mut lines {
        let Some(name) = MARKS.iter().find_map(|(mark, _)| line.strip_prefix(mark)) else { continue };
        if let Some(passed) = passed.get(&plain(name)) {
            *line = format!("{}{name}", MARKS[usize::from(!passed)].0);
        }
    }
    let counts = MARKS.map(|(mark, what)| format!("{} {what}", lines.iter().filter(|l| l.starts_with(mark)).count()));
    if let Some(line) = lines.iter_mut().find(|line| line.starts_with("**Now:** ")) {
        *line = format!("**Now:** {}.", counts.join(", "));
    }
    Ok(lines.join("\n") + "\n")
}

/// A name without its labels in brackets, which differ between releases of the suite.
fn plain(name: &str) -> String {
    let mut depth = 0;
    let kept = name.chars().filter(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && *c != ']'
    });
    kept.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_change_their_lines_and_the_counts() {
        let page =
            "**Now:** nothing.\n- [?] [a] one two [Conformance]\n- [x] three [Slow] [Conformance]\n- [?] four\ntext\n";
        let results = "[a] one two [LinuxOnly] [Conformance]\tpassed\t1\t\nthree [Conformance]\tfailed\t2\twhy\n";
        assert_eq!(
            merged(page, results).expect("it can be merged"),
            "**Now:** 1 pass, 1 fail, 1 have not been run.\n- [x] [a] one two [Conformance]\n- [ ] three [Slow] [Conformance]\n- [?] four\ntext\n"
        );
        assert!(merged(page, "x\tperhaps").is_err());
    }
}
