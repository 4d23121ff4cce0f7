"""One chat call per line of standard input, with the SDK's own defaults; says the model that answered, or what went wrong."""

import sys

import openai

kind, url = sys.argv[1:]
if kind == "OpenAI":
    client = openai.OpenAI(base_url=f"{url}/azure/", api_key="key-of-the-client")
else:
    client = openai.AzureOpenAI(
        azure_endpoint=f"{url}/azure", azure_deployment="any", api_version="2023-05-15", api_key="key-of-the-client"
    )
print("ready", openai.__version__, flush=True)
for _ in sys.stdin:
    try:
        chat = client.chat.completions.create(model="gpt4", messages=[{"role": "user", "content": "hi"}], max_tokens=15)
        print("answered", chat.choices[0].message.content, flush=True)
    except Exception as error:
        print("failed", type(error).__name__, error, flush=True)
