from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from local_stack.auditor import recorder
from shared.db.engine import sync_engine
from tests.databases import Databases
from tests.integration.auditor.clean import build
from tests.integration.auditor.world import World


@pytest.fixture(scope="module")
def clean_world(databases: Databases) -> Iterator[World]:
    url = databases.create_migrated()
    engine = sync_engine(url, application="test", bound_s=10)
    with engine.begin() as connection:
        recorder.install(connection)
    with engine.connect() as connection:
        now = connection.execute(text("SELECT date_trunc('second', now())")).scalar_one()
        yield build(connection, now - timedelta(hours=1))
    engine.dispose()
    databases.drop(url)


@pytest.fixture
def world(clean_world: World) -> Iterator[World]:
    """Each test plants what is then rolled back, dropped constraints included."""
    planted = clean_world.connection.begin_nested()
    yield replace(
        clean_world,
        ids=dict(clean_world.ids),
        stripe=deepcopy(clean_world.stripe),
        brevo=deepcopy(clean_world.brevo),
    )
    planted.rollback()
