//! What runs inside the containers of the tests: one program, many commands (`/app print out hello`).

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    process::ExitCode,
};

/// Runs if the executable was started as `/app` or by one of its links.
pub fn run(args: &[OsString]) -> Option<ExitCode> {
    let args: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let name = args.first()?.rsplit('/').next()?;
    if name != "app" {
        return None;
    }
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    Some(command(&rest))
}

fn command(args: &[&str]) -> ExitCode {
    match args {
        ["print", out, err] => {
            println!("{out}");
            eprintln!("{err}");
        }
        ["lines", count] => {
            let mut out = io::stdout().lock();
            for n in 0..count.parse::<u32>().unwrap() {
                writeln!(out, "line {n}").unwrap();
            }
        }
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap()),
        ["wait"] => loop {
            nix::unistd::pause();
        },
        ["trap"] => return trap(),
        ["orphan"] => return orphan(),
        ["eat"] => eat(),
        ["cat"] => {
            io::copy(&mut io::stdin(), &mut io::stdout()).unwrap();
        }
        ["tty"] => return tty(),
        ["show", what] => println!("{}", show(what)),
        ["read", path] => match std::fs::read_to_string(path) {
            Ok(text) => print!("{text}"),
            Err(error) => return fail(&error.to_string()),
        },
        ["write", path, text] => {
            if let Err(error) = std::fs::write(path, text) {
                return fail(&error.to_string());
            }
        }
        ["kill", pid] => {
            let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
            if let Err(error) = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1) {
                return fail(&error.to_string());
            }
        }
        ["procs"] => {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                if let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() {
                    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    println!("{pid} {}", line.replace('\0', " "));
                }
            }
        }
        other => return fail(&format!("unknown command {other:?}")),
    }
    ExitCode::SUCCESS
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// Waits for SIGTERM or SIGUSR1 and says which.
fn trap() -> ExitCode {
    use nix::sys::signal::{SigSet, Signal};
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    wanted.add(Signal::SIGUSR1);
    wanted.thread_block().unwrap();
    println!("ready");
    println!("got {}", wanted.wait().unwrap());
    ExitCode::from(7)
}

/// Leaves a child behind that holds the streams.
fn orphan() -> ExitCode {
    #[allow(clippy::zombie_processes, reason = "an orphan is what the test is about")]
    std::process::Command::new("/app").arg("wait").spawn().unwrap();
    println!("left");
    ExitCode::SUCCESS
}

fn eat() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// Prints the terminal's size at each line read, until `quit`.
fn tty() -> ExitCode {
    use std::io::IsTerminal;
    println!("terminal {}", io::stdin().is_terminal() && io::stdout().is_terminal());
    let mut text = Vec::new();
    for byte in io::stdin().lock().bytes().map_while(Result::ok) {
        if byte != b'\n' {
            text.push(byte);
            continue;
        }
        if text == b"quit" {
            return ExitCode::from(3);
        }
        // SAFETY: the structure outlives the call.
        #[allow(unsafe_code)]
        let size = unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            libc::ioctl(0, libc::TIOCGWINSZ, &mut size);
            size
        };
        println!("size {} {}", size.ws_col, size.ws_row);
        text.clear();
    }
    ExitCode::SUCCESS
}

fn show(what: &str) -> String {
    match what {
        "id" => format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid()),
        "cwd" => std::env::current_dir().unwrap().display().to_string(),
        "host" => nix::unistd::gethostname().unwrap().to_string_lossy().into_owned(),
        "pid" => std::process::id().to_string(),
        "lo" => {
            let flags = std::fs::read_to_string("/sys/class/net/lo/flags").unwrap();
            let links = std::fs::read_dir("/sys/class/net")
                .unwrap()
                .flatten()
                .filter(|e| e.path().join("flags").exists())
                .count();
            format!("{} of {links}", flags.trim())
        }
        "oom" => std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().to_owned(),
        "caps" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim().to_owned()
        }
        "blocked" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let get = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap().trim().to_owned();
            format!("{} {}", get("SigBlk:"), get("SigIgn:"))
        }
        "fds" => {
            let mut list: Vec<String> = std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .flatten()
                .filter(|e| std::fs::read_link(e.path()).is_ok_and(|l| !l.ends_with("fd")))
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect();
            list.sort();
            list.join(",")
        }
        name => std::env::var(name).unwrap_or_default(),
    }
}
