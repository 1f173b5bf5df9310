"""What deploy/ holds is sound: each file by the tool that knows its kind, the queries by asking."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from configparser import ConfigParser
from inspect import signature
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_scene import WORKER_IDS, Scene, worker
from grafana import ALL, Dashboard, Query
from ports import free_port
from prometheus import SCRAPE_SECONDS, Prometheus, program_of
from servers import Unavailable

from simpleworkflow import IntentPoller, migrate
from simpleworkflow.cli.worker import command as worker_command
from simpleworkflow.observers.series import SERIES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana/simpleworkflow.json"
RULES = DEPLOY / "prometheus/alerts.yml"
UNIT = DEPLOY / "systemd/simpleworkflow-worker.service"
DOCKERFILE = DEPLOY / "docker/Dockerfile"
COMPOSE = DEPLOY / "docker/compose.yml"
KUBERNETES = DEPLOY / "kubernetes/worker.yaml"

LATEST_END = signature(IntentPoller).parameters["shutdown_timeout"].default + 5
"""Seconds from SIGTERM until a worker has ended, as it is unless told otherwise."""


def said(*command: object, cwd: Path | None = None) -> str:
    """Run a tool, which must be content, and return what it says."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def promtool(*arguments: object) -> None:
    """Have Prometheus' own tool look at something."""
    try:
        said(program_of("promtool"), *arguments)
    except Unavailable as reason:
        pytest.skip(str(reason))


def alerts() -> list[dict[str, Any]]:
    """The alert rules of the file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


class TestPrometheus:
    def test_its_configuration_is_sound(self):
        """promtool takes the example, with the rules beside it."""
        promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")

    def test_its_configuration_for_compose_is_sound(self, tmp_path):
        """promtool takes the files as compose.yml lays them into the container."""
        for path in mounted("prometheus"):
            shutil.copy(path, tmp_path)
        promtool("check", "config", tmp_path / "prometheus.yml")

    def test_each_alert_fires_when_it_should_and_only_then(self):
        """promtool sees the alerts of alerts_test.yml, with their texts, and no others."""
        promtool("test", "rules", DEPLOY / "prometheus/alerts_test.yml")

    def test_each_alert_is_seen_firing_and_seen_silent(self):
        """For each alert there are times when it must fire, and times when it must not."""
        tested: set[tuple[str, bool]] = set()
        for case in yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]:
            for look in case["alert_rule_test"]:
                tested.add((look["alertname"], bool(look["exp_alerts"])))
        assert tested == {(rule["alert"], fires) for rule in alerts() for fires in (True, False)}

    def test_each_alert_says_how_bad_it_is_and_what_to_do(self):
        """Each has a severity, a summary and a description."""
        for rule in alerts():
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"].keys() == {"summary", "description"}


class TestDashboard:
    def test_each_panel_says_what_it_shows(self):
        """Each has a title of its own, one sentence about it, and a unit."""
        panels = Dashboard(DASHBOARD).panels
        assert max(Counter(panel["title"] for panel in panels).values()) == 1
        for panel in panels:
            assert re.fullmatch(r"[A-Z][^.]+\.", panel["description"]), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]

    def test_it_asks_the_prometheus_that_was_chosen(self):
        """Every query goes to the data source of the variable, whatever its name is."""
        text = DASHBOARD.read_text()
        asked = re.findall(r'"datasource": \{\s*"type": "(\w+)",\s*"uid": "([^"]+)"', text)
        assert set(asked) == {("prometheus", "${datasource}")}
        assert len(asked) == text.count('"datasource": ')

    def test_it_shows_each_series_that_workers_have(self):
        """No series of theirs is missing, and none is asked for that they do not have."""
        asked = set(re.findall(r"workflow_\w+", DASHBOARD.read_text()))
        shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
        assert shown == {series.exposed_name for series in SERIES.values()}

    def test_no_panel_hides_another(self):
        """Panels have ids of their own, lie within the 24 columns and do not overlap."""
        panels = Dashboard(DASHBOARD).model["panels"]
        assert max(Counter(panel["id"] for panel in panels).values()) == 1
        for panel in panels:
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            assert not overlap(one, other)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places on the grid have a cell in common."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@pytest.fixture
def scene(one_database_url, tmp_path):
    """A Prometheus that watches what happens to workers; nothing has happened yet."""
    migrate(one_database_url)
    try:
        with Scene(one_database_url, DEPLOY / "prometheus/prometheus.yml", tmp_path) as scene:
            yield scene
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_every_query_is_about_something(scene):
    """Each panel, variable and alert has an answer from real workers, once its time has come."""
    watch = scene.prometheus
    conditions = {rule["alert"]: rule["expr"] for rule in alerts()}

    def expect(alert: str, **labels: str) -> None:
        watch.wait_for(conditions.pop(alert), **labels)

    scene.runs_wait()
    expect("WorkflowRunsWaitTooLong", type="deploy.held.%")
    expect("WorkflowTypeWithoutWorker")
    scene.database_goes_away()
    scene.runs_end()
    expect("WorkflowRunsFail", type="deploy.bad.v1")
    expect("WorkflowAttemptsFail", type="deploy.bad.v1")
    scene.runs_are_released()
    scene.leases_run_out()
    expect("WorkflowLeasesLost", type="deploy.held.%")
    expect("WorkflowRunsRescued", type="deploy.held.%")
    expect("WorkflowWorkerDown", job="simpleworkflow")
    expect("WorkflowPollErrors", worker_id="cut_off", error_type="StoreUnavailable")
    expect("WorkflowWorkerNotReady", worker_id="cut_off")
    # A beat comes thrice in a lease, so a late one is rarely the last: alerts_test.yml has it.
    watch.wait_for(conditions.pop("WorkflowHeartbeatsLate").rpartition(" > ")[0])
    assert unanswered(watch) == []
    scene.workers_end()
    expect("WorkflowNoWorker")
    assert conditions == {}


def unanswered(watch: Prometheus) -> list[Query]:
    """What the dashboard asks in vain: for all types and workers, and for each by its name."""
    dashboard = Dashboard(DASHBOARD)
    offered = {
        name: watch.label_values(*dashboard.variable_query(name)) for name in dashboard.variables
    }
    assert offered["worker_id"] == sorted(WORKER_IDS)
    asked = [
        query
        for chosen in ({name: [ALL] for name in offered}, offered)
        for query in dashboard.queries(chosen, scrape_seconds=SCRAPE_SECONDS, range_seconds=60)
    ]
    return [
        query
        for query in asked
        if not (watch.now if query.is_instant else watch.over_time)(query.expression)
    ]


class TestSystemd:
    def test_the_unit_is_sound(self, tmp_path):
        """systemd-analyze finds nothing to say, once the program is where the unit says."""
        unit = tmp_path / UNIT.name
        program = shlex.split(of_unit("ExecStart"))[0]
        unit.write_text(UNIT.read_text().replace(program, sys.executable))
        # It warns of what it does not know and goes on, so silence is what counts.
        assert said(systemd_analyze(), "verify", "--man=no", unit) == ""

    def test_the_unit_is_hardened(self):
        """systemd-analyze rates its exposure at 2.0 of 10 at most."""
        if "--offline" not in said(systemd_analyze(), "--help"):
            pytest.skip("systemd-analyze is older than version 250, which needs no systemd to rate")
        said(systemd_analyze(), "security", "--offline=true", "--threshold=20", "--no-pager", UNIT)

    def test_a_stop_signals_the_parent_alone(self):
        """By default systemd would signal the workers as well, and twice means at once."""
        assert of_unit("KillMode") == "mixed"


def systemd_analyze() -> str:
    """The tool; the test is skipped where it is not installed."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd: the program systemd-analyze is not installed")
    return found


def of_unit(setting: str) -> str:
    """A setting of the unit's section [Service]."""
    unit = ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.read(UNIT)
    return unit["Service"][setting]


class TestDocker:
    def test_the_dockerfile_is_sound(self):
        """hadolint finds nothing to say."""
        assert said(tool("hadolint"), "--failure-threshold=style", DOCKERFILE) == ""

    def test_the_image_is_built_of_what_it_copies(self, tmp_path):
        """What is copied from the work tree is all that the package is built of."""
        for name in copied():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / name)
        said(sys.executable, "-m", "hatchling", "build", "-d", tmp_path / "dist", cwd=tmp_path)

    def test_the_context_has_what_is_copied(self):
        """.dockerignore lets through each file that is copied from the work tree, and no others."""
        ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        assert {line[1:] for line in ignore if line.startswith("!")} == copied()

    def test_the_container_is_healthy_once_its_worker_is_ready(self, one_database_url, tmp_path):
        """The check of the Dockerfile fails without the worker, and succeeds beside it."""
        migrate(one_database_url)
        shutil.copy(DEPLOY / "work.py", tmp_path)
        # Not for everybody, as within a container, but for this machine alone.
        here = {"0.0.0.0": "127.0.0.1", "9095": str(free_port())}  # noqa: S104
        name, *arguments = [here.get(part, part) for part in json.loads(instructions("CMD")[-1])]
        check = instructions("HEALTHCHECK")[0].partition("CMD ")[2].replace("9095", here["9095"])
        program, *rest = json.loads(check)
        assert (name, program) == ("worker", "python")

        def is_healthy() -> bool:
            done = subprocess.run([sys.executable, *rest], capture_output=True, check=False)
            return done.returncode == 0

        assert not is_healthy()
        output = tmp_path / "output"
        with worker(tmp_path, output, *arguments, DATABASE_URL=one_database_url) as program:
            program.wait_until(is_healthy)
            assert program.end(signal.SIGTERM) == 0

    def test_compose_follows_its_schema(self):
        """compose.yml is what the Compose specification describes."""
        said(
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema=vendor.compose-spec",
            COMPOSE,
        )

    def test_compose_is_understood_by_docker(self):
        """Docker's client reads compose.yml, with its variables; this needs no engine."""
        if shutil.which("docker") is None or "compose" not in said("docker", "--help"):
            pytest.skip("no Docker client with the plugin compose")
        said("docker", "compose", "--file", COMPOSE, "--profile=grafana", "config", "--quiet")

    def test_compose_mounts_files_that_are_there(self):
        """Docker would make an empty folder of each that is missing."""
        for service in ("prometheus", "grafana"):
            assert mounted(service)
            assert all(path.is_file() for path in mounted(service))


def tool(name: str) -> Path:
    """A program that is installed beside this Python."""
    return Path(sys.executable).with_name(name)


def instructions(name: str) -> list[str]:
    """What follows an instruction of the Dockerfile, each time that it has it."""
    lines = DOCKERFILE.read_text().replace("\\\n", "").splitlines()
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{name} ")]


def copied() -> set[str]:
    """What the Dockerfile copies from the work tree."""
    lines = [line for line in instructions("COPY") if not line.startswith("--from")]
    return {name for line in lines for name in shlex.split(line)[:-1]}


def services() -> dict[str, Any]:
    """The services of compose.yml."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def mounted(service: str) -> list[Path]:
    """The files of ours that a service of compose.yml gets."""
    return [COMPOSE.parent / volume.split(":")[0] for volume in services()[service]["volumes"]]


class TestKubernetes:
    def test_the_manifests_follow_their_schemas(self):
        """Kubernetes' own schemas allow each field, and require no other."""
        said(tool("kubernetes-validate"), "--strict", KUBERNETES)

    def test_probes_ask_a_port_that_is_there(self):
        """The kubelet asks for each path at the port that the worker is told to listen on."""
        worker = container("Deployment")
        (port,) = worker["ports"]
        assert worker["args"][-2:] == ["--metrics-port", str(port["containerPort"])]
        paths = {
            name: worker[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
        }
        assert paths == {
            "startup": {"path": "/healthz", "port": port["name"]},
            "liveness": {"path": "/healthz", "port": port["name"]},
            "readiness": {"path": "/readyz", "port": port["name"]},
        }


def pod(kind: str) -> dict[str, Any]:
    """The pod of a manifest."""
    manifests = yaml.safe_load_all(KUBERNETES.read_text())
    (found,) = (one["spec"]["template"]["spec"] for one in manifests if one["kind"] == kind)
    return found


def container(kind: str) -> dict[str, Any]:
    """The only container of a pod."""
    (found,) = pod(kind)["containers"]
    return found


WORKERS = {
    "systemd": lambda: shlex.split(of_unit("ExecStart"))[1:],
    "docker": lambda: json.loads(instructions("CMD")[-1]),
    "compose": lambda: services()["worker"]["command"],
    "kubernetes": lambda: container("Deployment")["args"],
}
"""What each file has the command `simpleworkflow` do."""

TIME_TO_STOP = {
    "systemd": lambda: of_unit("TimeoutStopSec"),
    "compose": lambda: services()["worker"]["stop_grace_period"],
    "kubernetes": lambda: pod("Deployment")["terminationGracePeriodSeconds"],
}
"""How long each waits before it kills."""


@pytest.mark.parametrize("arguments", WORKERS.values(), ids=WORKERS)
def test_the_command_knows_what_it_is_told(arguments):
    """Each file gives the command a module's poller and options that it has."""
    name, *rest = arguments()
    assert name == "worker"
    with worker_command.make_context(name, rest) as context:
        assert context.params["target"] == "work:poller"


@pytest.mark.parametrize("seconds", TIME_TO_STOP.values(), ids=TIME_TO_STOP)
def test_a_worker_has_the_time_to_stop(seconds):
    """Each kills later than a worker takes to let executors finish and to write outcomes."""
    assert int(str(seconds()).removesuffix("s")) > LATEST_END
