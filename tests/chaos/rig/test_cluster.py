"""A healthy cluster does its work, and is found without fault."""

from tests.chaos.conftest import MakeCluster


def test_a_healthy_cluster_does_all_its_work(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    members = [cluster.start(kind) for kind in ("scheduler", "worker", "api")]
    for member in members:
        member.wait_ready()
    api = cluster.members["api-1"]
    cluster.work.ping_every(1)
    [refund_id] = cluster.work.refunds(1, behaviour="late")
    cluster.work.invoices(2)
    with cluster.work.flowing() as load:
        cluster.work.refund_in(refund_id, "succeeded")
        answer = api.post("/v1/runs", {"job": "ping", "args": {}})
    assert answer.status_code in (200, 201, 202)
    assert load.steps > 1
    cluster.wait_quiet()
    cluster.audit()
    assert cluster.leader() is cluster.members["scheduler-1"]
    assert len(cluster.brevo.addresses()) == 2
