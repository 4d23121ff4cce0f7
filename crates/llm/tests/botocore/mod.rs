//! AWS's own Python library as the other side: it signs what we sign, parses the requests that we make, and writes the answers
//! that we read.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the other side is a program")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What `botocore_peer.py` says to `input`; `None`, with a notice, where no Python has botocore.
///
/// # Panics
/// The script fails; or botocore is missing under `CI=true`, where no test is skipped.
pub(crate) fn ask(question: &str, input: &Value) -> Option<Value> {
    let Some(python) = python() else {
        let notice = "no botocore (neither OPENAI_PYTHON nor python3 has it; `make test` sets OPENAI_PYTHON)";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{notice}, and under CI=true no test is skipped");
        println!("skipped: {notice}");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/botocore/botocore_peer.py");
    let mut command = Command::new(python);
    command.args([script, question]).env_remove("AWS_PROFILE").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = serde_json::to_vec(input).unwrap();
    let writer = std::thread::Builder::new().spawn(move || stdin.write_all(&text)).unwrap();
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{question}: {output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn python() -> Option<std::ffi::OsString> {
    let named = std::env::var_os("OPENAI_PYTHON").filter(|path| !path.is_empty());
    named.into_iter().chain(["python3".into()]).find(|python| {
        let output = Command::new(python).args(["-c", "import botocore"]).output();
        output.is_ok_and(|output| output.status.success())
    })
}
