//! What a shim does before it serves: its namespaces, the pod's shared memory, the pause process.

use super::{Processes, SandboxFile, start_time};
use crate::Namespace;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, getpid, sethostname, setsid},
};
use std::{fs, io, os::fd::AsRawFd, path::Path};

/// Prepares the process and its namespaces.
pub fn prepare(directory: &Path, file: &SandboxFile) -> io::Result<Processes> {
    let _ = setsid();
    prctl::set_child_subreaper(true)?;
    let _ = prctl::set_name(c"coracle-shim");
    // Only the kernel's SIGKILL and a request end a shim: a Ctrl-C meant for the agent must not take the pods along.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let shim = getpid().as_raw().unsigned_abs();
    crate::cgroup::Cgroups::detect().join(&file.shim_cgroup, shim);
    namespaces(directory, file)?;
    let pause = if file.spec.pid == Namespace::Pod { Some(pause()?) } else { None };
    let processes = Processes { shim, shim_started: start_time(shim).unwrap_or(0), pause };
    crate::files::write_atomically(&directory.join("shim.json"), &serde_json::to_vec(&processes)?)?;
    Ok(processes)
}

fn namespaces(directory: &Path, file: &SandboxFile) -> io::Result<()> {
    let spec = &file.spec;
    let (own_net, own_ipc) = (spec.network != Namespace::Node, spec.ipc != Namespace::Node);
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS, own_net);
    flags.set(CloneFlags::CLONE_NEWIPC, own_ipc);
    unshare(flags).map_err(|e| io::Error::other(format!("making namespaces: {e}")))?;
    if own_net {
        if !spec.hostname.is_empty() {
            sethostname(&spec.hostname)?;
        }
        loopback_up()?;
        // As other runtimes do: low ports and ping need no privilege in a network of one's own.
        for (name, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
            let _ = fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
        }
    }
    for (name, value) in &spec.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(|e| io::Error::other(format!("setting sysctl {name} to {value:?}: {e}")))?;
    }
    if own_ipc {
        let shm = directory.join("shm");
        fs::create_dir_all(&shm)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), &shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))
            .map_err(|e| io::Error::other(format!("mounting {}: {e}", shm.display())))?;
    }
    Ok(())
}

#[allow(unsafe_code)] // nix has no interface flags
fn loopback_up() -> io::Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero request is valid, and the union's flags are what this call reads.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Starts process 1 of a pid namespace that the pod's containers share.
#[allow(unsafe_code)] // fork
fn pause() -> io::Result<u32> {
    let own = fs::File::open("/proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => reap_for_ever(),
    };
    // Later children (helpers) are to live in the outer namespace again.
    setns(&own, CloneFlags::CLONE_NEWPID)?;
    Ok(child.as_raw().unsigned_abs())
}

/// Reaps whoever is orphaned in the namespace, until the shim is gone.
fn reap_for_ever() -> ! {
    let _ = prctl::set_pdeathsig(Some(Signal::SIGKILL));
    let _ = prctl::set_name(c"pause");
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    loop {
        let _ = child.wait();
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}
