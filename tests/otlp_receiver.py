"""A receiver of OTLP over HTTP: decodes each request with `opentelemetry-proto` and writes it as one line of JSON, and beside each
span what Langfuse makes of it by its documented mapping (https://langfuse.com/integrations/native/opentelemetry)."""

import http.server
import json
import ssl
import sys
import threading

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(one) for one in any_value.array_value.values]
    return getattr(any_value, kind)


def attributes(pairs):
    keys = [pair.key for pair in pairs]
    assert len(keys) == len(set(keys)), f"an attribute stands twice: {sorted(keys)}"
    return {pair.key: value(pair.value) for pair in pairs}


def langfuse(span):
    """The fields of Langfuse's mapping table: of several attributes the first one wins."""
    found = attributes(span.attributes)

    def first(*names):
        return next((found[name] for name in names if name in found), None)

    def below(prefix):
        return {name[len(prefix) :]: one for name, one in found.items() if name.startswith(prefix)}

    model = first("langfuse.observation.model.name", "gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "model")
    usage = first("langfuse.observation.usage_details")
    cost = first("langfuse.observation.cost_details")
    inferred = "ERROR" if span.status.code == Status.STATUS_CODE_ERROR else "DEFAULT"
    return {
        "trace": {
            "name": first("langfuse.trace.name"),
            "userId": first("langfuse.user.id", "user.id"),
            "sessionId": first("langfuse.session.id", "session.id"),
            "tags": first("langfuse.trace.tags"),
            "metadata": below("langfuse.trace.metadata."),
        },
        "type": first("langfuse.observation.type") or ("generation" if model else "span"),
        "level": first("langfuse.observation.level") or inferred,
        "statusMessage": first("langfuse.observation.status_message") or span.status.message or None,
        "model": model,
        "usage": json.loads(usage) if usage else below("gen_ai.usage."),
        "cost": json.loads(cost) if cost else {"total": found["gen_ai.usage.cost"]} if "gen_ai.usage.cost" in found else None,
        "completionStartTime": first("langfuse.observation.completion_start_time"),
        "input": first("langfuse.observation.input", "gen_ai.prompt", "input.value"),
        "output": first("langfuse.observation.output", "gen_ai.completion", "output.value"),
    }


def shown(span):
    return {
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "kind": Span.SpanKind.Name(span.kind),
        "name": span.name,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "status": Status.StatusCode.Name(span.status.code),
        "attributes": attributes(span.attributes),
        "langfuse": langfuse(span),
    }


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        line = {"path": self.path, "headers": {name.lower(): one for name, one in self.headers.items()}, "spans": []}
        for resource in request.resource_spans:
            line["resource"] = attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                line["scope"] = {"name": scope.scope.name, "schema": scope.schema_url}
                line["spans"] += [shown(span) for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print(json.dumps(line), flush=True)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
server.daemon_threads = True
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
# It ends with the test, which closes the standard input.
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
