//! Code outside `src/` knows the library by its face, as users do.
//!
//! 1. It takes in no file of `src/`, by a `path` attribute or an `include!`: such a file would stand in a second tree, which
//!    nobody compares with `layers.txt`. (But [`APART`].)
//! 2. An example is what a user would write: it names no crate that the library has for itself.

use crate::imports::{Import, Target};
use crate::source::{Files, Source};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Macro, Meta};

/// Who takes in what: code that imports nothing, and is searched for faults apart from the library.
const APART: [(&str, &str); 1] = [("arch-tests/fuzz/src/main.rs", "src/base/wheel.rs")];

/// What is wrong with these files, named from the package's root.
pub fn check(files: &Files, dependencies: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, text) in files {
        let parsed = match syn::parse_file(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                faults.push(format!("{file}: {error}"));
                continue;
            }
        };
        let mut taken = Taken::default();
        taken.visit_file(&parsed);
        for (line, path) in taken.0 {
            let taken = lead_to(file, &path);
            let apart = |(who, what): &(&str, &str)| file == who && taken == Path::new(what);
            if taken.starts_with("src") && !APART.iter().any(apart) {
                faults.push(format!("{file}:{line}: takes in {path}"));
            }
        }
        if file.starts_with("examples/") {
            for (line, name) in crates_of(text, dependencies) {
                faults.push(format!("{file}:{line}: names {name}"));
            }
        }
    }
    faults
}

/// The paths of the files that a file takes in as code, as they are written, with their lines.
#[derive(Default)]
struct Taken(Vec<(usize, String)>);

impl<'ast> Visit<'ast> for Taken {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::NameValue(pair) = &attribute.meta else {
            return;
        };
        if let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = &pair.value
        {
            if pair.path.is_ident("path") {
                self.0.push((text.span().start().line, text.value()));
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if call.path.is_ident("include") {
            if let Ok(text) = call.parse_body::<LitStr>() {
                self.0.push((call.span().start().line, text.value()));
            }
        }
        visit::visit_macro(self, call);
    }
}

/// Where a path written in `file` leads to.
fn lead_to(file: &str, path: &str) -> PathBuf {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut place = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::ParentDir => drop(place.pop()),
            Component::CurDir => {}
            other => place.push(other),
        }
    }
    place
}

fn crates_of(text: &str, dependencies: &BTreeSet<String>) -> Vec<(usize, String)> {
    let alone = Files::from([("lib.rs".to_owned(), text.to_owned())]);
    let named = |import: Import| match import.to {
        Target::Crate(name) | Target::WholeCrate(name) => Some((import.line, name)),
        Target::Module(_) => None,
    };
    let imports = Source::read(&alone, dependencies.clone()).imports;
    imports.into_iter().filter_map(named).collect()
}

#[test]
fn a_file_of_src_taken_in_elsewhere_is_found() {
    for text in [
        "#[path = \"../src/base/ring.rs\"]\nmod ring;",
        "fn f() {}\ninclude!(\"../tests/../src/lib.rs\");",
    ] {
        let found = faults("benches/ring.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(": takes in ../"), "{found:?}");
    }
    for text in [
        "#[path = \"common/src/ring.rs\"]\nmod ring;",
        "const TEXT: &str = include_str!(\"../src/lib.rs\");",
    ] {
        assert_eq!(faults("benches/ring.rs", text), [""; 0], "{text}");
    }
    let wheel = "#[path = \"../../../src/base/wheel.rs\"]\nmod wheel;";
    assert_eq!(faults(APART[0].0, wheel), [""; 0]);
    assert_eq!(faults("arch-tests/fuzz/src/other.rs", wheel).len(), 1);
}

#[test]
fn a_crate_of_the_librarys_own_is_found_in_an_example_and_is_free_elsewhere() {
    for text in ["use libc::abort;", "fn main() { ::libc::abort() }"] {
        let found = faults("examples/one.rs", text);
        assert_eq!(found, ["examples/one.rs:1: names libc"], "{text}");
        assert_eq!(faults("tests/one.rs", text), [""; 0], "{text}");
    }
    let others = "use multitask::spawn;\nuse lexopt::Parser;";
    assert_eq!(faults("examples/one.rs", others), [""; 0]);
}

#[cfg(test)]
fn faults(file: &str, text: &str) -> Vec<String> {
    let files = Files::from([(file.to_owned(), text.to_owned())]);
    check(&files, &BTreeSet::from(["libc".to_owned()]))
}
