"""Nothing is unpickled, and no text becomes code: not in our tree, and not in a process that is handed a payload everywhere."""

import ast
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from tests.e2e.processes import REPOSITORY
from tests.security.system import Api, system
from tests.wait import wait_until

#: Their loaders make whatever object the bytes ask for.
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "joblib", "marshal", "shelve", "pickletools",
    "yaml", "ruamel",
}  # fmt: skip
CODE = {"eval", "exec", "compile", "__import__"}
NAMES = {"PickleType", "pickle_protocol", "allow_pickle"}
#: APScheduler wants triggers that can be pickled: it never does it itself, and its store that would is overridden.
HOOKS = {"__reduce__", "__reduce_ex__"}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    # Peers are measured as they come: APScheduler's own store pickles.
    others = ("tests/", "benchmarks/peers/")
    return [REPOSITORY / line for line in listed.stdout.splitlines() if not line.startswith(others)]


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in MODULES or any(each.name in NAMES | MODULES for each in names):
                    yield module
            case ast.Call(func=ast.Name(id=name)) if name in CODE:
                yield name
            case ast.Attribute(attr=name) if name in NAMES:
                yield name
            case ast.keyword(arg=str(name)) if name in NAMES:
                yield name
            case ast.FunctionDef(name=name) if name in HOOKS:
                yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "from arq import pickle", "import marshal", "import yaml",
        "eval('1')", "exec(text)", "compile(text, '', 'exec')", "Column(PickleType())\nfrom sqlalchemy import PickleType",
        "numpy.load(f, allow_pickle=True)", "def __reduce__(self): ...",
    ],
)  # fmt: skip
def test_the_search_finds_each_way_to_make_code_or_objects_of_data(source: str) -> None:
    assert list(offences(source))


def test_the_search_leaves_what_only_looks_like_it() -> None:
    assert not list(offences("redis.eval(script)\nre.compile(text)\nsession.execute(sql)\njson.loads(raw)"))


def test_no_file_of_ours_unpickles_or_evaluates() -> None:
    files = tracked()
    assert len(files) > 100
    found = {str(file.relative_to(REPOSITORY)): list(offences(file.read_text())) for file in files}
    assert {name: each for name, each in found.items() if each} == {}


class Payload:
    """What an attacker pickles: unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


#: Loaded by every Python that has its directory in PYTHONPATH: tells of every object that a pickle asks for.
WATCH = """
import sys
def tell(event, args):
    if event == "pickle.find_class":
        open({told!r}, "a").write(repr(args))
sys.addaudithook(tell)
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """Settings of a process in which `told` is written as soon as something is unpickled."""
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(told=str(tmp_path / "told")))
    return {"PYTHONPATH": str(tmp_path)}


def test_a_payload_makes_its_file_and_is_told_of_where_somebody_unpickles_it(
    watched: dict[str, str], tmp_path: Path
) -> None:
    naive = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
    payload = pickle.dumps(Payload(tmp_path / "made")).hex()
    subprocess.run([sys.executable, "-c", naive, payload], env=watched, check=True)
    assert (tmp_path / "made").exists()
    assert "touch" in (tmp_path / "told").read_text()


def test_payloads_in_redis_in_schedules_and_in_arguments_are_parked_and_never_loaded(
    database_url: str, redis_url: str, watched: dict[str, str], tmp_path: Path
) -> None:
    made, told = tmp_path / "made", tmp_path / "told"
    payload = pickle.dumps(Payload(made))
    plant_in_redis(redis_url, payload)
    hidden = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": [f"touch {made}"]}]}
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as sql:
        sql.execute(
            "INSERT INTO scheduler_maintenance_jobs (id, next_run_time, job_state) VALUES"
            " ('pickled', 1, to_jsonb(%s::text)), ('called', 1, %s)",
            (
                payload.hex(),
                json.dumps({"version": 1, "func": "os:system", "args": [f"touch {made}"], "trigger": hidden}),
            ),
        )
        sql.execute(
            "INSERT INTO job_runs (job, queue, args, max_attempts) VALUES"
            " ('ping', 'maintenance', %s, 1), ('os:system', 'maintenance', %s, 1)",
            (json.dumps({"sleep_s": hidden}), json.dumps({"command": f"touch {made}"})),
        )
        connection.commit()
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **watched}
        with system(environment, tmp_path) as ours, redis.Redis.from_url(redis_url) as server:
            ours.start("scheduler_svc", RUN_LEASE_S="1.5", LEADER_TTL_S="1")
            worker = ours.start("worker_svc", RUN_LEASE_S="1.5")
            api = Api(ours.start("api_svc", ENABLE_SCHEDULER="false"))
            server.publish("cuebx:notices", payload)
            wait_until(lambda: payload in server.lrange("cuebx:parked", 0, -1), 20, "the message is parked")
            worker.wait_for("run_ended")
            answer = api.request("POST", "/v1/runs", job="ping", args={"sleep_s": hidden})

            def states() -> dict[str, str]:
                sql.execute("SELECT job, state FROM job_runs WHERE schedule_id IS NULL")
                connection.commit()
                return dict(sql.fetchall())

            wait_until(lambda: states().get("ping") == "dead", 20, "the run with the payload is dead")
            assert states()["os:system"] in ("pending", "queued", "running"), "an unknown job goes back"
            status = ours.cuebx("doctor").stdout
            sql.execute("SELECT id FROM scheduler_maintenance_jobs WHERE id IN ('pickled', 'called')")
            assert len(sql.fetchall()) == 2, "no row is deleted because it cannot be read"
            assert server.get("arq:job:pickled") == payload, "nobody takes arq's own messages"
    assert answer.status_code == 422
    assert "pickled is broken" in status
    assert "called is broken" in status
    assert not made.exists()
    assert not told.exists(), told.read_text()


def plant_in_redis(redis_url: str, payload: bytes) -> None:
    """As a message, and wherever arq would look for one."""
    with redis.Redis.from_url(redis_url) as server:
        server.set("arq:job:pickled", payload)
        for queue in ("arq:queue", "cuebx:queue:maintenance"):
            server.zadd(queue, {"pickled": 1})
        for queue in (
            "cuebx:queue:maintenance",
            "cuebx:queue:refunds",
            "cuebx:queue:payment_reminders:taken",
        ):
            server.zadd(queue, {payload: 1})
        server.hset("cuebx:process:worker:pickled", mapping={"queues": payload, payload: "x"})
        server.set("cuebx:limit:stop:stripe", payload, px=1000)
