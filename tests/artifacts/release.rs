//! The workflows of the forge. They run only there; here they are read for what can go wrong, and their scripts are run.

use std::process::Command;

use super::super::support::PoolsFile;
use super::{content, file, has, root};

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

/// Runs a script; its exit code and all that it said.
fn script(name: &str, arguments: &[&str]) -> (i32, String) {
    let said = Command::new(root().join("script").join(name)).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    (said.status.code().unwrap(), text)
}

#[test]
fn a_section_of_the_changelog_is_a_releases_text_and_only_if_it_is_there() {
    let folder = PoolsFile::none();
    let path = folder.folder().join("CHANGELOG.md").display().to_string();
    let text = "# Changelog\n\nWords.\n\n## [Unreleased]\n\n- new\n\n## [1.10.0] - 2026-02-01\n\n### Added\n\n- ten\n\n## [1.1.0] - 2026-01-01\n\n- one\n\n## [1.0.0] - 2025-01-01\n\n";
    std::fs::write(&path, text).unwrap();
    assert_eq!(script("changelog-section", &["1.10.0", &path]), (0, "### Added\n\n- ten\n".to_owned()));
    assert_eq!(script("changelog-section", &["1.1.0", &path]), (0, "- one\n".to_owned()));
    for (version, why) in [
        ("1.0.0", "empty"),
        ("1.1", "half a version"),
        ("1x1.0", "no pattern"),
        ("2.0.0", "not there"),
        ("Unreleased", "no date"),
    ] {
        let (code, said) = script("changelog-section", &[version, &path]);
        assert!(code == 1 && said.contains(version), "{why}: {said}");
    }
    assert_ne!(script("changelog-section", &[]).0, 0);
}

#[test]
fn only_the_tag_of_this_version_is_released() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(script("tag-is-version", &[&format!("v{version}")]), (0, String::new()));
    for tag in
        [version.to_owned(), format!("v{version}-rc.1"), format!("v{version}0"), "v".to_owned(), "latest".to_owned()]
    {
        let (code, said) = script("tag-is-version", &[&tag]);
        assert!(code == 1 && said.contains(&tag) && said.contains(version), "{tag}: {said}");
    }
}

#[test]
fn workflows_pin_what_they_use_run_what_there_is_and_may_do_little() {
    for name in WORKFLOWS {
        let text = file(name);
        let top = text.split("\njobs:\n").next().unwrap();
        assert!(top.contains("\npermissions:\n  contents: read\n"), "{name}: a job may read unless it says more");
        let mut uses = 0;
        for used in text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: ")) {
            let (_, version) = used.split_once("@v").unwrap_or_else(|| panic!("{name}: {used} has no version"));
            let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
            assert_eq!(numbers, 3, "{name}: {used} can change under us");
            uses += 1;
        }
        assert!(uses > 0);
        let words = text.split(|letter: char| !(letter.is_alphanumeric() || "_-./".contains(letter)));
        for path in words.filter(|word| word.starts_with("script/") || word.starts_with(".ci/")) {
            assert!(root().join(path).is_file(), "{name} runs {path}");
        }
        for secret in text.split("secrets.").skip(1) {
            assert!(secret.starts_with("GITHUB_TOKEN"), "{name} asks for a secret of its own");
        }
        // What others write, such as the name of a branch, must never become a part of a script.
        let in_scripts = text.split("run: ").skip(1).filter_map(|step| step.split("\n      - ").next());
        for step in in_scripts {
            assert!(!step.contains("${{ github"), "{name}: {step}");
        }
    }
}

#[test]
fn a_release_waits_for_its_version_and_its_tests() {
    let text = file(WORKFLOWS[1]);
    let jobs = text.split("\njobs:\n").nth(1).unwrap();
    let begins = |line: &str| line.starts_with("  ") && !line.starts_with("   ") && !line.starts_with("  #");
    let mut names = Vec::new();
    for line in jobs.lines().filter(|line| begins(line)) {
        names.push(line.trim().trim_end_matches(':').to_owned());
    }
    assert_eq!(names, ["version", "test", "binaries", "bill-of-materials", "images", "image", "release"]);
    let job = |name: &str| jobs.split(&format!("  {name}:\n")).nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    assert!(job("version").contains("script/tag-is-version \"$GITHUB_REF_NAME\""));
    assert!(job("version").contains("script/changelog-section \"${GITHUB_REF_NAME#v}\""));
    for name in &names[1..] {
        assert!(
            job(name).contains("\n    needs: ") || job(name).starts_with("    needs: "),
            "{name} waits for no other job"
        );
    }
    assert!(job("images").contains("needs: [version, test]"), "nothing untested is pushed");
    assert!(job("release").contains("needs: [version, test, binaries, bill-of-materials, image]"));
    for (name, rights) in [("release", "contents: write"), ("images", "packages: write"), ("image", "packages: write")]
    {
        assert!(job(name).contains(rights), "{name}");
    }
    assert_eq!(jobs.matches(": write").count(), 5, "and no right more");
}

#[test]
fn the_forges_own_schema_takes_the_workflows() {
    if has("check-jsonschema", "PyPI: check-jsonschema") {
        content("check-jsonschema", &[&["--builtin-schema", "vendor.github-workflows"], &WORKFLOWS[..]].concat());
    }
}
