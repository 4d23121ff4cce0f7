"""What a user of Anthropic's SDK does, at each address: a line for each."""

import sys

import anthropic

relay, *names = sys.argv[1:]
messages = [{"role": "user", "content": "hi"}]
tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def chat(client):
    answer = client.messages.create(model="claude-x", max_tokens=50, messages=messages)
    return answer.content[0].text, answer.usage.output_tokens


def stream(client):
    with client.messages.stream(model="claude-x", max_tokens=50, messages=messages) as events:
        text = "".join(events.text_stream)
        return text, events.get_final_message().usage.output_tokens


def use_tools(client):
    first = client.messages.create(model="claude-x", max_tokens=50, messages=messages, tools=tools)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    turns = [*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    last = client.messages.create(model="claude-x", max_tokens=50, messages=turns, tools=tools)
    return [call.input["city"] for call in calls], last.content[0].text


def refused(client):
    try:
        client.messages.create(model="claude-x", max_tokens=0, messages=messages)
    except anthropic.BadRequestError as error:
        return type(error).__name__


for name in names:
    for key in ({"api_key": "of-the-client"}, {"auth_token": "of-the-client"}):
        client = anthropic.Anthropic(base_url=f"{relay}/{name}", max_retries=0, **key)
        for act in (chat, stream, use_tools, refused):
            try:
                print(name, act.__name__, act(client), flush=True)
            except Exception as error:
                print(name, act.__name__, "failed", type(error).__name__, error, flush=True)
client = anthropic.Anthropic(base_url=f"{relay}/open", api_key="of-the-client", max_retries=0)
print("models", [model.id for model in client.models.list()])
