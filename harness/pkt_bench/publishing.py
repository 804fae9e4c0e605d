"""A run folder as a board to publish: a run folder again, in few files, with a README; the same runs, the same bytes.

pkt-bench.json    says that the folder is a run folder, so that every command that reads one reads this
compacted/        the rows and the answers of all runs, the digest of each file in its name
board.arrow       all rows in one file
board.json        the board as `pkt-bench board --format json` writes it
README.md         the board as `--format md` writes it, what it was made of, and how to open it
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import durable, integrity, merging
from pkt_bench.errors import PktBenchError, RequestError, UnavailableError
from pkt_bench.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

README, BOARD_JSON = "README.md", "board.json"
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_MADE_BY = (
    ("pkt-bench", "pkt_bench_version"),
    ("git revision", "git_revision"),
    ("Python", "python"),
    ("platform", "platform"),
    ("hardware", "hardware"),
    ("scorer", "scorer"),
    ("device", "device"),
    ("type of the weights", "dtype"),
    ("threads", "threads"),
    ("host", "host"),
)


@dataclass(frozen=True)
class Published:
    """Where a board is, whether anything was written there, and in words what could not be checked."""

    folder: Path
    written: bool
    runs: int
    unchecked: tuple[str, ...]


def publish(
    root: Path, slug: str, *, title: str = "", to: Path | None = None, force: bool = False, keep_host: bool = False
) -> Published:
    """Checks a run folder and writes it as a board; where the very same one is there already, nothing is written.

    Raises:
        RequestError: the slug will not do, there is no place to publish in, or another board is there.
        IntegrityError: the run folder is not what was recorded.
        StorageError: the board cannot be written.
    """
    if not _SLUG.fullmatch(slug):
        raise RequestError(
            f"--slug '{slug}' will not do: it names a folder, in small letters, digits, dots, dashes and underscores."
            "\n  For example: --slug tiny-three-seeds"
        )
    folder = (to or published_folder()) / slug
    checked = integrity.check(root, all_items=True)
    checked.require_sound(root)
    aside = folder.with_name(f".{slug}.aside")
    store = Store(folder)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        durable.make_folder(folder.parent)
        runs = checked.runs if keep_host else _without_host(checked.runs)
        _write(aside, runs, checked.items, title or slug)
        count = len(set(runs["run_id"].to_pylist()))
        if folder.exists() and _content(folder) == _content(aside):
            return Published(folder, written=False, runs=count, unchecked=checked.unchecked)
        if folder.exists() and not force:
            raise RequestError(
                f"{folder} holds another board.\n  Name another with --slug, or replace that one with --force."
            )
        _replace(aside, folder)
    except OSError as error:
        raise store.unwritable(error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Published(folder, written=True, runs=count, unchecked=checked.unchecked)


def published_folder() -> Path:
    """Where the boards of this checkout are published.

    Raises:
        RequestError: pkt-bench is installed and not run from a checkout.
    """
    import pkt_bench_leaderboards

    package = Path(pkt_bench_leaderboards.__file__).parent
    if not (package.parents[1] / "pyproject.toml").is_file():
        raise RequestError(
            f"{package} is an installed package, and boards are published in a checkout of pkt-bench."
            "\n  Name a folder for it with --to DIR."
        )
    return package / "published"


def upload(folder: Path, repository: str) -> str:
    """Uploads a published board as a dataset of the Hugging Face hub; gives its address.

    Raises:
        UnavailableError: huggingface_hub is not installed, or the hub cannot be reached or refuses.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UnavailableError("--hub needs huggingface_hub.\n  pip install huggingface_hub") from None
    api = HfApi()
    try:
        address = api.create_repo(repository, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            folder_path=folder,
            repo_id=repository,
            repo_type="dataset",
            commit_message=f"Board {folder.name}",
            delete_patterns=["compacted/*"],
        )
    except Exception as error:
        if isinstance(error, PktBenchError):
            raise
        raise UnavailableError(
            f"{repository} cannot be uploaded to the hub: {type(error).__name__}: {str(error).strip()}"
            f"\n  The board is whole in {folder}. Log in with `hf auth login`, see that HF_HUB_OFFLINE is not set, and"
            " give the same command again."
        ) from None
    return str(address)


# ---------------------------------------------------------------- writing


def _write(folder: Path, runs: pa.Table, items: pa.Table, title: str) -> None:
    """Writes the board; which rows it has decides every byte."""
    from pkt_bench_leaderboards import formats
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.sheet import write

    store = Store(folder)
    merging.add(store, runs, items)
    store.write_board()
    # what is shown is what anybody reads from the files
    found = store.read()
    ranked = boards(found.runs, found.items)
    table = formats.as_markdown([write(board) for board in ranked])
    durable.publish(folder / BOARD_JSON, formats.as_json(ranked).encode())
    durable.publish(folder / README, "".join(_readme(title, table, found.runs, found.items)).encode())


def _without_host(runs: pa.Table) -> pa.Table:
    import pyarrow as pa

    position = runs.schema.get_field_index("host")
    return runs.set_column(position, runs.schema.field("host"), pa.nulls(runs.num_rows, pa.string()))


def _readme(title: str, table: str, runs: pa.Table, items: pa.Table) -> Iterator[str]:
    # what the hub wants to know of a data set; JSON is YAML
    yield f"---\npretty_name: {json.dumps(title, ensure_ascii=False)}\ntags:\n- pkt-bench\n- leaderboard\nconfigs:\n"
    yield '- config_name: runs\n  default: true\n  data_files: "board.arrow"\n---\n\n'
    yield f"# {title}\n\n{table}\n"
    yield f"## What is in it\n\n{_outcomes(runs)}\n\n"
    yield "| file | what it holds |\n| --- | --- |\n"
    yield f"| `board.arrow` | {runs.num_rows:,} rows: one a run, task, metric and filter |\n"
    yield f"| `compacted/` | the same rows, and {items.num_rows:,} answers to documents |\n"
    yield "| `board.json` | the board above with all its figures |\n\n"
    yield "The name of each file in `compacted/` holds the BLAKE2b digest of its bytes.\n\n"
    yield "## How to open it\n\nThis folder is a run folder: give it to `pkt-bench board` and `pkt-bench verify`."
    yield " Any Arrow reader opens its files:\n\n```python\nimport pyarrow as pa\n\n"
    yield 'runs = pa.ipc.open_file("board.arrow").read_all()\n```\n\n'
    yield f"## How it was made\n\n{_provenance(runs)}\n\n## What was asked\n\n"
    yield from _examples(items)


def _outcomes(runs: pa.Table) -> str:
    names = zip(runs["cell_key"].to_pylist(), runs["run_id"].to_pylist(), runs["outcome"].to_pylist(), strict=True)
    counts = Counter(outcome for _, _, outcome in set(names))
    each = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} runs: {each}."


def _provenance(runs: pa.Table) -> str:
    made_by = _MADE_BY if runs["host"].null_count < runs.num_rows else _MADE_BY[:-1]
    lines = [f"- {words}: {_listed(runs[column].unique().to_pylist())}" for words, column in made_by]
    libraries: dict[str, set[str]] = {}
    for text in runs["libraries"].unique().to_pylist():
        for name, version in (json.loads(text) if text else {}).items():
            libraries.setdefault(name, set()).add(str(version))
    used = _listed(f"{name} {' and '.join(sorted(versions))}" for name, versions in libraries.items())
    lines.append(f"- libraries: {used}")
    ended = [when.date().isoformat() for when in runs["created_at"].to_pylist()]
    lines.append(f"- first and last run: {min(ended)}, {max(ended)}")
    return "\n".join(lines)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(str(value) for value in values if value is not None)) or "unknown"


def _examples(items: pa.Table) -> Iterator[str]:
    """One prompt of each task with its right answer, as it was sent."""
    import pyarrow.compute as pc

    for task in sorted(items["task"].unique().to_pylist()):
        of_task = items.filter(pc.equal(items["task"], task)).sort_by(
            [("doc_id", "ascending"), ("run_id", "ascending")]
        )
        first = of_task.slice(0, 1).to_pylist()[0]
        yield f"`{task}`, document {first['doc_id']}:\n\n{_fenced(first['prompt'])}\n\nThe right answer:\n\n"
        yield f"{_fenced(first['target'])}\n\n"


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _content(folder: Path) -> dict[str, str]:
    """Every file of a board by its name, with its digest."""
    return {
        path.relative_to(folder).as_posix(): durable.file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _replace(aside: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    durable.put_in_place(aside, folder)
    shutil.rmtree(old, ignore_errors=True)
