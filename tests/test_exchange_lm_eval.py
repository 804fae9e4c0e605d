"""lm-eval's own files and ours: what one writes the other reads, and no score, answer or doubt is lost on the way."""

import copy
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pkt_bench import integrity, plugins, reports
from pkt_bench.domain import Health, Knobs, digest_of
from pkt_bench.errors import IntegrityError, RequestError
from pkt_bench.exchange.exporting import export
from pkt_bench.exchange.importing import Asked, import_evaluation
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from pkt_bench_leaderboards.board import boards
from recorded import make_cell, make_run

TASKS = ("tiny_arithmetic", "tiny_knowledge")
ASKED = Asked("lora", "arithmetic", "tiny", 0)
# what an import says of itself
NEW = {"run_id", "cell_key", "distribution", "distribution_version", "pkt_bench_version", "host", "created_at"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The embedded student scored by lm-eval on five documents: its report, and the folder its tracker wrote."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    registry = plugins.load()
    folder = registry.pairs.get("tiny").item.student.path
    suite = registry.suites.get("arithmetic").item
    tracker = EvaluationTracker(output_path=str(tmp_path_factory.mktemp("lm-eval")))
    report = simple_evaluate(
        model=HFLM(
            pretrained=AutoModelForCausalLM.from_pretrained(folder),
            tokenizer=AutoTokenizer.from_pretrained(folder),
            batch_size=16,
        ),
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(suite.task_path), include_defaults=False),
        num_fewshot=0,
        limit=5,
        log_samples=True,
        evaluation_tracker=tracker,
        bootstrap_iters=0,
    )
    kept = copy.deepcopy(report)
    samples = report.pop("samples")
    tracker.save_results_aggregated(results=report, samples=samples)
    for task in TASKS:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    (results,) = Path(tracker.output_path).rglob("results_*.json")
    return kept, results


@pytest.fixture(scope="module")
def native(evaluated, tmp_path_factory):
    """The very same evaluation as pkt-bench records it."""
    report, _ = evaluated
    suites = plugins.load().suites
    tasks = [suites.get(name).item.tasks[0] for name in ("arithmetic", "knowledge")]
    said = {task: reports.Report(task.name, report, {task.name: 5}) for task in tasks}
    scores = [score for task in tasks for score in reports.scores(task, said[task])]
    items = [item for task in tasks for item in reports.items(said[task])]
    cell = make_cell(suite="arithmetic", knobs=Knobs(limit=5))
    store = Store(tmp_path_factory.mktemp("native") / "runs")
    store.record(
        make_run(cell, scores=tuple(scores), health=Health(logit_change=0.125), environment={"host": "here"}), items
    )
    store.write_board()
    return store


@pytest.fixture(scope="module")
def theirs(evaluated):
    """The folder that lm-eval wrote."""
    return evaluated[1].parent


@pytest.fixture(scope="module")
def ours(native, tmp_path_factory):
    """The folder that we wrote of the same run."""
    to = tmp_path_factory.mktemp("ours") / "export"
    export(str(native.root), "lm-eval", to)
    (folder,) = to.iterdir()
    return folder


@pytest.fixture
def copied(theirs, tmp_path):
    """Files of lm-eval to be spoilt: the folder, and its results file."""
    folder = tmp_path / "copied"
    shutil.copytree(theirs, folder)
    return folder, next(folder.glob("results_*"))


def results(folder):
    (path,) = folder.glob("results_*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def samples(folder, task):
    (path,) = folder.glob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def by_figure(table, *without):
    names = set(table.column_names) - set(without)
    keys = ("task", "metric", "filter", "doc_id") if "doc_id" in names else ("task", "metric", "filter")
    return {tuple(row[key] for key in keys): {name: row[name] for name in names} for row in table.to_pylist()}


# ---------------------------------------------------------------- out


def test_results_have_all_keys_of_lm_evals_own_and_its_values_where_they_are_known(ours, theirs):
    mine, real = results(ours), results(theirs)

    assert mine.keys() - real.keys() == {"pkt_bench"}
    assert real.keys() <= mine.keys()
    assert real["config"].keys() <= mine["config"].keys()
    same = ("results", "versions", "n-shot", "higher_is_better", "group_subtasks", "task_hashes", "lm_eval_version")
    assert {name: mine[name] for name in same} == {name: real[name] for name in same}
    assert mine["config"]["limit"] == real["config"]["limit"] == 5
    assert mine["config"]["model_dtype"] == real["config"]["model_dtype"]
    assert {task: each["effective"] for task, each in mine["n-samples"].items()} == dict.fromkeys(TASKS, 5)


@pytest.mark.parametrize("task", TASKS)
def test_samples_are_lm_evals_own_but_for_what_no_item_holds(ours, theirs, task):
    mine, real = samples(ours, task), samples(theirs, task)

    for one, other in zip(mine, real, strict=True):
        assert one.keys() == other.keys()
        assert {name for name in one if one[name] != other[name]} == {"doc", "resps", "arguments"}
        assert one["arguments"]["gen_args_0"]["arg_0"] == other["arguments"]["gen_args_0"]["arg_0"]


def test_lm_eval_makes_the_same_table_of_ours_and_finds_the_files_by_their_names(ours, theirs):
    from lm_eval import utils

    names = [str(path) for path in ours.iterdir()]

    assert utils.make_table(results(ours)) == utils.make_table(results(theirs))
    assert len(utils.get_results_filenames(names)) == 1
    found = utils.get_sample_results_filenames(names)
    assert {utils.get_file_task_name(name.rpartition("/")[2]) for name in found} == set(TASKS)


def test_the_host_stays_here(ours):
    assert all("host" not in row for row in results(ours)["pkt_bench"])


# ---------------------------------------------------------------- in


def test_what_was_exported_comes_back_with_every_score_answer_and_column(native, ours, tmp_path):
    before = native.read()

    import_evaluation(ours, tmp_path / "back", ASKED)

    after = Store(tmp_path / "back").read()
    assert by_figure(after.runs, *NEW) == by_figure(before.runs, *NEW)
    assert by_figure(after.items, "run_id", "cell_key") == by_figure(before.items, "run_id", "cell_key")
    assert set(after.runs["distribution"].to_pylist()) == {"imported"}
    moved = after.runs["created_at"][0].as_py() - before.runs["created_at"][0].as_py()
    assert abs(moved) < timedelta(microseconds=2)
    assert integrity.check(tmp_path / "back").faults == ()


def test_lm_evals_own_files_say_what_pkt_bench_would_have_recorded_and_nothing_else(native, theirs, tmp_path):
    before = native.read()

    import_evaluation(theirs, tmp_path / "runs", ASKED)

    after = Store(tmp_path / "runs").read()
    mine, known = by_figure(after.runs), by_figure(before.runs)
    told = (
        "value",
        "stderr",
        "n",
        "limit",
        "shots",
        "task_version",
        "task_hash",
        "documents_hash",
        "headline",
        "scorer",
    )
    for figure, row in mine.items():
        assert {name: row[name] for name in told} == {name: known[figure][name] for name in told}
        unknown = ("teacher_hash", "student_hash", "data_hash", "prompt_hash", "threads", "seconds", "paradigm")
        assert [row[name] for name in unknown] == [None] * len(unknown)
        assert row["comparability"] == digest_of({name: row[name] for name in schema.COMPARED})
    assert by_figure(after.items, "run_id", "cell_key") == by_figure(before.items, "run_id", "cell_key")
    assert integrity.check(tmp_path / "runs").faults == ()


def test_imported_scores_share_a_board_only_where_all_that_is_compared_agrees(native, ours, theirs, tmp_path):
    apart, together = tmp_path / "apart", tmp_path / "together"
    for out in (apart, together):
        shutil.copytree(native.root, out)

    import_evaluation(theirs, apart, ASKED)
    import_evaluation(ours, together, ASKED)

    found = [boards(*(store.read().runs, store.read().items), []) for store in (Store(apart), Store(together))]
    assert [len(each) for each in found] == [2, 1]
    assert len(found[1][0].rows) == 2


def test_files_without_samples_give_scores_whose_documents_are_unknown(copied, tmp_path):
    folder, _ = copied
    for path in folder.glob("samples_*"):
        path.unlink()

    done = import_evaluation(folder, tmp_path / "runs", ASKED)

    found = integrity.check(tmp_path / "runs")
    assert (done.scores, done.items) == (2, 0)
    assert found.runs["documents_hash"].to_pylist() == [None, None]
    assert found.faults == ()
    assert any("its answers are not kept" in words for words in found.unchecked)


def test_importing_twice_adds_nothing(theirs, tmp_path):
    def content():
        return {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    first = import_evaluation(theirs, tmp_path / "runs", ASKED)
    before = content()
    second = import_evaluation(theirs, tmp_path / "runs", ASKED)

    assert (first.added, second.added, second.run_id) == (True, False, first.run_id)
    assert content() == before


def change(edit):
    def spoil(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        edit(found)
        path.write_text(json.dumps(found), encoding="utf-8")

    return spoil


SPOILT = {
    "cut short": (lambda path: path.write_text(path.read_text()[:500]), "it is not JSON"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "it is not UTF-8"),
    "a list": (lambda path: path.write_text("[]"), "it is not what lm-eval writes"),
    "an older version": (change(lambda d: d.update(lm_eval_version="0.3.0")), "it is of lm-eval 0.3.0"),
    "a newer version": (change(lambda d: d.update(lm_eval_version="0.5.0")), "it is of lm-eval 0.5.0"),
    "no version": (change(lambda d: d.pop("lm_eval_version")), "lm_eval_version: field required"),
    "a missing task": (change(lambda d: d["n-samples"].pop(TASKS[1])), f"its 'n-samples' lacks the task {TASKS[1]}"),
    "no scores": (change(lambda d: d.update(results={})), "it has no scores"),
    "NaN": (change(lambda d: d["results"][TASKS[1]].update({"acc,none": float("nan")})), "it holds NaN"),
    "infinity": (change(lambda d: d["results"][TASKS[1]].update({"acc,none": 1e308 * 10})), "it holds Infinity"),
    "words": (change(lambda d: d["results"][TASKS[1]].update({"acc,none": "high"})), "'high', which is no number"),
    "a date of nowhere": (change(lambda d: d.update(date=1e300)), "its date 1e+300 is none"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT)
def test_what_is_no_results_file_is_refused_by_name_before_anything_is_written(copied, tmp_path, spoil, said):
    folder, path = copied
    spoil(path)

    with pytest.raises(RequestError) as refused:
        import_evaluation(folder, tmp_path / "runs", ASKED)

    assert str(refused.value).startswith(f"{path} cannot be imported: ")
    assert said in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_a_sample_that_says_otherwise_than_its_score_is_refused(copied, tmp_path):
    folder, _ = copied
    path = next(folder.glob(f"samples_{TASKS[1]}_*"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["acc"] = 1 - lines[0]["acc"]
    path.write_text("\n".join(map(json.dumps, lines)))

    with pytest.raises(IntegrityError, match="its scores are not what its samples say"):
        import_evaluation(folder, tmp_path / "runs", ASKED)

    assert not (tmp_path / "runs").exists()


def test_a_bad_line_of_samples_is_named_by_file_and_line(copied, tmp_path):
    folder, _ = copied
    path = next(folder.glob(f"samples_{TASKS[0]}_*"))
    path.write_text(path.read_text().replace('"doc_id": 2', '"doc_id": "two"'))

    with pytest.raises(RequestError, match=rf"{path.name} cannot be imported: line 3: .*doc_id"):
        import_evaluation(folder, tmp_path / "runs", ASKED)


def test_a_folder_with_two_evaluations_is_refused_with_their_names(copied, tmp_path):
    folder, path = copied
    other = path.with_name("results_2026-01-01T00-00-00.json")
    shutil.copy(path, other)

    with pytest.raises(RequestError, match=f"holds 2 results files(.|\n)*{other.name}"):
        import_evaluation(folder, tmp_path / "runs", ASKED)


def test_a_suite_nobody_knows_is_ranked_by_the_score_that_is_named(theirs, tmp_path):
    unknown = Asked("lora", "my-suite", "tiny", 0)
    named = Asked("lora", "my-suite", "tiny", 0, headline="tiny_knowledge,acc,none")

    with pytest.raises(RequestError, match="--headline tiny_knowledge,acc,none"):
        import_evaluation(theirs, tmp_path / "runs", unknown)
    import_evaluation(theirs, tmp_path / "runs", named)

    rows = Store(tmp_path / "runs").read().runs.to_pylist()
    assert {row["task"]: row["headline"] for row in rows} == {"tiny_arithmetic": False, "tiny_knowledge": True}


def test_a_suite_whose_task_is_not_in_the_file_is_refused(theirs, tmp_path):
    with pytest.raises(RequestError, match="has no score 'tiny_code,"):
        import_evaluation(theirs, tmp_path / "runs", Asked("lora", "code", "tiny", 0))


def test_settings_that_are_no_object_are_refused(theirs, tmp_path):
    with pytest.raises(RequestError, match="no JSON object"):
        import_evaluation(theirs, tmp_path / "runs", Asked("lora", "arithmetic", "tiny", 0, settings="rank=8"))


def test_both_commands_do_so_and_say_what_they_did(theirs, warm, tmp_path):
    out, to = tmp_path / "runs", tmp_path / "export"
    whose = ("--method", "lora", "--suite", "arithmetic", "--pair", "tiny", "--seed", "3", "--settings", '{"rank": 8}')

    came = warm("import", theirs, "--out", out, *whose)
    went = warm("export", out, "--as", "lm-eval", "--to", to)

    assert (came.code, went.code, went.out) == (0, 0, f"{to}: 3 files about 1 done runs\n")
    assert came.out.endswith("2 scores, 10 answers: added\n")
    row = Store(out).read().runs.to_pylist()[0]
    assert (row["method"], row["seed"], row["settings"]) == ("lora", 3, '{"rank":8}')
