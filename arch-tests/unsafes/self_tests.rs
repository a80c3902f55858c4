//! Each rule on a few lines that break it, and what is read of those that do not.

use super::rules;
use super::source::{File, Kind};
use super::table;

fn faults(text: &str) -> Vec<String> {
    rules::check(&[File::read("a.rs", text)])
}

#[track_caller]
fn is_faulty(text: &str, fault: &str) {
    assert_eq!(faults(text), [format!("src/a.rs:{fault}")]);
}

#[test]
fn a_block_and_an_impl_without_a_comment_are_faults() {
    is_faulty("fn f() {\n    unsafe { g() }\n}", "2: no comment `SAFETY:`");
    is_faulty("unsafe impl Send for X {}", "1: no comment `SAFETY:`");
    is_faulty(
        "m! { fn f() { unsafe { g() } } }",
        "1: no comment `SAFETY:`",
    );
    is_faulty(
        "fn f() {\n    // SAFETY:\n    unsafe { g() }\n}",
        "3: it says nothing",
    );
}

#[test]
fn the_comment_of_another_statement_does_not_count() {
    let text =
        "fn f() {\n    // SAFETY: of the first.\n    unsafe { g() };\n    unsafe { h() };\n}";
    is_faulty(text, "4: no comment `SAFETY:`");
    // Of the same one it does, wherever in it.
    let text = "fn f() {\n    // SAFETY: so.\n    let x = a(\n        b,\n        unsafe { h() },\n    );\n}";
    assert_eq!(faults(text), [""; 0]);
    let text = "fn f() {\n    match x {\n        // SAFETY: so.\n        1 => unsafe { h() },\n        _ => 0,\n    }\n}";
    assert_eq!(faults(text), [""; 0]);
}

#[test]
fn a_function_that_is_unsafe_without_a_section_is_a_fault_unless_a_test_has_it() {
    is_faulty("unsafe extern \"C\" fn f() {}", "1: no section `# Safety`");
    assert_eq!(
        faults("/// Goes.\n///\n/// # Safety\n/// It is there.\nunsafe fn f() {}"),
        [""; 0]
    );
    assert_eq!(
        faults("#[cfg(test)]\nmod tests {\n    unsafe fn f() {}\n}"),
        [""; 0]
    );
    is_faulty(
        "#[cfg(not(test))]\nmod real {\n    unsafe fn f() {}\n}",
        "3: no section `# Safety`",
    );
    // What the trait says is not said again.
    assert_eq!(
        faults("impl FromRawFd for X {\n    unsafe fn from_raw_fd() {}\n}"),
        [""; 0]
    );
    assert_eq!(
        faults("m! { impl FromRawFd for X { unsafe fn from_raw_fd() {} } }"),
        [""; 0]
    );
    is_faulty(
        "impl X {\n    unsafe fn f() {}\n}",
        "2: no section `# Safety`",
    );
    // A type is no function.
    assert_eq!(faults("struct S(unsafe fn(u8) -> u8);"), [""; 0]);
}

#[test]
fn a_number_that_the_head_of_the_file_does_not_state_is_a_fault() {
    let with = |head: &str, says: &str| {
        faults(&format!(
            "{head}\n\n// SAFETY: {says}\nunsafe impl Send for X {{}}"
        ))
    };
    assert_eq!(
        with("//! 1. One.\n//! 2. Two. 3. Three.", "by 1, 2 and 3."),
        [""; 0]
    );
    let none = |number| {
        [format!(
            "src/a.rs:4: this file states no invariant {number}"
        )]
    };
    assert_eq!(with("//! 1. One.", "by 2."), none(2));
    assert_eq!(with("//! 1. One.", "by invariants 1 and 3."), none(3));
    assert_eq!(with("//! Takes 2 things.", "invariant 2."), none(2));
    let gap = with("//! 1. One. 2. Two.\n//! 4. Four.", "invariants 1 to 4.");
    assert_eq!(gap, ["src/a.rs:5: this file states no invariant 3"]);
    let elsewhere = with("//! 1. One.", "by invariant 1 of `b`.");
    assert_eq!(elsewhere, ["src/a.rs:4: b states no invariant 1"]);
    assert_eq!(with("//! 1. One.", "one of 20 that go by."), [""; 0]);
}

#[test]
fn an_invariant_of_another_file_is_looked_up_there() {
    let of = |name: &str| {
        let text = "// SAFETY: by invariant 1 of `b`.\nunsafe impl Send for X {}";
        let files = [File::read("x/a.rs", text), File::read(name, "//! 1. One.")];
        rules::check(&files).is_empty()
    };
    assert!(of("x/b.rs") && of("b.rs") && !of("y/b.rs"));
}

#[test]
fn the_page_says_where_and_why_and_leaves_tests_out() {
    let text = "\
//! A file.
//!
//! 1. It is
//!    ours.  2. Unused.
impl<T> Thing<&T> {
    /// # Safety
    /// It is | was there.
    unsafe fn f(&self) {
        // SAFETY: by 1,
        // always.
        unsafe { g() };
        // SAFETY: as above, and twice.
        unsafe { h() };
    }
}
#[cfg(test)]
mod tests {
    // SAFETY: nobody reads it.
    unsafe impl Send for X {}
}
";
    let file = File::read("dir/a.rs", text);
    assert_eq!(
        file.uses
            .iter()
            .filter(|one| one.kind == Kind::Block)
            .count(),
        2
    );
    let page = table::page(&[file]);
    let expected = "\
## dir/a.rs

- **1.** It is ours.

| in | rests on |
|---|---|
| `Thing::f` | calls for: It is \\| was there. |
| `Thing::f` | by 1, always. |
| `Thing::f` | by 1, always, and twice. |
";
    assert!(page.ends_with(expected), "{page}");
    assert!(
        page.contains("2 blocks, 0 `impl`s and 1 functions"),
        "{page}"
    );
}
