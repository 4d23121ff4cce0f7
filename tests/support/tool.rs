//! Programs that some tests need and that not every machine has: an SDK, a browser, promtool.

/// Reports that a test cannot run because `tool` is missing; the test then returns.
///
/// # Panics
/// Under `CI=true`: a test that is never run there is not a test.
pub(crate) fn missing(tool: &str, how: &str) {
    let notice = notice(tool, how, std::env::var("CI").ok().as_deref());
    println!("{}", notice.unwrap_or_else(|failure| panic!("{failure}")));
}

/// What to print, or why the test fails.
fn notice(tool: &str, how: &str, ci: Option<&str>) -> Result<String, String> {
    match ci {
        Some("true") => Err(format!("no {tool} ({how}), and under CI=true no test is skipped")),
        _ => Ok(format!("skipped: no {tool} ({how})")),
    }
}

#[test]
fn a_missing_tool_fails_the_test_under_ci_and_only_there() {
    for (ci, fails) in [(None, false), (Some(""), false), (Some("false"), false), (Some("true"), true)] {
        let notice = notice("promtool", "apt-get install prometheus", ci);
        assert_eq!(notice.is_err(), fails, "CI={ci:?}");
        let text = notice.unwrap_or_else(|failure| failure);
        assert!(text.contains("promtool") && text.contains("apt-get install prometheus"), "{text}");
    }
}
