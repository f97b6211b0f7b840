"""What the image build downloads does not depend on the Python that downloads it."""

from deploy.build_images import ROOT, without_markers


def test_a_lock_without_markers_names_the_same_packages_and_hashes() -> None:
    lock = (ROOT / "requirements" / "runtime.txt").read_text()

    bare = without_markers(lock)

    assert " ; " in lock
    assert " ; " not in bare
    assert [line.split()[0] for line in bare.splitlines()] == [line.split()[0] for line in lock.splitlines()]
    assert all(line.endswith("\\") for line in bare.splitlines() if "==" in line)
