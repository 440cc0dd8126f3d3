"""Opens and seals crosslink's tokens with pyseto, by the written rule and by none of crosslink's code.

A JSON list of jobs comes on stdin, and a JSON list with one answer to each goes to stdout.
"""

import hashlib
import json
import sys

import pyseto


def assertion(destination, user_agent):
    """What a token is bound to: netstrings of the format, the destination, and the browser if the pair binds it."""
    fields = [b"crosslink kmt 1", destination.encode()]
    if user_agent is not None:
        fields.append(hashlib.sha256(user_agent.encode()).digest())
    return b"".join(b"%d:%s," % (len(field), field) for field in fields)


def answer(job):
    key = pyseto.Key.from_paserk(job["key"])
    bound = assertion(job["destination"], job["user_agent"])
    if "token" in job:
        try:
            opened = pyseto.decode(key, job["token"], implicit_assertion=bound)
        except pyseto.DecryptError:
            return {"refused": True}
        return {"payload": opened.payload.decode(), "footer": opened.footer.decode()}
    token = pyseto.encode(key, job["payload"], footer=job["footer"], implicit_assertion=bound)
    return {"token": token.decode()}


json.dump([answer(job) for job in json.load(sys.stdin)], sys.stdout)
