"""Methods that break one promise each, and one that keeps them all: a plugin file for the tests of the contract."""

import os
import time

from pydantic import BaseModel, Field

from pkt_bench import Estimate, Method, Settings, Transferred, hookimpl


class Plain(Settings):
    factor: float = Field(default=1.5, gt=0, le=4)
    """What the head is multiplied by."""


class Undocumented(Settings):
    factor: float = 1.5


class Loose(BaseModel):
    """Neither frozen nor strict."""

    factor: float = Field(default=1.5, description="What the head is multiplied by.")


class Unplain(Settings):
    started: float = float("inf")
    """A number that JSON does not have."""


def scaled(context, factor=1.5, **said):
    import torch

    with context.stage("scale"), torch.no_grad():
        context.pair.student.lm_head.weight *= factor
    return Transferred(context.pair.student, **{"payload": {}, **said})


def good(context):
    return scaled(context, context.settings.factor)


def lucky(context):
    return scaled(context, 1 + int.from_bytes(os.urandom(2), "big") / 1e6)


def hashed(context):
    return scaled(context, 1 + abs(hash("text")) % 1000 / 1e5)


def scarred(context):
    """What an earlier attempt left in the run folder changes what this one does."""
    mark = context.cache.root.parent / "work" / "scar"
    scar = mark.exists()
    mark.touch()
    return scaled(context, 2.5 if scar else 1.5)


def spoils_teacher(context):
    import torch

    with torch.no_grad():
        context.pair.teacher.lm_head.weight[0, 0] += 1
    return scaled(context)


def reshapes(context):
    context.pair.student.resize_token_embeddings(300, mean_resizing=False)
    return Transferred(context.pair.student)


def poisons(context):
    return scaled(context, float("nan"))


def idle(context):
    return Transferred(context.pair.student, payload={})


def forgets_what_it_returns(context):
    return context.pair.student


def patches(context):
    import torch

    student = context.pair.student
    student.lm_head.register_forward_hook(lambda module, given, out: out + 1)
    with torch.no_grad():
        student.lm_head.weight *= 1.5
    return Transferred(student, payload={})


def trains(context):
    import torch

    student = context.pair.student.requires_grad_(requires_grad=True)
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
    records = context.encoded(context.records("train"), 64)
    with context.stage("tune"):
        for record in records[:4]:
            ids = torch.tensor([record.ids])
            student(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return student, sum(weight.numel() for weight in student.parameters()), 4 * len(records[0].ids)


def trains_and_tells(context):
    student, size, tokens = trains(context)
    context.spend(tokens=tokens, steps=4, trainable=size)
    return Transferred(student, payload={})


def trains_and_lies(context):
    student, size, tokens = trains(context)
    context.spend(tokens=tokens * 10, steps=1, trainable=size // 2)
    return Transferred(student, payload={})


def trains_in_silence(context):
    return Transferred(trains(context)[0], payload={})


def uses_the_teacher(context):
    context.pair.teacher.eval()
    return scaled(context)


def nested(context):
    with context.stage("outer"), context.stage("inner"):
        time.sleep(0.2)
    return scaled(context)


def litters(context):
    os.environ["LITTER"] = "1"
    return scaled(context)


def picky_at_work(context):
    raise LookupError("this pair is not for me")


def picky_question(question):
    raise KeyError("layers")


def exiting_question(question):
    raise SystemExit(0)


def chatty_question(question):
    print("what a question")


def method(name, transfer, **more):
    settings = more.pop("settings", Plain)
    return Method(name, f"breaks a promise: {name}", "control", transfer, settings, **{"uses": "nothing", **more})


@hookimpl
def pkt_bench_methods():
    yield method("good", good, estimate=lambda question: [Estimate("head", "V d", question.student.hidden, "bytes")])
    yield method("undocumented", good, settings=Undocumented)
    yield method("loose", good, settings=Loose)
    yield method("unplain", scaled, settings=Unplain)
    yield method("lucky", lucky)
    yield method("hashed", hashed)
    yield method("scarred", scarred)
    yield method("spoils-teacher", spoils_teacher, uses="weights")
    yield method("reshapes", reshapes)
    yield method("poisons", poisons)
    yield method("idle", idle)
    yield method("busy", scaled, changes_student=False)
    yield method("forgets", forgets_what_it_returns)
    yield method("patches", patches)
    yield method("trains-and-tells", trains_and_tells)
    yield method("trains-and-lies", trains_and_lies)
    yield method("trains-in-silence", trains_in_silence)
    yield method("uses-the-teacher", uses_the_teacher)
    yield method("never-asks", scaled, uses="weights")
    yield method("nested", nested)
    yield method("litters", litters)
    yield method("raises", picky_at_work)
    yield method("raises-when-asked", scaled, skip=picky_question)
    yield method("exits-when-asked", scaled, skip=exiting_question)
    yield method("chatty", scaled, skip=chatty_question)
    yield method("says-nothing", scaled, skip=lambda question: "")
    yield method("choosy", scaled, skip=lambda question: "it is Monday, and this method rests")
    yield method("estimates-nonsense", scaled, estimate=lambda question: [Estimate("all", "", float("nan"), "bytes")])
