//! Pages that name tests: each of these exists. The table of the guide that sets the original's names beside ours is whole, too.

use std::fs;

const TABLE: &str = include_str!("../docs/guide/coming-from-multitask.md");

#[test]
fn no_row_of_the_parity_table_is_empty_and_each_names_a_test() {
    let rows: Vec<_> = TABLE
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 30, "where is the table?");
    for row in &rows[1..] {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        let names: Vec<_> = cells[2].split('`').skip(1).step_by(2).collect();
        let [file, test] = names[..] else {
            panic!("no file and test: {row}");
        };
        let text = fs::read_to_string(format!("tests/{file}"))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            text.contains(&format!("fn {test}()")),
            "no {test} in {file}"
        );
    }
}

#[test]
fn each_test_that_the_page_on_soundness_names_exists() {
    const PAGE: &str = include_str!("../docs/soundness.md");
    let mut named = 0;
    let mut text = String::new();
    let words: Vec<_> = PAGE.split('`').skip(1).step_by(2).collect();
    for word in words {
        if let Some(file) = word.strip_suffix(".rs").filter(|name| !name.contains('/')) {
            text = ["tests", "arch-tests/cpu"]
                .iter()
                .filter_map(|folder| fs::read_to_string(format!("{folder}/{file}.rs")).ok())
                .collect();
            assert!(!text.is_empty(), "{file}");
        } else if word.split('_').count() > 4 {
            named += 1;
            assert!(text.contains(&format!("fn {word}()")), "no {word}");
        }
    }
    assert!(named > 20, "where is the table?");
}
