//! `git config --list --show-scope -z` against [`Config::load_standard`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use gitconfig::{Config, ConfigError, IncludeContext, Scope};
use tempfile::TempDir;

/// A scratch home with a bare repository in it, and an environment of its own.
struct Scratch {
    dir: TempDir,
    variables: BTreeMap<String, OsString>,
}

impl Scratch {
    fn new() -> Self {
        let dir = TempDir::new().expect("a scratch directory");
        let scratch = Scratch { variables: BTreeMap::new(), dir };
        let mut scratch = scratch.with("HOME", "home").with("GIT_CONFIG_SYSTEM", "system");
        scratch.variables.insert("PATH".into(), std::env::var_os("PATH").expect("a PATH"));
        std::fs::create_dir_all(scratch.path("home/.config/git")).expect("made");
        let mut init = scratch.command();
        init.args(["init", "-q", "--bare", "-b", "topic/x", "repo.git"]);
        assert!(init.status().expect("git runs").success());
        scratch.write("repo.git/config", "[core]\n\tbare = true\n");
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets a variable to a path inside the scratch directory.
    fn with(mut self, name: &str, path: &str) -> Self {
        self.variables.insert(name.into(), self.path(path).into());
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.into(), value.into());
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(&self.variables).current_dir(self.dir.path());
        command
    }

    /// Scope, name and value of every setting, or git's refusal.
    fn git(&self) -> Option<Vec<(String, Vec<u8>)>> {
        let mut list = self.command();
        list.args(["--git-dir=repo.git", "config", "--list", "--show-scope", "-z"]);
        let output = list.output().expect("git runs");
        let mut fields = output.stdout.split(|&byte| byte == 0);
        let mut found = Vec::new();
        while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
            found.push((String::from_utf8_lossy(scope).into(), setting.to_vec()));
        }
        output.status.success().then_some(found)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let context = IncludeContext {
            git_dir: Some(self.path("repo.git")),
            branch: Some("topic/x".into()),
            ..IncludeContext::default()
        };
        let local = self.path("repo.git/config");
        let worktree = self.path("repo.git/config.worktree");
        let variable = |name: &str| self.variables.get(name).cloned();
        Config::load_standard(&variable, Some(&local), Some(&worktree), &context)
    }

    fn check(&self, what: &str) {
        let ours = self.load();
        match (self.git(), &ours) {
            (Some(theirs), Ok(config)) => assert_eq!(listed(config), theirs, "{what}"),
            (None, Err(_)) => {}
            (theirs, _) => panic!("{what}: git {theirs:?}, we {ours:?}"),
        }
    }
}

fn listed(config: &Config) -> Vec<(String, Vec<u8>)> {
    let line = |entry: &gitconfig::Entry| {
        let mut setting = entry.name().to_vec();
        if let Some(value) = entry.value() {
            setting.push(b'\n');
            setting.extend_from_slice(value);
        }
        (entry.scope().name().to_owned(), setting)
    };
    config.entries().map(line).collect()
}

#[test]
fn reads_every_scope_in_order() {
    let mut scratch = Scratch::new();
    scratch.write("system", "[a]\nb = system\n");
    scratch.write("home/.config/git/config", "[a]\nb = xdg\n");
    scratch.write("home/.gitconfig", "[a]\nb = home\n");
    scratch.write(
        "repo.git/config",
        "[core]\nrepositoryformatversion=1\nbare\n[extensions]\nworktreeconfig\n",
    );
    scratch.write("repo.git/config.worktree", "[a]\nb = worktree\n");
    scratch.set("GIT_CONFIG_COUNT", "1");
    scratch.set("GIT_CONFIG_KEY_0", "A.x.B");
    scratch.set("GIT_CONFIG_VALUE_0", "counted");
    scratch.set("GIT_CONFIG_PARAMETERS", "'a.b'='parameter' 'old.style=1' 'old.bare'");
    scratch.check("all scopes");
    let config = scratch.load().expect("valid");
    assert_eq!(config.string("a.b").expect("set"), "parameter");
    let scopes: Vec<_> = config.strings_scoped("a.b").map(|(_, scope)| scope).collect();
    assert_eq!(
        scopes,
        [Scope::System, Scope::Global, Scope::Global, Scope::Worktree, Scope::Command]
    );
    scratch.set("GIT_CONFIG_NOSYSTEM", "yes");
    scratch.check("no system");
    scratch = scratch.with("GIT_CONFIG_GLOBAL", "repo.git/config.worktree");
    scratch.check("another global file");
    scratch.set("GIT_CONFIG_GLOBAL", "");
    scratch.check("no global file");
    scratch.set("GIT_CONFIG_COUNT", "2");
    scratch.check("a key is missing");
}

#[test]
fn reads_the_grammar_as_git_does() {
    let scratch = Scratch::new();
    for text in [
        &b""[..],
        b"\xef\xbb\xbf[a]\nb=c\n",
        b"\xef\xbb[a]\n",
        b"[a]\r\nb = c\r\nd\r\n",
        b"[a]\nb = c\rd\n",
        b"[a]b=c\n[d]e\n",
        b"[a] # x\n; y\nb = c # d\n",
        b"[a]\nb = \"c # d\" ; e\n",
        b"[a]\nb =   c   d   \n",
        b"[a]\nb = \"  c  \"  \n",
        b"[a]\nb = \"\"  c\n",
        b"[a]\nb = c\\\n  d\\\n\n",
        b"[a]\nb = c \\\n",
        b"[a]\nb = c\\",
        b"[a]\nb = \\t\\b\\n\\\\\\\"\n",
        b"[a]\nb = \\q\n",
        b"[a]\nb = \"c\nd\"\n",
        b"[a]\nb = \"c\\\nd\"\n",
        b"[a]\nb = \"c\n",
        b"[a]\nb\n[a]\nb =\n",
        b"[a]\nb c\n",
        b"[a]\nb\t=\tc\t\n",
        b"[A.B.c]\nD = e\n",
        b"[A.B \"C.d\"]\nE = f\n",
        b"[a \"B\\\"c\\\\d\\e\"]\nf = g\n",
        b"[a \"b\nc\"]\nd = e\n",
        b"[a \"\"]\nb = c\n",
        b"[a  \t \"b\"]\nc = d\n",
        b"[a\n\"b\"]\nc = d\n",
        b"[a \"b\" ]\nc = d\n",
        b"[a ]\n",
        b"[a]]\n",
        b"[]\n",
        b"[a_b]\n",
        b"[-.-]\nc-1 = d\n",
        b"[a]\n1b = c\n",
        b"[a]\n-b = c\n",
        b"[a]\nb_c = d\n",
        b"[a]\nb = c\0d\n",
        b"[a]\nb = \xff\xfe\n",
        b"[a]\n\x0bb = c\n",
        b"[a]\nb = c\x0b\x0c \n",
        b"[a]\nb = 'c'\n",
        b"[a]\n  b = c;d#e\n",
        b"[a]\nb = \"c\" \"d\"e\n",
        b"[a]\n# c \\\nb = d",
    ] {
        let mut text = text.to_vec();
        scratch.write("home/.gitconfig", &text);
        scratch.check(&format!("{:?}", bstr::BString::from(text.split_off(0))));
    }
}

#[test]
fn follows_includes_as_git_does() {
    let scratch = Scratch::new();
    scratch.write("home/one", "[one]\na = 1\n[include]\npath = two\n[one]\nb = 2\n");
    scratch.write("home/two", "[two]\na\n");
    scratch.write("home/.gitconfig", "[include]\npath = one\npath = missing\npath = ~/two\n");
    scratch.check("plain includes");
    let dir = std::fs::canonicalize(scratch.dir.path()).expect("exists");
    let base = Path::file_name(&dir).expect("a name").to_str().expect("UTF-8");
    for condition in [
        "gitdir:repo.git".to_owned(),
        "gitdir:REPO.git".into(),
        "gitdir/i:REPO.git".into(),
        "gitdir:repo.git/".into(),
        format!("gitdir:{base}/"),
        format!("gitdir:{}/", dir.display()),
        format!("gitdir:{}/*", dir.display()),
        "gitdir:/*/repo.git".into(),
        "gitdir:/**/repo.git".into(),
        "gitdir:~/../repo.git".into(),
        "gitdir:./".into(),
        "gitdir:**/r[e]po.git".into(),
        "onbranch:topic/x".into(),
        "onbranch:topic/".into(),
        "onbranch:*".into(),
        "onbranch:**".into(),
        "onbranch:main".into(),
        "unknown:x".into(),
    ] {
        let text = format!("[includeIf \"{condition}\"]\npath = ~/two\n");
        scratch.write("home/.gitconfig", &text);
        scratch.check(&format!("in the home: {condition}"));
        scratch.write("home/.gitconfig", "");
        scratch.write("repo.git/config", format!("[core]\nbare\n{text}"));
        scratch.check(&format!("in the repository: {condition}"));
        scratch.write("repo.git/config", "[core]\nbare\n");
    }
    scratch.write("home/.gitconfig", "[include]\npath\n");
    scratch.check("an include without a value");
    scratch.write("home/.gitconfig", "[include]\npath = .gitconfig\n");
    scratch.check("an endless include");
    for depth in 0..12 {
        let text = format!("[deep]\nd = {depth}\n[include]\npath = deep{}\n", depth + 1);
        scratch.write(&format!("home/deep{depth}"), text);
    }
    for first in 0..4 {
        scratch.write("home/.gitconfig", format!("[include]\npath = deep{first}\n"));
        scratch.check(&format!("includes {} deep", 12 - first));
    }
}

#[test]
fn follows_includes_of_the_environment() {
    let mut scratch = Scratch::new();
    scratch.write("home/two", "[two]\na = x\n");
    scratch.set("GIT_CONFIG_PARAMETERS", "'include.path'='~/two'");
    scratch.check("an absolute path");
    scratch.set("GIT_CONFIG_PARAMETERS", "'include.path'='home/two'");
    scratch.check("a relative path");
}

#[test]
fn names_file_and_line_of_an_error_as_git_does() {
    let scratch = Scratch::new();
    for text in
        ["[a]\nb = \"x\n\n", "[a]\n\n\nb = \\x\nc = d\n", "[a\n", "[a", "[a]\nb = c\\\nd\n*\n"]
    {
        scratch.write("home/.gitconfig", text);
        let mut list = scratch.command();
        let output = list.args(["config", "--list"]).output().expect("git runs");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = scratch.load().expect_err("broken").to_string();
        assert_eq!(words.trim_end(), format!("fatal: {error}"), "{text:?}");
    }
}
