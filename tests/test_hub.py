"""Models of the hub: found in its cache or fetched by the real client, from a small hub on this machine."""

import hashlib
import shutil

import pytest

from hub_server import Hub
from pkt_bench import digests, hub, models, resolving
from pkt_bench.domain import ModelRef
from pkt_bench.errors import IntegrityError, RequestError, UnavailableError
from pkt_bench.resolving import Terms
from pkt_bench.testing import pico_pair

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return pico_pair(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def server(pair, tmp_path, monkeypatch):
    """A hub with the pico student, `someone/student`, and some files beside it that no model is loaded from."""
    served = Hub()
    more = {"README.md": b"#", "onnx.bin": b"x", "modeling.py": b"1", "pytorch_model.bin": b"p"}
    served.add("someone/student", pair.student.path, COMMIT, **more)
    for name, value in {
        "ENDPOINT": served.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": served.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path / "home"))
    yield served
    served.close()


STUDENT = ModelRef(hub="someone/student")


def test_what_is_fetched_is_the_model_at_a_commit_and_nothing_else(server, pair):
    found = hub.fetch(STUDENT)

    assert server.downloads() == [
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    ]
    assert (found.revision, found.label, found.path.name) == (COMMIT, "student", COMMIT)
    assert models.checkpoint_digest(found) == models.checkpoint_digest(pair.student)
    assert hub.locate(STUDENT) == found
    assert hub.needed(STUDENT).files == ()


def test_a_model_that_is_here_is_not_asked_for_again(server):
    found = hub.fetch(STUDENT)
    server.asked.clear()

    again = resolving.found(STUDENT, Terms(fetch=True))

    assert again == found
    assert server.asked == []


def test_a_plan_fetches_nothing_and_says_what_a_run_would(server, pair):
    size = sum(file.stat().st_size for file in pair.student.path.iterdir())

    with pytest.raises(UnavailableError) as caught:
        resolving.found(STUDENT, Terms())

    assert f"run would fetch {size / 1000:.3g} kB in 5 files, a plan fetches nothing" in str(caught.value)
    assert "pkt-bench prefetch" in str(caught.value)
    assert server.downloads() == []


@pytest.mark.parametrize(("offline", "why"), [(True, "--offline is given"), (False, "HF_HUB_OFFLINE or TRANSFORMERS")])
def test_offline_nobody_is_asked(server, monkeypatch, offline, why):
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0" if offline else "1")

    with pytest.raises(UnavailableError, match=why):
        resolving.found(STUDENT, Terms(fetch=True, offline=offline))

    assert server.asked == []


def test_what_a_broken_connection_left_is_gone_on_with(server, pair, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 10)
    whole = (pair.student.path / "model.safetensors").stat().st_size
    server.cut = whole // 2

    found = hub.fetch(STUDENT)

    assert models.checkpoint_digest(found) == models.checkpoint_digest(pair.student)
    assert server.resumed == [whole // 2 // 1024 * 1024]


def test_a_file_that_is_missing_is_fetched_and_no_other(server):
    weights = hub.fetch(STUDENT).path / "model.safetensors"
    weights.resolve().unlink()
    weights.unlink()
    server.asked.clear()

    assert hub.locate(STUDENT) is None
    assert hub.needed(STUDENT).files == ("model.safetensors",)
    assert resolving.found(STUDENT, Terms(fetch=True)).path == weights.parent
    assert server.downloads() == ["model.safetensors"]


def test_bytes_that_are_not_what_the_hub_announced_are_refused_and_removed(server):
    _, files = server.repositories["someone/student"]
    good = files["model.safetensors"]
    server.announced["model.safetensors"] = hashlib.sha256(good).hexdigest()
    files["model.safetensors"] = good[:-1] + bytes([good[-1] ^ 1])

    with pytest.raises(IntegrityError, match="is not what the hub announced"):
        hub.fetch(STUDENT)

    assert hub.locate(STUDENT) is None


@pytest.mark.parametrize(
    ("ref", "kind", "said"),
    [
        (ModelRef(hub="someone/nothing"), RequestError, "the hub has no model 'someone/nothing', or it is private"),
        (ModelRef(hub="someone/secret"), RequestError, "the hub has no model 'someone/secret', or it is private"),
        (ModelRef(hub="someone/gated"), UnavailableError, "its authors ask to accept their terms first"),
        (ModelRef(hub="someone/student", revision="v9"), RequestError, "someone/student has no revision 'v9'"),
        (ModelRef(hub="someone/student", gguf="q.gguf"), RequestError, "someone/student has no file q.gguf on the hub"),
        (ModelRef(hub="someone/pickles"), RequestError, "has no safetensors weights on the hub, only pickled ones"),
        (ModelRef(hub="someone/ggufs"), RequestError, "has its weights in GGUF files. Name one of them"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(server, pair, ref, kind, said):
    server.private.add("someone/secret")
    server.add("someone/gated", pair.student.path)
    server.gated.add("someone/gated")
    server.repositories["someone/pickles"] = (COMMIT, {"config.json": b"{}", "pytorch_model.bin": b"p"})
    server.repositories["someone/ggufs"] = (COMMIT, {"a.gguf": b"GGUF", "b.gguf": b"GGUF"})

    with pytest.raises(kind, match=said) as caught:
        hub.fetch(ref)

    assert type(caught.value) is kind
    assert "\n  " in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_named(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(UnavailableError, match=r"the hub at http://127\.0\.0\.1:9 cannot be reached"):
        hub.needed(STUDENT)


def test_pickles_and_code_are_fetched_where_they_are_allowed(server, pair):
    _, files = server.repositories["someone/student"]
    del files["model.safetensors"]
    allowed = ModelRef(hub="someone/student", consents=("pickle", "remote-code"))

    assert set(hub.needed(allowed).files) >= {"pytorch_model.bin", "modeling.py"}
    assert "onnx.bin" not in hub.needed(allowed).files


# ---------------------------------------------------------------- a cache that somebody else filled


@pytest.fixture
def cached(pair, tmp_path, monkeypatch):
    """The pico student as the hub's client lays it out, without a network: blobs, refs, snapshots."""
    home = tmp_path / "hub" / "models--someone--student"
    snapshot = home / "snapshots" / COMMIT
    for folder in (home / "blobs", home / "refs", snapshot):
        folder.mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    for file in pair.student.path.iterdir():
        blob = home / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path / "home"))
    return snapshot


@pytest.mark.parametrize("revision", ["", "main", COMMIT])
def test_a_model_is_found_in_the_cache_by_branch_and_by_commit(cached, pair, revision):
    found = resolving.found(ModelRef(hub="someone/student", revision=revision), Terms(offline=True))

    assert (found.path, found.revision) == (cached, COMMIT)
    assert models.checkpoint_digest(found) == models.checkpoint_digest(pair.student)


@pytest.mark.parametrize(("name", "lacks"), [("model.safetensors", "its weights"), ("tokenizer.json", "its tokenizer")])
def test_half_a_model_in_the_cache_is_none_and_what_it_lacks_is_said(cached, name, lacks):
    (cached / name).unlink()

    assert hub.locate(STUDENT) is None
    with pytest.raises(UnavailableError, match=f"it lacks {lacks}"):
        resolving.found(STUDENT, Terms(offline=True))


def test_a_large_weight_file_of_the_cache_is_not_read(cached, pair, monkeypatch):
    monkeypatch.setattr(digests, "READ_BYTES", 0)
    read = []
    monkeypatch.setattr(digests, "read_sha256", lambda file: read.append(file) or "0" * 64)

    digests._digest(ModelRef(cached))

    assert read == []


def test_its_digest_is_that_of_a_copy_of_its_files_whatever_their_size(cached, pair, tmp_path, monkeypatch):
    for limit in (0, digests.READ_BYTES):
        monkeypatch.setattr(digests, "READ_BYTES", limit)
        shutil.copytree(cached, tmp_path / f"copy-{limit}")

        assert digests._digest(ModelRef(cached)) == digests._digest(ModelRef(tmp_path / f"copy-{limit}"))


def test_a_large_file_is_read_once_and_again_when_it_was_touched(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(digests, "READ_BYTES", 0)
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    read, plain = [], digests.read_sha256
    monkeypatch.setattr(digests, "read_sha256", lambda file: read.append(file.name) or plain(file))
    copy = tmp_path / "copy"
    shutil.copytree(pair.student.path, copy)

    first, second = digests._digest(ModelRef(copy)), digests._digest(ModelRef(copy))
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    third = digests._digest(ModelRef(copy))

    assert first == second != third
    assert read == ["model.safetensors"] * 2


def test_a_cell_takes_over_the_digest_that_its_plan_took(pair, monkeypatch):
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "_digest", lambda ref: pytest.fail("the files were read"))

    models.remember(pair.student, models.signature(pair.student), "what the plan found")

    assert models.checkpoint_digest(pair.student) == "what the plan found"
