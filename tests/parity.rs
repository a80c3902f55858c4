//! The table of the guide that sets the original's names beside ours: each row is whole, and names a test that exists.

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
