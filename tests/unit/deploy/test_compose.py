"""docker-compose.yml says what the deployment needs, in words that Compose knows."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.buildah import TARGETS
from shared.settings import ApiSettings, SchedulerSettings, Settings, WorkerSettings
from tests.unit.deploy.compose_file import COMPOSE, DOCKERFILE, services

PROCESSES: dict[str, type[Settings]] = {
    "scheduler": SchedulerSettings,
    "worker": WorkerSettings,
    "api": ApiSettings,
    "migrate": Settings,
}
SANDBOXES = ("stripe-sandbox", "brevo-sandbox")
SERVERS = ("postgres", "redis")
#: The image sets these, and Compose leaves them alone; the API serves its own end-points on API_PORT.
OF_THE_IMAGE = {"LOG_DIR", "METRICS_HOST", "METRICS_PORT", "API_HOST", "API_PORT"}
OF_THE_TESTS = {"CUEBX_FAILPOINTS"}


def test_the_file_follows_the_compose_specification() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")

    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_profile_dev_is_everything_and_scheduler_only_the_scheduler_alone() -> None:
    profiles = {name: service["profiles"] for name, service in services().items()}

    assert set(profiles) == {*PROCESSES, *SANDBOXES, *SERVERS}
    assert all("dev" in listed for listed in profiles.values())
    assert [name for name, listed in profiles.items() if "scheduler-only" in listed] == ["scheduler"]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_service_passes_on_every_variable_of_its_settings_and_no_other(name: str) -> None:
    fields = {field.upper() for field in PROCESSES[name].model_fields}

    assert set(services()[name]["environment"]) == fields - OF_THE_IMAGE - OF_THE_TESTS


@pytest.mark.parametrize("name", PROCESSES)
def test_defaults_live_in_the_program_alone(name: str) -> None:
    environment = services()[name]["environment"]

    given = {variable: value for variable, value in environment.items() if value is not None}

    assert given == ({"ENABLE_SCHEDULER": "false"} if name == "api" else {})


@pytest.mark.parametrize("name", ["scheduler", "worker", "api"])
def test_a_process_waits_for_healthy_servers_and_the_schema(name: str) -> None:
    conditions = {other: what["condition"] for other, what in services()[name]["depends_on"].items()}

    assert conditions["postgres"] == conditions["redis"] == "service_healthy"
    assert conditions["migrate"] == "service_completed_successfully"


def test_every_wait_is_for_health_or_for_a_clean_end() -> None:
    everything = services()
    for name, service in everything.items():
        for other, what in service.get("depends_on", {}).items():
            ends = everything[other].get("restart") == "no"
            assert what["condition"] == ("service_completed_successfully" if ends else "service_healthy"), (
                f"{name} on {other}"
            )


def test_whoever_is_waited_for_has_a_health_check() -> None:
    image_checks = set(_targets_with_a_health_check())
    for name, service in services().items():
        target = service.get("build", {}).get("target")
        assert "healthcheck" in service or target in image_checks or service["restart"] == "no", name


def test_the_scheduler_alone_waits_for_no_server_that_its_profile_leaves_out() -> None:
    assert all(what["required"] is False for what in services()["scheduler"]["depends_on"].values())


def test_there_are_two_schedulers() -> None:
    assert services()["scheduler"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_a_service_that_is_scaled_has_no_name_or_port_that_only_one_can_have(name: str) -> None:
    assert not {"container_name", "ports", "hostname", "network_mode"} & set(services()[name])


def test_the_worker_has_longer_to_stop_than_its_drain_takes() -> None:
    # A minute, and then what WORKER_GRACE_S says, its default included.
    default = WorkerSettings.model_fields["worker_grace_s"].default

    assert services()["worker"]["stop_grace_period"] == f"1m${{WORKER_GRACE_S:-{default:.0f}}}s"


def test_redis_persists_and_evicts_nothing() -> None:
    redis = services()["redis"]

    command = " ".join(redis["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert any(volume.endswith(":/data") for volume in redis["volumes"])


def test_postgresql_counts_as_healthy_only_over_tcp() -> None:
    assert "--host=127.0.0.1" in services()["postgres"]["healthcheck"]["test"]


@pytest.mark.parametrize("name", [*PROCESSES, *SANDBOXES])
def test_our_containers_write_nothing_and_have_no_privilege(name: str) -> None:
    service = services()[name]

    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", [*PROCESSES, *SANDBOXES])
def test_signals_reach_a_process_that_has_no_handlers_yet(name: str) -> None:
    assert services()[name]["init"] is True


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_target_that_is_built_exists() -> None:
    built = {service["build"]["target"] for service in services().values() if "build" in service}

    assert built == set(TARGETS)


def _targets_with_a_health_check() -> list[str]:
    stages = DOCKERFILE.read_text().split("\nFROM ")
    return [stage.split(" AS ")[1].split()[0] for stage in stages if "HEALTHCHECK --" in stage]
