//! The fuzzers' corpus, run like any other test: what once was interesting must stay harmless.

#[path = "../fuzz/targets.rs"]
#[allow(unreachable_pub, reason = "the fuzzers reach them")]
mod targets;

fn run(name: &str, target: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 15, "only {} files in {}", files.len(), folder.display());
    for file in files {
        println!("{}", file.display()); // shown only when the test fails: the culprit is the last
        target(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn processor_messages() {
    run("processor", targets::processor);
}

#[test]
fn row_2_messages() {
    run("row_2", targets::row_2);
}

#[test]
fn log_entries() {
    run("log_entry", targets::log_entry);
}

#[test]
fn frames_of_event_streams() {
    run("event_stream", targets::event_stream);
}

#[test]
fn requests_and_answers_of_converse() {
    run("converse", targets::converse);
}

#[test]
fn requests_and_answers_of_embeddings() {
    run("embeddings", targets::embeddings);
}
