"""Every kind of call that the SDK makes, once per line of standard input; says what came, or what went wrong."""

import sys

import openai

kind, url = sys.argv[1:]
if kind == "OpenAI":
    client = openai.OpenAI(base_url=f"{url}/llm/", api_key="of-the-client", max_retries=0)
else:
    client = openai.AzureOpenAI(
        azure_endpoint=f"{url}/llm", azure_deployment="any", api_version="2024-06-01", api_key="of-the-client", max_retries=0
    )
messages = [{"role": "user", "content": "hi"}]


def chat():
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content


def stream():
    parts = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
    return "".join(part.choices[0].delta.content or "" for part in parts)


def embeddings():
    return client.embeddings.create(model="e", input="hi", encoding_format="float").data[0].embedding


def completions():
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hi").choices[0].text


for call in (chat, stream, embeddings, completions):
    try:
        print(call.__name__, call(), flush=True)
    except Exception as error:
        print(call.__name__, "failed", type(error).__name__, error, flush=True)
