"""A plugin whose method has a name that is taken: another `lora`, which tunes nothing and doubles the head."""

from pkt_bench import Method, Settings, TransferContext, Transferred, hookimpl


class Doubling(Settings):
    """What it can be told."""

    factor: float = 2.0
    """What the head is multiplied by."""


def transfer(context: TransferContext) -> Transferred:
    """One stage."""
    import torch

    with context.stage("double"), torch.no_grad():
        context.pair.student.lm_head.weight *= context.settings.factor
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    """A name that pkt-bench has a method for."""
    yield Method("lora", "not the lora you know", "post-align", transfer, Doubling, uses="nothing")
