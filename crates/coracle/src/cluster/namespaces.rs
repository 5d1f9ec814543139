//! The namespaces of a node: made once, pinned by bind mounts, entered by every process of the node.
//!
//! Two internal roles of the binary do what needs a process without threads: `node-init` lives just long enough for its new
//! namespaces to be pinned, `node-enter` joins them and becomes the program that it is given.

use super::cgroup;
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare},
    unistd::Pid,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// The mount namespace first: it is the one that may have to be made again.
const KINDS: [(&str, CloneFlags); 3] =
    [("mnt", CloneFlags::CLONE_NEWNS), ("net", CloneFlags::CLONE_NEWNET), ("uts", CloneFlags::CLONE_NEWUTS)];
/// How often a mount namespace is made again.
///
/// A mount namespace can only be mounted in an older one, and newer kernels number them in a sequence per processor: started from
/// inside another namespace (a container, `unshare`) the first one made may look older than that. So each attempt is made on another
/// processor; on one of them numbers are higher.
const ATTEMPTS: usize = 256;

/// Runs an internal role if the arguments ask for one.
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let text = |i: usize| arguments.get(i).and_then(|a| a.to_str()).unwrap_or_default();
    let result = match text(1) {
        "node-init" => init(text(2), Path::new(text(3)), text(4)),
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
    for attempt in 0..ATTEMPTS {
        if make(node, pins, log_dir, attempt)? {
            return Ok(());
        }
    }
    bail!(
        "the mount namespace of {node} cannot be pinned: the kernel takes it for older than the one that this runs in"
    )
}

/// Makes the namespaces and pins them. `false`: the mount namespace cannot be pinned here, another one may.
fn make(node: &str, pins: &Path, log_dir: &Path, attempt: usize) -> Result<bool> {
    let attempt = attempt.to_string();
    let mut child = Command::new("/proc/self/exe")
        .args([OsStr::new("node-init"), OsStr::new(node), log_dir.as_os_str(), OsStr::new(&attempt)])
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
    let mut pinned = true;
    for (kind, _) in KINDS {
        let (from, to) = (format!("/proc/{}/ns/{kind}", child.id()), pins.join(kind));
        File::create(&to).with_context(|| format!("{} cannot be made", to.display()))?;
        match mount(Some(from.as_str()), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            Err(Errno::EINVAL) if kind == "mnt" => {
                pinned = false;
                break;
            }
            other => other.with_context(|| format!("{} cannot be pinned", to.display()))?,
        }
    }
    drop(child.stdin.take());
    child.wait().context("node-init cannot be waited for")?;
    Ok(pinned)
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

fn init(node: &str, log_dir: &Path, attempt: &str) -> Result<()> {
    if let Some(before) = attempt.parse::<usize>().ok().and_then(|n| n.checked_sub(1)) {
        let mut processor = CpuSet::new();
        // one that is not there, or not for us, leaves things as they are
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let _ = processor.set(before % processors).and_then(|()| sched_setaffinity(Pid::from_raw(0), &processor));
    }
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
