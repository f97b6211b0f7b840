from cli.checks.clocks import skews
from cli.checks.finding import Level


def test_clocks_that_agree_are_no_problem() -> None:
    [finding] = skews({"PostgreSQL": 0.02, "Redis": -1.5})
    assert finding.level is Level.OK


def test_a_clock_that_is_off_is_named_with_its_direction() -> None:
    [finding] = skews({"PostgreSQL": 0.0, "Redis": -3600.0})
    assert finding.level is Level.PROBLEM
    assert finding.found == "Redis is 3600.0 s behind this host"


def test_no_clock_at_all_is_the_other_checks_problem() -> None:
    [finding] = skews({})
    assert finding.level is Level.OK
