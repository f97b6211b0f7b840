"""One URL, three spellings, two drivers."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from shared.db.urls import for_asyncpg, for_psycopg2, parse_database_url

SPELLINGS = ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"]
REST = "://u:p%40ss@h:5433/d"


@pytest.mark.parametrize("scheme", SPELLINGS)
def test_every_spelling_becomes_the_url_of_each_driver(scheme: str) -> None:
    asynchronous, synchronous = for_asyncpg(scheme + REST), for_psycopg2(scheme + REST)

    assert asynchronous.url.render_as_string(hide_password=False) == "postgresql+asyncpg" + REST
    assert synchronous.url.render_as_string(hide_password=False) == "postgresql+psycopg2" + REST
    assert asynchronous.url.password == "p@ss"


@pytest.mark.parametrize(
    ("query", "connect_args"),
    [
        ("sslmode=disable", {"ssl": False}),
        ("sslmode=require", {"ssl": "require"}),
        ("ssl=prefer", {"ssl": "prefer"}),
        ("application_name=me", {"server_settings": {"application_name": "me"}}),
        (
            "options=-c%20search_path%3Da%20-cjit%3Doff",
            {"server_settings": {"search_path": "a", "jit": "off"}},
        ),
        ("options=--search-path%3Dmy-customers", {"server_settings": {"search_path": "my-customers"}}),
        (
            "options=-c%20TimeZone%3Da%20-ctimezone%3Db%20-c%20x.y%3Do%5C%20o",
            {"server_settings": {"timezone": "b", "x.y": "o o"}},
        ),
        ("connect_timeout=7", {"timeout": 7.0}),
        ("connect_timeout=0", {}),
        ("statement_cache_size=0", {"statement_cache_size": 0}),
        ("keepalives=1&keepalives_idle=5&tcp_user_timeout=9&target_session_attrs=any&gssencmode=disable", {}),
        ("sslmode=disable&sslmode=require", {"ssl": "require"}),
        ("", {}),
    ],
)
def test_what_asyncpg_does_not_know_in_a_url_becomes_an_argument(
    query: str, connect_args: dict[str, Any]
) -> None:
    driver = for_asyncpg(f"postgresql://h/d?{query}")

    assert driver.connect_args == connect_args
    assert dict(driver.url.query) == {}


def test_what_asyncpg_knows_itself_stays_in_the_url() -> None:
    driver = for_asyncpg("postgresql://h/d?prepared_statement_cache_size=0&sslmode=disable")

    assert dict(driver.url.query) == {"prepared_statement_cache_size": "0"}
    assert driver.connect_args["statement_cache_size"] == 0  # the driver's own cache as well


def test_a_directory_of_sockets_is_named_in_the_query_for_both() -> None:
    raw = "postgresql://me@/d?host=/var/run/postgresql&port=5433"
    for driver in (for_asyncpg(raw), for_psycopg2(raw)):
        assert dict(driver.url.query) == {"host": "/var/run/postgresql", "port": "5433"}


@pytest.mark.parametrize(
    ("mode", "checks_host"),
    [("require", False), ("verify-ca", False), ("verify-full", True)],
)
def test_a_ca_that_is_named_is_checked_against_in_every_mode_and_the_host_in_one(
    mode: str, checks_host: bool
) -> None:
    root = ssl.get_default_verify_paths().cafile or ssl.get_default_verify_paths().openssl_cafile

    for named in (root, "system"):
        context = for_asyncpg(f"postgresql://h/d?sslmode={mode}&sslrootcert={named}").connect_args["ssl"]

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is checks_host


@pytest.mark.parametrize("query", ["sslmode=verify-full&sslrootcert=", "sslmode=require&sslcert="])
def test_a_certificate_file_that_cannot_be_used_is_one_complaint_that_names_it(
    query: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for file in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(ValueError, match=f"certificate file that cannot be used.*{file.name}"):
            for_asyncpg(f"postgresql://h/d?{query}{file}")


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("ssl=require", {"sslmode": "require"}),
        ("sslmode=verify-full&application_name=me", {"sslmode": "verify-full", "application_name": "me"}),
        ("prepared_statement_cache_size=0&statement_cache_size=0", {}),
        ("sslmode=disable&sslmode=require", {"sslmode": "require"}),
    ],
)
def test_psycopg2_gets_the_parameters_as_libpq_spells_them(query: str, kept: dict[str, str]) -> None:
    assert dict(for_psycopg2(f"postgresql+asyncpg://h/d?{query}").url.query) == kept


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("", "is not a URL; it looks like postgresql://"),
        ("localhost:5432/d", "is not a URL"),
        ("mysql://h/d", "has the scheme 'mysql'; use postgresql://"),
        ("postgresql+psycopg://h/d", "has the scheme 'postgresql\\+psycopg'"),
        ("postgresql://h", "names no database"),
        ("postgresql://h:port/d", "is not a URL"),
        ("postgresql://h:70000/d", "has the port 70000"),
        ("postgresql://h:0/d", "has the port 0"),
        ("postgresql://h/d?port=x", "has a port that is no whole number"),
        ("postgresql://h/d?port=70000", "has a port that is no number from 1 to 65535"),
        ("postgresql://h,i/d", "names several hosts"),
        ("postgresql:///d?host=h&host=i", "names several hosts"),
        ("postgresql:///d?host=h,i", "names several hosts"),
        ("postgresql://h/d%00", "has a character that is no text"),
        ("postgresql://h/d?application_name=%00", "has a character that is no text"),
        ("postgresql://a..b/d", "names a host that is none"),
        ("postgresql://h/d?sslmode=on", "has sslmode='on'; it is one of disable, "),
    ],
)
def test_what_is_no_url_is_refused_with_the_fix(raw: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_database_url(raw)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("connect_timeout=soon", "has a connect_timeout that is no whole number"),
        ("statement_cache_size=-1", "has a statement_cache_size that is no whole number"),
        ("prepared_statement_cache_size=x", "has a prepared_statement_cache_size that is no whole number"),
        ("command_timeout=5", "has the parameter 'command_timeout', which not both drivers understand"),
    ],
)
def test_a_parameter_that_a_driver_would_fail_on_when_it_connects_is_refused(
    query: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        for_asyncpg(f"postgresql://h/d?{query}")
