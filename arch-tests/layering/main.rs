//! Holds `src/` to `arch-tests/layers.txt`.
//!
//! `source` reads the tree of modules, `imports` finds what each module names outside itself, `layers` reads the order
//! that `layers.txt` states, and `rules` compares the two. `self_tests` shows each rule failing on a small tree that
//! breaks it. `outside` is about what is not in `src/`.

mod imports;
mod layers;
mod outside;
mod rules;
mod self_tests;
mod source;

use source::Files;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn no_module_of_src_breaks_the_order_of_layers_txt() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Files::new();
    add_files(&root.join("src"), "", &mut files);
    let dependencies = dependencies(&read(&root.join("Cargo.toml")));
    let faults = rules::check(
        &files,
        &dependencies,
        &read(&root.join("arch-tests/layers.txt")),
    );
    let list: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    assert!(faults.is_empty(), "{} faults:\n{list}", faults.len());
}

#[test]
fn no_file_outside_src_reaches_behind_the_face_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Files::new();
    for folder in ["arch-tests", "benches", "examples", "tests"] {
        add_files(&root.join(folder), &format!("{folder}/"), &mut files);
    }
    let dependencies = dependencies(&read(&root.join("Cargo.toml")));
    let faults = outside::check(&files, &dependencies);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn add_files(folder: &Path, prefix: &str, files: &mut Files) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            add_files(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(format!("{prefix}{name}"), read(&entry.path()));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in the `[dependencies]` tables of a manifest, of any target, as code writes them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let named = table
                .rsplit_once("dependencies.")
                .map(|(before, name)| (before, Some(name)));
            let (before, name) = named.unwrap_or((table.trim_end_matches("dependencies"), None));
            let is_ours =
                table.contains("dependencies") && (before.is_empty() || before.ends_with('.'));
            inside = is_ours && name.is_none();
            found.extend(name.filter(|_| is_ours).map(crate_name));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
            found.insert(crate_name(name));
        }
    }
    found
}

fn crate_name(package: &str) -> String {
    package.trim_matches('"').replace('-', "_")
}
