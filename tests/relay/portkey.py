"""The cookbook's configurations with Portkey's SDK: what came of each, or what went wrong."""

import sys

from portkey_ai import Portkey

url = sys.argv[1]
messages = [{"role": "user", "content": "hi"}]
fallback = {
    "strategy": {"mode": "loadbalance"},
    "targets": [
        {"virtual_key": "a", "weight": 0, "override_params": {"model": "claude-sonnet-4-5"}},
        {
            "strategy": {"mode": "fallback"},
            "weight": 0.5,
            "targets": [{"virtual_key": "b"}, {"virtual_key": "c", "retry": {"attempts": 1}}],
        },
    ],
}
canary = {
    "strategy": {"mode": "loadbalance"},
    "targets": [{"virtual_key": "a", "weight": 1}, {"virtual_key": "c", "weight": 0}],
}
stolen = {"provider": "openai", "custom_host": "http://127.0.0.1:1/", "api_key": "theirs"}


def client(config):
    return Portkey(base_url=url, api_key="of-the-client", config=config, trace_id="request-loadbalance-fallback")


for name, config in (("fallback", fallback), ("canary", canary)):
    try:
        chat = client(config).chat.completions
        print(name, chat.create(model="gpt-4o", messages=messages).choices[0].message.content, flush=True)
        parts = chat.create(model="gpt-4o", messages=messages, stream=True)
        text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        print(name, "stream", text, flush=True)
    except Exception as error:
        print(name, "failed", type(error).__name__, error, flush=True)
try:
    client(stolen).chat.completions.create(model="gpt-4o", messages=messages)
    print("not refused")
except Exception as error:
    print("refused", getattr(error, "status_code", error), "invalid_config" if "invalid_config" in str(error) else error)
