//! For each file of `src/`, the files that it uses: by the names in its code, followed through re-exports to the files that
//! define them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module by its path, `["swim", "table"]`; the crate is the empty one.
type Module = Vec<String>;
type Modules = BTreeMap<Module, Source>;
/// For each module, the modules that it uses.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

struct Source {
    file: String,
    code: String,
    /// For each imported name, its module.
    names: BTreeMap<String, Module>,
}

/// The code of a file, without its tests and comments.
pub(crate) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let text: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = with_inner_modules(&text);
    let mut parts = text.split("#[cfg(test)]\n");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // Imports for tests only.
        let is_use = part.trim_start().split(';').next().is_some_and(|item| item.contains("use "));
        code += if is_use { part.split_once(';').unwrap_or_default().1 } else { part };
    }
    code
}

/// Replaces `super::` in a module within the file by the file itself.
fn with_inner_modules(code: &str) -> String {
    let mut is_inside = false;
    let mut lines = Vec::new();
    for line in code.lines() {
        is_inside &= line != "}";
        lines.push(if is_inside { line.replacen("super::", "self::", 1) } else { line.to_owned() });
        is_inside |= line.contains("mod ") && line.ends_with('{') && !line.starts_with(' ');
    }
    lines.join("\n") + "\n"
}

/// All files of a folder and its subfolders, except tests.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            stem != "tests" && !stem.ends_with("_tests")
        })
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths in `{a::{b, c as d}, e}`, each with the name that it then has.
fn expand(tree: &str, before: &[String], found: &mut Vec<(Module, String)>) {
    let tree = tree.trim();
    if let Some(list) = tree.strip_prefix('{').and_then(|list| list.strip_suffix('}')) {
        let mut depth = 0;
        let items = list.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        items.filter(|item| !item.trim().is_empty()).for_each(|item| expand(item, before, found));
        return;
    }
    let first: String = tree.chars().take_while(|c| is_name(*c)).collect();
    let rest = &tree[first.len()..];
    let path =
        if first == "self" && !before.is_empty() { before.to_vec() } else { [before, &[first]].concat() };
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, &path, found),
        None => {
            let name = rest.trim().strip_prefix("as ").or(path.last().map(String::as_str));
            found.push((path.clone(), name.unwrap_or_default().to_owned()));
        }
    }
}

/// Removes the `use` items from code. Returns the path and name of each, and whether it only re-exports.
fn take_uses(code: &str) -> (Vec<(Module, String, bool)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut left = code;
    while let Some(at) = left.find("use ") {
        let (before, behind) = left.split_at(at);
        let line = before.rsplit('\n').next().unwrap_or_default().trim();
        let is_shown = line.starts_with("pub(in ") || line.starts_with("pub") && !line.contains(' ');
        if !line.is_empty() && !is_shown {
            rest += before;
            rest += "use ";
            left = &behind[4..];
            continue;
        }
        rest += before;
        let (item, behind) = behind.split_once(';').unwrap_or_default();
        let mut found = Vec::new();
        expand(&item[4..], &[], &mut found);
        uses.extend(found.into_iter().map(|(path, name)| (path, name, is_shown)));
        left = behind;
    }
    (uses, rest + left)
}

/// The paths `a::b` in code.
fn paths(code: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    let mut path: Module = Vec::new();
    let (mut name, mut colons) = (String::new(), 0);
    for c in code.chars() {
        match c {
            ':' => colons += 1,
            c if is_name(c) => {
                if colons > 0 && !name.is_empty() {
                    path.push(std::mem::take(&mut name));
                    if colons != 2 {
                        paths.push(std::mem::take(&mut path));
                    }
                }
                colons = 0;
                name.push(c);
            }
            _ => {
                path.push(std::mem::take(&mut name));
                paths.push(std::mem::take(&mut path));
                colons = 0;
            }
        }
    }
    paths.retain(|path| path.len() > 1);
    paths
}

/// The absolute path for a path in a module; `None` if it belongs to another crate.
fn absolute(modules: &BTreeSet<Module>, module: &Module, path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let mut base = module.clone();
    let mut rest = rest;
    match &**first {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            while rest.first().is_some_and(|step| step == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        child => {
            base.push(child.to_owned());
            return modules.contains(&base).then(|| [&base, rest].concat());
        }
    }
    Some([&base, rest].concat())
}

/// The module that defines the item of a path, if the path is not a module itself.
fn resolve(modules: &Modules, path: &[String], depth: usize) -> Option<Module> {
    let at = (0..=path.len()).rev().find(|at| modules.contains_key(&path[..*at]))?;
    let (first, rest) = path[at..].split_first()?;
    match modules[&path[..at]].names.get(first) {
        Some(target) if depth < 10 => resolve(modules, &[target, rest].concat(), depth + 1),
        _ => Some(path[..at].to_vec()),
    }
}

/// For each file of `src/`, the other files that it uses itself, without those that it only re-exports.
pub(crate) fn uses(root: &Path) -> Graph {
    let mut modules = Modules::new();
    for path in files(root) {
        let inside = path.strip_prefix(root).unwrap();
        let mut module: Module =
            inside.iter().map(|step| step.to_string_lossy().replace(".rs", "")).collect();
        module.pop_if(|last| matches!(&**last, "mod" | "lib"));
        let file = inside.to_string_lossy().replace('\\', "/");
        modules.insert(module, Source { file, code: code(&path), names: BTreeMap::new() });
    }
    let known: BTreeSet<Module> = modules.keys().cloned().collect();
    let mut used: BTreeMap<Module, Vec<Module>> = BTreeMap::new();
    for (module, source) in &mut modules {
        let (taken, rest) = take_uses(&source.code);
        let used = used.entry(module.clone()).or_default();
        for (path, name, is_shown) in taken {
            let Some(path) = absolute(&known, module, &path) else { continue };
            used.extend((!is_shown).then(|| path.clone()));
            source.names.insert(name, path);
        }
        for path in paths(&rest) {
            let own = absolute(&known, module, &path);
            let taken = || source.names.get(&path[0]).map(|taken| [taken, &path[1..]].concat());
            used.extend(own.or_else(taken));
        }
    }
    let mut graph = Graph::new();
    for (module, used) in used {
        let file = &modules[&module].file;
        let others = used.iter().filter_map(|path| resolve(&modules, path, 0));
        let others = others.filter(|other| !other.is_empty()).map(|other| modules[&other].file.clone());
        graph.insert(file.clone(), others.filter(|other| other != file).collect());
    }
    graph
}

/// The groups of modules that depend on each other.
pub(crate) fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let (mut found, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            for other in graph.get(at).into_iter().flatten() {
                if found.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        found
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|from| (from, reach(from))).collect();
    let mut circles = BTreeSet::new();
    for (from, reaches) in &reached {
        let back = |other: &&String| reached.get(other).is_some_and(|reaches| reaches.contains(*from));
        let circle: BTreeSet<String> = reaches.iter().filter(back).cloned().collect();
        circles.extend((!circle.is_empty()).then_some(circle));
    }
    circles.into_iter().collect()
}
