//! What must hold for real containers.

use crate::fixture::{Case, Fixture, event, texts};
use coracle_runtime::{
    ContainerState, Error, Event, ExecSpec, Mount, Namespace, Resources, Runtime, Security, TerminalSize,
};
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All cases, by name.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |f| Box::pin($name(f)))),*];
    };
}

cases!(
    output_and_exit_code_are_kept,
    the_container_is_as_specified,
    users_mounts_and_limits_hold,
    signals_and_grace,
    out_of_memory_is_told,
    commands_run_inside,
    terminals_have_sizes,
    attaching_shares_the_streams,
    a_pod_shares_what_it_shall,
    what_cannot_start_says_why,
    logs_are_rotated,
    a_new_runtime_finds_everything,
    a_lost_shim_is_noticed,
    leftovers_of_a_first_process_end_with_it,
    the_nodes_namespaces,
    many_at_once,
);

async fn output_and_exit_code_are_kept(f: Arc<Fixture>) {
    let pod = f.sandbox("out").await;
    assert!(pod.netns.as_ref().unwrap().exists());
    let mut events = f.rt().events();
    let id = f.start(&pod.id, f.container(&["print", "hello", "oops"])).await;
    let ended = f.ended(&id).await;
    assert_eq!((ended.exit_code, ended.reason.as_str(), ended.signal), (Some(0), "Completed", None));
    assert!(ended.created <= ended.started.unwrap() && ended.started <= ended.finished);
    assert_eq!(texts(&pod.spec.log_dir.join("c/0.log")), "stdout F hello|stderr F oops");
    event(&mut events, |e| matches!(e, Event::Started { container, .. } if *container == id)).await;
    event(&mut events, |e| matches!(e, Event::Exited { container, .. } if *container == id)).await;
    let (code, _) = f.output(&pod, f.container(&["exit", "42"])).await;
    assert_eq!(code, 42);
    let (_, lines) = f.output(&pod, f.container(&["lines", "20000"])).await;
    assert_eq!(lines.matches("stdout F line").count(), 20_000);
    f.rt().remove_container(&id).await.unwrap();
    assert!(matches!(f.rt().container(&id).await, Err(Error::NotFound(_))));
    let same = f.rt().run_sandbox(f.pod("out")).await.unwrap();
    assert_eq!(same.id, pod.id, "asking again makes no second sandbox");
}

async fn the_container_is_as_specified(f: Arc<Fixture>) {
    let pod = f.sandbox("spec").await;
    let mut spec = f.container(&[]);
    spec.env = vec![("MINE".into(), "yes".into())];
    spec.working_dir = "/not/there/yet".into();
    spec.resources.oom_score_adj = 123;
    for (what, expected) in [
        ("id", "0:0"),
        ("cwd", "/not/there/yet"),
        ("host", "spec"),
        ("pid", "1"),
        ("lo", "0x9 of 1"),
        ("oom", "123"),
        ("MINE", "yes"),
        ("FROM", "image"),
        ("HOSTNAME", "spec"),
        ("HOME", "/root"),
        ("caps", "00000000a80425fb"),
        ("fds", "0,1,2"),
        // The program itself ignores SIGPIPE, as Rust programs do.
        ("blocked", "0000000000000000 0000000000001000"),
    ] {
        spec.args = vec!["show".into(), what.into()];
        assert_eq!(f.output(&pod, spec.clone()).await, (0, format!("stdout F {expected}")), "{what}");
    }
}

async fn users_mounts_and_limits_hold(f: Arc<Fixture>) {
    let pod = f.sandbox("user").await;
    let host = f.dir.path().join("volume");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "from the node").unwrap();
    let mount = |target: &str, read_only| Mount {
        source: host.clone(),
        target: target.into(),
        read_only,
        propagation: String::new(),
    };
    let mut spec = f.container(&["read", "/data/deep/file"]);
    spec.mounts = vec![mount("/data/deep", true), mount("/rw", false)];
    spec.security.run_as_user = Some(1000);
    assert_eq!(f.output(&pod, spec.clone()).await, (0, "stdout P from the node".into()));
    spec.args = vec!["show".into(), "id".into()];
    assert_eq!(f.output(&pod, spec.clone()).await.1, "stdout F 1000:1001");
    spec.security.run_as_user = None;
    spec.security.read_only_root = true;
    for (path, error) in [
        ("/data/deep/x", true),
        ("/x", true),
        ("/rw/x", false),
        ("/dev/shm/x", false),
        ("/proc/sys/vm/swappiness", true),
    ] {
        spec.args = vec!["write".into(), path.into(), "1".into()];
        let (code, text) = f.output(&pod, spec.clone()).await;
        assert_eq!((code != 0, text.contains("Read-only")), (error, error), "{path}: {text}");
    }
    assert_eq!(std::fs::read_to_string(host.join("x")).unwrap(), "1");
    spec.security = Security { run_as_non_root: true, ..Security::default() };
    let refused = f.rt().create_container(&pod.id, spec).await.unwrap_err().to_string();
    assert!(refused.starts_with("container has runAsNonRoot and image will run as root"), "{refused}");
    let mut limited = f.container(&["wait"]);
    limited.resources =
        Resources { cpu_shares: 512, cpu_quota: 20_000, memory: 64 << 20, pids: 50, ..Resources::default() };
    let id = f.start(&pod.id, limited).await;
    let usage = f.rt().usage(&id).await.unwrap();
    assert!((1..=2).contains(&usage.pids) && usage.memory > 0 && usage.cpu_nanos > 0, "{usage:?}");
}

async fn signals_and_grace(f: Arc<Fixture>) {
    let pod = f.sandbox("signal").await;
    let id = f.start(&pod.id, f.container(&["trap"])).await;
    ready(&f, &pod.spec.log_dir.join("c/0.log")).await;
    f.rt().stop_container(&id, Duration::from_secs(20)).await.unwrap();
    let ended = f.rt().container(&id).await.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (Some(7), "Error"));
    assert!(texts(&pod.spec.log_dir.join("c/0.log")).contains("got SIGTERM"));
    let mut custom = f.container(&["trap"]);
    custom.stop_signal = "SIGUSR1".into();
    custom.log_path = "c/1.log".into();
    let id = f.start(&pod.id, custom).await;
    ready(&f, &pod.spec.log_dir.join("c/1.log")).await;
    f.rt().stop_container(&id, Duration::from_secs(20)).await.unwrap();
    assert!(texts(&pod.spec.log_dir.join("c/1.log")).contains("got SIGUSR1"));
    // As process 1 it does not hear SIGTERM, so the grace passes.
    let id = f.start(&pod.id, f.container(&["wait"])).await;
    f.rt().stop_container(&id, Duration::from_millis(50)).await.unwrap();
    let ended = f.rt().container(&id).await.unwrap();
    assert_eq!((ended.exit_code, ended.signal), (Some(137), Some(9)));
    f.rt().stop_container(&id, Duration::ZERO).await.unwrap();
}

/// Waits until the program has said that it is ready.
async fn ready(_: &Fixture, log: &std::path::Path) {
    while !std::fs::read_to_string(log).unwrap_or_default().contains("ready") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn out_of_memory_is_told(f: Arc<Fixture>) {
    let pod = f.sandbox("oom").await;
    let mut spec = f.container(&["eat"]);
    spec.resources.memory = 32 << 20;
    let id = f.start(&pod.id, spec).await;
    let ended = f.ended(&id).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (Some(137), "OOMKilled"));
}

async fn commands_run_inside(f: Arc<Fixture>) {
    let pod = f.sandbox("exec").await;
    let id = f.start(&pod.id, f.container(&["wait"])).await;
    let command = |args: &[&str]| args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    let minute = Duration::from_secs(60);
    let done = f.rt().exec_sync(&id, &command(&["/app", "print", "a", "b"]), minute).await.unwrap();
    assert_eq!((done.code, done.stdout.as_slice(), done.stderr.as_slice()), (0, &b"a\n"[..], &b"b\n"[..]));
    assert_eq!(f.rt().exec_sync(&id, &command(&["/app", "exit", "9"]), minute).await.unwrap().code, 9);
    let many = f.rt().exec_sync(&id, &command(&["/app", "lines", "100000"]), minute).await.unwrap();
    assert_eq!(many.stdout.iter().filter(|b| **b == b'\n').count(), 100_000);
    let late = f.rt().exec_sync(&id, &command(&["/app", "wait"]), Duration::from_millis(50)).await;
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    for (program, why) in [
        ("foo", "exec: \"foo\": executable file not found in $PATH: unknown"),
        ("/plain", "exec: \"/plain\": permission denied: unknown"),
    ] {
        let error = f.rt().exec_sync(&id, &command(&[program]), minute).await.unwrap_err().to_string();
        assert!(error.starts_with("failed to exec in container") && error.ends_with(why), "{error}");
    }
    let spec = ExecSpec { command: command(&["/app", "cat"]), tty: false, stdin: true };
    let mut session = f.rt().exec(&id, spec).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"through").await.unwrap();
    drop(stdin);
    let mut text = String::new();
    session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), session.exit.await.unwrap().unwrap()), ("through", 0));
    // Neither failed nor finished nor killed commands stay in the way of the end.
    let procs = f.rt().exec_sync(&id, &command(&["/app", "procs"]), minute).await.unwrap();
    assert_eq!(String::from_utf8(procs.stdout).unwrap().lines().count(), 2);
    f.rt().stop_container(&id, Duration::ZERO).await.unwrap();
    assert!(f.rt().exec_sync(&id, &command(&["/app"]), minute).await.is_err());
}

async fn terminals_have_sizes(f: Arc<Fixture>) {
    let pod = f.sandbox("tty").await;
    let id = f.start(&pod.id, f.container(&["wait"])).await;
    let spec = ExecSpec { command: vec!["/app".into(), "tty".into()], tty: true, stdin: true };
    let session = f.rt().exec(&id, spec).await.unwrap();
    converse(session, "").await;
    let mut own = f.container(&["tty"]);
    (own.tty, own.stdin, own.log_path) = (true, true, "tty.log".into());
    let id = f.start(&pod.id, own).await;
    let session = f.rt().attach(&id, true).await.unwrap();
    converse(session, "").await;
    assert_eq!(f.ended(&id).await.exit_code, Some(3));
    assert!(texts(&pod.spec.log_dir.join("tty.log")).contains("stdout F size 100 30"));
}

async fn converse(mut session: coracle_runtime::Session, greeting: &str) {
    let mut stdin = session.stdin.take().unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    assert!(session.stderr.is_none());
    let _ = greeting;
    session.resize.as_ref().unwrap().send(TerminalSize { width: 100, height: 30 }).await.unwrap();
    // The size is set beside the conversation: asked until it is there.
    loop {
        stdin.write_all(b"\n").await.unwrap();
        let line = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with("size") {
                break line;
            }
        };
        if line.trim() == "size 100 30" {
            break;
        }
    }
    stdin.write_all(b"quit\n").await.unwrap();
    assert_eq!(session.exit.await.unwrap().unwrap(), 3);
}

async fn attaching_shares_the_streams(f: Arc<Fixture>) {
    let pod = f.sandbox("attach").await;
    let mut spec = f.container(&["cat"]);
    (spec.stdin, spec.stdin_once) = (true, true);
    let id = f.start(&pod.id, spec).await;
    let watcher = f.rt().attach(&id, false).await.unwrap();
    let mut session = f.rt().attach(&id, true).await.unwrap();
    assert!(watcher.stdin.is_none());
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    drop(stdin);
    for mut side in [watcher, session] {
        let mut text = String::new();
        side.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), side.exit.await.unwrap().unwrap()), ("one\ntwo\n", 0));
    }
    assert_eq!(texts(&pod.spec.log_dir.join("c/0.log")), "stdout F one|stdout F two");
}

async fn a_pod_shares_what_it_shall(f: Arc<Fixture>) {
    let mut spec = f.pod("shared");
    spec.pid = Namespace::Pod;
    spec.sysctls.insert("net.ipv4.ip_local_port_range".into(), "20000\t30000".into());
    let pod = f.rt().run_sandbox(spec).await.unwrap();
    let trap = f.start(&pod.id, f.container(&["trap"])).await;
    ready(&f, &pod.spec.log_dir.join("c/0.log")).await;
    let (_, procs) = f.output(&pod, f.container(&["procs"])).await;
    let line = procs.split('|').find(|l| l.contains("trap")).unwrap();
    let pid = line.split(' ').nth(2).unwrap();
    assert!(procs.contains("stdout F 1 "), "the pause process is number 1: {procs}");
    let (code, _) = f.output(&pod, f.container(&["kill", pid])).await;
    assert_eq!((code, f.ended(&trap).await.exit_code), (0, Some(7)));
    let (_, range) = f.output(&pod, f.container(&["read", "/proc/sys/net/ipv4/ip_local_port_range"])).await;
    assert_eq!(range, "stdout F 20000\t30000");
    f.output(&pod, f.container(&["write", "/dev/shm/x", "shared"])).await;
    assert_eq!(f.output(&pod, f.container(&["read", "/dev/shm/x"])).await.1, "stdout P shared");
    let alone = f.sandbox("alone").await;
    assert_eq!(f.output(&alone, f.container(&["read", "/dev/shm/x"])).await.0, 1);
}

async fn what_cannot_start_says_why(f: Arc<Fixture>) {
    let pod = f.sandbox("bad").await;
    for (program, why) in [
        ("foo", "error during container init: exec: \"foo\": executable file not found in $PATH: unknown"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory: unknown"),
        ("/plain", "exec: \"/plain\": permission denied: unknown"),
    ] {
        let mut spec = f.container(&[]);
        spec.command = vec![program.into()];
        let id = f.rt().create_container(&pod.id, spec).await.unwrap();
        let error = f.rt().start_container(&id).await.unwrap_err();
        assert!(
            matches!(&error, Error::Container(m) if m.starts_with("failed to create containerd task") && m.ends_with(why)),
            "{error}"
        );
        let container = f.rt().container(&id).await.unwrap();
        assert_eq!((container.state, container.exit_code), (ContainerState::Exited, Some(128)));
        assert_eq!(container.reason, "StartError");
        f.rt().remove_container(&id).await.unwrap();
    }
    let mut spec = f.container(&["print", "a", "b"]);
    spec.mounts = vec![Mount {
        source: "/no/such/source".into(),
        target: "/x".into(),
        read_only: false,
        propagation: String::new(),
    }];
    let id = f.rt().create_container(&pod.id, spec).await.unwrap();
    let error = f.rt().start_container(&id).await.unwrap_err().to_string();
    assert!(error.contains("failed to create containerd task"), "{error}");
    let mut spec = f.container(&[]);
    spec.image = "test.local/none:v1".into();
    assert!(matches!(f.rt().create_container(&pod.id, spec).await, Err(Error::NotFound(_))));
    let mut bad = f.pod("bad-sysctl");
    bad.sysctls.insert("net.no.such".into(), "1".into());
    let error = f.rt().run_sandbox(bad).await.unwrap_err().to_string();
    assert!(error.contains("setting sysctl net.no.such"), "{error}");
    let registry = f.rt().pull("localhost:1/none:v1", &[], None).await.unwrap_err().to_string();
    assert!(registry.contains("failed to pull and unpack image") && registry.contains("refused"), "{registry}");
}

async fn logs_are_rotated(f: Arc<Fixture>) {
    let pod = f.sandbox("log").await;
    let mut spec = f.container(&["cat"]);
    spec.stdin = true;
    let id = f.start(&pod.id, spec).await;
    let mut session = f.rt().attach(&id, true).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    let log = pod.spec.log_dir.join("c/0.log");
    stdin.write_all(b"before\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "before");
    std::fs::rename(&log, log.with_extension("old")).unwrap();
    f.rt().reopen_log(&id).await.unwrap();
    stdin.write_all(b"after\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "after");
    assert_eq!(texts(&log.with_extension("old")), "stdout F before");
    assert_eq!(texts(&log), "stdout F after");
}

async fn a_new_runtime_finds_everything(f: Arc<Fixture>) {
    let pod = f.sandbox("again").await;
    let gone = f.start(&pod.id, f.container(&["exit", "5"])).await;
    f.ended(&gone).await;
    let lives = f.start(&pod.id, f.container(&["trap"])).await;
    let created = f.rt().create_container(&pod.id, f.container(&["exit", "6"])).await.unwrap();
    ready(&f, &pod.spec.log_dir.join("c/0.log")).await;
    let before = f.rt().container(&lives).await.unwrap();
    f.reopen().await;
    let found = f.rt().sandboxes().await.unwrap();
    assert_eq!((found.len(), &found[0].id, found[0].ready, &found[0].netns), (1, &pod.id, true, &pod.netns));
    assert_eq!(f.rt().container(&gone).await.unwrap().exit_code, Some(5));
    let after = f.rt().container(&lives).await.unwrap();
    assert_eq!((after.state, after.pid, after.started), (ContainerState::Running, before.pid, before.started));
    f.rt().start_container(&created).await.unwrap();
    assert_eq!(f.ended(&created).await.exit_code, Some(6));
    let mut events = f.rt().events();
    f.rt().stop_container(&lives, Duration::from_secs(20)).await.unwrap();
    event(&mut events, |e| matches!(e, Event::Exited { container, .. } if *container == lives)).await;
    assert_eq!(f.rt().container(&lives).await.unwrap().exit_code, Some(7));
    // What an agent leaves that is killed while making a sandbox.
    let half = f.dir.path().join("half");
    std::fs::create_dir(&half).unwrap();
    f.reopen().await;
    assert_eq!(f.rt().containers(Some(&pod.id)).await.unwrap().len(), 3);
}

async fn a_lost_shim_is_noticed(f: Arc<Fixture>) {
    let mut spec = f.pod("lost");
    spec.pid = Namespace::Pod;
    let pod = f.rt().run_sandbox(spec).await.unwrap();
    let id = f.start(&pod.id, f.container(&["wait"])).await;
    let mut events = f.rt().events();
    let netns = pod.netns.clone().unwrap();
    let shim: i32 = netns.components().nth(2).unwrap().as_os_str().to_str().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    event(&mut events, |e| matches!(e, Event::SandboxLost { sandbox } if *sandbox == pod.id)).await;
    let container = f.rt().container(&id).await.unwrap();
    assert_eq!((container.state, container.exit_code), (ContainerState::Exited, Some(137)));
    assert!(!f.rt().sandboxes().await.unwrap()[0].ready);
    f.reopen().await;
    assert!(!f.rt().sandboxes().await.unwrap()[0].ready);
    assert_eq!(f.rt().container(&id).await.unwrap().state, ContainerState::Exited);
    f.rt().remove_container(&id).await.unwrap();
}

async fn leftovers_of_a_first_process_end_with_it(f: Arc<Fixture>) {
    for pid in [Namespace::Pod, Namespace::Container] {
        let mut spec = f.pod(&format!("orphan-{pid:?}").to_lowercase());
        spec.pid = pid;
        let pod = f.rt().run_sandbox(spec).await.unwrap();
        let id = f.start(&pod.id, f.container(&["orphan"])).await;
        assert_eq!(f.ended(&id).await.exit_code, Some(0));
        f.rt().remove_container(&id).await.unwrap();
    }
}

async fn the_nodes_namespaces(f: Arc<Fixture>) {
    let mut spec = f.pod("node");
    (spec.network, spec.ipc, spec.pid, spec.hostname) =
        (Namespace::Node, Namespace::Node, Namespace::Node, String::new());
    let pod = f.rt().run_sandbox(spec).await.unwrap();
    assert!(pod.netns.is_none());
    let host = nix::unistd::gethostname().unwrap().to_string_lossy().into_owned();
    assert_eq!(f.output(&pod, f.container(&["show", "host"])).await.1, format!("stdout F {host}"));
    let (_, procs) = f.output(&pod, f.container(&["procs"])).await;
    assert!(procs.contains(&format!("stdout F {} ", std::process::id())), "the node's processes are seen");
    let mut privileged = f.container(&["write", "/proc/sys/vm/swappiness", "60"]);
    privileged.security.privileged = true;
    assert_eq!(f.output(&pod, privileged.clone()).await.0, 0);
    privileged.args = vec!["show".into(), "caps".into()];
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("CapPrm:")).unwrap().trim().to_owned();
    assert_eq!(f.output(&pod, privileged).await.1, format!("stdout F {own}"));
}

async fn many_at_once(f: Arc<Fixture>) {
    let pods = (0..8).map(|n| {
        let f = f.clone();
        async move {
            let pod = f.sandbox(&format!("many-{n}")).await;
            let (a, b) = tokio::join!(
                f.output(&pod, f.container(&["show", "host"])),
                f.output(&pod, f.container(&["exit", "3"]))
            );
            assert_eq!((a, b.0), ((0, format!("stdout F many-{n}")), 3));
        }
    });
    futures::future::join_all(pods).await;
}
