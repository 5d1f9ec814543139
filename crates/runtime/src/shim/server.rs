//! The shim's loop: one `poll` over requests, output of containers, and ended children.

use super::{
    Processes, Record, Reply, Request, SandboxFile, container,
    container::{Running, run_helper},
    dismantle, setup, wire,
};
use crate::{ContainerState, cgroup::Cgroups};
use jiff::Timestamp;
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Entry point. The listening socket is standard input.
#[allow(unsafe_code)] // fork, and descriptor 0
pub fn main(directory: &Path) -> ExitCode {
    forget_ignored_signals();
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        // The agent waits for this process only, so that it never has to reap a shim.
        Ok(ForkResult::Parent { .. }) => return ExitCode::SUCCESS,
        Ok(ForkResult::Child) => {}
        Err(_) => return ExitCode::FAILURE,
    }
    let listener = (|| {
        let copy = nix::unistd::dup(io::stdin())?;
        nix::fcntl::fcntl(&copy, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        let null = fs::File::open("/dev/null").map_err(|_| Errno::ENODEV)?;
        // SAFETY: descriptor 0 is open; it now is /dev/null.
        let mut zero = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(0) });
        nix::unistd::dup2(&null, &mut zero)?;
        nix::Result::Ok(copy)
    })();
    match listener.map_err(io::Error::from).and_then(|listener| Server::new(directory, listener)) {
        Ok(mut server) => server.serve(),
        Err(error) => {
            eprintln!("coracle shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Signals that whoever started the agent ignores (`nohup`, a shell's background job) must not be ignored in containers: what is ignored
/// stays so through fork and exec. The C library guards two signals of its own, so the kernel is asked directly.
fn forget_ignored_signals() {
    /// Largest `struct sigaction` of the kernel's, all zero: the default action.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in (1..=64).filter(|n| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE].contains(n)) {
        // SAFETY: the kernel reads a sigaction, which is no longer than `DEFAULT`, and writes nothing.
        #[allow(unsafe_code)]
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), std::ptr::null_mut::<u64>(), 8usize);
        }
    }
}

struct Connection {
    socket: OwnedFd,
    subscribed: bool,
    command: Option<i32>,
    attached: Option<String>,
}

struct Server {
    directory: PathBuf,
    cgroups: Cgroups,
    listener: OwnedFd,
    signals: SignalFd,
    ready: Result<Processes, String>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    containers: BTreeMap<String, Running>,
    /// Ended or failed ones.
    past: BTreeMap<String, Record>,
    commands: HashMap<i32, u64>,
    stopping: Option<u64>,
    buffer: Vec<u8>,
}

enum Source {
    Listener,
    Signals,
    Connection(u64),
    Output(String, usize),
    Client(String),
}

impl Server {
    fn new(directory: &Path, listener: OwnedFd) -> io::Result<Self> {
        let file: SandboxFile = serde_json::from_slice(&fs::read(directory.join("sandbox.json"))?)?;
        // A failure is told to whoever asks: the agent is waiting with its first question.
        let ready = setup::prepare(directory, &file).map_err(|e| e.to_string());
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        give_memory_back();
        Ok(Self {
            directory: directory.to_owned(),
            cgroups: Cgroups::detect(),
            listener,
            signals,
            ready,
            connections: BTreeMap::new(),
            next_connection: 0,
            containers: BTreeMap::new(),
            past: BTreeMap::new(),
            commands: HashMap::new(),
            stopping: None,
            buffer: vec![0; 32 << 10],
        })
    }

    fn serve(&mut self) -> ExitCode {
        loop {
            for (source, flags) in self.wait() {
                match source {
                    Source::Output(id, at) => self.copy(&id, at),
                    Source::Client(id) => {
                        if let Some(running) = self.containers.get_mut(&id) {
                            running.clients.retain_mut(container::Client::flush);
                        }
                    }
                    Source::Signals => self.reap(),
                    Source::Listener => self.accept(),
                    Source::Connection(id) => self.receive(id, flags),
                }
            }
            if let Some(connection) = self.stopping
                && self.containers.is_empty()
            {
                self.clean_up();
                self.reply(connection, &Reply::Ok, &[]);
                return ExitCode::SUCCESS;
            }
        }
    }

    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let mut sources = vec![Source::Listener, Source::Signals];
        let mut poller = vec![
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        for (id, running) in &self.containers {
            let held_up = running.held_up();
            for (at, output) in running.outputs.iter().enumerate().filter(|(_, output)| output.open && !held_up) {
                sources.push(Source::Output(id.clone(), at));
                poller.push(PollFd::new(output.source.as_fd(), PollFlags::POLLIN));
            }
            for blocked in running.clients.iter().filter_map(container::Client::blocked) {
                sources.push(Source::Client(id.clone()));
                poller.push(PollFd::new(blocked.as_fd(), PollFlags::POLLOUT));
            }
        }
        for (id, connection) in &self.connections {
            sources.push(Source::Connection(*id));
            poller.push(PollFd::new(connection.socket.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut poller, PollTimeout::NONE);
        let flags: Vec<PollFlags> = poller.iter().map(|p| p.revents().unwrap_or(PollFlags::empty())).collect();
        let ready = sources.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty());
        // Output before ends, ends before requests.
        let order = |source: &Source| match source {
            Source::Output(..) | Source::Client(_) => 0,
            Source::Signals => 1,
            Source::Listener | Source::Connection(_) => 2,
        };
        let mut ready: Vec<_> = ready.collect();
        ready.sort_by_key(|(source, _)| order(source));
        ready
    }

    fn copy(&mut self, id: &str, at: usize) {
        if let Some(running) = self.containers.get_mut(id) {
            running.copy(at, &mut self.buffer, &mut Vec::new());
        }
    }

    #[allow(unsafe_code)] // accept gives a number
    fn accept(&mut self) {
        let Ok(number) = nix::sys::socket::accept4(self.listener.as_raw_fd(), nix::sys::socket::SockFlag::SOCK_CLOEXEC)
        else {
            return;
        };
        // SAFETY: the kernel has just made it for us.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        self.next_connection += 1;
        let connection = Connection { socket, subscribed: false, command: None, attached: None };
        self.connections.insert(self.next_connection, connection);
    }

    fn receive(&mut self, id: u64, flags: PollFlags) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !flags.contains(PollFlags::POLLIN) {
            return self.forget(id);
        }
        match wire::receive::<Request>(&connection.socket) {
            Ok(Some((request, descriptors))) => self.handle(id, request, descriptors),
            Ok(None) => self.forget(id),
            Err(error) => self.reply(id, &Reply::Error { message: error.to_string() }, &[]),
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(gone) = self.connections.remove(&id)
            && let Some(container) = gone.attached
            && let Some(running) = self.containers.get_mut(&container)
        {
            running.clients.retain(|client| client.connection != id);
        }
    }

    fn reply(&mut self, id: u64, reply: &Reply, descriptors: &[RawFd]) {
        let Some(connection) = self.connections.get(&id) else { return };
        let _ = nix::sys::socket::setsockopt(
            &connection.socket,
            nix::sys::socket::sockopt::SendTimeout,
            &nix::sys::time::TimeVal::new(1, 0),
        );
        if wire::send(&connection.socket, reply, descriptors).is_err() {
            // It does not listen; it will see the end of the connection and can come again.
            self.forget(id);
        }
    }

    fn handle(&mut self, id: u64, request: Request, descriptors: Vec<OwnedFd>) {
        let done = match request {
            Request::Hello => {
                let answer = match &self.ready {
                    Ok(processes) => Reply::Hello(processes.clone()),
                    Err(message) => Reply::Error { message: message.clone() },
                };
                return self.reply(id, &answer, &[]);
            }
            Request::Subscribe => return self.subscribe(id),
            Request::Start { container } => return self.start(id, &container),
            Request::Exec { container, file, tty } => return self.exec(id, &container, &file, tty, descriptors),
            Request::Attach { container, stdin } => return self.attach(id, &container, stdin),
            Request::Stop => return self.stop(id),
            Request::SignalExec { signal } => {
                self.connections.get(&id).and_then(|c| c.command).map_or(Ok(()), |pid| send_signal(pid, signal))
            }
            Request::Signal { container, signal } => match self.containers.get(&container).and_then(|c| c.record.pid) {
                Some(pid) => send_signal(pid.cast_signed(), signal),
                None => Ok(()),
            },
            Request::ReopenLog { container } => {
                self.containers.get_mut(&container).map_or(Ok(()), |c| c.reopen_log().map_err(|e| e.to_string()))
            }
            Request::Remove { container } => self.remove(&container),
        };
        let reply = done.map_or_else(|message| Reply::Error { message }, |()| Reply::Ok);
        self.reply(id, &reply, &[]);
    }

    fn subscribe(&mut self, id: u64) {
        let records: Vec<Record> =
            self.containers.values().map(|c| c.record.clone()).chain(self.past.values().cloned()).collect();
        for record in records {
            self.reply(id, &Reply::Record(record), &[]);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.subscribed = true;
        }
        self.reply(id, &Reply::Ok, &[]);
    }

    fn publish(&mut self, record: &Record) {
        let subscribed: Vec<u64> = self.connections.iter().filter(|(_, c)| c.subscribed).map(|(id, _)| *id).collect();
        for id in subscribed {
            self.reply(id, &Reply::Record(record.clone()), &[]);
        }
    }

    fn start(&mut self, id: u64, container: &str) {
        if let Some(running) = self.containers.get(container) {
            let record = running.record.clone();
            return self.reply(id, &Reply::Record(record), &[]);
        }
        if self.stopping.is_some() || self.past.contains_key(container) {
            let message = format!("container {container} was started before, or its sandbox is stopping");
            return self.reply(id, &Reply::Error { message }, &[]);
        }
        match Running::start(&self.directory, container) {
            Ok(running) => {
                let record = running.record.clone();
                let _ = container::save(&self.directory, &record);
                self.containers.insert(container.to_owned(), running);
                self.publish(&record);
                self.reply(id, &Reply::Record(record), &[]);
                give_memory_back();
            }
            Err(message) => {
                let record = not_started(container, &message);
                let _ = container::save(&self.directory, &record);
                dismantle(&self.directory, container);
                self.publish(&record);
                self.past.insert(container.to_owned(), record.clone());
                // the record says why, so that whoever asked knows both at once
                self.reply(id, &Reply::Record(record), &[]);
            }
        }
    }

    fn exec(&mut self, id: u64, container: &str, file: &Path, tty: bool, descriptors: Vec<OwnedFd>) {
        let mut streams = descriptors.into_iter();
        let streams = [streams.next(), streams.next(), streams.next()];
        let answer = if self.containers.contains_key(container) {
            run_helper(&[self.directory.as_os_str(), container.as_ref(), file.as_os_str()], streams)
        } else {
            Err(format!("container {container} is not running"))
        };
        match answer {
            Ok((pid, master)) => {
                self.commands.insert(pid, id);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.command = Some(pid);
                }
                let descriptors: Vec<RawFd> = master.iter().filter(|_| tty).map(AsRawFd::as_raw_fd).collect();
                self.reply(id, &Reply::Running { pid: pid.unsigned_abs() }, &descriptors);
            }
            Err(message) => self.reply(id, &Reply::Error { message }, &[]),
        }
    }

    fn attach(&mut self, id: u64, container: &str, stdin: bool) {
        let attachment = match self.containers.get_mut(container) {
            Some(running) => running.attach(id, stdin).map(|a| (a, running.launch.tty)).map_err(|e| e.to_string()),
            None => Err(format!("container {container} is not running")),
        };
        match attachment {
            Ok((attached, tty)) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.attached = Some(container.to_owned());
                }
                let ends = [&attached.stdin, &attached.stdout, &attached.stderr];
                let descriptors: Vec<RawFd> = ends.into_iter().flatten().map(AsRawFd::as_raw_fd).collect();
                let [stdin, stdout, stderr] = ends.map(Option::is_some);
                self.reply(id, &Reply::Attached { stdin, stdout, stderr, tty }, &descriptors);
            }
            Err(message) => self.reply(id, &Reply::Error { message }, &[]),
        }
    }

    fn remove(&mut self, container: &str) -> Result<(), String> {
        if self.containers.contains_key(container) {
            return Err(format!("container {container} is running"));
        }
        self.past.remove(container);
        dismantle(&self.directory, container);
        Ok(())
    }

    /// Takes the exit status of every ended child: containers, commands, helpers, and whoever was orphaned.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, code, signal) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if let Some(connection) = self.commands.remove(&pid) {
                self.reply(connection, &Reply::Exit { code }, &[]);
                self.forget(connection);
                continue;
            }
            let ended = self.containers.iter().find(|(_, c)| c.record.pid == Some(pid.unsigned_abs()));
            if let Some(id) = ended.map(|(id, _)| id.clone()) {
                self.finish(&id, code, signal);
            }
        }
    }

    fn finish(&mut self, id: &str, code: i32, signal: Option<i32>) {
        let Some(mut running) = self.containers.remove(id) else { return };
        if !running.launch.own_pid_namespace {
            // Nobody else ends what the first process has left behind.
            self.cgroups.kill(&running.launch.cgroup);
        }
        running.drain(&mut self.buffer);
        let mut record = running.record.clone();
        record.state = ContainerState::Exited;
        record.pid = None;
        record.finished = Some(Timestamp::now());
        record.exit_code = Some(code);
        record.signal = signal;
        let out_of_memory = code != 0 && self.cgroups.out_of_memory(&running.launch.cgroup);
        let reason = match code {
            0 => "Completed",
            _ if out_of_memory => "OOMKilled",
            _ => "Error",
        };
        record.reason = reason.to_owned();
        let _ = container::save(&self.directory, &record);
        self.publish(&record);
        let attached: Vec<u64> = running.clients.iter().map(|client| client.connection).collect();
        drop(running);
        for connection in attached {
            self.reply(connection, &Reply::Exit { code }, &[]);
        }
        self.past.insert(id.to_owned(), record);
    }

    fn stop(&mut self, id: u64) {
        self.stopping = Some(id);
        for running in self.containers.values() {
            if let Some(pid) = running.record.pid {
                let _ = send_signal(pid.cast_signed(), libc::SIGKILL);
            }
        }
    }

    fn clean_up(&mut self) {
        if let Ok(Processes { pause: Some(pause), .. }) = &self.ready {
            let pause = Pid::from_raw(pause.cast_signed());
            let _ = kill(pause, Signal::SIGKILL);
            let _ = waitpid(pause, None);
        }
        let past = std::mem::take(&mut self.past);
        for id in past.keys() {
            dismantle(&self.directory, id);
        }
        let _ = umount2(&self.directory.join("shm"), MntFlags::MNT_DETACH);
    }
}

fn send_signal(pid: i32, signal: i32) -> Result<(), String> {
    // The process is our child and not yet reaped, so the number cannot have passed to another one.
    #[allow(unsafe_code)] // nix knows no real-time signals
    // SAFETY: a plain system call.
    let done = unsafe { libc::kill(pid, signal) };
    match (done, Errno::last()) {
        (0, _) | (_, Errno::ESRCH) => Ok(()),
        (_, error) => Err(format!("sending signal {signal}: {error}")),
    }
}

fn not_started(container: &str, why: &str) -> Record {
    let now = Timestamp::now();
    Record {
        id: container.to_owned(),
        state: ContainerState::Exited,
        pid: None,
        started: None,
        finished: Some(now),
        exit_code: Some(128),
        signal: None,
        reason: "StartError".to_owned(),
        message: super::start_error(why),
    }
}

/// Start-up needs more memory than serving does.
fn give_memory_back() {
    #[allow(unsafe_code)] // glibc's own call
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
}
