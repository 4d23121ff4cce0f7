//! Which ids a request names, and which an answer shows.

use llm::Protocol;
use llm::affinity::{
    MAX_ID_BYTES, MAX_IDS, ids_of_answer, ids_of_request, is_encrypted, is_kept, is_stored, shows_ids,
};
use llm::request_view::RequestView;
use llm::stream::StreamState;
use proptest::prelude::*;

/// What stands for `gAAA=` and for `gBBB=`, the beginning of their SHA-256.
const OF_GAAA: &str = "encrypted:30d229590e2b47183d988140deebff7d";
const OF_GBBB: &str = "encrypted:7edf878c3c270702e699180cccfecb70";

fn named(path: &str, body: &str) -> Vec<String> {
    let view = RequestView::read(path, Some("application/json"), body.as_bytes());
    ids_of_request(path, &view, body.as_bytes()).into_iter().map(String::from).collect()
}

#[test]
fn s1_9_the_ids_that_a_request_names() {
    for (path, body, ids) in [
        ("v1/responses", r#"{"model": "m", "previous_response_id": "resp_1", "input": "hi"}"#, &["resp_1"][..]),
        ("v1/responses", r#"{"previous_response\u005fid": "resp_1"}"#, &["resp_1"]),
        ("v1/responses", r#"{"previous_response_id": null}"#, &[]),
        ("v1/responses", r#"{"conversation": "conv_1"}"#, &["conv_1"]),
        ("v1/responses", r#"{"conversation": {"id": "conv_1"}}"#, &["conv_1"]),
        ("v1/responses/resp_1", "", &["resp_1"]),
        ("responses/resp_1/cancel?x=1", "", &["resp_1"]),
        ("v1/responses/resp%5F1", "", &["resp_1"]),
        ("/v1//responses//resp_1/", "", &["resp_1"]),
        ("openai/v1/responses/resp_1/input_items", "", &["resp_1"]),
        ("v1/threads/thread_1/runs/run_1", "", &["thread_1"]),
        ("v1/threads/thread_1/runs", r#"{"assistant_id": "asst_1"}"#, &["thread_1", "asst_1"]),
        ("v1/threads/runs", r#"{"assistant_id": "asst_1"}"#, &["runs", "asst_1"]),
        ("v1/files/file-1/content", "", &["file-1"]),
        ("v1/batches", r#"{"input_file_id" : "file-1", "endpoint": "/v1/chat/completions"}"#, &["file-1"]),
        ("v1/batches/batch_1/cancel", "", &["batch_1"]),
        ("v1/messages/batches/msgbatch_1/results", "", &["msgbatch_1"]),
        (
            "v1/vector_stores/vs_1/file_batches",
            r#"{"file_ids": ["file-1", "file-2", 3]}"#,
            &["vs_1", "file-1", "file-2"],
        ),
        ("v1/fine_tuning/jobs", r#"{"training_file": "file-1"}"#, &["file-1"]),
        (
            "v1/responses",
            r#"{"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-9"}]}]}"#,
            &["file-9"],
        ),
        (
            "v1/responses",
            r#"{"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "rs_1"}]}"#,
            &["msg_1", "rs_1"],
        ),
        (
            "v1/responses",
            r#"{"input": [{"type": null, "id": "msg_1"}, {"type": "reasoning", "id": "rs_1", "summary": []}]}"#,
            &["msg_1", "rs_1"],
        ),
        ("v1/responses", r#"{"previous_response_id": "resp_1", "input": [{"id": "msg_1"}]}"#, &["resp_1", "msg_1"]),
        (
            "v1/responses",
            r#"{"input": [{"role": "user", "id": "mine", "content": "hi"}, {"type": "message", "id": "msg_1"}]}"#,
            &[],
        ),
        ("v1/responses", r#"{"input": "{\"type\": \"item_reference\", \"id\": \"msg_1\"}"}"#, &[]),
        ("v1/embeddings", r#"{"input": [{"id": "msg_1"}]}"#, &[]),
        ("v1/messages", r#"{"container": "container_1", "messages": []}"#, &["container_1"]),
        (
            "v1/messages",
            r#"{"container": {"id": "container_1", "skills": [{"skill_id": "pptx"}]}}"#,
            &["container_1", "pptx"],
        ),
        ("v1/messages", r#"{"container": {"skills": []}}"#, &[]),
        ("v1/responses", r#"{"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}"#, &["cntr_1"]),
        ("v1/responses", r#"{"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}"#, &[]),
        (
            "v1/responses",
            r#"{"input": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]}"#,
            &["cntr_1"],
        ),
        ("v1/conversations/conv_1", r#"{"inputs": "hi"}"#, &["conv_1"]),
        ("v1beta/interactions", r#"{"previous_interaction_id": "int_1"}"#, &["int_1"]),
        ("v1beta/interactions/int_1", "", &["int_1"]),
        // An image that an earlier response made, which the item is, or only stands for.
        (
            "v1/responses",
            r#"{"input": [{"type": "image_generation_call", "id": "ig_1"}, {"type": "image_generation_call", "id": "ig_2", "result": null}, {"type": "image_generation_call", "id": "ig_3", "result": "AA"}]}"#,
            &["ig_1", "ig_2"],
        ),
        (
            "v1/chat/completions",
            r#"{"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}]}], "audio": {"voice": "alloy"}}"#,
            &["audio_1"],
        ),
        ("v1/chat/completions", r#"{"messages": [{"role": "user", "content": ""audio": {"id": "audio_1"}"}]}"#, &[]),
        ("v1/chat/completions/chatcmpl-1", "", &["chatcmpl-1"]),
        ("v1/chat/completions/chatcmpl-1/messages?limit=1", "", &["chatcmpl-1"]),
        // Gemini: files, caches, batches and operations, by their names and their addresses.
        ("v1beta/files/abc-1", "", &["abc-1"]),
        ("v1beta/files/abc-1:download?alt=media", "", &["abc-1"]),
        ("v1beta/cachedContents/c1", "", &["c1"]),
        ("v1beta/batches/b1:cancel", "", &["b1"]),
        ("v1beta/models/veo-3/operations/o1", "", &["o1"]),
        (
            "v1beta/models/gemini-3:generateContent",
            r#"{"contents": [{"role": "user", "parts": [{"text": "hi"}, {"fileData": {"mimeType": "a/b", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc-1"}}, {"file_data": {"file_uri": "https://generativelanguage.googleapis.com/v1beta/files/abc-2"}}]}], "cachedContent": "cachedContents/c1"}"#,
            &["c1", "abc-1", "abc-2"],
        ),
        (
            "v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            r#"{"contents": {"parts": {"fileData": {"fileUri": "gs://bucket/a.pdf"}}}, "cachedContent": "projects/p/locations/l/cachedContents/7"}"#,
            &["7"],
        ),
        (
            "v1beta/models/m:generateContent",
            r#"{"contents": [{"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}}, {"fileData": {"fileUri": 7}}]}, 8], "cachedContent": "c1"}"#,
            &[],
        ),
        (
            "v1beta/models/m:batchGenerateContent",
            r#"{"batch": {"inputConfig": {"fileName": "files/abc-1"}}}"#,
            &["abc-1"],
        ),
        (
            "v1/projects/p/locations/l/publishers/google/models/veo:fetchPredictOperation",
            r#"{"operationName": "projects/p/locations/l/publishers/google/models/veo/operations/o1"}"#,
            &["o1"],
        ),
        // Azure, Mistral, Anthropic, Replicate.
        ("openai/v1/video/generations/gen_1/content/video?api-version=preview", "", &["gen_1"]),
        ("openai/v1/video/generations/jobs/task_1", "", &["jobs", "task_1"]),
        ("v1/images/generations/x", "", &[]),
        ("v1/agents/ag_1", "", &["ag_1"]),
        ("v1/conversations", r#"{"agent_id": "ag_1", "inputs": "hi"}"#, &["ag_1"]),
        ("v1/skills/skill_1/versions", "", &["skill_1"]),
        ("v1/predictions/p1/cancel", "", &["p1"]),
        // A text is a text, and so is a value that is spelt like a name.
        ("v1/responses", r#"{"input": "say \"file_id\": \"file-9\""}"#, &[]),
        ("v1/responses", r#"{"type": "file_id", "x": "file-9"}"#, &[]),
        ("v1/responses", r#"{"file_id": 7, "thread_id": {"a": 1}, "run_id": "two words", "x_id": ""}"#, &[]),
        // What is encrypted in an item stands for it, with an id and without one.
        (
            "v1/responses",
            r#"{"input": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA="}, {"type": "compaction", "id": "cmp_1", "encrypted_content": "gBBB="}]}"#,
            &[OF_GAAA, OF_GBBB],
        ),
        (
            "v1/responses",
            r#"{"input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA\u003d"}]}"#,
            &["rs_1", OF_GAAA],
        ),
        (
            "v1/responses",
            r#"{"input": [{"type": "reasoning", "encrypted_content": null}, {"type": "reasoning", "encrypted_content": ""}]}"#,
            &[],
        ),
        ("v1/responses", r#"{"input": [{"type": "message", "encrypted_content": "gAAA="}]}"#, &[]),
        // Those of calls are nowhere kept.
        (
            "v1/chat/completions",
            r#"{"messages": [{"tool_call_id": "c_1"}, {"tool_use_id": "c_2"}, {"call_id": "c_3"}, {"recall_id": "r_1"}]}"#,
            &["r_1"],
        ),
        ("v1/chat/completions", "file_id\": \"", &[]),
        ("", "", &[]),
    ] {
        assert_eq!(named(path, body), ids, "{path} {body}");
    }
    let long = "x".repeat(MAX_ID_BYTES + 1);
    assert!(named(&format!("v1/files/{long}"), "").is_empty());
    let calls = r#"{"call_id": "c"}, "#.repeat(2_000);
    assert_eq!(named("v1/x", &format!(r#"{{"input": [{calls}{{"file_id": "file-1"}}]}}"#)), ["file-1"]);
    let many: Vec<_> = (0..100).map(|number| format!("\"f{number}\"")).collect();
    assert_eq!(named("v1/x", &format!("{{\"file_ids\": [{}]}}", many.join(","))).len(), MAX_IDS);
}

#[test]
fn s1_9_the_ids_that_an_answer_shows() {
    for (body, ids) in [
        (
            r#"{"id": "resp_1", "object": "response", "output": [{"id": "msg_1"}], "previous_response_id": "resp_0"}"#,
            &["resp_1", "msg_1"][..],
        ),
        (
            r#"{"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "assistant_id": "asst_1"}"#,
            &["run_1", "thread_1", "asst_1"],
        ),
        (r#"{"id": "batch_1", "output_file_id": "file-2", "error_file_id": null}"#, &["batch_1", "file-2"]),
        (r#"{"id": "upload_1", "file": {"id": "file-1"}}"#, &["upload_1", "file-1"]),
        (r#"{"id": "resp_1", "conversation": {"id": "conv_1"}}"#, &["resp_1", "conv_1"]),
        (r#"{"object": "list", "data": [{"id": "file-1"}], "first_id": "file-1"}"#, &[]),
        (r#"{"id": "x", "object": "list"}"#, &[]),
        (r#"{"data": [{"id": "file-1"}], "has_more": false}"#, &[]),
        (
            r#"{"output": [{"id": "rs_1", "type": "reasoning"}, {"id": "msg_1"}, {"x": 1}, 2], "id": "resp_1", "object": "response"}"#,
            &["resp_1", "rs_1", "msg_1"],
        ),
        (r#"{"id": "x", "output": [{"id": "y"}]}"#, &["x"]),
        (
            r#"{"id": "resp_1", "object": "response", "output": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA="}]}"#,
            &["resp_1", OF_GAAA],
        ),
        (
            r#"{"id": "resp_1", "object": "response.compaction", "output": [{"id": "msg_1"}, {"type": "compaction", "id": "cmp_1", "encrypted_content": "gBBB="}]}"#,
            &["resp_1", "msg_1", "cmp_1", OF_GBBB],
        ),
        (r#"{"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA="}"#, &["rs_1", OF_GAAA]),
        (r#"{"id": "resp_1", "object": "response", "output": [{"id": "msg_1"}, {"id": "m"#, &["resp_1", "msg_1"]),
        // A picture is longer than what is held.
        (
            r#"{"id": "resp_1", "object": "response", "output": [{"id": "ig_1", "type": "image_generation_call", "result": "AAAA"#,
            &["resp_1", "ig_1"],
        ),
        (
            r#"{"model": "m", "id": "msg_1", "type": "message", "container": {"id": "container_1"}, "stop_reason": "end_turn"}"#,
            &["container_1"],
        ),
        (r#"{"model": "m", "id": "msg_1", "type": "message", "content": []}"#, &[]),
        (r#"{"id": "msgbatch_1", "type": "message_batch"}"#, &["msgbatch_1"]),
        (
            r#"{"id": "resp_1", "object": "response", "output": [{"id": "ci_1", "container_id": "cntr_1"}]}"#,
            &["resp_1", "ci_1", "cntr_1"],
        ),
        (r#"{"object": "conversation.response", "conversation_id": "conv_1", "outputs": []}"#, &["conv_1"]),
        (r#"{"id": "int_1", "object": "interaction", "status": "completed"}"#, &["int_1"]),
        // Gemini.
        (
            r#"{"file": {"name": "files/abc-1", "displayName": "a/b", "uri": "https://generativelanguage.googleapis.com/v1beta/files/abc-1"}}"#,
            &["abc-1"],
        ),
        (r#"{"name": "cachedContents/c1", "model": "models/m"}"#, &["c1"]),
        (r#"{"name": "batches/b1", "metadata": {"state": "BATCH_STATE_PENDING"}}"#, &["b1"]),
        (r#"{"name": "models/veo-3/operations/o1"}"#, &["o1"]),
        (r#"{"id": "asst_1", "name": "and/or"}"#, &["asst_1"]),
        (r#"{"name": "models/m", "file": {"uri": 7}}"#, &[]),
        // Azure.
        (
            r#"{"object": "video.generation.job", "id": "task_1", "generations": [{"object": "video.generation", "id": "gen_1", "job_id": "task_1"}]}"#,
            &["task_1", "gen_1"],
        ),
        // A chat that is stored, or whose sound is.
        (
            r#"{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "audio": {"id": "audio_1", "data": "AA"}}}]}"#,
            &["chatcmpl-1", "audio_1"],
        ),
        (r#"{"choices": [{"message": {"audio": {"id": "audio_1", "data": "A"#, &["audio_1"]),
        (r#"{"id": "chatcmpl-1", "choices": [{"message": {"content": "hi", "audio": null}}, 1]}"#, &["chatcmpl-1"]),
        // The beginning of a long one.
        (r#"{"id": "resp_1", "object": "response", "output": [{"te"#, &["resp_1"]),
        (r#"{"id": "resp_"#, &[]),
        (r#"{"id": 7}"#, &[]),
        ("[1]", &[]),
        ("", &[]),
    ] {
        assert_eq!(ids_of_answer(body.as_bytes()), ids, "{body}");
    }
}

#[test]
fn s1_9_a_stream_shows_the_id_of_what_it_makes_before_its_content() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"conversation\":{\"id\":\"conv_1\"}}}\n\n";
    let item = "data: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"content\":[]}}\n\n";
    let thread = "event: thread.created\ndata: {\"id\":\"thread_1\",\"object\":\"thread\"}\n\n";
    let run =
        "event: thread.run.created\ndata: {\"id\":\"run_1\",\"object\":\"thread.run\",\"thread_id\":\"thread_1\"}\n\n";
    let chat = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"resp_1\"}}]}\n\n";
    let call = "data: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"ci_1\",\"type\":\"code_interpreter_call\",\"container_id\":\"cntr_1\"}}\n\n";
    let done = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAA=\"}}\n\n";
    let anthropic = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"container\":{\"id\":\"container_1\"}}}\n\n";
    let mistral = "data: {\"type\":\"conversation.response.started\",\"conversation_id\":\"conv_1\"}\n\n";
    let audio = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"audio\":{\"id\":\"audio_1\",\"transcript\":\"a\"}}}]}\n\n";
    for (events, ids) in [
        (call.to_owned(), &["ci_1", "cntr_1"][..]),
        (done.to_owned(), &[OF_GAAA]),
        (anthropic.to_owned(), &["container_1"]),
        (audio.repeat(2), &["audio_1"]),
        (mistral.to_owned(), &["conv_1"]),
        (created.to_owned(), &["resp_1", "conv_1"]),
        (created.repeat(2), &["resp_1", "conv_1"]),
        (format!("{created}{item}"), &["resp_1", "conv_1", "msg_1"]),
        (format!("{thread}{run}"), &["thread_1", "run_1"]),
        (chat.to_owned(), &[]),
    ] {
        let mut stream = StreamState::new(Protocol::Generic);
        stream.push(events.as_bytes());
        assert_eq!(stream.take_ids(), ids, "{events}");
        assert!(stream.take_ids().is_empty(), "once");
    }
}

#[test]
fn s1_9_a_streamed_chat_shows_its_id_once_to_who_asked_for_a_chat() {
    let chunk = |id: &str, said: &str| format!("data: {{{id}\"choices\":[{{\"index\":0,\"delta\":{{{said}}}}}]}}\n\n");
    let (id, hi) = (r#""id":"chatcmpl-1","#, r#""content":"hi""#);
    let azure = "data: {\"choices\":[],\"id\":\"\",\"prompt_filter_results\":[]}\n\n".to_owned();
    let audio = chunk(id, r#""audio":{"id":"audio_1","transcript":"a"}"#);
    for (protocol, events, ids) in [
        (Protocol::OpenAiChat, chunk(id, hi).repeat(2), &["chatcmpl-1"][..]),
        (Protocol::OpenAiChat, azure + &chunk(id, r#""role":"assistant""#) + &chunk(id, hi), &["chatcmpl-1"]),
        (Protocol::OpenAiChat, audio, &["chatcmpl-1", "audio_1"]),
        (Protocol::OpenAiChat, chunk("", hi) + &chunk(r#""id":null,"#, hi), &[]),
        (Protocol::OpenAiChat, chunk("", hi) + &chunk(id, hi), &[]),
        (Protocol::Anthropic, chunk(id, r#""role":"assistant""#) + &chunk(id, hi), &[]),
        (Protocol::OpenAiResponses, chunk(id, hi), &[]),
    ] {
        let mut stream = StreamState::new(protocol);
        stream.push(events.as_bytes());
        assert_eq!(stream.take_ids(), ids, "{protocol:?} {events}");
        stream.push(chunk(id, hi).as_bytes());
        assert!(stream.take_ids().is_empty(), "once");
    }
}

#[test]
fn s1_9_the_paths_below_which_things_are_kept() {
    for path in [
        "v1/responses",
        "openai/responses?api-version=1",
        "v1/threads/t/messages",
        "files",
        "v1/batches/b",
        "v1/messages",
        "v1beta/files",
        "v1beta/cachedContents",
        "v1beta/models/m:batchGenerateContent",
        "v1beta/models/veo:predictLongRunning?key=x",
        "openai/v1/video/generations/jobs",
        "v1/agents",
        "v1/skills",
        "v1/models/a/b/predictions",
        "v1beta/interactions",
    ] {
        assert!(is_kept(path), "{path}");
    }
    for path in [
        "v1/chat/completions",
        "v1/agents/completions",
        "v1/images/generations",
        "v1beta/models/m:generateContent",
        "v1/embeddings",
        "v1/models",
        "",
        "x?a=/files/",
    ] {
        assert!(!is_kept(path), "{path}");
    }
}

/// Of chats only those teach ids that ask for sound, or to be stored, and those only the ids of that: chats are many.
#[test]
fn s1_9_which_answers_show_ids_and_are_stored() {
    let chat = "v1/chat/completions";
    for (path, body, shows, stored) in [
        (chat, r#"{"model": "m"}"#, false, false),
        (chat, r#"{"store": false}"#, false, false),
        (chat, r#"{"store": null}"#, false, false),
        (chat, r#"{"store": true}"#, true, true),
        (chat, r#"{"modalities": ["text", "audio"]}"#, true, false),
        (chat, r#"{"modalities": ["text"]}"#, false, false),
        (chat, r#"{"modalities": ["text", "audio"], "store": true}"#, true, true),
        ("openai/deployments/m/chat/completions?api-version=1", r#"{"store": true}"#, true, true),
        ("v1/completions", r#"{"store": true}"#, false, true),
        ("v1/responses", "{}", true, true),
        ("v1/responses", r#"{"store": null}"#, true, true),
        ("v1/responses", r#"{"store": false}"#, true, false),
        ("v1/files", "", true, true),
    ] {
        let view = RequestView::read(path, Some("application/json"), body.as_bytes());
        assert_eq!((shows_ids(path, &view), is_stored(path, &view)), (shows, stored), "{path} {body}");
    }
    for (id, only) in [("audio_1", true), ("rs_1", true), (OF_GAAA, true), ("chatcmpl-1", false), ("ig_1", false)] {
        assert_eq!(is_encrypted(id), only, "{id}");
    }
}

proptest! {
    #[test]
    fn s1_9_any_bytes_may_come(body in prop::collection::vec(any::<u8>(), 0..300), cut in 0..200_usize) {
        let _ = ids_of_answer(&body);
        let view = RequestView::read("v1/files/x", None, &body);
        prop_assert!(!ids_of_request("v1/files/x", &view, &body).is_empty());
        let text = r#"{"id": "a", "thread_id": ["b", {"x_id": "c"}], "file_ids": [["d"]], "conversation": {"id": "e"}}"#;
        let cut = text.get(..cut).unwrap_or(text);
        let _ = (ids_of_answer(cut.as_bytes()), named("v1/responses", cut));
    }
}

#[test]
fn s1_9_a_body_made_to_be_slow_is_not() {
    let body = "{\"_id\":[".repeat(1 << 20);
    // Each list looked at to the body's end would take hours.
    assert!(named("v1/responses", &body).is_empty());
}
