//! One container as its shim sees it: root file system, streams, log, attachments, record.

use super::{
    CREATE, Launch, Record, container_directory,
    create::Status,
    log::{Framer, LogFile, Stream},
    wire,
};
use crate::ContainerState;
use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, Flock, FlockArg, OFlag, fcntl},
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::{pipe2, read, write},
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A helper that takes longer than this hangs.
const HELPER_TIMEOUT_MS: u16 = 60_000;

/// A running container.
pub struct Running {
    pub launch: Launch,
    pub record: Record,
    pub outputs: Vec<Output>,
    pub clients: Vec<Client>,
    log: LogFile,
    stdin: Option<OwnedFd>,
    master: Option<OwnedFd>,
    /// Shared locks on the layers: as long as one is held nobody removes the layer.
    _layers: Vec<Flock<File>>,
}

/// A stream that the container writes.
pub struct Output {
    stream: Stream,
    pub source: OwnedFd,
    framer: Framer,
    pub open: bool,
}

/// Somebody who watches the streams.
pub struct Client {
    pub connection: u64,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pending: Vec<(Stream, Vec<u8>)>,
}

impl Client {
    /// The descriptor that has to become writable before the container's streams are read further.
    pub fn blocked(&self) -> Option<&OwnedFd> {
        let (stream, _) = self.pending.first()?;
        self.of(*stream)
    }

    fn of(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    /// Writes what waits; `false` when the other side is gone.
    pub fn flush(&mut self) -> bool {
        while let Some((stream, data)) = self.pending.first_mut() {
            let target = match stream {
                Stream::Stdout => self.stdout.as_ref(),
                Stream::Stderr => self.stderr.as_ref(),
            };
            let Some(target) = target else { return false };
            match write(target, data) {
                Ok(n) if n == data.len() => drop(self.pending.remove(0)),
                Ok(n) => drop(data.drain(..n)),
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

/// What an attachment gets.
pub struct Attachment {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Running {
    /// Mounts the root file system and starts the container.
    pub fn start(sandbox: &Path, id: &str) -> Result<Self, String> {
        let directory = container_directory(sandbox, id);
        let launch: Launch =
            fs::read(directory.join("launch.json"))
                .map_err(|e| format!("reading launch.json: {e}"))
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| format!("launch.json: {e}")))?;
        let layers = mount_root(&directory, &launch)?;
        let log = LogFile::open(launch.log.clone()).map_err(|e| format!("opening the log file: {e}"))?;
        let streams = Streams::new(&launch).map_err(|e| format!("making streams: {e}"))?;
        let (pid, master) = run_helper(&[sandbox.as_os_str(), id.as_ref()], streams.inner)?;
        let mut outputs = streams.outputs;
        if let Some(master) = &master {
            let source = master.try_clone().map_err(|e| format!("terminal: {e}"))?;
            outputs.push(Output::new(Stream::Stdout, source));
        }
        for output in &outputs {
            let _ = fcntl(&output.source, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | access(&output.source)));
        }
        let record = Record {
            id: id.to_owned(),
            state: ContainerState::Running,
            pid: Some(pid.unsigned_abs()),
            started: Some(Timestamp::now()),
            finished: None,
            exit_code: None,
            signal: None,
            reason: String::new(),
            message: String::new(),
        };
        Ok(Self { launch, record, outputs, clients: Vec::new(), log, stdin: streams.stdin, master, _layers: layers })
    }

    /// Copies what one stream has to the log and the attachments.
    pub fn copy(&mut self, at: usize, buffer: &mut [u8], lines: &mut Vec<u8>) {
        let Some(output) = self.outputs.get_mut(at) else { return };
        match read(&output.source, buffer) {
            Ok(0) | Err(Errno::EIO) => output.open = false,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => output.open = false,
            Ok(n) => {
                lines.clear();
                output.framer.push(&buffer[..n], Timestamp::now(), lines);
                let stream = output.stream;
                self.log.write(lines);
                for client in &mut self.clients {
                    if client.of(stream).is_some() {
                        client.pending.push((stream, buffer[..n].to_vec()));
                    }
                }
                self.clients.retain_mut(Client::flush);
            }
        }
    }

    /// The first process has ended: takes what is still in the pipes and closes the log.
    pub fn drain(&mut self, buffer: &mut [u8]) {
        let mut lines = Vec::new();
        for at in 0..self.outputs.len() {
            // Bounded by the size of a pipe: nobody writes any more, or shall keep us busy.
            for _ in 0..256 {
                let waiting = {
                    let mut poller = [PollFd::new(self.outputs[at].source.as_fd(), PollFlags::POLLIN)];
                    let ready = poll(&mut poller, PollTimeout::ZERO);
                    ready.is_ok_and(|n| n > 0) && poller[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN))
                };
                if !waiting || !self.outputs[at].open {
                    break;
                }
                self.copy(at, buffer, &mut lines);
            }
            lines.clear();
            self.outputs[at].framer.finish(Timestamp::now(), &mut lines);
            self.log.write(&lines);
        }
        self.outputs.clear();
        self.stdin = None;
        self.master = None;
    }

    /// Joins a client to the streams.
    pub fn attach(&mut self, connection: u64, stdin: bool) -> io::Result<Attachment> {
        let (stdout, client_stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, client_stderr) = if self.launch.tty {
            (None, None)
        } else {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            (Some(reader), Some(writer))
        };
        for end in [Some(&client_stdout), client_stderr.as_ref()].into_iter().flatten() {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_WRONLY))?;
        }
        let input = match (&self.master, stdin) {
            // With a terminal it is also what the window size is set on.
            (Some(master), _) => Some(master.try_clone()?),
            (None, true) if self.launch.stdin_once => self.stdin.take(),
            (None, true) => self.stdin.as_ref().map(OwnedFd::try_clone).transpose()?,
            (None, false) => None,
        };
        self.clients.push(Client {
            connection,
            stdout: Some(client_stdout),
            stderr: client_stderr,
            pending: Vec::new(),
        });
        Ok(Attachment { stdin: input, stdout: Some(stdout), stderr })
    }

    /// Opens the log anew.
    pub fn reopen_log(&mut self) -> io::Result<()> {
        self.log.reopen()
    }

    /// Whether a client is too slow to take more.
    pub fn held_up(&self) -> bool {
        self.clients.iter().any(|client| client.blocked().is_some())
    }
}

impl Output {
    fn new(stream: Stream, source: OwnedFd) -> Self {
        Self { stream, source, framer: Framer::new(stream), open: true }
    }
}

fn access(fd: &OwnedFd) -> OFlag {
    let flags = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate).unwrap_or(OFlag::empty());
    flags & OFlag::O_ACCMODE
}

/// Both ends of a container's standard streams.
struct Streams {
    inner: [Option<OwnedFd>; 3],
    outputs: Vec<Output>,
    stdin: Option<OwnedFd>,
}

impl Streams {
    fn new(launch: &Launch) -> nix::Result<Self> {
        if launch.tty {
            return Ok(Self { inner: [None, None, None], outputs: Vec::new(), stdin: None });
        }
        let (stdout, inner_stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, inner_stderr) = pipe2(OFlag::O_CLOEXEC)?;
        let (inner_stdin, stdin) = if launch.stdin {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            (Some(reader), Some(writer))
        } else {
            (None, None)
        };
        Ok(Self {
            inner: [inner_stdin, Some(inner_stdout), Some(inner_stderr)],
            outputs: vec![Output::new(Stream::Stdout, stdout), Output::new(Stream::Stderr, stderr)],
            stdin,
        })
    }
}

/// Locks the layers and mounts them, the writable directory on top.
fn mount_root(directory: &Path, launch: &Launch) -> Result<Vec<Flock<File>>, String> {
    let mut locks = Vec::new();
    for layer in &launch.layers {
        let path = launch.layers_directory.join(layer);
        let file = File::open(&path).map_err(|e| format!("layer {}: {e}", path.display()))?;
        locks.push(
            Flock::lock(file, FlockArg::LockSharedNonblock).map_err(|(_, e)| format!("locking layer {layer}: {e}"))?,
        );
    }
    let make = |name: &str| {
        let path = directory.join(name);
        fs::create_dir_all(&path).map(|()| path).map_err(|e| format!("creating {name}: {e}"))
    };
    let (rootfs, upper, work) = (make("rootfs")?, make("upper")?, make("work")?);
    // overlayfs lists the topmost layer first; short relative names, because the kernel takes one page of options.
    let mut lower: Vec<String> = launch.layers.iter().rev().cloned().collect();
    if lower.is_empty() {
        lower.push(make("empty")?.display().to_string());
    }
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    let home = std::env::current_dir().map_err(|e| e.to_string())?;
    std::env::set_current_dir(&launch.layers_directory)
        .map_err(|e| format!("{}: {e}", launch.layers_directory.display()))?;
    // A container's writable layer dies with it, so syncing it (the kernel would, at unmount) is time lost.
    let mounted = ["volatile,", ""].iter().try_fold(Errno::UnknownErrno, |_, extra| {
        let data = format!("{extra}{options}");
        match mount(Some("overlay"), &rootfs, Some("overlay"), MsFlags::empty(), Some(data.as_str())) {
            Ok(()) => Err(()),
            Err(e) => Ok(e),
        }
    });
    let _ = std::env::set_current_dir(home);
    match mounted {
        Err(()) => Ok(locks),
        Ok(error) => Err(format!("mounting the root file system ({options}): {error}")),
    }
}

/// Lets a helper build a container or start a command; what it made is our child.
pub fn run_helper(args: &[&std::ffi::OsStr], streams: [Option<OwnedFd>; 3]) -> Result<(i32, Option<OwnedFd>), String> {
    let failed = |what: &str, e: io::Error| format!("{what}: {e}");
    let (status, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|e| failed("socket pair", e.into()))?;
    // This process has one thread, so no other child can inherit it meanwhile.
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| failed("socket pair", e.into()))?;
    let [stdin, stdout, stderr] = streams.map(|fd| fd.map_or_else(Stdio::null, Stdio::from));
    let child = Command::new("/proc/self/exe")
        .arg0("coracle")
        .arg(CREATE)
        .arg(theirs.as_raw_fd().to_string())
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|e| failed("starting the helper", e))?;
    drop(theirs);
    let helper = i32::try_from(child.id()).unwrap_or(0);
    let ended = open_pidfd(helper).map_err(|e| failed("watching the helper", e))?;
    loop {
        let mut poller =
            [PollFd::new(status.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        match poll(&mut poller, HELPER_TIMEOUT_MS) {
            Ok(0) => {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper), nix::sys::signal::Signal::SIGKILL);
                return Err("building the container timed out".to_owned());
            }
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(e.to_string()),
            Ok(_) => {}
        }
        let told = poller[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN));
        if !told {
            return Err("the helper ended without an answer".to_owned());
        }
        return match wire::receive::<Status>(&status) {
            Ok(Some((Status::Running(pid), mut descriptors))) => Ok((pid, descriptors.pop())),
            Ok(Some((Status::Failed(why), _))) => Err(why),
            Ok(None) => Err("the helper ended without an answer".to_owned()),
            Err(e) => Err(failed("the helper's answer", e)),
        };
    }
}

#[allow(unsafe_code)] // nix has no pidfd_open
fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; on success the descriptor is new and ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// Writes the record where a later agent finds it.
pub fn save(sandbox: &Path, record: &Record) -> io::Result<()> {
    let path: PathBuf = container_directory(sandbox, &record.id).join("state.json");
    crate::files::write_atomically(&path, &serde_json::to_vec(record)?)
}
