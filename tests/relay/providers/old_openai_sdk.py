"""What a user of `openai==0.28` does, in OpenAI's and in Azure's form: a line for each."""

import sys

import openai

relay = sys.argv[1]
openai.api_key = "of-the-client"
messages = [{"role": "user", "content": "hi"}]


def acts(**named):
    def chat():
        return openai.ChatCompletion.create(messages=messages, **named).choices[0].message.content

    def stream():
        parts = openai.ChatCompletion.create(messages=messages, stream=True, **named)
        return "".join(part.choices[0].delta.get("content") or "" for part in parts if part.choices)

    def completion():
        return openai.Completion.create(prompt="hi", **named).choices[0].text

    def embedding():
        return openai.Embedding.create(input="hi", **named).data[0].embedding

    def refused():
        try:
            openai.ChatCompletion.create(messages=[], **named)
        except openai.error.InvalidRequestError as error:
            return type(error).__name__

    return chat, stream, completion, embedding, refused


for kind, named in (
    ("open_ai", {"model": "gpt-4"}),
    ("open_ai", {"engine": "gpt-35-turbo"}),
    ("azure", {"engine": "gpt-35-turbo"}),
    ("azure", {"deployment_id": "gpt4", "model": "gpt-4"}),
):
    openai.api_type = kind
    openai.api_version = "2023-05-15" if kind == "azure" else None
    openai.api_base = f"{relay}/llm" if kind == "azure" else f"{relay}/llm/v1"
    for act in acts(**named):
        try:
            print(kind, *named, act.__name__, act(), flush=True)
        except Exception as error:
            print(kind, *named, act.__name__, "failed", type(error).__name__, error, flush=True)
