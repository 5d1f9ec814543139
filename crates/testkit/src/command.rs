//! Running programs: to their end within a deadline, or in the background.

use crate::wait::LIMIT;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// A program about to be run.
pub struct Run {
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    shown: String,
}

impl Run {
    /// A program and its arguments.
    pub fn new<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self { command, input: Vec::new(), limit: LIMIT }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads.
    pub fn input(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.input = text.into();
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// As another user, without groups.
    pub fn user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Runs it to its end, whatever that is.
    pub fn output(mut self) -> Output {
        let shown = format!("{:?}", self.command);
        let begun = Instant::now();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let mut stdin = child.stdin.take().unwrap();
        let input = std::mem::take(&mut self.input);
        // a program that does not read its input is free to
        thread::spawn(move || stdin.write_all(&input));
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let stdout = out.recv_timeout(self.limit);
        let stderr = err.recv_timeout(self.limit.saturating_sub(begun.elapsed()));
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{shown} did not end within {} s", self.limit.as_secs());
        };
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Output { code, stdout, stderr, shown }
    }

    /// Runs it; it has to succeed. Its standard output.
    pub fn ok(self) -> String {
        let output = self.output();
        assert_eq!(output.code, 0, "{output}");
        output.stdout
    }

    /// Runs it; it has to fail. What it says.
    pub fn fails(self) -> String {
        let output = self.output();
        assert_ne!(output.code, 0, "it should have failed: {output}");
        format!("{}{}", output.stdout, output.stderr)
    }

    /// Starts it in the background; its standard output is read line by line, standard error goes to `log`.
    pub fn start(mut self, log: std::fs::File) -> Started {
        let shown = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Started { child, lines, shown }
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.unwrap().read_to_end(&mut bytes);
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended with {}\n{}{}", self.shown, self.code, self.stdout, self.stderr)
    }
}

/// A program in the background; it ends with this value.
pub struct Started {
    child: Child,
    lines: Receiver<String>,
    shown: String,
}

impl Started {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints; `None` once it has closed its output.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} printed nothing for {} s", self.shown, LIMIT.as_secs()),
        }
    }

    /// Reads lines up to one for which `wanted` says yes.
    pub fn line_with(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            if wanted(&line) {
                return line;
            }
            seen.push(line);
        }
        panic!("{} ended without the awaited line; it said {seen:#?}", self.shown);
    }

    /// Writes to its standard input.
    pub fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Closes its standard input; the last line that it prints then.
    pub fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        let mut last = String::new();
        while let Some(line) = self.line() {
            last = line;
        }
        last
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> i32 {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        crate::until(&format!("the end of {}", self.shown), LIMIT, || {
            self.child.try_wait().unwrap().ok_or("it still runs").map(|status| status.code().unwrap_or(-1))
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}
