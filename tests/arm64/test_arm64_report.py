"""The ARM64 table, and the errors of machines that cannot emulate ARM. Nothing is emulated here."""

import arm64
import numpy as np
import pytest

from keras_inception import analysis
from keras_inception.exporting.clients import arm64_userland

SAME = {"probabilities": 0.0, "logits": 0.0}


def rows(**instructions):
    return {f"{name}/int8": {"instructions": count, **SAME} for name, count in instructions.items()}


def test_a_rewrite_that_costs_instructions_is_named():
    assert not arm64.complaints(rows(googlenet=100, googlenet_without_space_to_depth_stem=101))
    (told,) = arm64.complaints(rows(googlenet=103, googlenet_without_space_to_depth_stem=100))
    assert told == "space_to_depth_stem costs googlenet/int8 3.0% more instructions"


def test_a_rewrite_may_cost_instructions_where_it_is_not_the_default():
    name = "inception_v3_without_average_pool_as_convolution"
    dearer, without = {"instructions": 103, "probabilities": 0.0}, {"instructions": 100, "probabilities": 0.0}
    assert not arm64.complaints({"inception_v3/float32": dearer, f"{name}/float32": without})
    assert arm64.complaints({"inception_v3/int8": dearer, f"{name}/int8": without})


@pytest.mark.parametrize(("what", "more"), [("probabilities", 0.01), ("logits", 1.0)])
def test_a_file_that_differs_is_named(what, more):
    found = rows(googlenet=100)
    found["googlenet/int8"][what] = more
    (told,) = arm64.complaints(found)
    assert told.startswith(f"googlenet/int8: its {what} on ARM differ by {more:.2g}, more than ")


def test_the_table_shows_shares_and_what_is_missing():
    lines = arm64.table({"files": rows(googlenet=2_000_000, googlenet_slim=1_000_000)}).splitlines()
    assert "| GoogLeNet, batch norm | – | – | – | 2.0 | – |" in lines
    assert "| the same, slimmed to 52 % of the MACs | – | – | – | 1.0 (0.50) | – |" in lines


def test_half_precision_is_compared_with_float32():
    def found(count):
        half = {"googlenet/half": {"instructions": count, "probabilities": 0.001}}
        return {"googlenet/float32": {"instructions": 2_000_000, "probabilities": 0.0}, **half}

    assert "| GoogLeNet, batch norm | 2.0 | – | – | – | 1.1 (0.54) |" in arm64.table({"files": found(1_080_000)})
    assert not arm64.complaints(found(1_080_000))
    (told,) = arm64.complaints(found(1_120_000))
    assert told == "googlenet/half takes 0.56 of the instructions of float32, more than 0.55"


def test_the_pruned_network_has_the_stated_share_of_macs():
    whole, slim = (analysis.cost(arm64.created(arm64.NETWORKS[name])).macs for name in ("googlenet", "googlenet_slim"))
    assert slim / whole == pytest.approx(0.52, abs=0.005)


def test_outputs_are_compared():
    here = {"probabilities": np.linspace(0, 1, 9), "logits": np.arange(9)}
    there = {"probabilities": np.linspace(0, 1, 9) + 0.25, "logits": np.arange(9)}
    assert arm64.differences(here, there) == {"probabilities": 0.25, "logits": 0.0}
    with pytest.raises(ValueError, match="must hold 8 values or more"):
        arm64.differences({"probabilities": np.ones(9)}, there)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with an empty cache and no programs but those in the returned folder."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(arm64_userland.platform, "system", lambda: "Linux")
    monkeypatch.setattr(arm64_userland.platform, "machine", lambda: "x86_64")
    return tools


def test_a_machine_without_apt(bare):
    with pytest.raises(arm64_userland.UnavailableError, match=r"are needed\. Received: no apt-get and no dpkg-deb"):
        arm64_userland.userland()


def test_another_processor(bare, monkeypatch):
    monkeypatch.setattr(arm64_userland.platform, "machine", lambda: "aarch64")
    with pytest.raises(arm64_userland.UnavailableError, match="Received: Linux on aarch64"):
        arm64_userland.userland()


def test_a_failed_setup_leaves_nothing(bare, tmp_path):
    for name in ("apt-get", "dpkg-deb"):
        (bare / name).write_text("#!/bin/sh\necho 'E: no such host' >&2\nexit 100\n")
        (bare / name).chmod(0o755)
    with pytest.raises(arm64_userland.UnavailableError, match=r"^apt-get ended with exit code 100: E: no such host$"):
        arm64_userland.userland()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_machine_without_a_compiler(bare, tmp_path):
    with pytest.raises(arm64_userland.UnavailableError, match="needs a C compiler"):
        arm64.instruction_counter(tmp_path)
