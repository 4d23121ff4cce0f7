"""Does with botocore what the tests of crates/llm ask for: a JSON text comes on stdin, the answer goes to stdout.

sign      requests -> the Authorization header of each
"""

import datetime
import json
import sys


def sign(requests):
    from botocore import auth, awsrequest, credentials

    answers = []
    for request in requests:
        time = datetime.datetime.strptime(request["time"], "%Y%m%dT%H%M%SZ")

        class Clock(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return time

            @classmethod
            def now(cls, tz=None):
                return time.replace(tzinfo=tz)

        # Whichever of the two names this version of botocore takes its time from.
        if hasattr(auth, "get_current_datetime"):
            auth.get_current_datetime = lambda remove_tzinfo=True: time
        auth.datetime = type("module", (), {"datetime": Clock, "timezone": datetime.timezone})
        keys = credentials.Credentials("AKIDEXAMPLE", request["secret"], request["token"])
        sent = awsrequest.AWSRequest(
            method=request["method"], url=request["url"], data=request["body"].encode(), headers=dict(request["headers"])
        )
        auth.SigV4Auth(keys, request["service"], request["region"]).add_auth(sent)
        answers.append([sent.headers["X-Amz-Date"], sent.headers["Authorization"]])
    return answers


questions = {"sign": sign}
json.dump(questions[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
