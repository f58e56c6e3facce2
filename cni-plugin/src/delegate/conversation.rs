//! Talking with a running program: input in, output out, until it ends or its time is over.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The plugin runs within a shared 50 MiB; no result comes near this.
pub(super) const LARGEST_OUTPUT: usize = 1 << 20;

/// How often a program is looked at that holds its output open: it may have ended, and a child of it not.
const LOOK: Duration = Duration::from_millis(50);

/// How a conversation with a program came to its end.
pub(super) enum End {
    Exited { success: bool, status: String, stdout: Vec<u8> },
    TimeOver,
    Flooded,
}

/// Talks with the program. Whatever comes of it but `Exited`, the program may still run.
pub(super) fn converse(child: &mut Child, mut unsent: &[u8], deadline: Instant) -> io::Result<End> {
    let mut stdin = child.stdin.take();
    let Some(mut stdout) = child.stdout.take() else { return Err(io::Error::other("it has no output")) };
    if let Some(pipe) = &stdin {
        set_nonblocking(pipe)?;
    }
    set_nonblocking(&stdout)?;
    let mut output = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(End::TimeOver);
        }
        let (readable, writable) = wait(stdin.as_ref(), &stdout, left.min(LOOK))?;
        if writable
            && let Some(pipe) = &mut stdin
            && send(pipe, &mut unsent)?
        {
            stdin = None;
        }
        let closed = readable && receive(&mut stdout, &mut output)?;
        if output.len() > LARGEST_OUTPUT {
            return Ok(End::Flooded);
        }
        if closed {
            return await_exit(child, deadline, output);
        }
        if !readable
            && !writable
            && let Some(status) = child.try_wait()?
        {
            // It has ended, and a child of it holds the output. What it wrote itself is in the pipe by now.
            receive(&mut stdout, &mut output)?;
            return Ok(exited(status, output));
        }
    }
}

fn wait(stdin: Option<&ChildStdin>, stdout: &ChildStdout, at_most: Duration) -> io::Result<(bool, bool)> {
    let mut pipes = vec![PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
    pipes.extend(stdin.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
    // Rounded up, or the last millisecond would be spent spinning.
    let milliseconds = u16::try_from(at_most.as_millis()).unwrap_or(u16::MAX).saturating_add(1);
    match poll(&mut pipes, PollTimeout::from(milliseconds)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |pipe: Option<&PollFd<'_>>| pipe.and_then(PollFd::any).unwrap_or(false);
    Ok((ready(pipes.first()), ready(pipes.get(1))))
}

/// Writes what the pipe takes; true once nothing more is to be written.
fn send(pipe: &mut ChildStdin, unsent: &mut &[u8]) -> io::Result<bool> {
    while !unsent.is_empty() {
        match pipe.write(unsent) {
            Ok(written) => *unsent = unsent.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // It does not want to know. Its answer will tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Reads what is there; true once the other side is closed.
fn receive(pipe: &mut ChildStdout, output: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    while output.len() <= LARGEST_OUTPUT {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(read) => output.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The output is closed, so the end is near: looked for in steps that grow with the wait, so that little of it is wasted.
fn await_exit(child: &mut Child, deadline: Instant, stdout: Vec<u8>) -> io::Result<End> {
    let closed = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(exited(status, stdout));
        }
        if Instant::now() >= deadline {
            return Ok(End::TimeOver);
        }
        thread::sleep((closed.elapsed() / 8).clamp(Duration::from_micros(20), Duration::from_millis(5)));
    }
}

fn exited(status: ExitStatus, stdout: Vec<u8>) -> End {
    End::Exited { success: status.success(), status: status.to_string(), stdout }
}

fn set_nonblocking(pipe: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
