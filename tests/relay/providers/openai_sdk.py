"""What a user of OpenAI's SDK does, at each address: a line for each."""

import json
import sys

import openai
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

relay, *names = sys.argv[1:]
messages = [{"role": "user", "content": "hi"}]
parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]


class Person(BaseModel):
    name: str
    age: int


def called(calls):
    return " ".join(f"{call.function.name}({json.loads(call.function.arguments)['city']})" for call in calls)


def chat(client):
    answer = client.chat.completions.create(model="m", messages=messages)
    return f"{answer.choices[0].message.content} {answer.usage.total_tokens}"


def stream(client):
    parts = client.chat.completions.create(model="m", messages=messages, stream=True, stream_options={"include_usage": True})
    text, used = "", None
    for part in parts:
        used = part.usage or used
        text += "".join(choice.delta.content or "" for choice in part.choices)
    return f"{text} {used.total_tokens}"


def use_tools(client):
    first = client.chat.completions.create(model="m", messages=messages, tools=tools).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in first.tool_calls]
    last = client.chat.completions.create(model="m", messages=[*messages, first, *results], tools=tools)
    return f"{called(first.tool_calls)} {last.choices[0].message.content}"


def stream_tools(client):
    with client.chat.completions.stream(model="m", messages=messages, tools=tools) as events:
        message = events.get_final_completion().choices[0].message
    return called(message.tool_calls)


def schema(client):
    person = client.chat.completions.parse(model="m", messages=messages, response_format=Person).choices[0].message.parsed
    return f"{person.name} {person.age}"


def refused(client):
    try:
        client.chat.completions.create(model="m", messages=[])
    except openai.BadRequestError as error:
        return type(error).__name__


def history(client):
    """A conversation that began at OpenAI: its answers as the SDK gives them back, with what was called and what came of it."""
    calls = [
        {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
    ]
    first = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
    said = {"role": "assistant", "content": "Sunny.", "refusal": None, "annotations": []}
    first, said = (ChatCompletionMessage.model_validate(message) for message in (first, said))
    answer = client.chat.completions.with_raw_response.create(
        model="m", messages=[*messages, first, *results, said, *messages], tools=tools
    )
    last = answer.parse().choices[0].message
    return f"{called(last.tool_calls)}; {answer.headers.get('X-Broker-Dropped')}"


def embeddings(client):
    try:
        return json.dumps(client.embeddings.create(model="m", input="hi").data[0].embedding)
    except openai.NotFoundError as error:
        return type(error).__name__


for name in names:
    client = openai.OpenAI(base_url=f"{relay}/{name}/", api_key="of-the-client", max_retries=0)
    # Models that make embeddings make nothing else.
    acts = (embeddings,) if name.startswith("embeddings") else (chat, stream, use_tools, stream_tools, schema, history, refused, embeddings)
    for act in acts:
        # Converse takes schemas of models that know them; the fake one answers with its usual text.
        if act is schema and name == "converse":
            continue
        try:
            print(name, act.__name__, act(client), flush=True)
        except Exception as error:
            print(name, act.__name__, "failed", type(error).__name__, error, flush=True)

# Many models behind one address.
client = openai.OpenAI(base_url=f"{relay}/all/", api_key="of-the-client", max_retries=0)
models = [model.id for model in client.models.list()]
print("models", *models)
for model in models:
    if "embed" in model:
        print(model, client.embeddings.create(model=model, input=["hi", "ho"]).data[1].embedding)
    else:
        print(model, client.chat.completions.create(model=model, messages=messages).choices[0].message.content)
try:
    client.chat.completions.create(model="gpt-none", messages=messages)
except openai.NotFoundError as error:
    print("unknown", error.code, error.param, error.type)
