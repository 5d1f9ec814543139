//! Starting: what stands in the way is named, and nothing is left.

use coracle_testkit::{LIMIT, VERSIONS, in_world, until};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

#[test]
fn a_port_in_use_is_named() {
    in_world(|world| {
        let _taken = TcpListener::bind("0.0.0.0:6443").unwrap();
        let data = world.data();
        for command in ["server", "up"] {
            let says =
                world.coracle(&[command, "--data-dir", data.to_str().unwrap(), "--bind", "0.0.0.0:6443"]).fails();
            assert!(says.contains("0.0.0.0:6443") && says.to_lowercase().contains("in use"), "{says}");
            assert!(!says.contains("panicked"), "{says}");
        }
    });
}

#[test]
fn two_servers_do_not_share_a_data_directory() {
    in_world(|world| {
        let server = world.server();
        let data = world.data();
        let says = world.coracle(&["server", "--data-dir", data.to_str().unwrap(), "--bind", "127.0.0.1:7443"]).fails();
        assert!(says.contains(data.to_str().unwrap()), "{says}");
        server.kubectl(VERSIONS[0]).ok("get namespaces");
    });
}

#[test]
fn without_root_it_says_so() {
    in_world(|world| {
        // where another user can read it
        let binary = world.dir().join("coracle");
        fs::copy(world.binary(), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let own = world.dir().join("own");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
        let data = own.to_str().unwrap();
        for command in ["up", "down", "demo"] {
            let words: &[&str] = if command == "demo" { &[command] } else { &[command, "--data-dir", data] };
            let says = world.run(&binary, words).user(65534).fails();
            assert!(says.contains("root") && says.contains("sudo"), "{command}: {says}");
        }
        // the control plane alone needs none
        let log = fs::File::create(world.dir().join("user.log")).unwrap();
        let words = ["server", "--data-dir", data, "--bind", "127.0.0.1:6443"];
        let mut server = world.run(&binary, &words).user(65534).start(log);
        server.line_with(|line| line == "ready");
        assert_eq!(server.terminate(), 0);
        let says = world.run(&binary, &["check"]).user(65534).fails();
        assert!(says.contains("MISSING root"), "{says}");
    });
}

#[test]
fn the_kubeconfig_is_there_before_readyz_answers() {
    in_world(|world| {
        let begun = Instant::now();
        let mut server = world.server();
        let took = begun.elapsed();
        let kubectl = server.kubectl(VERSIONS[0]);
        assert_eq!(kubectl.ok("get --raw /readyz"), "ok");
        let config = fs::read_to_string(server.kubeconfig()).unwrap();
        assert!(config.contains("client-certificate-data") && config.contains("client-key-data"));
        assert_eq!(fs::metadata(server.kubeconfig()).unwrap().permissions().mode() & 0o077, 0, "for its owner only");
        // far above what it takes, for a busy machine
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(server.terminate(), 0);
        // the same identity after a restart
        server.restart();
        until("the server to answer again", LIMIT, || {
            let output = kubectl.command(&["get", "--raw", "/readyz"]).output();
            if output.stdout == "ok" { Ok(()) } else { Err(output.to_string()) }
        });
        assert_eq!(fs::read_to_string(server.kubeconfig()).unwrap(), config);
    });
}

#[test]
fn a_wrong_setting_is_named() {
    in_world(|world| {
        for (words, expected) in [
            (&["server", "--bind", "nowhere"][..], "--bind"),
            (&["up", "--nodes", "0"], "--nodes"),
            (&["up", "--name", "Not A Name"], "--name"),
            (&["server", "--service-cidr", "10.96.0.0"], "10.96.0.0/16"),
            (&["frobnicate"], "frobnicate"),
        ] {
            let data = world.data();
            let says = world.coracle(words).env("CORACLE_DATA_DIR", data).fails();
            assert!(says.contains(expected) && !says.contains("panicked"), "{words:?}: {says}");
        }
        let file = world.dir().join("coracle.yaml");
        fs::write(&file, "bnd: x\n").unwrap();
        let says = world.coracle(&["server", "--config", file.to_str().unwrap()]).fails();
        assert!(says.contains("\"bnd\""), "{says}");
    });
}
