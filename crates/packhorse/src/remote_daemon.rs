//! `git remote-daemon`: a program of its own, which keeps a repository in step with its remotes.

fn main() -> std::process::ExitCode {
    remote_daemon::main()
}
