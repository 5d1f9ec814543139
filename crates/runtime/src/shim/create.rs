//! The helper that builds one container, or starts one command in it, with libcontainer, and ends.
//!
//! `shim-create <status fd> <sandbox directory> <container id> [<process file>]`; its standard streams become the container's. What
//! it makes becomes the shim's child. The result goes to the status socket as one packet.

use super::{container_directory, wire};
use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    oci_spec::runtime::Spec,
    syscall::syscall::SyscallType,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask},
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket},
        stat::{Mode, mkdirat},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What the helper tells the shim; the terminal's master comes along.
#[derive(Debug, Serialize, Deserialize)]
pub enum Status {
    /// It runs.
    Running(i32),
    /// It could not be made.
    Failed(String),
}

/// Entry point; `args` are those after the subcommand.
#[allow(unsafe_code)] // the descriptor comes by number
pub fn main(args: &[OsString]) -> ExitCode {
    let Some(number) = args[0].to_str().and_then(|n| n.parse().ok()) else { return ExitCode::from(2) };
    // SAFETY: the shim has opened it for this process and nothing else here uses it.
    let status = unsafe { OwnedFd::from_raw_fd(number) };
    let _ = nix::fcntl::fcntl(&status, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC));
    let (sandbox, id) = (PathBuf::from(&args[1]), args[2].to_string_lossy().into_owned());
    reset_signals();
    let said = Said::listen();
    let result = match args.get(3) {
        None => create(&sandbox, &id),
        Some(process) => exec(&sandbox, &id, Path::new(process)),
    };
    let (message, master) = match result {
        Ok((pid, master)) => (Status::Running(pid), master),
        Err(why) => (Status::Failed(said.explain(why)), None),
    };
    let descriptors: Vec<_> = master.iter().map(AsRawFd::as_raw_fd).collect();
    match wire::send(&status, &message, &descriptors) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What libcontainer logs as errors: the process inside the container can tell its maker only a summary.
struct Said(Option<fs::File>);

impl Said {
    fn listen() -> Self {
        // In memory, shared with the processes that are cloned from this one.
        let file =
            nix::sys::memfd::memfd_create(c"errors", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).ok().map(fs::File::from);
        if let Some(writer) = file.as_ref().and_then(|file| file.try_clone().ok()) {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::ERROR)
                .with_writer(std::sync::Mutex::new(writer))
                .without_time()
                .with_level(false)
                .with_target(false)
                .with_ansi(false);
            let _ = subscriber.try_init();
        }
        Self(file)
    }

    /// Adds the first thing that went wrong, unless the reason is clear already.
    fn explain(self, why: String) -> String {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; 4096];
        let length = self.0.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..length]);
        match text.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(first) if !why.starts_with("exec: ") => format!("{why}: {first}"),
            _ => why,
        }
    }
}

/// A container starts with nothing blocked or ignored; Rust programs ignore SIGPIPE.
#[allow(unsafe_code)] // signal dispositions
fn reset_signals() {
    // SAFETY: no handler is installed, only the default.
    unsafe {
        let _ = signal(Signal::SIGPIPE, SigHandler::SigDfl);
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

fn create(sandbox: &Path, id: &str) -> Result<(i32, Option<OwnedFd>), String> {
    let bundle = container_directory(sandbox, id);
    let spec = Spec::load(bundle.join("config.json")).map_err(|e| reason(&e))?;
    let process = spec.process().as_ref().ok_or("the spec has no process")?;
    make_directory(&bundle.join("rootfs"), process.cwd())
        .map_err(|e| format!("mkdir {}: {e}", process.cwd().display()))?;
    let console = if process.terminal().unwrap_or(false) { Some(Console::open(&bundle)?) } else { None };
    let mut builder = builder(sandbox, id)?;
    builder = builder.with_console_socket(console.as_ref().map(|c| c.path.clone()));
    let mut container: Container = builder
        .as_init(&bundle)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(|e| reason(&e))?;
    let pid = container.pid().ok_or("the container has no process")?.as_raw();
    container.start().map_err(|e| reason(&e))?;
    Ok((pid, console.map(Console::master).transpose()?))
}

fn exec(sandbox: &Path, id: &str, file: &Path) -> Result<(i32, Option<OwnedFd>), String> {
    let bundle = container_directory(sandbox, id);
    let text = fs::read(file).map_err(|e| format!("reading {}: {e}", file.display()))?;
    let process: serde_json::Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let tty = process["terminal"].as_bool().unwrap_or(false);
    let console = if tty { Some(Console::open(&bundle)?) } else { None };
    let mut builder = builder(sandbox, id)?;
    builder = builder.with_console_socket(console.as_ref().map(|c| c.path.clone()));
    let pid = builder
        .as_tenant()
        .with_detach(true)
        .as_sibling(true)
        .with_process(Some(file))
        .build()
        .map_err(|e| reason(&e))?;
    Ok((pid.as_raw(), console.map(Console::master).transpose()?))
}

fn builder(sandbox: &Path, id: &str) -> Result<ContainerBuilder, String> {
    ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(Program)
        .with_root_path(sandbox.join("lc"))
        .map_err(|e| reason(&e))
}

/// Makes the working directory if the image lacks it, following links only inside the root file system.
fn make_directory(root: &Path, path: &Path) -> nix::Result<()> {
    let inside = |path: &Path, root: &fs::File| {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(root, path, how)
    };
    let root = fs::File::open(root).map_err(|e| nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let mut at = PathBuf::from("/");
    let mut parent = inside(&at, &root)?;
    for part in path.components().skip(1) {
        at.push(part);
        parent = match inside(&at, &root) {
            Err(nix::errno::Errno::ENOENT) => {
                mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(0o755))?;
                inside(&at, &root)?
            }
            other => other?,
        };
    }
    Ok(())
}

/// The socket on which libcontainer hands over a terminal.
struct Console {
    path: PathBuf,
    listener: OwnedFd,
}

impl Console {
    fn open(bundle: &Path) -> Result<Self, String> {
        let name = format!("console-{}", std::process::id());
        let path = bundle.join(&name);
        let directory = fs::File::open(bundle).map_err(|e| e.to_string())?;
        let listener = (|| {
            let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            // Socket names are short; the directory may be deep.
            let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
            bind(listener.as_raw_fd(), &UnixAddr::new(short.as_str())?)?;
            listen(&listener, Backlog::new(1)?)?;
            nix::Result::Ok(listener)
        })()
        .map_err(|e| format!("console socket: {e}"))?;
        Ok(Self { path, listener })
    }

    #[allow(unsafe_code)] // descriptors come by number
    fn master(self) -> Result<OwnedFd, String> {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
        let connection = accept(self.listener.as_raw_fd()).map_err(|e| format!("console socket: {e}"))?;
        // SAFETY: both descriptors have just been made for us.
        let connection = unsafe { OwnedFd::from_raw_fd(connection) };
        let mut text = [0u8; 4096];
        let mut parts = [io::IoSliceMut::new(&mut text)];
        let mut control = nix::cmsg_space!([i32; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<UnixAddr>(connection.as_raw_fd(), &mut parts, Some(&mut control), flags)
            .map_err(|e| format!("console socket: {e}"))?;
        for message in got.cmsgs().map_err(|e| e.to_string())? {
            if let ControlMessageOwned::ScmRights(numbers) = message
                && let Some(number) = numbers.first()
            {
                // SAFETY: as above.
                return Ok(unsafe { OwnedFd::from_raw_fd(*number) });
            }
        }
        Err("no terminal came from the container".to_owned())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Finds and executes the container's program, with runc's words when it cannot.
#[derive(Clone)]
struct Program;

impl Executor for Program {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let args = process.args().as_deref().unwrap_or_default();
        let program = args.first().ok_or(ExecutorError::InvalidArg)?;
        let path = find(program, search_path(spec)).map_err(ExecutorError::Other)?;
        let strings = |list: &[String]| {
            list.iter()
                .map(|s| CString::new(s.as_bytes()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| ExecutorError::InvalidArg)
        };
        let path = CString::new(path.into_os_string().into_encoded_bytes()).map_err(|_| ExecutorError::InvalidArg)?;
        let error =
            nix::unistd::execve(&path, &strings(args)?, &strings(process.env().as_deref().unwrap_or_default())?);
        // Too late for an answer to whoever started it: the log is where people look.
        let why = error.map_or_else(|e| e.desc().to_lowercase(), |_| String::new());
        eprintln!("exec {}: {why}", path.to_string_lossy());
        std::process::exit(255)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let args = spec.process().as_ref().and_then(|p| p.args().as_deref()).unwrap_or_default();
        let program = args.first().map_or("", String::as_str);
        find(program, search_path(spec)).map(drop).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // `exec` passes the environment in the order of the spec, which a map would lose.
        Ok(())
    }
}

fn search_path(spec: &Spec) -> &str {
    let env = spec.process().as_ref().and_then(|p| p.env().as_deref()).unwrap_or_default();
    env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or("")
}

fn find(program: &str, path: &str) -> Result<PathBuf, String> {
    let usable = |candidate: &Path| {
        let metadata = fs::metadata(candidate)?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        Ok(())
    };
    if program.contains('/') {
        let candidate = PathBuf::from(program);
        return match usable(&candidate) {
            Ok(()) => Ok(candidate),
            Err(e) => {
                let why = nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)).desc().to_lowercase();
                let call = if e.raw_os_error() == Some(libc::EACCES) { "exec: " } else { "" };
                let stat = if call.is_empty() { format!("stat {program}: {why}") } else { why };
                Err(format!("exec: \"{program}\": {stat}"))
            }
        };
    }
    let mut denied = false;
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(program);
        match usable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => denied |= e.raw_os_error() == Some(libc::EACCES),
        }
    }
    let why = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("exec: \"{program}\": {why}"))
}

/// The error with its causes; what our own [`Program`] said is told alone.
fn reason(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        parts.push(inner.to_string());
        cause = inner.source();
    }
    if let Some(own) = parts.iter().find_map(|p| p.find("exec: \"").map(|at| p[at..].to_owned())) {
        return own.trim_end_matches(['"', '\'', ')']).to_owned() + if own.ends_with("\")") { "\"" } else { "" };
    }
    parts.dedup();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_or_refused_in_runcs_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let file = |name: &str, mode| {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        file("good", 0o755);
        file("plain", 0o644);
        assert_eq!(find("good", &format!("/nowhere:{path}")).unwrap(), dir.path().join("good"));
        assert_eq!(find("foo", path).unwrap_err(), "exec: \"foo\": executable file not found in $PATH");
        assert_eq!(find("plain", path).unwrap_err(), "exec: \"plain\": permission denied");
        assert_eq!(find("/no/such", "").unwrap_err(), "exec: \"/no/such\": stat /no/such: no such file or directory");
        assert_eq!(find(path, "").unwrap_err(), format!("exec: \"{path}\": stat {path}: is a directory"));
    }

    #[test]
    fn working_directories_are_made_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        std::os::unix::fs::symlink("/real", root.join("link")).unwrap();
        make_directory(&root, Path::new("/link/a/b")).unwrap();
        assert!(root.join("real/a/b").is_dir());
    }
}
