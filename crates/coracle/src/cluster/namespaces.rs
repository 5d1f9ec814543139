//! The namespaces of a node: made once, pinned by bind mounts, entered by every process of the node.
//!
//! Two internal roles of the binary do what needs a process without threads: `node-init` lives just long enough for its new
//! namespaces to be pinned, `node-enter` joins them and becomes the program that it is given.

use super::cgroup;
use anyhow::{Context, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

const KINDS: [(&str, CloneFlags); 3] =
    [("net", CloneFlags::CLONE_NEWNET), ("uts", CloneFlags::CLONE_NEWUTS), ("mnt", CloneFlags::CLONE_NEWNS)];

/// Runs an internal role if the arguments ask for one.
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let text = |i: usize| arguments.get(i).and_then(|a| a.to_str()).unwrap_or_default();
    let result = match text(1) {
        "node-init" => init(text(2), Path::new(text(3))),
        "node-enter" => enter(Path::new(text(2)), text(3), arguments.get(4..).unwrap_or_default()),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracle {}: {error:#}", text(1));
            ExitCode::FAILURE
        }
    })
}

/// Makes and pins the namespaces of `node` below `pins`, with `log_dir` as its /var/log. Nothing to do if they are there.
///
/// # Errors
/// When the kernel refuses; usually for want of root.
pub fn create(node: &str, pins: &Path, log_dir: &Path) -> Result<()> {
    if pinned(pins) {
        return Ok(());
    }
    release(pins)?;
    let shown = pins.display();
    fs::create_dir_all(pins)
        .and_then(|()| fs::create_dir_all(log_dir))
        .with_context(|| format!("{shown} cannot be made"))?;
    // a mount namespace can only be pinned where mounts do not spread
    mount(Some(pins), pins, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .and_then(|()| mount(None::<&str>, pins, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>))
        .with_context(|| format!("{shown} cannot be mounted"))?;
    let mut child = Command::new("/proc/self/exe")
        .args([OsStr::new("node-init"), OsStr::new(node), log_dir.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node-init cannot be started")?;
    let mut ready = [0];
    let told = child.stdout.take().map(|mut out| out.read_exact(&mut ready));
    if !matches!(told, Some(Ok(()))) {
        let _ = child.wait();
        bail!("the namespaces of {node} could not be made");
    }
    for (kind, _) in KINDS {
        let (from, to) = (format!("/proc/{}/ns/{kind}", child.id()), pins.join(kind));
        File::create(&to).with_context(|| format!("{} cannot be made", to.display()))?;
        mount(Some(from.as_str()), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("{} cannot be pinned", to.display()))?;
    }
    drop(child.stdin.take());
    child.wait().context("node-init cannot be waited for")?;
    Ok(())
}

/// Whether the namespaces of a node are pinned below `pins`.
pub fn pinned(pins: &Path) -> bool {
    // a pin that is mounted is a file of the namespace file system, not an empty one of the disk
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    KINDS.iter().all(|(kind, _)| {
        let pin = pins.join(kind);
        mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == pin))
    })
}

/// Releases the pins; what is mounted and linked in the namespaces goes with their last process.
///
/// # Errors
/// When a pin cannot be unmounted.
pub fn release(pins: &Path) -> Result<()> {
    for pin in KINDS.iter().map(|(kind, _)| pins.join(kind)).chain([pins.to_owned()]) {
        while umount2(&pin, MntFlags::MNT_DETACH).is_ok() {}
    }
    match fs::remove_dir_all(pins) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", pins.display()))
        }
        _ => Ok(()),
    }
}

/// The command that runs `program` (arguments of this binary) in a node's namespaces and in `cgroup`.
pub fn command(pins: &Path, cgroup: &str, program: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("coracle").arg("node-enter").arg(pins).arg(cgroup).args(program);
    command
}

fn init(node: &str, log_dir: &Path) -> Result<()> {
    unshare(KINDS.iter().fold(CloneFlags::empty(), |all, (_, flag)| all | *flag))
        .context("new namespaces were refused: are you root?")?;
    nix::unistd::sethostname(node).context("the host name cannot be set")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("mounts cannot be made private")?;
    mount(Some(log_dir), "/var/log", None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("/var/log cannot be mounted")?;
    let mut out = std::io::stdout();
    out.write_all(b".").and_then(|()| out.flush()).context("the parent is gone")?;
    // lives until the parent has pinned everything
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}

fn enter(pins: &Path, cgroup: &str, program: &[OsString]) -> Result<()> {
    // held open: after entering the mount namespace the path of the program may be another one
    let exe = fs::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let namespaces = KINDS
        .iter()
        .map(|(kind, flag)| {
            let pin = pins.join(kind);
            Ok((File::open(&pin).with_context(|| format!("{} cannot be opened", pin.display()))?, *flag))
        })
        .collect::<Result<Vec<_>>>()?;
    cgroup::enter(cgroup);
    for (file, flag) in namespaces {
        setns(file, flag).context("a namespace of the node cannot be entered")?;
    }
    Err(Command::new(exe).arg0("coracle").args(program).exec()).context("the program cannot be started")
}
