//! HashiCorp's memberlist: all nodes are in one process of `go/memberlist.go`, which is asked over a pipe.

use std::{
    cell::RefCell,
    env, fmt,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{Cluster, Problem, debian};
use crate::home::Home;

/// Where Debian puts the sources of its Go packages.
const SOURCES: &str = "/usr/share/gocode";

/// Builds the program, too.
pub(super) fn version() -> Result<String, String> {
    let absent = |_| "go is not installed".to_owned();
    let output = Command::new("go").arg("version").output().map_err(absent)?;
    let compiler = String::from_utf8_lossy(&output.stdout);
    let compiler = compiler.split_whitespace().nth(2).unwrap_or("an unknown Go").to_owned();
    let version = debian::version("golang-github-hashicorp-memberlist-dev")?;

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/memberlist.go");
    let output = Command::new("go")
        .args(["build".as_ref(), "-o".as_ref(), program().map_err(|e| e.to_string())?.as_os_str()])
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", SOURCES)
        .output()
        .map_err(absent)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("did not build: {}", errors.lines().next().unwrap_or_default()));
    }
    Ok(format!("{version}, {compiler}"))
}

/// Beside this program.
fn program() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("go-memberlist"))
}

struct Nodes {
    pipe: RefCell<Pipe>,
    home: Home,
    nodes: usize,
}

struct Pipe {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let mut process = Command::new(program()?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut pipe = Pipe::to(&mut process).ok_or("it has no pipes")?;
    pipe.answer()?;
    // The others' process is up as well before the clock starts.
    let home = Home::before_nodes(process.id());
    match pipe.ask(format_args!("start {n}"))?.as_str() {
        "ok" => Ok(Box::new(Nodes { pipe: RefCell::new(pipe), home, nodes: n })),
        error => Err(error.into()),
    }
}

impl Pipe {
    fn to(process: &mut Child) -> Option<Self> {
        Some(Self { questions: process.stdin.take()?, answers: BufReader::new(process.stdout.take()?) })
    }

    fn ask(&mut self, question: fmt::Arguments<'_>) -> io::Result<String> {
        // In one piece: a formatted write makes several.
        self.questions.write_all(format!("{question}\n").as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Nodes {
    /// Panics if the process has ended: nodes that are gone must not look like nodes that saw something.
    fn ask(&self, question: fmt::Arguments<'_>) -> String {
        self.pipe.borrow_mut().ask(question).expect("its process goes on")
    }
}

impl Cluster for Nodes {
    fn home(&self) -> Option<Home> {
        Some(self.home.clone())
    }

    fn live(&self, node: usize) -> usize {
        self.ask(format_args!("live {node}")).parse().expect("a number")
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        self.ask(format_args!("sees {node} {other}")).parse().expect("true or false")
    }

    fn leave(&mut self, node: usize) -> bool {
        self.ask(format_args!("leave {node}")) == "ok"
    }

    fn join(&mut self) -> Result<(), Problem> {
        self.nodes += 1;
        match self.ask(format_args!("start {}", self.nodes)).as_str() {
            "ok" => Ok(()),
            error => Err(error.into()),
        }
    }

    fn crash(&mut self, node: usize) {
        self.ask(format_args!("crash {node}"));
    }
}
