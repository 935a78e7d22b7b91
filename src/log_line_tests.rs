//! The format of a line, and how rarely repeated lines are written.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn line(name: &str) -> String {
    Line::new(Topic::MemberJoined, &[("name", &name), ("node", &"a")]).to_string()
}

#[test]
fn a_line_is_its_words_and_its_fields() {
    assert_eq!(line("db-1"), "member joined name=db-1 node=a");
    assert_eq!(line("[::1]:7946"), "member joined name=[::1]:7946 node=a");
    assert_eq!(line("größe"), "member joined name=größe node=a");
    let waited = Seconds(Duration::from_millis(4_250));
    let fields: [Field<'_>; 1] = [("waited", &waited)];
    let repeated = Line { omitted: 7, ..Line::new(Topic::MemberFailed, &fields) };
    assert_eq!(repeated.to_string(), "member failed waited=4.250s omitted=7");
}

#[test]
fn a_name_with_any_content_is_one_value_on_one_line() {
    for (name, written) in [
        ("", r#""""#),
        ("a b", r#""a b""#),
        ("a=b", r#""a=b""#),
        ("a\"b", r#""a\"b""#),
        ("a\\b", r#""a\\b""#),
        ("a\nmember failed name=b", r#""a\nmember failed name=b""#),
        ("a\r\t", r#""a\r\t""#),
        ("\u{1b}[2J\0", r#""\u001b[2J\u0000""#),
        ("a\u{85}\u{2028}b", r#""a\u0085\u2028b""#),
        ("a\u{202e}b\u{200b}", r#""a\u202eb\u200b""#),
    ] {
        assert_eq!(line(name), format!("member joined name={written} node=a"));
    }
    let long = "\n".repeat(128);
    assert_eq!(line(&long).lines().count(), 1);
    assert_eq!(line(&long).len(), line("").len() + 256);
}

#[test]
fn a_list_of_names_with_any_content_is_one_value() {
    let written = |names: &[&str]| {
        let names = Names(names);
        Line::new(Topic::MembersFailed, &[("examples", &names)]).to_string()
    };
    assert_eq!(written(&["a", "b"]), "members failed examples=a,b");
    assert_eq!(written(&["a,b", "c d"]), r#"members failed examples="a\\u002cb,c d""#);
    assert_eq!(written(&[]), r#"members failed examples="""#);
}

#[test]
fn a_line_that_repeats_is_told_less_and_less_often_and_the_rest_is_counted() {
    let throttle = Throttle::default();
    let told: Vec<_> = (0..7 * 3600)
        .filter_map(|at| Some((at, throttle.admit(Topic::AcceptFailed, "", secs(at))?)))
        .map(|(at, left_out)| (at / 60, left_out))
        .collect();
    let expected = [(0, 0), (1, 59), (3, 119), (7, 239), (15, 479), (31, 959), (63, 1919), (123, 3599)];
    assert_eq!(told[..8], expected);
    assert_eq!(throttle.admit(Topic::SeedRefused, "a", secs(0)), Some(0), "another kind");
    assert_eq!(throttle.admit(Topic::SeedRefused, "b", secs(0)), Some(0), "another kind");
    throttle.forget(Topic::AcceptFailed);
    assert_eq!(throttle.admit(Topic::AcceptFailed, "", secs(0)), Some(0));
    // After a long silence it is not a repetition.
    let later = secs(300);
    assert_eq!(
        (throttle.admit(Topic::AcceptFailed, "", later), throttle.admit(Topic::AcceptFailed, "", later)),
        (Some(0), None)
    );
    assert_eq!(throttle.admit(Topic::AcceptFailed, "", later + FIRST_PAUSE), Some(1));
}

#[test]
fn kinds_are_bounded_and_many_that_take_turns_are_told_as_seldom_as_one() {
    let throttle = Throttle::default();
    let told = |at: u64| {
        (0..1_000)
            .filter(|kind| throttle.admit(Topic::SeedRefused, &kind.to_string(), secs(at)).is_some())
            .count()
    };
    assert_eq!(told(0), MAX_KINDS + 1);
    assert_eq!((1..60).map(told).sum::<usize>(), 0);
    assert_eq!(
        throttle.admit(Topic::SeedUnresolved, "0", secs(1)),
        Some(0),
        "another topic is not held up by that"
    );
    assert_eq!(throttle.told.lock().len(), MAX_KINDS + 2);
    assert!(told(60) <= MAX_KINDS + 1);
    // Those that were silent for long make room.
    assert_eq!(throttle.admit(Topic::SeedRefused, "new", secs(10_000)), Some(0));
    assert!(throttle.told.lock().len() <= MAX_KINDS);
}

#[test]
fn what_is_over_for_one_subject_goes_on_for_another() {
    let throttle = Throttle::default();
    let is_told = |topic, about| throttle.admit(topic, about, secs(0)).is_some();
    let all = [(Topic::SeedRefused, "a"), (Topic::SeedRefused, "b"), (Topic::SeedUnresolved, "a")];
    assert_eq!(all.map(|(topic, about)| is_told(topic, about)), [true; 3]);
    throttle.forget_about(Topic::SeedRefused, "a");
    assert_eq!(all.map(|(topic, about)| is_told(topic, about)), [true, false, false]);
}

/// The rows of the tables of a document: the words and the level of each.
fn rows(document: &str) -> Vec<(String, String)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = document.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|cells| {
        let words = cells[1].trim_matches('`').split(['…', '=']).next().unwrap_or_default();
        (words.trim().to_owned(), cells[2].clone())
    })
    .collect()
}

#[test]
fn the_document_lists_every_line_with_its_level_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut listed = rows(&fs::read_to_string(root.join("docs/operating/LOGS.md")).unwrap());
    let mut known: Vec<_> = Topic::ALL
        .iter()
        .map(|topic| (topic.words().to_owned(), topic.level().as_str().to_lowercase()))
        .collect();
    if !cfg!(all(feature = "encryption", feature = "interfaces", feature = "capi")) {
        // Some lines belong to a feature.
        assert!(known.len() > 40);
        listed.retain(|row| known.contains(row));
    }
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

/// The keys in the sources: the first of each pair that begins with a text, where lines are written.
fn keys() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.retain(|path| !path.strip_prefix(&root).unwrap().to_string_lossy().contains("tests"));
    // Each line can have this one.
    let mut keys = BTreeSet::from(["omitted".to_owned()]);
    for path in all {
        let text = fs::read_to_string(path).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if !text.contains("log_line::") {
            continue;
        }
        let parts: Vec<_> = text.split("(\"").collect();
        for pair in parts.windows(2) {
            let is_call = pair[0].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '!');
            let key = pair[1].split_once("\", ").map(|(key, _)| key).filter(|_| !is_call);
            let is_key =
                |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            keys.extend(key.filter(is_key).map(str::to_owned));
        }
    }
    keys
}

#[test]
fn the_document_explains_every_field_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/operating/LOGS.md")).unwrap();
    let (_, section) = document.split_once("## The fields\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let keys = keys();
    assert!(keys.len() > 50, "{keys:?}");
    let explained = quoted(section);
    let unexplained: Vec<_> = keys.difference(&explained).collect();
    assert_eq!(unexplained, [""; 0]);
    let heads = section.split("\n- ").skip(1).filter_map(|item| item.split_once(": "));
    let unknown: Vec<_> =
        heads.flat_map(|(head, _)| quoted(head)).filter(|key| !keys.contains(key)).collect();
    assert_eq!(unknown, [""; 0]);
}

#[cfg(feature = "encryption")]
#[test]
fn the_deployment_guide_names_lines_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("docs/DEPLOY.md")).unwrap();
    let (_, problems) = guide.split_once("## Problems, and where they show").unwrap();
    let mut named = 0;
    for row in problems.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cell = row.split('|').nth(2).unwrap();
        for words in cell.split('`').skip(1).step_by(2) {
            assert!(Topic::ALL.iter().any(|topic| topic.words() == words), "no line {words:?}: {row}");
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}

/// A line that no test sees may say what is not so, or never come: each is the beginning of what some test expects.
#[test]
fn every_line_is_expected_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    files(&root.join("src"), &mut all);
    files(&root.join("tests"), &mut all);
    let tests: String = all
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let is_for_tests =
                path.starts_with(root.join("tests")) || path.to_string_lossy().contains("tests");
            let tests = if is_for_tests { 0 } else { text.find("\nmod tests {")? };
            (!path.ends_with("log_line_tests.rs")).then(|| text[tests..].to_owned())
        })
        .collect();
    let is_expected = |words: &str| {
        ["\"", "{"].iter().any(|end| tests.contains(&format!("\"{words}{end}")))
            || tests.contains(&format!("\"{words} "))
    };
    let unseen: Vec<_> =
        Topic::ALL.iter().map(|topic| topic.words()).filter(|words| !is_expected(words)).collect();
    assert_eq!(unseen, [""; 0]);
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The lines that the sources write themselves, past this module.
#[test]
fn all_lines_are_written_here() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.len() > 100);
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        let is_this = path.ends_with("log_line.rs") || path.ends_with("log_line_tests.rs");
        for macros in ["error", "warn", "info", "debug", "trace", "log"] {
            let call = format!("log::{macros}!");
            assert!(is_this || !text.contains(&call), "{}: {call}", path.display());
        }
    }
}
