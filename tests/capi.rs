//! The C interface from the side of hosts: programs in C and Python against the shared library.
//!
//! Needs a C compiler; also runs C++, valgrind and Python where they are installed, and prints which are missing.

#![cfg(all(feature = "capi", target_os = "linux"))]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The folder of the library, built as the README says, but in a folder of its own, since another build locks the usual one.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let target = Path::new(ROOT).join("target/capi");
        let build = ["rustc", "--release", "--lib", "--features", "capi", "--crate-type", "cdylib,staticlib"];
        succeeds(Command::new(env!("CARGO")).args(build).arg("--target-dir").arg(&target).current_dir(ROOT));
        target.join("release")
    })
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|problem| panic!("{command:?}: {problem}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("{program} is not installed: not tested with it");
    }
    found
}

/// Compiles a C program against the shared library and returns its path.
fn compile(source: &str, variant: &str, options: &[&str]) -> PathBuf {
    let library = library();
    let name = Path::new(source).file_stem().expect("it is a file").to_string_lossy();
    let program = library.join(format!("test-{name}-{variant}"));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-g"]).args(STRICT).args(options).arg("-Iinclude").arg("-Itests/c").arg(source);
    cc.arg("-L").arg(library).args(["-lsyncswim", "-lpthread"]);
    cc.arg(format!("-Wl,-rpath,{}", library.display())).arg("-o").arg(&program).current_dir(ROOT);
    succeeds(&mut cc);
    program
}

#[track_caller]
fn is_done(output: &Output) {
    assert!(String::from_utf8_lossy(&output.stdout).contains("done"), "{output:?}");
}

const PROGRAMS: [&str; 3] = ["tests/c/arguments.c", "tests/c/life.c", "tests/c/messages.c"];

#[test]
fn the_header_is_c99_and_cpp11_without_a_warning() {
    let header = Path::new(ROOT).join("include/syncswim.h");
    let check = |compiler: &str, language: &str, standard: &str| {
        let mut command = Command::new(compiler);
        succeeds(command.args(["-fsyntax-only", "-x", language, standard]).args(STRICT).arg(&header));
    };
    check("cc", "c", "-std=c99");
    if is_installed("c++") {
        check("c++", "c++", "-std=c++11");
    }
}

#[test]
fn the_library_exports_exactly_the_functions_of_the_header() {
    let header = fs::read_to_string(Path::new(ROOT).join("include/syncswim.h")).expect("it is committed");
    let code =
        header.lines().filter(|line| !line.trim_start().starts_with('*')).collect::<Vec<_>>().join("\n");
    let declared: BTreeSet<String> = code
        .split('(')
        .filter_map(|before| before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .filter(|name| name.starts_with("syncswim_"))
        .map(String::from)
        .collect();
    let symbols =
        succeeds(Command::new("nm").args(["-D", "--defined-only"]).arg(library().join("libsyncswim.so")));
    let symbols = String::from_utf8(symbols.stdout).expect("names are text");
    let exported: BTreeSet<String> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).map(String::from).collect();
    assert_eq!(exported, declared);
    assert!(declared.len() > 40, "{declared:?}");
}

#[test]
fn every_call_withstands_wrong_arguments_and_a_thousand_lives_leave_nothing() {
    is_done(&succeeds(&mut Command::new(compile(PROGRAMS[0], "plain", &[]))));
    is_done(&succeeds(Command::new(compile(PROGRAMS[1], "plain", &[])).arg("1000")));
    is_done(&succeeds(&mut Command::new(compile(PROGRAMS[2], "plain", &[]))));
}

#[test]
fn the_sanitizers_find_nothing() {
    for source in PROGRAMS {
        let sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        is_done(&succeeds(&mut Command::new(compile(source, "sanitized", &sanitized))));
    }
}

#[test]
fn valgrind_finds_nothing() {
    if !is_installed("valgrind") {
        return;
    }
    for source in PROGRAMS {
        let mut valgrind = Command::new("valgrind");
        // Only memory that nothing points to counts as a leak: the system keeps the last threads' stacks for later threads.
        valgrind.args(["-q", "--error-exitcode=9", "--leak-check=full"]);
        valgrind.args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]);
        is_done(&succeeds(valgrind.arg(compile(source, "plain-valgrind", &[]))));
    }
}

#[test]
fn the_static_library_can_be_linked() {
    let library = library();
    let program = library.join("test-static");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-Iinclude", "-Itests/c", PROGRAMS[0]]).arg(library.join("libsyncswim.a"));
    cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(&program).current_dir(ROOT);
    succeeds(&mut cc);
    is_done(&succeeds(&mut Command::new(program)));
}

/// A running host and the lines that it prints.
struct Host {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Host {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .current_dir(ROOT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|problem| panic!("{command:?}: {problem}"));
        let (put, lines) = std::sync::mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::Builder::new()
            .spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| put.send(line)))
            .expect("a thread can be had");
        Self { child, lines }
    }

    /// Waits for a line that holds the text.
    #[track_caller]
    fn says(&self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(problem) => panic!("no line with {text:?} ({problem}), but {before:?}"),
            }
        }
    }

    fn interrupt(&self) {
        succeeds(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
    }

    #[track_caller]
    fn ends(mut self) {
        assert!(self.child.wait().expect("it can be waited for").success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port can be had");
    socket.local_addr().expect("it is bound").to_string()
}

#[test]
fn the_examples_in_c_find_each_other_and_say_good_bye() {
    let (node, epoll) =
        (compile("examples/c/node.c", "plain", &[]), compile("examples/c/epoll.c", "plain", &[]));
    let (first, second) = (free_address(), free_address());
    let a = Host::start(Command::new(node).args(["a", &first]));
    a.says("active a");
    let mut b = Host::start(Command::new(epoll).args(["b", &second, &first]));
    a.says("active b");
    b.says("1 active, 0 left, 0 removed");
    b.says("datagrams sent");
    b.child.stdin.as_mut().expect("it is piped").write_all(b"hello\n").expect("it reads");
    b.says("showing hello");
    drop(b.child.stdin.take());
    b.ends();
    a.says("left b");
    a.interrupt();
    a.says("b at");
    a.ends();
}

#[test]
fn the_examples_in_python_find_each_other_and_end_by_ctrl_c() {
    if !is_installed("python3") {
        return;
    }
    let python = |arguments: &[&str]| {
        // A background job of a shell ignores SIGINT, its children inherit that, and Python respects it.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "python3", "examples/python/node.py"]).args(arguments);
        Host::start(command.env("SYNCSWIM_LIBRARY", library().join("libsyncswim.so")))
    };
    let (first, second) = (free_address(), free_address());
    let p = python(&["p", &first]);
    p.says("active p");
    let q = python(&["--asyncio", "q", &second, &first]);
    p.says("active q");
    q.says("active p");
    for (host, tags) in [(q, "{'language': 'python'}"), (p, "left")] {
        let asked = now();
        host.interrupt();
        host.says(tags);
        println!("Ctrl-C took {:?} until the last line", asked.elapsed());
        host.ends();
    }
}

#[expect(clippy::disallowed_methods, reason = "only to print how long it took")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn python_measures_filters_and_removes_members() {
    if !is_installed("python3") {
        return;
    }
    let program = r#"
import time
import syncswim
with syncswim.Node("a", bind="127.0.0.1:0") as node:
    addr = node.members()[0].addr
    with syncswim.Node("b", bind="127.0.0.1:0", join=[addr], leave_on_stop="false"):
        while len(node.members()) == 1:
            time.sleep(0.01)
        while not node.nearest("@others"):
            time.sleep(0.01)
        print(node.nearest("@others")[0].name, [member.name for member in node.members("!@name=b")], node.rtt("a"))
        assert 0 < node.rtt("b") < 1
        try:
            node.remove("b")
        except syncswim.Error as error:
            print(error)
    while node.members()[1].state != "failed":
        time.sleep(0.01)
    node.remove("b")
    while node.members()[1].removed_by != "a":
        time.sleep(0.01)
    node.remove("b", reap=True)
    while len(node.members()) == 2:
        time.sleep(0.01)
"#;
    let output = runs_in_python(program);
    assert!(output.contains("only a failed member can be removed"), "{output}");
    assert!(output.contains("b ['a'] None"), "{output}");
}

#[test]
fn python_sends_asks_and_queries() {
    if !is_installed("python3") {
        return;
    }
    let program = r#"
import threading
import syncswim

def serve(node):
    for request in node.serve("double"):
        if request.payload == b"":
            request.refuse("nothing to double")
        elif request.payload != b"drop":
            request.answer(request.payload * 2)
        del request

with syncswim.Node("a", bind="127.0.0.1:0") as a, syncswim.Node("b", bind="127.0.0.1:0", join=[a.members()[0].addr]) as b:
    while len(a.members()) < 2:
        pass
    inbox = b.inbox("jobs/*")
    server = threading.Thread(target=serve, args=(b,))
    server.start()
    a.send("b", "jobs/1", b"\0sweep")
    assert next(inbox) == ("a", "jobs/1", b"\0sweep", "sent", 0, 0, 0, 0, False)
    for number in range(1030):
        try:
            a.send("b", "jobs/2", b"")
        except syncswim.Error as error:
            assert (number, error.status) == (1024, -19), error
            break
    both = b.inbox("jobs/2")
    a.send("b", "jobs/2", b"")
    read = [next(inbox) for _ in range(1025)]
    assert read[-1][:5] == ("a", "", b"", "lost", 1), read[-1]
    assert next(both).kind == "sent"
    a.broadcast("jobs/3", b"all")
    all = next(inbox)
    assert all._replace(stamp=0) == ("a", "jobs/3", b"all", "broadcast", 0, 1, 0, 0, False) and all.stamp > 1 << 56, all
    while True:
        try:
            assert a.request("b", "double", b"x" * 100_000) == b"x" * 200_000
            break
        except syncswim.Error as error:
            assert error.status == -18, error
    for payload in [b"", b"drop"]:
        try:
            a.request("b", "double", payload)
            assert False
        except syncswim.Error as error:
            assert error.status == -22, error
    answers = {answer.member: answer for answer in a.query("double", b"1")}
    assert answers == {"a": ("a", b"", "nobody there serves the topic", False), "b": ("b", b"11", None, True)}, answers
    for answer in a.query("double", b"drop", to="@name=b"):
        assert answer == ("b", b"", "dropped the request unanswered", True), answer
    assert [answer.member for answer in a.query("syncswim/ping", to="@others")] == ["b"]
    b.stop()
    server.join()
print("fine")
"#;
    let said = runs_in_python(program);
    assert!(said.contains("fine"), "{said}");
}

#[test]
fn python_sets_keys_and_reads_and_follows_the_keys_of_others() {
    if !is_installed("python3") {
        return;
    }
    let program = r#"
import syncswim
with syncswim.Node("a", bind="127.0.0.1:0") as node:
    addr = node.members()[0].addr
    with syncswim.Node("b", bind="127.0.0.1:0", join=[addr]) as other:
        watch = node.watch_entries("k")
        print("first", next(watch))
        assert other.set("k", b"v") == 1 and other.set("more", b"") == 2
        print("set", next(watch), other.entries())
        other.delete("k")
        print("deleted", next(watch))
        watch.close()
"#;
    let output = runs_in_python(program);
    assert!(output.contains("first []"), "{output}");
    assert!(output.contains("set [('b', 'k', b'v')] {'b': {'k': b'v', 'more': b''}}"), "{output}");
    assert!(output.contains("deleted [('b', 'k', None)]"), "{output}");
}

#[test]
fn python_has_the_metrics_as_a_page_for_prometheus() {
    if !is_installed("python3") {
        return;
    }
    let program = r#"
import syncswim
with syncswim.Node("a", bind="127.0.0.1:0") as node:
    text = node.prometheus_text({"node": "é \"1\"\\\n" + "x" * 2000})
    try:
        node.prometheus_text({"le": "1"})
    except syncswim.Error as error:
        print(error)
    print(node.prometheus_text())
line = 'syncswim_live_members{node="é \\"1\\"\\\\\\n' + "x" * 2000 + '"} 1\n'
assert line in text, text
assert len(text) > 100_000, "more than the first buffer"
"#;
    let said = runs_in_python(program);
    assert!(said.contains("labels") && said.contains("\"le\""), "{said}");
    assert!(said.contains("\nsyncswim_live_members 1\n"), "{said}");
}

#[test]
fn python_broadcasts() {
    if !is_installed("python3") {
        return;
    }
    let program = r#"
import time
import syncswim
with syncswim.Node("a", bind="127.0.0.1:0") as a:
    with syncswim.Node("b", bind="127.0.0.1:0", join=[a.members()[0].addr]):
        while (report := a.broadcast_confirmed("cache", b"user:17")).reached < 1:
            assert report == (0, [], 0, None, None), report
            time.sleep(0.05)
        assert report.missing == [] and report.repaired <= 1 and 0 < report.p50 == report.p99 < 5, report
        assert a.broadcast_confirmed("cache", b"x" * 100_000).reached == 1
        print("number", a.broadcast("cache", b"user:18", newest=True) > 1)
        try:
            a.broadcast("cache", b"x" * 513)
        except syncswim.Error as error:
            print(error)
"#;
    let said = runs_in_python(program);
    assert!(said.contains("number True") && said.contains("512 at most"), "{said}");
}

/// The output of a Python program that uses the library.
fn runs_in_python(program: &str) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", program]).env("PYTHONPATH", Path::new(ROOT).join("examples/python"));
    // A test must not leave files beside the sources.
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = succeeds(python.env("SYNCSWIM_LIBRARY", library().join("libsyncswim.so")));
    String::from_utf8(output.stdout).expect("it is text")
}
