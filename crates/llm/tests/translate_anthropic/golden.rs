//! Golden files: requests, answers, errors and streams as they come and as they leave, byte by byte, white space between values
//! aside.

use std::collections::BTreeMap;

use llm::json::RawJson;
use llm::translate::anthropic::{self, Stream};
use llm::translate::{ChatContext, TranslateError};

use super::{goldens, minified, options_of, translate_stream};

/// The time of all translated answers.
const CREATED: u64 = 1_700_000_000;

fn field<'a>(golden: RawJson<'a>, name: &str) -> RawJson<'a> {
    golden.field(name).unwrap_or_else(|| panic!("no `{name}`"))
}

fn renamed(golden: RawJson<'_>) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    if let Some(names) = golden.field("renamed") {
        names.for_each_field(|vendor, client| {
            renamed.insert(String::from_utf8_lossy(vendor).into_owned(), client.text().unwrap().into_owned());
        });
    }
    renamed
}

#[test]
fn requests() {
    let files = goldens("request_", ".json");
    assert!(files.len() >= 12, "the files are found");
    for (name, file) in files {
        let golden = RawJson::parse(&file).unwrap();
        let result = anthropic::request(field(golden, "openai").bytes(), &options_of(golden));
        match result {
            Ok(translated) => {
                assert_eq!(minified(&translated.body), minified(field(golden, "anthropic").bytes()), "{name}");
                let dropped: Vec<String> = translated.dropped.iter().map(ToString::to_string).collect();
                let expected = golden
                    .field("dropped")
                    .map_or(Vec::new(), |list| serde_json::from_slice::<Vec<String>>(list.bytes()).unwrap());
                assert_eq!(dropped, expected, "{name}");
                assert_eq!(translated.answer.renamed, renamed(golden), "{name}");
            }
            Err(TranslateError::Invalid { param, message }) => {
                assert_eq!(param, field(golden, "refused").text().unwrap(), "{name}: {message}");
            }
            Err(TranslateError::Unsupported(dropped)) => {
                let dropped: Vec<_> = dropped.iter().map(ToString::to_string).collect();
                let expected: Vec<String> = serde_json::from_slice(field(golden, "unsupported").bytes()).unwrap();
                assert_eq!(dropped, expected, "{name}");
            }
        }
    }
}

#[test]
fn answers() {
    let files = goldens("answer_", ".json");
    assert!(files.len() >= 5, "the files are found");
    for (name, file) in files {
        let golden = RawJson::parse(&file).unwrap();
        let context =
            ChatContext { model: "claude-test".to_owned(), renamed: renamed(golden), ..ChatContext::default() };
        let answer = anthropic::answer(field(golden, "anthropic").bytes(), &context, CREATED).unwrap();
        assert_eq!(minified(&answer), minified(field(golden, "openai").bytes()), "{name}");
    }
}

#[test]
fn errors() {
    let files = goldens("errors", ".json");
    let mut count = 0;
    for (name, file) in files {
        RawJson::parse(&file).unwrap().elements().for_each(|golden| {
            let status = field(golden, "status").unsigned().unwrap();
            let error = anthropic::error(u16::try_from(status).unwrap(), field(golden, "anthropic").bytes());
            assert_eq!(minified(&error), minified(field(golden, "openai").bytes()), "{name}");
            count += 1;
        });
    }
    assert!(count >= 11, "every type of error");
}

#[test]
fn streams() {
    let files = goldens("stream_", ".anthropic.sse");
    assert!(files.len() >= 4, "the files are found");
    for (name, file) in files {
        let context = ChatContext {
            model: "claude-test".to_owned(),
            include_usage: name.contains("usage"),
            ..ChatContext::default()
        };
        let (out, result) = translate_stream(Stream::new(context, CREATED), [&file[..]]);
        assert_eq!(result, Ok(()), "{name}");
        let expected = name.replace(".anthropic.sse", ".openai.sse");
        let (_, expected) = goldens(&expected, "").pop().unwrap_or_default();
        assert_eq!(out, String::from_utf8(expected).unwrap(), "{name}");
    }
}
