//! Commands in containers, and attaching to containers.

use super::{
    EmbeddedRuntime, blocking,
    connection::{Connection, lost},
    io_error, read_json,
    stream::{FdStream, set_size},
    write_json,
};
use crate::{
    ContainerState, Error, ExecOutput, ExecSpec, Result, Session, TerminalSize,
    shim::{Reply, Request, container_directory},
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{mpsc, oneshot},
};

/// What a waited-for command may print before the rest is dropped.
const MOST_OUTPUT: usize = 16 << 20;
/// How long output is awaited after a command has ended and left somebody behind who holds its pipes.
const LATE_OUTPUT: Duration = Duration::from_millis(200);

static COMMANDS: AtomicU64 = AtomicU64::new(0);

/// A started command.
struct Command {
    connection: Connection,
    terminal: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl EmbeddedRuntime {
    async fn start_command(&self, id: &str, spec: &ExecSpec) -> Result<Command> {
        let container = self.mirror.container(id)?;
        if container.state != ContainerState::Running {
            return Err(Error::Container(format!("container {id} is not running")));
        }
        let directory = self.mirror.directory(&container.sandbox)?;
        let bundle = container_directory(&directory, id);
        let (wanted, spec) = (spec.clone(), spec);
        let file = blocking(move || write_process(&bundle, &wanted)).await?;
        let result = self.ask_for_command(&directory, id, spec, &file).await;
        let _ = std::fs::remove_file(&file);
        result.map_err(|error| match error {
            Error::Container(why) => Error::Container(exec_error(&why)),
            other => other,
        })
    }

    async fn ask_for_command(&self, directory: &Path, id: &str, spec: &ExecSpec, file: &Path) -> Result<Command> {
        let connection = Connection::open(directory).map_err(lost)?;
        let request = Request::Exec { container: id.to_owned(), file: file.to_owned(), tty: spec.tty };
        if spec.tty {
            let (_, mut descriptors) = connection.ask(&request, &[]).await?;
            let terminal = descriptors.pop().ok_or_else(|| Error::Internal("the shim sent no terminal".to_owned()))?;
            return Ok(Command { connection, terminal: Some(terminal), stdin: None, stdout: None, stderr: None });
        }
        let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| io_error("making a pipe", e.into()));
        let (inner_stdin, stdin) = pipe()?;
        let (stdout, inner_stdout) = pipe()?;
        let (stderr, inner_stderr) = pipe()?;
        let inner = [inner_stdin.as_raw_fd(), inner_stdout.as_raw_fd(), inner_stderr.as_raw_fd()];
        connection.ask(&request, &inner).await?;
        // Without input the command sees the end of it at once.
        let stdin = spec.stdin.then_some(stdin);
        Ok(Command { connection, terminal: None, stdin, stdout: Some(stdout), stderr: Some(stderr) })
    }

    pub(super) async fn run_command(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let spec = ExecSpec { command: command.to_vec(), tty: false, stdin: false };
        let deadline = (!timeout.is_zero()).then(|| tokio::time::Instant::now() + timeout);
        let command = self.start_command(id, &spec).await?;
        let (stdout, stderr) = (reader(command.stdout)?, reader(command.stderr)?);
        let (stdout, stderr) = (Collected::from(stdout), Collected::from(stderr));
        let exit = exit_code(&command.connection);
        let code = match deadline {
            None => exit.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, exit).await {
                Ok(code) => code,
                Err(_) => {
                    let _ = command.connection.send(&Request::SignalExec { signal: libc::SIGKILL }, &[]).await;
                    let seconds = timeout.as_secs_f64();
                    return Err(Error::Timeout(format!("command {:?} in container {id} ({seconds} s)", spec.command)));
                }
            },
        }?;
        Ok(ExecOutput { code, stdout: stdout.take().await, stderr: stderr.take().await })
    }

    pub(super) async fn open_command(&self, id: &str, spec: ExecSpec) -> Result<Session> {
        let command = self.start_command(id, &spec).await?;
        let (sender, exit) = oneshot::channel();
        let connection = command.connection;
        tokio::spawn(async move {
            let _ = sender.send(exit_code(&connection).await);
        });
        match command.terminal {
            Some(terminal) => terminal_session(terminal, spec.stdin, None, exit),
            None => Ok(Session {
                stdin: command.stdin.map(FdStream::new).transpose().map_err(pipe_error)?.map(|s| Box::new(s) as _),
                stdout: Some(reader(command.stdout)?),
                stderr: Some(reader(command.stderr)?),
                resize: None,
                exit,
            }),
        }
    }

    pub(super) async fn join_streams(&self, id: &str, stdin: bool) -> Result<Session> {
        let container = self.mirror.container(id)?;
        let directory = self.mirror.directory(&container.sandbox)?;
        let connection = Connection::open(&directory).map_err(lost)?;
        let request = Request::Attach { container: id.to_owned(), stdin };
        let (reply, descriptors) = connection.ask(&request, &[]).await?;
        let Reply::Attached { stdin: has_stdin, stdout, stderr, tty } = reply else {
            return Err(Error::Internal(format!("the shim answered {reply:?}")));
        };
        let mut descriptors = descriptors.into_iter();
        let mut next = |there: bool| if there { descriptors.next() } else { None };
        let (input, stdout, stderr) = (next(has_stdin), next(stdout), next(stderr));
        let (sender, exit) = oneshot::channel();
        tokio::spawn(async move {
            let mut sender = sender;
            tokio::select! {
                code = exit_code(&connection) => { let _ = sender.send(code); }
                // Nobody waits any more: closing the connection takes the attachment off.
                () = sender.closed() => {}
            }
        });
        match (tty, input) {
            (true, Some(terminal)) => terminal_session(terminal, stdin, stdout, exit),
            (_, input) => Ok(Session {
                stdin: input.map(FdStream::new).transpose().map_err(pipe_error)?.map(|s| Box::new(s) as _),
                stdout: stdout.map(|fd| reader(Some(fd))).transpose()?,
                stderr: stderr.map(|fd| reader(Some(fd))).transpose()?,
                resize: None,
                exit,
            }),
        }
    }
}

/// A session on a terminal; its output may come by another way (an attachment shares it with the log).
fn terminal_session(
    terminal: OwnedFd,
    stdin: bool,
    output: Option<OwnedFd>,
    exit: oneshot::Receiver<Result<i32>>,
) -> Result<Session> {
    let copy = || terminal.try_clone().map_err(pipe_error);
    let output = match output {
        Some(output) => output,
        None => copy()?,
    };
    let input: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>> =
        if stdin { Some(Box::new(FdStream::new(copy()?).map_err(pipe_error)?)) } else { None };
    let (resize, mut sizes) = mpsc::channel::<TerminalSize>(4);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            set_size(&terminal, size);
        }
    });
    Ok(Session { stdin: input, stdout: Some(reader(Some(output))?), stderr: None, resize: Some(resize), exit })
}

/// The container's own process with another command: same user, environment, capabilities.
fn write_process(bundle: &Path, spec: &ExecSpec) -> Result<PathBuf> {
    let config: serde_json::Value =
        read_json(&bundle.join("config.json")).map_err(|e| io_error("reading the container's spec", e))?;
    let mut process = config["process"].clone();
    process["args"] = json!(spec.command);
    process["terminal"] = json!(spec.tty);
    if spec.tty
        && let Some(env) = process["env"].as_array_mut()
        && !env.iter().any(|entry| entry.as_str().is_some_and(|e| e.starts_with("TERM=")))
    {
        env.push(json!("TERM=xterm"));
    }
    let name = format!("exec-{}-{}.json", std::process::id(), COMMANDS.fetch_add(1, Ordering::Relaxed));
    let path = bundle.join(name);
    write_json(&path, &process)?;
    Ok(path)
}

async fn exit_code(connection: &Connection) -> Result<i32> {
    loop {
        if let Reply::Exit { code } = connection.receive().await.map_err(lost)?.0 {
            return Ok(code);
        }
    }
}

fn reader(fd: Option<OwnedFd>) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
    match fd {
        Some(fd) => Ok(Box::new(FdStream::new(fd).map_err(pipe_error)?)),
        None => Ok(Box::new(tokio::io::empty())),
    }
}

fn pipe_error(error: io::Error) -> Error {
    io_error("opening a stream of the container", error)
}

/// Output as it comes, in a buffer that can be read before the end.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collected {
    fn from(mut stream: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let all = bytes.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n) = stream.read(&mut buffer).await {
                if n == 0 {
                    break;
                }
                let mut all = all.lock();
                let space = MOST_OUTPUT - all.len();
                all.extend_from_slice(&buffer[..n.min(space)]);
            }
        });
        Self { bytes, task }
    }

    async fn take(mut self) -> Vec<u8> {
        let _ = tokio::time::timeout(LATE_OUTPUT, &mut self.task).await;
        std::mem::take(&mut *self.bytes.lock())
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The failure of a command, in the words that Kubernetes users know.
fn exec_error(why: &str) -> String {
    format!(
        "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown"
    )
}
