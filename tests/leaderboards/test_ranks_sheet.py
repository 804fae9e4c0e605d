import csv
import io
import json

from pkt_bench_leaderboards import ranks_sheet
from pkt_bench_leaderboards.ranking import Ranking

FOUR = Ranking(("a", "b", "c", "d"), (1.2, 2.0, 2.9, 3.9), 1.0, 12, 0.004, ("e",), "")


def test_methods_within_the_critical_difference_share_a_letter():
    # 1.2 and 2.0 are 0.8 apart, 2.0 and 2.9 are 0.9, 2.9 and 3.9 just 1.0; 1.2 and 2.9 are more
    sheet = ranks_sheet.write(FOUR)

    assert ranks_sheet.groups(FOUR) == [(0, 1), (1, 2), (2, 3)]
    assert [[cell.text for cell in line.cells] for line in sheet.lines] == [
        ["a", "1.20", "a"],
        ["b", "2.00", "ab"],
        ["c", "2.90", "bc"],
        ["d", "3.90", "c"],
    ]
    assert any(note.words[-1] == "e" for note in sheet.notes if note.mark == "left out")


def test_a_method_apart_from_all_others_stands_alone():
    apart = Ranking(("a", "b", "c"), (1.0, 2.8, 3.0), 1.0, 12, 0.01, (), "")

    assert ranks_sheet.groups(apart) == [(0, 0), (1, 2)]


def test_json_and_csv_have_what_the_table_has():
    as_json = json.loads(ranks_sheet.as_json(FOUR))
    as_csv = list(csv.DictReader(io.StringIO(ranks_sheet.as_csv(FOUR))))

    assert as_json["alike"] == [["a", "b"], ["b", "c"], ["c", "d"]]
    assert [(row["method"], float(row["mean_rank"])) for row in as_csv] == list(
        zip(FOUR.methods, FOUR.mean_ranks, strict=True)
    )


def test_too_few_blocks_are_a_sentence_and_no_table():
    none = Ranking((), (), None, 1, None, (), "no ranks: 1 of 1 (pair, suite) blocks")

    sheet = ranks_sheet.write(none)

    assert sheet.lines == ()
    assert sheet.notes[0].words.startswith("no ranks")
