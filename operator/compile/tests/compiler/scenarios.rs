//! Stories: YAML in, bodies and verdicts out. Each file of `scenarios/` has its outcome in `golden/` under the same
//! name; `POSTERN_GOLDEN=write` writes the outcomes anew, to be read before they are committed.

use std::fs;
use std::path::{Path, PathBuf};

use rstest::rstest;

use super::world::World;
use super::world::shorthand::Story;
use super::world::view::View;

#[rstest]
fn the_story_ends_as_written(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let text = fs::read_to_string(&path).expect("a story");
    let story: Story = serde_saphyr::from_str(&text).expect("a story");
    let mut world = World::new();
    let mut held = Vec::new();
    let mut told = Vec::new();
    let mut view = View::default();
    for step in story.steps {
        let says = step.says.clone();
        step.happen(&mut world, &held);
        let compilation = world.compile();
        told.push(view.step(&says, &compilation));
        held = compilation.held;
    }
    let told = serde_saphyr::to_string(&told).expect("YAML");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path.file_name().expect("a name"));
    if std::env::var_os("POSTERN_GOLDEN").is_some_and(|wanted| wanted == "write") {
        fs::write(&golden, &told).expect("a golden file");
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        told == expected,
        "{} ({}) ends otherwise:\n{}",
        path.display(),
        story.story,
        difference(&expected, &told)
    );
}

/// The first lines that differ.
fn difference(expected: &str, told: &str) -> String {
    let lines = expected
        .lines()
        .zip(told.lines())
        .enumerate()
        .filter(|(_, (old, new))| old != new);
    let shown = lines
        .take(12)
        .map(|(number, (old, new))| format!("{}: - {old}\n{}: + {new}", number + 1, number + 1));
    shown.collect::<Vec<_>>().join("\n")
}
