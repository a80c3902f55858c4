//! Each rule, seen failing: small trees of modules, and the faults found in them.

use crate::rules::{check, Rule};
use crate::source::Files;
use std::collections::BTreeSet;

const LAYERS: &str = "
[layers]
top
left right                          # siblings
low::one > low::two
base::a base::b
[alone]
base
[crates]
mio: low::one
libc: low
";

const NONE: [&str; 0] = [];

/// The tree that the tests below change one file of; it breaks no rule.
const SOUND: &[(&str, &str)] = &[
    (
        "lib.rs",
        "//! Docs.\nmod base;\nmod left;\nmod low;\nmod right;\nmod top;\npub use top::Top;\n",
    ),
    (
        "top.rs",
        "use crate::{left::Left, low};\npub struct Top(Left, low::two::Two);\n",
    ),
    ("left.rs", "pub struct Left(crate::low::one::One);\n"),
    ("right/mod.rs", "pub mod inner;\n"),
    (
        "right/inner.rs",
        "use crate::low::two::{self, Two as Second};\nfn f(_: Second) { two::g() }\n",
    ),
    ("low/mod.rs", "pub mod one;\npub mod two;\n"),
    (
        "low/one.rs",
        "use mio::Poll;\nuse super::two::Two;\npub struct One(Poll, Two);\n",
    ),
    (
        "low/two.rs",
        "pub struct Two;\npub fn g() -> i32 { libc::EINVAL }\n",
    ),
    ("base/mod.rs", "pub mod a;\npub mod b;\n"),
    ("base/a.rs", "pub(in crate::base) fn f() {}\n"),
    ("base/b.rs", "pub struct B;\n"),
];

#[test]
fn a_sound_tree_has_no_fault() {
    assert_eq!(faults(&[]), NONE);
}

#[test]
fn an_import_of_a_higher_layer_is_found_at_its_line_and_once_although_it_closes_a_circle() {
    let found = faults(&[("left.rs", "\n\nuse crate::top::Top;\n")]);
    assert_eq!(
        found,
        ["src/left.rs:3: left imports top: it stands in a higher row (Upwards)"]
    );
}

#[test]
fn an_import_of_a_sibling_is_found() {
    finds(
        &[("left.rs", "use crate::right::inner::X;\n")],
        Rule::Sibling,
        "src/left.rs:1: left imports right::inner",
    );
}

#[test]
fn an_import_against_the_arrow_of_a_row_is_found() {
    finds(
        &[("low/two.rs", "use super::one::One;\n")],
        Rule::Upwards,
        "src/low/two.rs:1: low::two imports low::one",
    );
}

#[test]
fn a_cycle_inside_one_entry_is_found() {
    let files = [
        ("right/inner.rs", "use super::outer::Outer;\n"),
        ("right/mod.rs", "pub mod inner;\npub mod outer;\n"),
        ("right/outer.rs", "use super::inner::Inner;\n"),
    ];
    finds(
        &files,
        Rule::Cycle,
        "src/right/outer.rs:1: right::inner > right::outer > right::inner is a cycle",
    );
}

#[test]
fn a_cycle_of_a_folder_and_a_file_in_it_is_found() {
    let files = [
        (
            "right/mod.rs",
            "mod inner;\npub use inner::X;\npub struct Y;\n",
        ),
        ("right/inner.rs", "use super::Y;\n"),
    ];
    finds(
        &files,
        Rule::Cycle,
        "right > right::inner > right is a cycle",
    );
}

#[test]
fn a_module_that_should_be_alone_is_found_with_company() {
    finds(
        &[("base/a.rs", "use crate::low::two;\n")],
        Rule::Alone,
        "src/base/a.rs:1: base::a imports low::two",
    );
    finds(
        &[("base/a.rs", "use crate::Top;\n")],
        Rule::Alone,
        "src/base/a.rs:1: base::a imports ",
    );
}

#[test]
fn a_crate_named_outside_its_modules_is_found() {
    finds(
        &[("left.rs", "fn f() { libc::abort() }\n")],
        Rule::Crate,
        "src/left.rs:1: left imports libc: only low may",
    );
    finds(
        &[("low/two.rs", "type P = ::mio::Poll;\n")],
        Rule::Crate,
        "low::two imports mio: only low::one may",
    );
    finds(
        &[("left.rs", "extern crate libc as c;\n")],
        Rule::Crate,
        "left imports libc",
    );
    finds(
        &[("left.rs", "use libc;\nfn f() { libc::abort() }\n")],
        Rule::Crate,
        "src/left.rs:2: left imports libc",
    );
}

#[test]
fn a_path_that_begins_with_a_colon_is_a_crates_whatever_else_has_the_name() {
    for text in [
        "use crate::low as libc;\nfn f() { ::libc::abort() }",
        "fn f() { use crate::low as libc; ::libc::abort() }",
        "use crate::low as libc;\nfn f() { dbg!(::libc::abort()) }",
        "mod libc {}\nfn f() { ::libc::abort() }",
    ] {
        finds(&[("left.rs", text)], Rule::Crate, "left imports libc");
    }
}

#[test]
fn a_name_brought_in_as_self_is_followed() {
    let text = "use crate::right::{self};\nfn f() { right::inner::x() }";
    finds(
        &[("left.rs", text)],
        Rule::Sibling,
        "src/left.rs:2: left imports right::inner",
    );
}

#[test]
fn a_module_that_hands_a_whole_crate_on_is_found() {
    finds(
        &[("low/two.rs", "pub(crate) use libc;\n")],
        Rule::WholeCrate,
        "low::two imports libc",
    );
    finds(
        &[("low/two.rs", "pub use libc::*;\n")],
        Rule::WholeCrate,
        "low::two imports libc",
    );
    assert_eq!(
        faults(&[("low/two.rs", "pub use libc::c_int;\npub struct Two;\n")]),
        NONE
    );
}

#[test]
fn a_path_through_the_re_exports_of_the_root_is_found() {
    finds(
        &[("top.rs", "fn f(_: crate::Left) {}\n")],
        Rule::Root,
        "src/top.rs:1: top imports the crate's root",
    );
    finds(
        &[("top.rs", "use super::Left;\n")],
        Rule::Root,
        "top imports the crate's root",
    );
    finds(
        &[("top.rs", "use crate as all;\nfn f() { all::Left; }\n")],
        Rule::Root,
        "src/top.rs:2: top imports",
    );
    finds(
        &[("top.rs", "use crate::*;\n")],
        Rule::Root,
        "top imports the crate's root",
    );
}

#[test]
fn an_item_in_the_root_is_found() {
    let root = format!("{}\npub fn run() {{}}\n", SOUND[0].1);
    finds(&[("lib.rs", &root)], Rule::RootItem, "src/lib.rs:9: ");
}

#[test]
fn a_module_without_a_row_is_found() {
    let root = format!("{}mod topmost;\n", SOUND[0].1);
    let files = [("lib.rs", root.as_str()), ("topmost.rs", "pub struct X;\n")];
    finds(
        &files,
        Rule::Unlisted,
        "src/topmost.rs:1: no row of layers.txt names the module topmost",
    );
}

#[test]
fn a_folder_that_holds_more_than_mod_lines_needs_a_row() {
    finds(
        &[("low/mod.rs", "pub mod one;\npub mod two;\nfn f() {}\n")],
        Rule::Unlisted,
        "names the module low",
    );
}

#[test]
fn a_file_that_no_mod_line_leads_to_is_found() {
    finds(
        &[("low/three.rs", "")],
        Rule::Unreached,
        "src/low/three.rs:1: ",
    );
}

#[test]
fn a_mod_line_without_a_file_is_found() {
    finds(
        &[("low/mod.rs", "mod one;\nmod two;\nmod gone;\n")],
        Rule::Unreached,
        "src/low/gone.rs:1: ",
    );
}

#[test]
fn a_row_that_names_no_module_is_found() {
    let found = faults_with(&[], &LAYERS.replace("left right", "left right gone"));
    assert_eq!(
        found,
        ["arch-tests/layers.txt:4: there is no module gone (Stale)"]
    );
    let found = faults_with(&[], &LAYERS.replace("libc: low", "libc: low gone"));
    assert_eq!(
        found,
        ["arch-tests/layers.txt:11: there is no module gone (Stale)"]
    );
}

#[test]
fn a_module_with_two_rows_is_found() {
    let found = faults_with(&[], &LAYERS.replace("left right", "left right left"));
    assert_eq!(
        found,
        ["arch-tests/layers.txt:4: left has a row already (Stale)"]
    );
}

#[test]
fn a_dependency_without_a_line_and_a_line_without_a_dependency_are_found() {
    let found = faults_with(&[], &LAYERS.replace("libc: low", "libd: low"));
    let expected = [
        "arch-tests/layers.txt:1: [crates] does not say who may name the dependency libc (Unlisted)",
        "arch-tests/layers.txt:11: there is no dependency libd (Stale)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_line_of_layers_txt_that_means_nothing_is_found() {
    let found = faults_with(&[], &format!("stray\n{LAYERS}"));
    assert_eq!(
        found,
        ["arch-tests/layers.txt:1: cannot read `stray` (Unreadable)"]
    );
}

#[test]
fn an_import_is_found_however_it_is_written() {
    for text in [
        "use crate::{low::{one::One}, top::{Top as Summit}};",
        "use super::{top};",
        "use super::{self as root};\nfn f() { root::top::climb() }",
        "fn f() { use super as up; up::top::climb() }",
        "use super::*;\nfn f() { top::climb() }",
        "use self::super::top::Top;",
        "use crate as root;\nuse root::top::Top;",
        "use crate::top as peak;\nfn f() { peak::climb() }",
        "fn f() { use super::top; top::climb() }",
        "fn f() { crate::top::climb() }",
        "fn f(_: &dyn Fn(Vec<crate::top::Top>)) {}",
        "impl crate::top::Climb for u8 {}",
        "fn f<T>() where T: crate::top::Climb {}",
        "fn f(x: u8) { match x { crate::top::MOST => {}, _ => {} } }",
        "fn f() { crate::top::climb!() }",
        "fn f() { println!(\"{}\", 1 + crate::top::HEIGHT) }",
        "macro_rules! m { () => { $crate::top::climb() } }",
        "macro_rules! m { () => { use crate::{low::one, top::Top as T}; } }",
        "#[derive(crate::top::Climb)] struct S;",
        "mod inner { use super::super::top::Top; }",
        "mod inner { fn f() { crate::top::climb() } }",
        "mod inner { mod more { pub use crate::top; } pub use more::*; }\nuse inner::*;\nfn f() { top::climb() }",
        "fn f() { <u8 as crate::top::Climb>::climb() }",
        "pub(in crate::top) use crate::top::Top;",
        "#[cfg(not(test))] use crate::top::Top;",
        "#[cfg(any(test, unix))] use crate::top::Top;",
    ] {
        finds(&[("left.rs", text)], Rule::Upwards, "left imports top");
    }
}

#[test]
fn what_is_no_import_is_not_taken_for_one() {
    for text in [
        "/// See [`crate::top::Top`].\nfn f() {}",
        "// use crate::top::Top;",
        "const S: &str = \"crate::top::Top\";",
        "#[cfg(test)] mod tests { use crate::top::Top; }",
        "#[cfg(all(test, unix))] use crate::top::Top;",
        "#[cfg(test)] fn f() { crate::top::climb() }",
        "struct S;\nimpl S { #[cfg(test)] fn f() { crate::top::climb() } }",
        "fn f() { #[cfg(test)] let x = crate::top::HEIGHT; }",
        "pub(in crate::top) struct S;",
        "macro_rules! m { () => { pub(in crate::top) struct S; } }",
        "macro_rules! m { () => { use crate::low::{one as first, two as libc}; use crate::{low as l}; } }",
        "#[macro_export]\nmacro_rules! m { () => { $crate::top::climb() } }",
        "enum E { A }\nfn f() { let top = E::A; let libc = 1; }",
        "fn f() { std::process::abort() }",
        "struct S;\nmod inner { fn f(_: super::S) {} pub struct T; }\nuse inner::T;",
    ] {
        assert_eq!(faults(&[("left.rs", text)]), NONE, "{text}");
    }
}

#[test]
fn the_file_of_a_path_attribute_is_read() {
    let root = SOUND[0].1.replace(
        "mod left;",
        "#[cfg(off)]\n#[path = \"left_off.rs\"]\nmod left;\n#[cfg(not(off))]\nmod left;",
    );
    let files = [
        ("lib.rs", root.as_str()),
        ("left_off.rs", "use crate::top::Top;\npub struct Left;\n"),
    ];
    finds(&files, Rule::Upwards, "src/left_off.rs:1: left imports top");
}

#[test]
fn a_self_row_covers_the_folder_alone() {
    let folder = [(
        "low/mod.rs",
        "pub mod one;\npub mod two;\npub struct Low;\n",
    )];
    let layers = LAYERS.replace("low::one > low::two", "low::self > low::one > low::two");
    assert_eq!(faults_with(&folder, &layers), NONE);
    let layers = layers.replace("> low::two", "");
    let found = faults_with(&folder, &layers);
    assert_eq!(
        found,
        ["src/low/two.rs:1: no row of layers.txt names the module low::two (Unlisted)"]
    );
}

#[test]
fn the_longest_row_that_covers_a_module_counts() {
    let layers = LAYERS.replace("low::one > low::two", "low > low::two");
    assert_eq!(faults_with(&[], &layers), NONE);
    let upwards = [
        ("low/two.rs", "use super::one::One;\n"),
        ("low/one.rs", "pub struct One;\n"),
    ];
    let found = faults_with(&upwards, &layers);
    assert_eq!(
        found,
        ["src/low/two.rs:1: low::two imports low::one: it stands in a higher row (Upwards)"]
    );
}

#[test]
fn dependencies_are_read_from_every_table_of_the_manifest_but_those_of_tests() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\n# no\nc = { version = \"1\" }\nd.version = \"1\"\n\
        [dependencies.e]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nf = \"1\"\n\
        [target.'cfg(unix)'.dependencies.g]\nversion = \"1\"\n[dev-dependencies]\nh = \"1\"\n[build-dependencies.i]\n";
    let found: Vec<String> = crate::dependencies(manifest).into_iter().collect();
    assert_eq!(found, ["a_b", "c", "d", "e", "f", "g"]);
}

/// Asserts that the sound tree with these files in place of its own breaks `rule`, and is told so in these words.
#[track_caller]
fn finds(changed: &[(&str, &str)], rule: Rule, words: &str) {
    let found = faults(changed);
    let rule = format!("({rule:?})");
    let hit = found
        .iter()
        .any(|fault| fault.contains(words) && fault.ends_with(&rule));
    assert!(
        hit,
        "no {rule} with `{words}` in {found:#?}\nof {changed:#?}"
    );
}

fn faults(changed: &[(&str, &str)]) -> Vec<String> {
    faults_with(changed, LAYERS)
}

fn faults_with(changed: &[(&str, &str)], layers: &str) -> Vec<String> {
    let files = SOUND
        .iter()
        .chain(changed)
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let files: Files = files.collect();
    let dependencies = BTreeSet::from(["libc".to_owned(), "mio".to_owned()]);
    check(&files, &dependencies, layers)
        .iter()
        .map(ToString::to_string)
        .collect()
}
