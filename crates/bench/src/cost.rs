//! What a piece of work costs a server: time, CPU, memory.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Outcome;
use crate::memory::MemorySampler;

/// The cost of one run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// From the start of the program, or of the request, to its end.
    pub(crate) wall: Duration,
    /// User and system time of the server's process tree.
    pub(crate) cpu: Duration,
    /// Peak anonymous memory of the server's process tree, in bytes.
    pub(crate) anonymous_bytes: u64,
    /// What the client saw.
    pub(crate) answer: Answer,
}

/// What a client saw; zero where no pack was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    /// From the request to the first byte of the pack.
    pub(crate) first_byte: Duration,
    /// Size of the pack.
    pub(crate) pack_bytes: u64,
}

/// Runs a program while `talk` keeps it busy; the program must end well afterwards.
///
/// Nothing else may be waited for
/// meanwhile: the CPU time is that of all children waited for.
pub(crate) fn of_program(
    mut command: Command,
    talk: impl FnOnce(&mut Child) -> Outcome<Answer>,
) -> Outcome<Cost> {
    let cpu_before = cpu_of_children()?;
    let start = Instant::now();
    let mut child = command.spawn().map_err(|why| format!("cannot start {command:?}: {why}"))?;
    let memory = MemorySampler::start(vec![child.id()]);
    let talked = talk(&mut child);
    if talked.is_err() {
        // It may still wait for us; what went wrong is in the error of the talk.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let wall = start.elapsed();
    let anonymous_bytes = memory.stop();
    let answer = talked?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(Cost { wall, cpu: cpu_of_children()? - cpu_before, anonymous_bytes, answer })
}

/// Runs several programs at the same time, each kept busy by a thread; all must end well. Wall
/// is that of all together, first byte that of the slowest.
pub(crate) fn of_programs(
    commands: Vec<Command>,
    talk: impl Fn(&mut Child) -> Outcome<Answer> + Sync,
) -> Outcome<Cost> {
    let cpu_before = cpu_of_children()?;
    let start = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        children.push(command.spawn().map_err(|why| format!("cannot start {command:?}: {why}"))?);
    }
    let memory = MemorySampler::start(children.iter().map(Child::id).collect());
    let answers = at_once(&mut children, |child| {
        let talked = talk(child);
        if talked.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        match status.success() {
            true => talked,
            false => Err(format!("a program ended with {status}").into()),
        }
    });
    let wall = start.elapsed();
    let anonymous_bytes = memory.stop();
    let answer = slowest(answers)?;
    Ok(Cost { wall, cpu: cpu_of_children()? - cpu_before, anonymous_bytes, answer })
}

/// Does the same to each item, all at the same time.
pub(crate) fn at_once<T: Send>(
    items: &mut [T],
    act: impl Fn(&mut T) -> Outcome<Answer> + Sync,
) -> Vec<Result<Answer, String>> {
    let act = |item: &mut T| act(item).map_err(|why| why.to_string());
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter_mut().map(|item| scope.spawn(|| act(item))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a client panicked".into()))
        };
        threads.into_iter().map(join).collect()
    })
}

/// What the client saw whose pack began last.
pub(crate) fn slowest(answers: Vec<Result<Answer, String>>) -> Outcome<Answer> {
    let answers: Result<Vec<Answer>, String> = answers.into_iter().collect();
    Ok(answers?.into_iter().max_by_key(|answer| answer.first_byte).unwrap_or_default())
}

/// The cost that `act` puts on a server which runs already.
pub(crate) fn of_server(pid: u32, act: impl FnOnce() -> Outcome<Answer>) -> Outcome<Cost> {
    let cpu_before = cpu_of_server(pid)?;
    let memory = MemorySampler::start(vec![pid]);
    let start = Instant::now();
    let acted = act();
    let wall = start.elapsed();
    let anonymous_bytes = memory.stop();
    Ok(Cost { wall, cpu: cpu_of_server(pid)? - cpu_before, anonymous_bytes, answer: acted? })
}

/// CPU time of one running process, threads that ended included, to the nanosecond.
pub(crate) fn cpu_of_server(pid: u32) -> Outcome<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

fn cpu_of_children() -> Outcome<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(u64::try_from(micros[0] + micros[1])?))
}
