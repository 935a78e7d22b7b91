//! The rooms of `src/`, its folders and the files beside them, depend one way: there is no circle between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The code of a file: without its tests and its comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// All files of a folder and of those in it, but for tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            stem != "tests" && !stem.ends_with("_tests")
        })
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// What `code` names behind `crate::`: of `crate::{a::{b, c}, d}` it is `a` and `d`.
fn named(code: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first = |path: &str| path.trim_start().chars().take_while(|&c| is_name(c)).collect::<String>();
    let mut found = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        let Some(list) = behind.strip_prefix('{') else {
            found.insert(first(behind));
            continue;
        };
        let (mut depth, mut begins) = (1, vec![0]);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins.push(at + 1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        found.extend(begins.into_iter().map(|at| first(&list[at..])));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn rooms_depend_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let room = |path: &Path| {
        let inside = path.strip_prefix(&root).unwrap().iter().next().unwrap();
        Path::new(inside).file_stem().unwrap().to_string_lossy().into_owned()
    };
    let all = files(&root);
    let rooms: BTreeSet<String> = all.iter().map(|path| room(path)).filter(|room| room != "lib").collect();
    // What the front door shows: in which room it is.
    let front = code(&root.join("lib.rs"));
    let mut shown = BTreeMap::new();
    for line in front.split("pub use ").skip(1) {
        let (uses, names) = line.split(';').next().unwrap().split_once("::").unwrap_or_default();
        let names = names.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty());
        shown.extend(names.map(|name| (name.to_owned(), uses.to_owned())));
    }
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in &all {
        let own = room(path);
        let Some(known) = rooms.get(&own) else { continue };
        let used = uses.entry(known.clone()).or_default();
        for name in named(&code(path)) {
            let other = if rooms.contains(&name) { &name } else { shown.get(&name).unwrap_or(&name) };
            assert!(rooms.contains(other), "{}: what is {name}?", path.display());
            if *other != own {
                used.insert(other.clone());
            }
        }
    }
    let edges: usize = uses.values().map(BTreeSet::len).sum();
    assert!(edges > 40, "only {edges} were found: {uses:?}");
    // Takes away what uses nothing that is left, until nothing is left or a circle.
    while !uses.is_empty() {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        uses.retain(|_, used| used.iter().any(|other| left.contains(other)));
        assert!(uses.len() < left.len(), "these depend on each other: {uses:#?}");
    }
}
