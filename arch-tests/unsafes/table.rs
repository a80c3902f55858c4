//! The page that lists them.

use super::rules::cited;
use super::source::{File, Kind, Use};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: &str = "\
# Every `unsafe` of `src/`, and what it rests on

Written by `BLESS=1 cargo test --test unsafes` from the code, which that test compares with this page; nobody writes it by hand.
What the pieces add up to is in [soundness.md](soundness.md).

A row is a function or an `impl` of that file, with what the `SAFETY` line of its `unsafe` says; `calls for` is what a function that is
`unsafe` itself demands of its callers. Numbers are the file's own invariants, which stand above its table as its first lines state
them; those of another file are named with it. What only tests and models have is not listed, and has a `SAFETY` line too.
";

pub fn page(files: &[File]) -> String {
    let files: Vec<_> = files.iter().map(|file| (file, listed(file))).collect();
    let all = files.iter().flat_map(|(_, uses)| uses);
    let count = |kind| all.clone().filter(|one| one.kind == kind).count();
    let mut page = HEAD.to_owned();
    write!(
        page,
        "\n{} blocks, {} `impl`s and {} functions that are `unsafe`, in {} of {} files.\n",
        count(Kind::Block),
        count(Kind::Impl),
        count(Kind::Contract),
        files.iter().filter(|(_, uses)| !uses.is_empty()).count(),
        files.len()
    )
    .unwrap();
    for (file, uses) in files.iter().filter(|(_, uses)| !uses.is_empty()) {
        section(&mut page, file, uses);
    }
    page
}

fn listed(file: &File) -> Vec<&Use> {
    file.uses.iter().filter(|one| !one.in_test).collect()
}

fn section(page: &mut String, file: &File, uses: &[&Use]) {
    writeln!(page, "\n## {}\n", file.name).unwrap();
    let cited: BTreeSet<_> = uses
        .iter()
        .flat_map(|one| cited(one.says.as_deref().unwrap_or_default()))
        .filter(|(_, elsewhere)| elsewhere.is_none())
        .map(|(number, _)| number)
        .collect();
    for number in &cited {
        writeln!(page, "- **{number}.** {}", file.invariants[number]).unwrap();
    }
    if !cited.is_empty() {
        page.push('\n');
    }
    page.push_str("| in | rests on |\n|---|---|\n");
    for (row, times) in rows(uses) {
        let times = if times > 1 {
            format!(" ({times} times)")
        } else {
            String::new()
        };
        writeln!(page, "{row}{times} |").unwrap();
    }
}

/// Each row, in the order of the file, with how often it came.
fn rows(uses: &[&Use]) -> Vec<(String, usize)> {
    let mut places = BTreeMap::new();
    let mut rows: Vec<(String, usize)> = Vec::new();
    for one in uses {
        let says = one.says.as_deref().unwrap_or_default().replace('|', "\\|");
        let calls = if one.kind == Kind::Contract {
            "calls for: "
        } else {
            ""
        };
        let row = format!("| `{}` | {calls}{says}", one.item);
        match places.get(&row) {
            Some(&place) => {
                let (_, times): &mut (String, usize) = &mut rows[place];
                *times += 1;
            }
            None => {
                places.insert(row.clone(), rows.len());
                rows.push((row, 1));
            }
        }
    }
    rows
}
