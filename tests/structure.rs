//! Checks that the documents describe the tree: the rooms of `src/`, its folders and the files beside them, depend as the
//! whiteboard shows, lists name every file, and the cited tests exist.

#[path = "support/sources.rs"]
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use self::sources::{Graph, circles, code, files};

/// The names behind `crate::` in `code`: for `crate::{a::{b, c}, d}`, `a` and `d`.
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The texts between two such characters, in each line.
fn between(text: &str, c: char) -> impl Iterator<Item = &str> {
    text.lines().flat_map(move |line| line.split(c).skip(1).step_by(2))
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// For each room of `src/`, the other rooms that it uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let root = root().join("src");
    let room = |path: &Path| {
        let inside = path.strip_prefix(&root).unwrap().iter().next().unwrap();
        Path::new(inside).file_stem().unwrap().to_string_lossy().into_owned()
    };
    let all = files(&root);
    let rooms: BTreeSet<String> = all.iter().map(|path| room(path)).filter(|room| room != "lib").collect();
    // For each name that `lib.rs` exports, its room.
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
    uses
}

/// The row of each room on the whiteboard of `ARCHITECTURE.md`; and the files that every room may use, which the text above
/// it names.
fn whiteboard() -> (BTreeMap<String, usize>, BTreeSet<String>) {
    let text = document("ARCHITECTURE.md");
    let (_, board) = text.split_once("## Whiteboard").unwrap();
    let (above, board) = board.split_once("```text").unwrap();
    let (board, _) = board.split_once("```").unwrap();
    let mut rows = BTreeMap::new();
    for (row, line) in board.lines().enumerate() {
        for word in line.split_whitespace() {
            let name = word.strip_suffix('/').or_else(|| word.strip_suffix(".rs"));
            if let Some(name) = name.filter(|name| is_name(name)) {
                assert_eq!(rows.insert(name.to_owned(), row), None, "{name} is on the board twice");
            }
        }
    }
    (rows, between(above, '`').map(str::to_owned).collect())
}

#[test]
fn rooms_depend_one_way() {
    assert_eq!(circles(&uses()), [], "these depend on each other");
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// For each file of `src/`, the files that it uses.
fn files_use() -> Graph {
    let uses = sources::uses(&root().join("src"));
    let edges: usize = uses.values().map(BTreeSet::len).sum();
    assert!(edges > 1000, "only {edges} were found: {uses:#?}");
    uses
}

/// A recording names the core that wrote it by a hash of sources: of all on which the core's behaviour depends.
#[test]
fn the_hash_of_the_core_covers_every_file_that_it_uses() {
    let script = document("build.rs");
    let (_, list) = script.split_once("const SOURCES").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let hashed: Vec<_> = between(list, '"').map(|source| source.strip_prefix("src/").unwrap()).collect();
    let uses = files_use();
    let mut core: BTreeSet<&String> = uses.keys().filter(|file| file.starts_with("swim/")).collect();
    let mut next: Vec<_> = core.iter().copied().collect();
    while let Some(file) = next.pop() {
        next.extend(uses[file].iter().filter(|used| core.insert(*used)));
    }
    let outside = core.iter().filter(|file| !file.starts_with("swim/") && !file.starts_with("wire/"));
    assert!(outside.count() >= 5, "{core:#?}");
    let is_hashed = |file: &String| hashed.iter().any(|source| Path::new(file).starts_with(source));
    let missing: Vec<_> = core.into_iter().filter(|file| !is_hashed(file)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {hashed:?}");
}

#[test]
fn no_circle_of_files_leaves_its_folder() {
    for circle in circles(&files_use()) {
        let folders: BTreeSet<&str> = circle.iter().map(|file| folder(file)).collect();
        assert!(folders.len() == 1, "these depend on each other: {circle:#?}");
    }
}

/// The folders within one folder, each with all its files.
#[test]
fn folders_depend_one_way() {
    let uses = files_use();
    let parents: BTreeSet<&str> = uses.keys().map(|file| folder(file)).collect();
    for parent in parents {
        let room = |file: &str| {
            let inside = file.strip_prefix(parent)?.trim_start_matches('/');
            inside.split_once('/').map(|(room, _)| room.to_owned())
        };
        let mut rooms = Graph::new();
        for (file, used) in &uses {
            if let Some(own) = room(file) {
                let others = used.iter().filter_map(|other| room(other)).filter(|other| *other != own);
                rooms.entry(own.clone()).or_default().extend(others);
            }
        }
        assert_eq!(circles(&rooms), [], "these folders of src/{parent} depend on each other");
    }
}

#[test]
fn the_files_of_a_running_node_depend_one_way() {
    let in_gossip = |circle: &BTreeSet<String>| circle.iter().any(|file| folder(file) == "gossip");
    assert_eq!(circles(&files_use()).iter().find(|circle| in_gossip(circle)), None);
}

#[test]
fn each_room_uses_only_rooms_below_it_on_the_whiteboard() {
    let (rows, at_the_bottom) = whiteboard();
    for (room, used) in uses() {
        let Some(row) = rows.get(&room) else {
            assert!(at_the_bottom.contains(&room), "{room} is not on the board");
            assert!(used.is_subset(&at_the_bottom), "{room}, at the bottom, uses {used:?}");
            continue;
        };
        for other in used.difference(&at_the_bottom) {
            assert!(
                rows.get(other).is_some_and(|below| below > row),
                "{other} is not below {room}, which uses it"
            );
        }
    }
}

/// The number of lines of a file before its tests.
fn length(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].trim_end().lines().count()
}

#[test]
fn no_file_is_longer_than_500_lines_without_its_tests() {
    let files = files(&root().join("src")).into_iter().map(|file| (length(&file), file));
    let long: Vec<_> = files.filter(|(length, _)| *length > 500).collect();
    assert!(long.is_empty(), "{long:?}");
}

/// Examples that are meant to be read as a whole, with the number of lines that each may have.
#[test]
fn examples_stay_as_short_as_is_said_of_them() {
    let short = ["cache", "leader", "limits", "push", "shards", "work"].map(|name| (name, 80));
    for (name, most) in short.into_iter().chain([("serf", 250)]) {
        let lines = document(&format!("examples/rust/{name}.rs")).lines().count();
        assert!(lines <= most, "{name} has {lines} lines, more than {most}");
    }
}

#[test]
fn the_first_words_of_a_folder_name_its_files() {
    for folder in
        ["gossip", "swim", "collections", "data", "data/messages", "data/broadcasts", "data/key_values"]
    {
        let folder = root().join("src").join(folder);
        let text = fs::read_to_string(folder.join("mod.rs")).unwrap();
        let head: String =
            text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        let named: BTreeSet<_> = between(&head, '`').collect();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy();
            let is_tests = name == "tests" || name.ends_with("_tests");
            assert!(
                name == "mod" || is_tests || named.contains(&*name),
                "{} does not name {name}",
                folder.display()
            );
        }
    }
}

/// Every function in the tree, with the file that it is in.
fn functions() -> Vec<(String, String)> {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    ["src", "tests", "lab/src", "examples", "fuzz/fuzz_targets"]
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut found));
    let functions = found.iter().flat_map(|path| {
        let file = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(path).unwrap();
        let name = |behind: &str| behind.chars().take_while(|&c| is_name(&c.to_string())).collect::<String>();
        text.split("fn ").skip(1).map(|behind| (name(behind), file.clone())).collect::<Vec<_>>()
    });
    functions.filter(|(name, _)| !name.is_empty()).collect()
}

/// The folders and files of a path, without the parts that mark tests.
fn steps(file: &str) -> impl Iterator<Item = &str> {
    file.split('/').map(|step| step.trim_end_matches(".rs").trim_end_matches("_tests"))
}

#[test]
fn the_tests_that_the_documents_name_exist() {
    let functions = functions();
    let mut count = 0;
    for document in ["docs/TESTING.md", "SECURITY.md"].map(document) {
        let paths = between(&document, '`').filter(|text| text.split("::").all(is_name));
        // Shorter names are not sentences, and so not tests.
        for path in paths.filter(|path| path.contains("tests::") || path.split('_').count() > 4) {
            let (modules, name) = path.rsplit_once("::").unwrap_or(("", path));
            let modules: Vec<_> =
                modules.split("::").filter(|module| !matches!(*module, "" | "tests")).collect();
            let is_meant = |(function, file): &(String, String)| {
                function == name && modules.iter().all(|module| steps(file).any(|step| step == *module))
            };
            assert!(functions.iter().any(is_meant), "there is no test {path}");
            count += 1;
        }
    }
    assert!(count > 50, "only {count} were found");
}

/// The tests that the documents cite against attacks: in the last column of their table, and in the sections below it as
/// items that begin with `Tests:`. Each has parts with `;` between them: a place, files in backquotes there, and parts of
/// the names of tests in italics.
fn evidence(text: &str) -> Vec<String> {
    let (_, attacks) = text.split_once("## Attacks").unwrap();
    let (attacks, _) = attacks.split_once("\n## ").unwrap();
    let rows = attacks.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 3);
    let cells = rows.skip(1).map(|row| row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1.to_owned());
    let items = attacks.split("\n- Tests: ").skip(1).map(|item| {
        let item = item.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        item.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
    });
    cells.chain(items).collect()
}

#[test]
fn the_table_of_attacks_can_be_read() {
    let text = document("SECURITY.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 3);
    let long: Vec<_> =
        rows.flat_map(|row| row.split(" | ")).filter(|cell| cell.chars().count() > 200).collect();
    assert!(long.is_empty(), "conditions belong in the sections below the table: {long:#?}");
}

#[test]
fn the_evidence_against_attacks_exists() {
    const PLACES: [(&str, &str); 7] = [
        ("H", "tests/hostile.rs"),
        ("E", "tests/encryption.rs"),
        ("W", "src/wire/"),
        ("S", "src/swim/"),
        ("sim", "src/sim/"),
        ("F", "fuzz/"),
        ("", ""),
    ];
    let functions = functions();
    let evidence = evidence(&document("SECURITY.md"));
    let mut count = 0;
    for part in evidence.iter().flat_map(|cell| cell.split("; ")) {
        let first = part.split([' ', ':']).next().unwrap();
        if first.starts_with("theme") {
            let themes = document("src/sim/theme.rs");
            between(part, '*').for_each(|theme| assert!(themes.contains(&format!("\"{theme}\"")), "{part}"));
            continue;
        }
        let place = PLACES.iter().find(|(letters, _)| *letters == first).map_or("", |(_, place)| place);
        let there: Vec<_> = functions.iter().filter(|(_, file)| file.starts_with(place)).collect();
        for file in between(part, '`') {
            let file = file.rsplit([':', '/']).next().unwrap().trim_end_matches(".rs");
            assert!(there.iter().any(|(_, path)| steps(path).any(|step| step == file)), "no {file}: {part}");
        }
        for phrase in between(part, '*') {
            let name = phrase.replace('\'', "").replace([' ', '-'], "_");
            assert!(there.iter().any(|(function, _)| function.contains(&name)), "no test {phrase}: {part}");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} were found");
}
