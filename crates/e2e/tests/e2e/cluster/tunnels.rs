//! exec, attach, cp and port-forward: over WebSocket as newer clients speak it, and over SPDY as older ones do.

use super::{WEB, image, ready_pods};
use coracle_testkit::{Kubectl, LIMIT, Run, Started, VERSIONS, World, in_world, until};
use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
};

/// How a client speaks.
#[derive(Clone, Copy, Debug)]
enum Speech {
    WebSocket,
    Spdy,
}

impl Speech {
    /// kubectl about to be run with these words, speaking so.
    fn command(self, kubectl: &Kubectl, words: &[&str]) -> Run {
        let sockets = match self {
            Self::WebSocket => "true",
            Self::Spdy => "false",
        };
        let run = kubectl.command(words);
        run.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", sockets).env("KUBECTL_PORT_FORWARD_WEBSOCKETS", sockets)
    }
}

/// Every version of kubectl in both languages.
fn everyone(mut check: impl FnMut(&str, Speech)) {
    for version in VERSIONS {
        for speech in [Speech::WebSocket, Speech::Spdy] {
            check(version, speech);
        }
    }
}

fn shell(kubectl: &Kubectl, image: &str) {
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: shell}}\nspec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{image}'}}]}}\n"
    ));
    kubectl.ok("wait pod/shell --for=condition=Ready --timeout=60s");
}

#[test]
fn commands_have_streams_and_exit_codes() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        shell(&kubectl, image::shell(world));
        everyone(|version, speech| {
            let kubectl = cluster.kubectl_of(version);
            let exec = |flags: &[&str], script: &str| {
                let words: Vec<&str> =
                    ["exec"].iter().chain(flags).chain(&["shell", "--", "sh", "-c", script]).copied().collect();
                speech.command(&kubectl, &words)
            };
            let output = exec(&[], "echo out; echo err >&2; exit 7").output();
            assert_eq!((output.code, output.stdout.as_str()), (7, "out\n"), "{version} {speech:?}: {output}");
            assert!(output.stderr.contains("err\n") && output.stderr.contains("exit code 7"), "{output}");
            // more than any buffer holds, both ways at once, to the end of the input
            let much = "0123456789abcdef".repeat(1 << 16);
            let back = exec(&["-i"], "cat; echo .").input(much.clone()).ok();
            assert!(back.strip_suffix(".\n") == Some(&much), "{version} {speech:?}: {} bytes came back", back.len());
            let failed = exec(&["-c", "none"], "true").fails();
            assert!(failed.contains("container none is not valid for pod shell"), "{failed}");
            let missing = speech.command(&kubectl, &["exec", "shell", "--", "/no/such"]).fails();
            assert!(missing.contains("no such file or directory"), "{missing}");
            // without a terminal of its own kubectl does not ask for one
            let listed = exec(&[], "ls -d /proc/1").ok();
            assert_eq!(listed, "/proc/1\n");
        });
    });
}

#[test]
fn files_are_copied_both_ways() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        shell(&kubectl, image::shell(world));
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (here, back) = (world.dir().join("here"), world.dir().join("back"));
        std::fs::write(&here, &content).unwrap();
        everyone(|version, speech| {
            let kubectl = cluster.kubectl_of(version);
            speech.command(&kubectl, &["cp", here.to_str().unwrap(), "shell:/there"]).ok();
            speech.command(&kubectl, &["cp", "shell:/there", back.to_str().unwrap()]).ok();
            assert!(std::fs::read(&back).unwrap() == content, "{version} {speech:?}");
            std::fs::remove_file(&back).unwrap();
        });
    });
}

#[test]
fn a_running_container_is_attached_to() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let image = image::shell(world);
        everyone(|version, speech| {
            let kubectl = cluster.kubectl_of(version);
            // the container reads its input, answers, and ends with it; the pod goes, too
            let words = ["run", "once", "-i", "--rm", "--restart=Never", "--image", image, "--quiet", "--"];
            let words: Vec<&str> = words.into_iter().chain(["sh", "-c", "read line; echo got $line"]).collect();
            let said = speech.command(&kubectl, &words).input("a line\n").ok();
            assert!(said.contains("got a line"), "{version} {speech:?}: {said}");
            let gone = kubectl.fails("get pod once");
            assert!(gone.contains("NotFound"), "{gone}");
        });
    });
}

/// port-forward in the background, and the port that it listens on.
fn forward<'w>(
    world: &'w World,
    kubectl: &Kubectl<'w>,
    speech: Speech,
    target: &str,
    ports: &[&str],
) -> (Started, Vec<String>) {
    let words: Vec<&str> = ["port-forward", "--address", "127.0.0.1", target].iter().chain(ports).copied().collect();
    let log = File::create(world.dir().join("forward.log")).unwrap();
    let started = speech.command(kubectl, &words).start(log);
    let addresses = ports.iter().map(|_| {
        let line = started.line_with(|line| line.starts_with("Forwarding from 127.0.0.1:"));
        line.trim_start_matches("Forwarding from ").split(' ').next().unwrap().to_string()
    });
    let addresses = addresses.collect();
    (started, addresses)
}

/// GET over a connection of its own; the whole answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // a tunnel that broke shows in what is missing
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn ports_are_forwarded() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        kubectl.apply(WEB);
        ready_pods(&kubectl, "app=web", 1);
        everyone(|version, speech| {
            let kubectl = cluster.kubectl_of(version);
            let (mut forwarding, addresses) = forward(world, &kubectl, speech, "service/web", &[":80", ":80"]);
            // one after the other, all at once, on both ports
            for address in &addresses {
                let answer = get(address, "/");
                assert!(
                    answer.contains("200 OK") && answer.contains("\"pod\":\"web-"),
                    "{version} {speech:?}: {answer}"
                );
            }
            let all: Vec<_> = (0..20)
                .map(|n| {
                    let address = addresses[n % 2].clone();
                    std::thread::spawn(move || get(&address, "/healthz"))
                })
                .collect();
            for answer in all {
                let answer = answer.join().unwrap();
                assert!(answer.contains("200 OK"), "{version} {speech:?}: {answer}");
            }
            forwarding.kill();
            // nobody listens there: the reason comes back, and the client gives up
            let (forwarding, addresses) = forward(world, &kubectl, speech, "deployment/web", &[":9"]);
            assert_eq!(get(&addresses[0], "/"), "");
            let log = world.dir().join("forward.log");
            until("the reason", LIMIT, || {
                let said = std::fs::read_to_string(&log).unwrap();
                let reason = "failed to connect to localhost:9 inside namespace";
                if said.contains(reason) && said.contains("connection refused") { Ok(()) } else { Err(said) }
            });
            drop(forwarding);
        });
    });
}
