//! Requests as clients send them, JSON and forms.

use llm::Protocol;
use llm::multipart::{MAX_PARTS, MultipartError, parts, rewrite, without_boundary};
use llm::request_view::{Field, MAX_FIELDS, Media, RequestSummary, RequestView, ResponseFormat, is_generation};
use proptest::prelude::*;
use serde_json::{Value, json};

const FORM: &str = "multipart/form-data; boundary=B";
const AUDIO: &[u8] = b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\nxyz\r\n--B--\r\n";

fn owned(path: &str, body: &Value, check: impl FnOnce(RequestView<'_>)) {
    let body = body.to_string();
    check(RequestView::read(path, Some("application/json"), body.as_bytes()));
}

#[test]
fn a_chat_request() {
    let body = json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 7, "max_completion_tokens": 90, "n": 2,
        "tools": [{"type": "function"}, {"type": "function"}], "response_format": {"type": "json_schema", "json_schema": {}},
        "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "data:"}}, {"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}]}]});
    owned("/v1/chat/completions?x=1", &body, |view| {
        assert_eq!((view.protocol, view.model.as_deref(), view.stream), (Protocol::OpenAiChat, Some("gpt-4o"), true));
        assert_eq!((view.include_usage, view.max_output_tokens, view.choices), (Some(true), Some(90), Some(2)));
        assert_eq!((view.tools, view.messages, view.bytes), (2, 2, body.to_string().len()));
        assert_eq!(view.media, Media { images: 1, audio: 1, files: 1 });
        assert_eq!(view.response_format, ResponseFormat::JsonSchema);
    });
}

#[test]
fn requests_of_other_protocols() {
    let responses = json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}, {"type": "input_file"}]}, {"type": "function_call_output", "output": [{"type": "input_image"}]}], "previous_response_id": "resp_1", "max_output_tokens": 5, "text": {"format": {"type": "json_object"}}});
    owned("/v1/responses", &responses, |view| {
        assert_eq!((view.previous_response_id.as_deref(), view.max_output_tokens), (Some("resp_1"), Some(5)));
        assert_eq!(
            (view.media, view.response_format),
            (Media { images: 2, audio: 0, files: 1 }, ResponseFormat::JsonObject)
        );
        assert!(!view.stream && view.include_usage.is_none() && view.tools == 0);
    });
    owned("/v1/responses", &json!({"model": "m", "input": "hello"}), |view| assert_eq!(view.messages, 1));
    let anthropic = json!({"model": "claude", "max_tokens": 9, "tools": [{}], "output_config": {"format": {"type": "json_schema"}}, "messages": [{"role": "user", "content": [{"type": "image", "source": {}}, {"type": "document"}, {"type": "tool_result", "content": [{"type": "image"}]}]}]});
    owned("/v1/messages", &anthropic, |view| {
        assert_eq!((view.protocol, view.media), (Protocol::Anthropic, Media { images: 2, audio: 0, files: 1 }));
        assert_eq!((view.max_output_tokens, view.response_format), (Some(9), ResponseFormat::JsonSchema));
    });
    let gemini = json!({"contents": [{"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "A"}}, {"inline_data": {"mime_type": "audio/wav"}}, {"fileData": {"mimeType": "video/mp4"}}]}], "generationConfig": {"maxOutputTokens": 8, "candidateCount": 3, "responseMimeType": "application/json"}, "tools": [{"functionDeclarations": []}]});
    owned("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", &gemini, |view| {
        assert_eq!(
            (view.protocol, view.model.as_deref(), view.stream),
            (Protocol::Gemini, Some("gemini-2.5-pro"), true)
        );
        assert_eq!((view.max_output_tokens, view.choices, view.tools), (Some(8), Some(3), 1));
        assert_eq!(
            (view.media, view.response_format),
            (Media { images: 1, audio: 1, files: 1 }, ResponseFormat::JsonObject)
        );
    });
    let bedrock = json!({"messages": [{"role": "user", "content": [{"text": "a"}, {"image": {"format": "png"}}, {"toolResult": {"content": [{"document": {}}]}}]}], "inferenceConfig": {"maxTokens": 4}, "toolConfig": {"tools": [{}, {}]}});
    owned("/model/us.anthropic.claude%3A0/converse-stream", &bedrock, |view| {
        assert_eq!((view.model.as_deref(), view.stream), (Some("us.anthropic.claude:0"), true));
        assert_eq!(
            (view.max_output_tokens, view.tools, view.media),
            (Some(4), 2, Media { images: 1, audio: 0, files: 1 })
        );
    });
    owned("/openai/deployments/my%20gpt/chat/completions", &json!({"messages": []}), |view| {
        assert_eq!(view.model.as_deref(), Some("my gpt"));
    });
    owned("/openai/deployments/d/chat/completions", &json!({"model": "m"}), |view| {
        assert_eq!(view.model.as_deref(), Some("m"))
    });
}

#[test]
fn videos_are_files_by_whatever_name() {
    for part in [
        json!({"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}),
        json!({"type": "input_video", "video_url": "https://h/a.mp4"}),
        json!({"type": "video", "video": ["https://h/1.png", "https://h/2.png"]}),
        json!({"video": {"format": "mp4", "source": {}}}),
    ] {
        owned("/v1/chat/completions", &json!({"messages": [{"role": "user", "content": [part]}]}), |view| {
            assert_eq!(view.media, Media { images: 0, audio: 0, files: 1 }, "{part}");
        });
    }
}

#[test]
fn names_are_what_they_mean_and_the_last_one_counts() {
    for (body, model) in [
        (r#"{"model": "a", "model": "b"}"#, Some("b")),
        (r#"{"model": "a", "mod\u0065l": "b"}"#, Some("b")),
        (r#"{"model": "gpt\u002d4"}"#, Some("gpt-4")),
        (r#"{"model": ""}"#, None),
        (r#"{"model": 5}"#, None),
        (r#"{"x": {"model": "a"}}"#, None),
        (r#"{"model": "a""#, None),
        (r#"{"model": "a"} x"#, None),
        (r#"[{"model": "a"}]"#, None),
        ("hello", None),
        ("", None),
    ] {
        let view = RequestView::read("/v1/chat/completions", None, body.as_bytes());
        assert_eq!(view.model.as_deref(), model, "{body}");
    }
}

#[test]
fn values_for_conditions() {
    let body = br#"{"user": {"tier": 2}, "odd\"name": 1, "list": [1], "bad": "\xff"}"#;
    let view = RequestView::read("/", None, body);
    for (path, value) in [
        ("user.tier", Some(json!(2))),
        ("user.name", None),
        ("odd\"name", Some(json!(1))),
        ("list", Some(json!([1]))),
        ("none", None),
    ] {
        let names: Vec<_> = path.split('.').collect();
        assert_eq!(view.value(&names), value, "{path}");
    }
    let no_names: [&str; 0] = [];
    assert_eq!(view.value(&no_names), None);
    let form = RequestView::read("/v1/audio/transcriptions", Some(FORM), AUDIO);
    assert_eq!((form.value(&["model"]), form.value(&["model", "x"])), (Some(json!("whisper-1")), None));
}

#[test]
fn fields_are_bounded() {
    let mut body = "{".to_owned();
    for number in 0..MAX_FIELDS * 2 {
        body += &format!("\"f{number}\":1,");
    }
    body += "\"model\":\"a\"}";
    let view = RequestView::read("/", None, body.as_bytes());
    assert!(view.field("f0").is_some() && view.model.is_none());
}

#[test]
fn forms() {
    let view = RequestView::read("/v1/audio/transcriptions", Some(FORM), AUDIO);
    assert_eq!((view.model.as_deref(), view.media), (Some("whisper-1"), Media { images: 0, audio: 1, files: 0 }));
    assert_eq!((view.field("model"), view.field("file")), (Some(Field::Text("whisper-1")), None));
    for (content_type, body, model) in [
        ("Multipart/Form-Data; charset=utf-8; Boundary=\"B\"", AUDIO, Some("whisper-1")),
        (FORM, b"--B\nContent-Disposition: form-data; name=model\n\nm\n--B--", Some("m")),
        (
            FORM,
            b"preamble\r\n--B  \r\ncontent-disposition:form-data;name=\"model\"\r\n\r\nm\r\n--B--\r\nepilogue",
            Some("m"),
        ),
        (
            FORM,
            b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm--B\r\n--Bx\r\n--B--\r\n",
            Some("m--B\r\n--Bx"),
        ),
        (FORM, b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n--B--\r\n", None),
        (FORM, b"--B\r\nContent-Disposition: form-data; name=\"model\"; filename=\"x\"\r\n\r\nm\r\n--B--\r\n", None),
        (FORM, b"--B\r\nContent-Disposition: form-data; filename=\"; name=model\"\r\n\r\nm\r\n--B--\r\n", None),
        (FORM, b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n", None),
        (FORM, b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\nm\r\n--B--\r\n", None),
        (FORM, b"--B", None),
        (FORM, b"", None),
        ("multipart/form-data", AUDIO, None),
        ("multipart/form-data; boundary=", AUDIO, None),
        ("multipart/mixed; boundary=B", AUDIO, None),
    ] {
        let view = RequestView::read("/v1/audio/transcriptions", Some(content_type), body);
        assert_eq!(view.model.as_deref(), model, "{content_type} {}", String::from_utf8_lossy(body));
    }
    let image = b"--B\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a\"\r\nContent-Type: application/octet-stream\r\n\r\n\xff\r\n--B\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--B\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n--B--\r\n";
    let view = RequestView::read("/v1/images/edits", Some(FORM), image);
    assert_eq!((view.media.images, view.stream, view.choices), (1, true, Some(2)));
    let many = b"--B\r\n\r\n\r\n".repeat(MAX_PARTS + 1);
    assert_eq!(parts(FORM, &[&many[..], b"--B--"].concat()), Err(MultipartError::TooManyParts));
}

#[test]
fn a_form_is_the_same_one_with_another_boundary() {
    let pieces = |kind: &str, body: &[u8]| without_boundary(kind, body).collect::<Vec<_>>().concat();
    let again = String::from_utf8(AUDIO.to_vec()).unwrap().replace("--B", "--another");
    assert_eq!(pieces(FORM, AUDIO), pieces("multipart/form-data; boundary=another", again.as_bytes()));
    assert_ne!(
        pieces(FORM, AUDIO),
        pieces(FORM, &String::from_utf8(AUDIO.to_vec()).unwrap().replace("xyz", "abc").into_bytes())
    );
    for kind in ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=other"] {
        assert_eq!(pieces(kind, AUDIO), AUDIO, "{kind}");
    }
    assert!(pieces(FORM, b"").is_empty());
}

#[test]
fn a_form_is_rewritten() {
    let model = |body: &[u8]| RequestView::read("/", Some(FORM), body).model.map(|model| model.into_owned());
    let new = rewrite(FORM, AUDIO, &[("model", Some("whisper-large-v3")), ("language", Some("de"))]).unwrap();
    assert_eq!(model(&new).as_deref(), Some("whisper-large-v3"));
    assert_eq!(RequestView::read("/", Some(FORM), &new).value(&["language"]), Some(json!("de")));
    let file = &parts(FORM, AUDIO).unwrap()[1];
    assert!(parts(FORM, &new).unwrap().iter().any(|part| (&part.name, part.content) == (&file.name, file.content)));
    assert!(new.windows(7).filter(|text| *text == b"whisper").count() == 1, "the old value is gone");
    let without = rewrite(FORM, AUDIO, &[("model", None)]).unwrap();
    assert_eq!((model(&without), parts(FORM, &without).unwrap().len()), (None, 1));
    assert_eq!(rewrite(FORM, AUDIO, &[]).unwrap(), AUDIO, "nothing to change: the same bytes");
    let unsafe_value = rewrite(FORM, AUDIO, &[("model", Some("x\r\n--B--"))]);
    assert_eq!(unsafe_value, Err(MultipartError::UnsafeValue { field: "model".to_owned() }));
    let harmless = rewrite(FORM, AUDIO, &[("model", Some("Big--B"))]).unwrap();
    assert_eq!(model(&harmless).as_deref(), Some("Big--B"));
    assert_eq!(rewrite("application/json", AUDIO, &[]), Err(MultipartError::NotMultipart));
    assert!(matches!(rewrite(FORM, b"x", &[]), Err(MultipartError::Malformed(_))));
    let empty = rewrite(FORM, b"--B--\r\n", &[("model", Some("m"))]).unwrap();
    assert_eq!(model(&empty).as_deref(), Some("m"));
}

fn part(name: &str, content: &[u8]) -> Vec<u8> {
    [format!("--boundary7\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(), content, b"\r\n"]
        .concat()
}

proptest! {
    #[test]
    fn any_form_is_read_and_rewritten(fields in prop::collection::vec(("[a-z]{1,5}", prop::collection::vec(any::<u8>(), 0..40)), 0..8), name in "[a-z\"\\r\\n]{1,5}", value in "[ -~\\r\\n]{0,20}") {
        let kind = "multipart/form-data; boundary=\"boundary7\"";
        let mut body: Vec<u8> = fields.iter().flat_map(|(name, content)| part(name, content)).collect();
        body.extend(b"--boundary7--\r\n");
        let read = parts(kind, &body).unwrap();
        let contents: Vec<_> = read.iter().map(|part| (part.name.to_string(), part.content.to_vec())).collect();
        prop_assert_eq!(&contents, &fields);
        let new = rewrite(kind, &body, &[(&name, Some(&value))]).unwrap();
        let named = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let mut expected: Vec<_> = fields.into_iter().filter(|(other, _)| *other != name).collect();
        expected.insert(0, (named, value.into_bytes()));
        let contents: Vec<_> = parts(kind, &new).unwrap().iter().map(|part| (part.name.to_string(), part.content.to_vec())).collect();
        prop_assert_eq!(contents, expected);
    }

    #[test]
    fn any_bytes_are_a_request(bytes: Vec<u8>, kind in "\\PC{0,40}|multipart/form-data; ?boundary=\\PC{0,9}", path in "\\PC{0,30}|/(model|models|deployments)/[%a-f0-9:/]{0,12}") {
        let view = RequestView::read(&path, Some(&kind), &bytes);
        prop_assert_eq!(view.bytes, bytes.len());
        let _ = rewrite(&kind, &bytes, &[("model", Some("x"))]);
    }

    #[test]
    fn any_cut_of_a_form_is_no_panic(cut in 0_usize..250, noise: Vec<u8>) {
        let body = [&AUDIO[..cut.min(AUDIO.len())], &noise].concat();
        let _ = (RequestView::read("/", Some(FORM), &body), rewrite(FORM, &body, &[("model", Some("x"))]));
    }
}

#[test]
fn a_summary_says_what_the_whole_view_says() {
    let paths = [
        "/v1/chat/completions?a=b",
        "/openai/deployments/my%20gpt/chat/completions",
        "/v1/models/gemini-3:streamGenerateContent",
        "/model/a.b:0/converse-stream",
        "/engines//x",
        "",
    ];
    let bodies = [
        r#"{"model":"m","stream":true,"user":"u"}"#,
        r#"{"mod\u0065l":"m","stream":false,"user":7}"#,
        r#"{"model":"","stream":"true"}"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"m""#,
        r#"{"model":"m"} x"#,
        "[]",
        "",
    ];
    for (path, body) in paths.iter().flat_map(|path| bodies.map(|body| (*path, body))) {
        let (summary, view) =
            (RequestSummary::read(path, body.as_bytes()), RequestView::read(path, None, body.as_bytes()));
        let user = view.value(&["user"]).and_then(|user| user.as_str().map(str::to_owned));
        assert_eq!(summary.model, view.model, "{path} {body}");
        assert_eq!((summary.stream, summary.user.map(|user| user.into_owned())), (view.stream, user), "{path} {body}");
    }
}

#[test]
fn s1_1_which_calls_make_something() {
    let makes = |method: &str, path: &str, body: &str| {
        is_generation(method, path, &RequestView::read(path, Some("application/json"), body.as_bytes()))
    };
    for path in [
        "",
        "v1/chat/completions",
        "v1/completions?x=1",
        "v1/embeddings",
        "v1/responses/",
        "v1/messages",
        "v1/images/generations",
        "v1/images/edits",
        "v1/audio/speech",
        "v1/videos",
        "v1/rerank",
        "v1/ocr",
        "v1/unknown",
        "models/gemini-2.5-pro:generateContent",
        "models/imagen-4.0:predictLongRunning",
        "models/e:batchEmbedContents",
        "v1beta/interactions",
        "model/claude/invoke",
        "api/chat",
        "api/generate",
        "api/embed",
        "v1/threads/runs",
        "v1/threads/thread_1/runs",
        "v1/threads/thread_1/runs/run_1/submit_tool_outputs",
        "openai/deployments/assistants/chat/completions",
        "openai/deployments/user/embeddings",
        "v1/responses/compact",
        "v1/moderations",
        "team/a/v1/chat/completions",
        "batches/v1/messages",
    ] {
        assert!(makes("POST", path, "{}"), "{path}");
        assert!(!makes("GET", path, ""), "{path}");
    }
    for path in [
        "v1/models",
        "v1/responses/resp_1/cancel",
        "v1/responses/input_tokens",
        "v1/messages/count_tokens",
        "publishers/anthropic/models/count-tokens:rawPredict",
        "v1/messages/batches",
        "v1/messages/batches/msgbatch_1/cancel",
        "v1/batches",
        "v1/files",
        "v1/uploads",
        "v1/uploads/upload_1/parts",
        "v1/uploads/upload_1/complete",
        "v1/fine_tuning/jobs",
        "v1/assistants",
        "v1/assistants/asst_1",
        "v1/vector_stores",
        "v1/vector_stores/vs_1/file_batches",
        "v1/threads",
        "v1/threads/thread_1",
        "v1/threads/thread_1/messages",
        "v1/threads/thread_1/runs/run_1",
        "v1/threads/thread_1/runs/run_1/cancel",
        "v1/conversations/conv_1/items",
        "models/gemini-2.5-pro:countTokens",
        "models/gemini-2.5-pro:batchGenerateContent",
        "v1beta/cachedContents",
        "publishers/google/models/veo:fetchPredictOperation",
        "api/show",
        "api/copy",
        "api/pull",
        "api/push",
        "api/create",
        "api/blobs/sha256:29fd",
        "reset_prefix_cache",
        "v1/tokenize-text",
        "v1/organization/invites",
        "api/v1/keys",
        "v1beta/fileSearchStores",
        "wake_up",
        "start_profile",
        "stop_profile",
        "v1/realtime/calls/rtc_1/accept",
        "v1/realtime/calls/rtc_1/reject",
        "v1/realtime/calls/rtc_1/refer",
        "v1/realtime/calls/rtc_1/hangup",
        "key/generate",
    ] {
        assert!(!makes("POST", path, "{}"), "{path}");
    }
    for (path, body, expected) in [
        ("v1/conversations", r#"{"inputs": "hi", "model": "m"}"#, true),
        ("v1/conversations/conv_1", r#"{"inputs": []}"#, true),
        ("v1/conversations/conv_1/restart", r#"{"inputs": [], "from_entry_id": "e"}"#, true),
        ("v1/conversations", r#"{"items": [], "metadata": {}}"#, false),
        ("v1/conversations", "", false),
        ("v1/conversations/conv_1", r#"{"metadata": {}}"#, false),
    ] {
        assert_eq!(makes("POST", path, body), expected, "{path} {body}");
    }
}

#[test]
fn s1_5_ollama_streams_unless_it_is_told_not_to() {
    for (path, body, stream) in [
        ("/llm/api/chat", r#"{"model": "m"}"#, true),
        ("/llm/api/generate/", r#"{"model": "m", "stream": null}"#, true),
        ("api/chat", r#"{"model": "m", "stream": true}"#, true),
        ("/api/chat", r#"{"model": "m", "stream": false}"#, false),
        ("/api/embed", r#"{"model": "m"}"#, false),
        ("/api/chat/completions", r#"{"model": "m"}"#, false),
        ("/v1/chat", r#"{"model": "m"}"#, false),
        ("/xapi/chat", r#"{"model": "m"}"#, false),
    ] {
        assert_eq!(RequestView::read(path, None, body.as_bytes()).stream, stream, "{path} {body}");
        assert_eq!(RequestSummary::read(path, body.as_bytes()).stream, stream, "{path} {body}");
    }
}

#[test]
fn s1_4_requests_whose_answer_may_be_empty_or_no_json() {
    use Protocol::{Embeddings, Generic, Images, Moderations, OpenAiChat, Rerank, Speech, Transcription};
    let documents = json!({"query": "q", "documents": ["a", "b"]});
    let rerank = |name: &str, value: Value| {
        let mut body = documents.clone();
        body[name] = value;
        body
    };
    for (protocol, body, expected) in [
        (Rerank, documents.clone(), Rerank),
        (Rerank, json!({"query": "q", "texts": ["a"]}), Rerank),
        (Rerank, rerank("top_n", json!(1)), Rerank),
        (Rerank, rerank("top_k", Value::Null), Rerank),
        (Rerank, rerank("top_n", json!(0)), Generic),
        (Rerank, rerank("top_k", json!(0)), Generic),
        (Rerank, rerank("score_threshold", json!(0.5)), Generic),
        (Rerank, json!({"query": "q", "documents": []}), Generic),
        (Rerank, json!({"query": "q"}), Generic),
        (Embeddings, json!({"input": "a"}), Embeddings),
        (Embeddings, json!({"texts": ["a"]}), Embeddings),
        (Embeddings, json!({"input": []}), Generic),
        (Moderations, json!({"input": ["a"]}), Moderations),
        (Moderations, json!({"input": [ ]}), Generic),
        (Images, json!({"prompt": "a"}), Images),
        (Images, json!({"prompt": "a", "n": 0}), Generic),
        (Speech, json!({"input": "a", "response_format": "pcm"}), Speech),
        (Transcription, json!({}), Transcription),
        (OpenAiChat, json!({"messages": []}), OpenAiChat),
    ] {
        owned("/x", &body, |view| assert_eq!(view.judged_as(protocol), expected, "{protocol:?} {body}"));
        assert!(protocol == expected || protocol.is_chosen_by_request(), "{protocol:?} {body}");
    }
    let form = |format: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\n{format}\r\n--B--\r\n")
    };
    for (format, expected) in [
        ("json", Transcription),
        ("verbose_json", Transcription),
        ("diarized_json", Transcription),
        ("text", Generic),
        ("srt", Generic),
        ("vtt", Generic),
    ] {
        let body = form(format);
        let view = RequestView::read("/v1/audio/transcriptions", Some(FORM), body.as_bytes());
        assert_eq!(view.judged_as(Transcription), expected, "{format}");
    }
}
