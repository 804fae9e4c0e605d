"""The method keeps its contract with the harness, and does what its formula says."""

import torch

from pkt_bench_anchor import fit


def test_the_method_keeps_its_contract(pkt_bench_check):
    report = pkt_bench_check("anchor")

    assert report.keeps, report


def test_a_map_that_exists_is_found():
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(50, 6, generator=generator)
    truth = torch.randn(6, 4, generator=generator)

    found = fit(theirs, theirs @ truth)

    torch.testing.assert_close(found, truth, atol=1e-5, rtol=1e-5)


def test_a_run_scores_the_student_and_says_what_moved(pkt_bench_run):
    row = pkt_bench_run("anchor", settings={"strength": 0.5}).row

    assert row["outcome"] == "done"
    assert row["value"] is not None
    assert row["payload_bytes"] == 257 * 32 * 4  # tokens, width of the student, bytes of a float32
