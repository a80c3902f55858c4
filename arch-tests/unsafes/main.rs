//! Every `unsafe` of `src/` says what it rests on, and `docs/unsafe.md` lists them.
//!
//! `source` finds them, each with what is written for it and with the item that it is in; `rules` says what is missing;
//! `table` makes the page. `self_tests` shows each rule failing on a few lines that break it.
//!
//! Who has changed something commits what `BLESS=1 cargo test --test unsafes` has written.

mod rules;
mod self_tests;
mod source;
mod table;

use source::File;
use std::path::Path;
use std::{env, fs};

const PAGE: &str = "docs/unsafe.md";

#[test]
fn every_unsafe_of_src_says_what_it_rests_on_and_is_on_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    add_files(&root.join("src"), "", &mut files);
    files.sort_by(|a, b| a.name.cmp(&b.name));

    let faults = rules::check(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let page = table::page(&files);
    if env::var_os("BLESS").is_some() {
        fs::write(root.join(PAGE), &page).unwrap();
    }
    let committed = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(
        committed == page,
        "{PAGE} is stale, `BLESS=1 cargo test --test unsafes` writes it anew: {differs:?}"
    );
}

fn add_files(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            add_files(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            files.push(File::read(&format!("{prefix}{name}"), &text));
        }
    }
}
