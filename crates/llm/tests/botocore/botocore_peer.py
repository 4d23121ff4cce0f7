"""Does with botocore what the tests of crates/llm ask for: a JSON text comes on stdin, the answer goes to stdout.

sign      requests -> date and Authorization header of each
requests  bodies of converse -> what the service model finds wrong with them
answers   answers and streams of converse -> what the service model does not know in them
made_up   a number -> so many answers of converse, made from the service model, and what they must mean
"""

import base64
import datetime
import json
import random
import re
import sys


def sign(requests):
    from botocore import auth, awsrequest, credentials

    answers = []
    for request in requests:
        time = datetime.datetime.strptime(request["time"], "%Y%m%dT%H%M%SZ")
        auth.get_current_datetime = lambda remove_tzinfo=True: time
        keys = credentials.Credentials("AKIDEXAMPLE", request["secret"], request["token"])
        sent = awsrequest.AWSRequest(
            method=request["method"], url=request["url"], data=request["body"].encode(), headers=dict(request["headers"])
        )
        auth.SigV4Auth(keys, request["service"], request["region"]).add_auth(sent)
        answers.append([sent.headers["X-Amz-Date"], sent.headers["Authorization"]])
    return answers


def model():
    from botocore import loaders
    from botocore.model import ServiceModel

    return ServiceModel(loaders.Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


def parameters(shape, value, path, faults):
    """The value as a caller of botocore would pass it; notes patterns, lengths and enums, which botocore leaves to the service."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return value
    if kind == "structure":
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            faults.append(f"{path}: a union of {len(value)} members")
        known = shape.members
        return {
            name: parameters(known[name], inner, f"{path}.{name}", faults) if name in known else inner
            for name, inner in value.items()
        }
    if kind == "list":
        check_size(shape, len(value), path, faults)
        return [parameters(shape.member, inner, f"{path}[{at}]", faults) for at, inner in enumerate(value)]
    if kind == "map":
        check_size(shape, len(value), path, faults)
        return {name: parameters(shape.value, inner, f"{path}.{name}", faults) for name, inner in value.items()}
    if kind == "blob":
        return base64.b64decode(value, validate=True)
    if kind == "string":
        check_size(shape, len(value), path, faults)
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            faults.append(f"{path}: {value!r} is not of the pattern {pattern}")
        if shape.enum and value not in shape.enum:
            faults.append(f"{path}: {value!r} is none of {shape.enum}")
    if kind in ("integer", "long", "float", "double"):
        check_size(shape, value, path, faults)
    return value


def check_size(shape, size, path, faults):
    if size < shape.metadata.get("min", size) or size > shape.metadata.get("max", size):
        faults.append(f"{path}: {size} is outside of {shape.metadata}")


def requests(cases):
    from botocore.serialize import create_serializer
    from botocore.validate import ParamValidator

    operation, faults = model().operation_model("Converse"), []
    for case in cases:
        body, found = json.loads(case["body"]), []
        asked = parameters(operation.input_shape, body, "", found) | {"modelId": "amazon.nova-lite-v1:0"}
        found += filter(None, [ParamValidator().validate(asked, operation.input_shape).generate_report()])
        if not found:
            sent = json.loads(create_serializer("rest-json").serialize_to_request(asked, operation)["body"])
            if sent != body:
                found.append(f"botocore would send {sent}")
        faults += [f"{case['name']}: {fault}" for fault in found]
    return faults


def answers(cases):
    from botocore.eventstream import EventStream
    from botocore.parsers import EventStreamJSONParser, create_parser

    faults = []
    shape = model().operation_model("Converse").output_shape
    for case in cases["answers"]:
        found, body = [], json.loads(case["body"])
        parameters(shape, body, "", found)
        unknown(shape, body, "", found)
        response = {"status_code": 200, "headers": {}, "body": case["body"].encode(), "context": {}}
        create_parser("rest-json").parse(response, shape)
        faults += [f"{case['name']}: {fault}" for fault in found]
    events = model().shape_for("ConverseStreamOutput")
    for case in cases["streams"]:
        found, seen = [], 0

        class Raw:
            def stream(self):
                yield bytes.fromhex(case["hex"])

            def close(self):
                pass

        stream = EventStream(Raw(), events, EventStreamJSONParser(), "ConverseStream")
        for event in stream._event_generator:
            seen += 1
            kind = event.headers.get(":event-type") or event.headers.get(":exception-type")
            if kind is None:
                continue
            if kind not in events.members:
                found.append(f"{kind} is no event")
                continue
            body = json.loads(event.payload)
            parameters(events.members[kind], body, kind, found)
            unknown(events.members[kind], body, kind, found)
        if seen != case["events"]:
            found.append(f"botocore reads {seen} of {case['events']} frames")
        faults += [f"{case['name']}: {fault}" for fault in found]
    return faults


def unknown(shape, value, path, faults):
    """Notes members that the model does not know, and required ones that are missing."""
    if getattr(shape, "is_document_type", False):
        return
    if shape.type_name == "structure":
        faults += [f"{path}.{name} is unknown" for name in value if name not in shape.members]
        faults += [f"{path}.{name} is missing" for name in shape.required_members if name not in value]
        for name in value:
            if name in shape.members:
                unknown(shape.members[name], value[name], f"{path}.{name}", faults)
    elif shape.type_name == "list":
        for inner in value:
            unknown(shape.member, inner, f"{path}[]", faults)


def make_up(dice, shape, name="", depth=0):
    """A value of a shape."""
    if getattr(shape, "is_document_type", False):
        return dice.choice([{}, {"b": 1, "a": [True, None, "x\n\"ü"]}, {"city": "Köln"}])
    kind = shape.type_name
    if kind == "structure":
        names = list(shape.members)
        if getattr(shape, "is_tagged_union", False):
            names = [dice.choice(names)]
        elif depth > 5:
            names = list(shape.required_members)
        else:
            names = [one for one in names if one in shape.required_members or dice.random() < 0.3]
        return {one: make_up(dice, shape.members[one], one, depth + 1) for one in names}
    if kind == "list":
        return [make_up(dice, shape.member, name, depth + 1) for _ in range(dice.randrange(3))]
    if kind == "map":
        return {}
    if kind == "blob":
        return base64.b64encode(dice.randbytes(5)).decode()
    if kind == "string":
        if shape.enum:
            return dice.choice(shape.enum)
        return dice.choice(["", "a", "Grüße\n", "\u2028\"\\", "x-1"]) if "pattern" not in shape.metadata else "x_1"
    if kind == "boolean":
        return dice.random() < 0.5
    return dice.randrange(1000)


def made_up(number):
    dice, shape, cases = random.Random(20261129), model().operation_model("Converse").output_shape, []
    block = shape.members["output"].members["message"].members["content"].member
    finishes = {
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "content_filtered": "content_filter",
        "guardrail_intervened": "content_filter",
    }
    for _ in range(number):
        body = make_up(dice, shape)
        # One member a block, as the service does it; the model does not call it a union.
        kinds = dice.choices(["text", "toolUse", "reasoningContent", "citationsContent", "image"], k=dice.randrange(5))
        content = [{kind: make_up(dice, block.members[kind], kind, 3)} for kind in kinds]
        body["output"] = {"message": {"role": "assistant", "content": content}}
        texts, calls, own_calls = [], [], 0
        for one in content:
            if "text" in one:
                texts.append(one["text"])
            for part in one.get("citationsContent", {}).get("content", []):
                texts += [part["text"]] if "text" in part else []
            call = one.get("toolUse")
            if call is not None and call.get("type") != "server_tool_use":
                calls.append([call["toolUseId"], call["name"], call["input"]])
            elif call is not None:
                own_calls += 1
        reason, usage = body["stopReason"], body["usage"]
        cases.append({
            "body": body,
            "broken": reason.startswith("malformed") or (reason == "tool_use" and not calls and not own_calls),
            "text": "".join(texts) if texts or not calls else None,
            "calls": calls,
            "finish": finishes.get(reason, "tool_calls" if calls else "stop"),
            "total": usage["inputTokens"] + usage["outputTokens"]
            + usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0),
        })
    return cases


questions = {"sign": sign, "requests": requests, "answers": answers, "made_up": made_up}
json.dump(questions[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
