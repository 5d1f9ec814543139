use super::*;
use crate::Security;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1001:\nextra:x:2000:other,app\n";

fn check(
    sandbox: SandboxSpec,
    container: ContainerSpec,
    image: ImageConfig,
    change: impl FnOnce(&mut Input<'_>),
) -> Result<Value> {
    let mut input = Input {
        sandbox: &sandbox,
        container: &container,
        image: &image,
        accounts: Accounts { passwd: PASSWD, group: GROUP },
        root: Path::new("/state/root"),
        shm: Some(Path::new("/state/shm")),
        cgroup: "/c/pod/x",
        pause: None,
        unified: false,
        capabilities: u64::MAX,
        devices: Vec::new(),
    };
    change(&mut input);
    generate(&input)
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn command_and_args_follow_kubernetes() {
    let image = ImageConfig { entrypoint: list(&["e"]), cmd: list(&["c"]), ..ImageConfig::default() };
    for (command, args, expected) in [
        (&[][..], &[][..], &["e", "c"][..]),
        (&["x"], &[], &["x"]),
        (&[], &["y"], &["e", "y"]),
        (&["x"], &["y"], &["x", "y"]),
    ] {
        let container = ContainerSpec { command: list(command), args: list(args), ..ContainerSpec::default() };
        let spec = check(SandboxSpec::default(), container, image.clone(), |_| {}).unwrap();
        assert_eq!(spec["process"]["args"], json!(expected));
    }
    let nothing = check(SandboxSpec::default(), ContainerSpec::default(), ImageConfig::default(), |_| {});
    assert!(nothing.unwrap_err().to_string().contains("no command specified"));
}

#[test]
fn users_are_found_in_the_image() {
    let base = Security::default;
    let cases = [
        ("", base(), "0:0 [0] /root"),
        ("app", base(), "1000:1001 [1001,2000] /home/app"),
        ("1000", base(), "1000:1001 [1001,2000] /home/app"),
        ("app:extra", base(), "1000:2000 [2000] /home/app"),
        ("77:88", base(), "77:88 [88] /"),
        ("app", Security { run_as_user: Some(5), ..base() }, "5:0 [0] /"),
        ("app", Security { run_as_user: Some(1000), run_as_group: Some(9), ..base() }, "1000:9 [9,2000] /home/app"),
        ("", Security { supplemental_groups: vec![3, 4], ..base() }, "0:0 [0,3,4] /root"),
        ("nobody", base(), "unable to find user nobody: no matching entries in passwd file"),
        (
            "",
            Security { run_as_non_root: true, ..base() },
            "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)",
        ),
        ("0", Security { run_as_non_root: true, ..base() }, "container has runAsNonRoot and image will run as root"),
        ("app", Security { run_as_non_root: true, ..base() }, "non-numeric user (app), cannot verify user is non-root"),
        ("", Security { run_as_non_root: true, run_as_user: Some(0), ..base() }, "runAsUser breaks non-root policy"),
        ("7", Security { run_as_non_root: true, ..base() }, "7:0 [0] /"),
        ("", Security { run_as_user: Some(-1), ..base() }, "out of range"),
    ];
    for (user, security, expected) in cases {
        let sandbox =
            SandboxSpec { name: "p".into(), namespace: "n".into(), uid: "u".into(), ..SandboxSpec::default() };
        let container = ContainerSpec { name: "c".into(), command: list(&["x"]), security, ..ContainerSpec::default() };
        let image = ImageConfig { user: user.into(), ..ImageConfig::default() };
        let got = match check(sandbox, container, image, |_| {}) {
            Ok(spec) => {
                let p = &spec["process"];
                let home =
                    p["env"].as_array().unwrap().iter().filter_map(Value::as_str).find_map(|e| e.strip_prefix("HOME="));
                format!("{}:{} {} {}", p["user"]["uid"], p["user"]["gid"], p["user"]["additionalGids"], home.unwrap())
            }
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{user}: {got}");
    }
}

#[test]
fn the_environment_of_the_pod_wins() {
    let image = ImageConfig { env: list(&["PATH=/i", "A=1", "HOME=/x"]), ..ImageConfig::default() };
    let env = vec![("A".to_owned(), "2".to_owned()), ("B".to_owned(), "x=y".to_owned())];
    let container = ContainerSpec { command: list(&["x"]), env, tty: true, ..ContainerSpec::default() };
    let sandbox = SandboxSpec { hostname: "pod".into(), ..SandboxSpec::default() };
    let spec = check(sandbox, container, image, |_| {}).unwrap();
    assert_eq!(spec["process"]["env"], json!(["PATH=/i", "HOSTNAME=pod", "TERM=xterm", "HOME=/x", "A=2", "B=x=y"]));
    assert_eq!(spec["process"]["cwd"], "/");
}

#[test]
fn mounts_of_the_pod_replace_standard_ones_and_parents_come_first() {
    let mount = |target: &str, read_only, propagation: &str| Mount {
        source: "/s".into(),
        target: target.into(),
        read_only,
        propagation: propagation.into(),
    };
    let mounts = vec![mount("/a/b/c", true, ""), mount("/dev/shm/", false, ""), mount("/a", false, "rslave")];
    let container = ContainerSpec { command: list(&["x"]), mounts, ..ContainerSpec::default() };
    let spec = check(SandboxSpec::default(), container, ImageConfig::default(), |_| {}).unwrap();
    let shown: Vec<String> = spec["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .skip(3)
        .map(|m| format!("{} {}", m["destination"].as_str().unwrap(), m["options"]))
        .collect();
    assert_eq!(
        shown,
        [
            r#"/dev/mqueue ["nosuid","noexec","nodev"]"#,
            r#"/sys ["nosuid","noexec","nodev","ro"]"#,
            r#"/sys/fs/cgroup ["nosuid","noexec","nodev","relatime","ro"]"#,
            r#"/a ["rbind","rslave","rw"]"#,
            r#"/dev/shm ["rbind","rprivate","rw"]"#,
            r#"/a/b/c ["rbind","rprivate","ro"]"#,
        ]
    );
    assert_eq!(spec["linux"]["rootfsPropagation"], "slave");
}

#[test]
fn privilege_and_namespaces_show_in_the_spec() {
    let container = || ContainerSpec { command: list(&["x"]), ..ContainerSpec::default() };
    let plain = check(SandboxSpec::default(), container(), ImageConfig::default(), |_| {}).unwrap();
    assert!(plain["linux"]["maskedPaths"].is_array() && plain["process"].get("noNewPrivileges").is_none());
    assert_eq!(plain["linux"]["namespaces"], json!([{"type": "mount"}, {"type": "pid"}]));
    let mut privileged = container();
    privileged.security.privileged = true;
    let sandbox = SandboxSpec { pid: Namespace::Node, ..SandboxSpec::default() };
    let device = Device { path: "/dev/x".into(), kind: 'c', number: (1, 2), mode: 0o600 };
    let spec = check(sandbox, privileged, ImageConfig::default(), |i| i.devices = vec![device]).unwrap();
    assert!(spec["linux"].get("maskedPaths").is_none());
    assert_eq!(spec["linux"]["devices"][0]["major"], 1);
    assert_eq!(spec["linux"]["namespaces"], json!([{"type": "mount"}]));
    let shared = SandboxSpec { pid: Namespace::Pod, ..SandboxSpec::default() };
    let spec = check(shared, container(), ImageConfig::default(), |i| {
        i.pause = Some(9);
        i.unified = true;
    })
    .unwrap();
    let expected = json!([{"type": "mount"}, {"type": "pid", "path": "/proc/9/ns/pid"}, {"type": "cgroup"}]);
    assert_eq!(spec["linux"]["namespaces"], expected);
}

#[test]
fn limits_reach_the_spec() {
    let resources =
        crate::Resources { cpu_shares: 2, cpu_quota: 5, memory: 7, pids: 8, oom_score_adj: 9, ..Default::default() };
    let container = ContainerSpec { command: list(&["x"]), resources, ..ContainerSpec::default() };
    let spec = check(SandboxSpec::default(), container, ImageConfig::default(), |_| {}).unwrap();
    let r = &spec["linux"]["resources"];
    assert_eq!(r["cpu"], json!({"shares": 2, "quota": 5, "period": 100_000}));
    assert_eq!((&r["memory"]["limit"], &r["pids"]["limit"]), (&json!(7), &json!(8)));
    assert_eq!(spec["process"]["oomScoreAdj"], 9);
}
