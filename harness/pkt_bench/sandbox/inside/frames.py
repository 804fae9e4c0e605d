"""The conversation between judge and child: which frames there are and how they look on the pipe.

A frame is a 4-byte length, 8 bytes of nonce, one byte of kind and a payload. The judge draws a fresh nonce
for each request; a frame with another nonce was not written in answer to it.
"""

from __future__ import annotations

LENGTH_BYTES = 4
NONCE_BYTES = 8
HEAD_BYTES = LENGTH_BYTES + NONCE_BYTES + 1

CONFINE = b"C"  # judge: the charter, how the child must lock itself in
PROGRAM = b"P"  # judge: (program, entry point)
CALL = b"Q"  # judge: the positional arguments of one call
SUBJECT = b"S"  # judge: (program, output limit), to be tried by a test program in another child
DO = b"D"  # judge, to a subject: what the tests ask of it (`answering.py`)
TESTS = b"T"  # judge: (prelude, tests, names of entry points)
BEGIN = b"B"  # judge, to the tests: the subject is ready
ANSWERED = b"Y"  # judge, to the tests: what the subject said

READY = b"R"  # child: locked in
REFUSED = b"E"  # child: could not lock itself in; why
LOADED = b"L"  # child: the program ran and has the entry point
NO_FUNCTION = b"N"  # child: the program ran, the entry point is missing or cannot be called
RAISED = b"X"  # child: the program or the call raised (type, message, out of memory?)
ANSWER = b"A"  # child: what the call returned
ASK = b"K"  # child: the tests ask something of the subject
VERDICT = b"V"  # child: the tests are over (reason, detail, how much they asked)
UNSENDABLE = b"U"  # child: the call returned something that is not a plain literal; why


def pack(nonce: bytes, kind: bytes, payload: bytes) -> bytes:
    """One frame."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + nonce + kind + payload


def unpack_head(head: bytes) -> tuple[int, bytes, bytes]:
    """(payload length, nonce, kind) of the first HEAD_BYTES of a frame."""
    length = int.from_bytes(head[:LENGTH_BYTES], "big")
    return length, head[LENGTH_BYTES : LENGTH_BYTES + NONCE_BYTES], head[-1:]
