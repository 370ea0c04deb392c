"""Training distributed over devices or processes ends with the same weights as on one device."""

import csv
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import spread

import keras_inception
from keras_inception.runs import Run
from keras_inception.training import Recipe, train
from keras_inception.training.distribution import ALONE, Distribution, MultiWorker, open_distribution
from keras_inception.training.workers import Cluster, Rendezvous, find_cluster

# Settings for which the order of the rows in a batch only affects rounding.
SAME = {
    "network": "tiny",
    "size": 24,
    "crop": 1.0,
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "warmup_epochs": 1.0,
    "weight_decay": 1e-3,
    "clip_norm": 5.0,
    "ema": 0.5,
    "class_weights": True,
    "augmentation": {"area": [0.5, 1.0]},
    "precision": "float32",
    "seed": 7,
}
# Settings that require restoring the seeds, the optimizer state and the decisions after validation.
STATEFUL = {
    **SAME,
    "epochs": 5,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "schedule": "plateau",
    "decay_epochs": 1,
    "dropout": 0.3,
    "freeze_epochs": 1,
    "early_stopping": 4,
    "augmentation": {"area": [0.5, 1.0], "mixup": 0.2},
    "tensorboard": True,
}
MIDST = (3, 1)  # epoch and step at which training is interrupted


def free_addresses(count):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)][:count]


def start(job, folder):
    """Start spread.py in a process that shares compiled steps with later processes by a cache in `folder`."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",  # halves the time
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, Path(__file__).with_name("spread.py"), json.dumps(job)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def wait(processes):
    """Return the exit code and the output of each process."""
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def workers(folder, runs, count=2, devices=2, signals=(None, None)):
    """Train on `count` workers with `devices` devices each, and send the signals during the last run."""
    addresses = free_addresses(count)
    processes = []
    for worker_id in range(count):
        own = [*runs[:-1], {**runs[-1], "signals": signals[worker_id]}]
        arguments = {"name": "multiworker", "workers": addresses, "worker_id": worker_id}
        processes.append(start({"open": arguments, "devices": devices, "runs": own}, folder))
    return wait(processes), addresses


def weights(folder, name, worker_id=0):
    with np.load(folder / f"{name}-{worker_id}.npz") as arrays:
        return [arrays[each] for each in arrays.files]


def metrics(folder, name):
    with open(folder / name / "metrics.csv", encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_near(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


def assert_losses_near(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("loss", "learning_rate", "val_loss"):
            assert float(mine[name]) == pytest.approx(float(other[name]), abs=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spread")


@pytest.fixture(scope="module")
def alone(folder, pictures):
    """One worker with one device, started from the command line."""
    (folder / "recipe.json").write_text(json.dumps(SAME))
    command = ["train", str(pictures), "--output", str(folder / "alone"), "--recipe", str(folder / "recipe.json")]
    command += ["--distribute", "multiworker", "--workers", *free_addresses(1), "--worker-id", "0"]
    ((code, said),) = wait([start({"open": {"name": "multiworker"}, "devices": 1, "command": command}, folder)])
    assert code == 0, said


@pytest.fixture(scope="module")
def together(folder, pictures):
    """Two workers: a complete run."""
    results, _ = workers(folder, [{"pictures": str(pictures), "output": str(folder / "same"), "recipe": SAME}])
    for code, said in results:
        assert code == 0, said


@pytest.fixture(scope="module")
def stateful(folder, pictures):
    """Two workers: a complete run, then the same again with worker 1 killed midway."""
    runs = [
        {"pictures": str(pictures), "output": str(folder / name), "recipe": STATEFUL} for name in ("stateful", "killed")
    ]
    return workers(folder, runs, signals=(None, ("SIGKILL", *MIDST)))


@pytest.fixture(scope="module")
def resumed(folder, pictures, stateful):
    """Two workers: resume the killed run, then start one in which worker 0 is killed."""
    runs = [
        {"pictures": None, "output": str(folder / "killed"), "resume": True},
        {"pictures": str(pictures), "output": str(folder / "headless"), "recipe": SAME},
    ]
    return workers(folder, runs, signals=(("SIGKILL", 1, 1), None))


def test_two_workers_end_with_the_same_weights(folder, together):
    for ours, theirs in zip(weights(folder, "same", 0), weights(folder, "same", 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.full
def test_two_workers_with_two_devices_train_like_one_with_one(folder, alone, together):
    assert_near(*(Run(folder / name).model().get_weights() for name in ("same", "alone")))
    assert_losses_near(metrics(folder, "same"), metrics(folder, "alone"))


@pytest.mark.full
def test_when_a_worker_is_killed_the_other_names_it_and_ends(stateful):
    ((code, said), (killed, _)), addresses = stateful
    assert killed == -9
    assert code not in (0, -9)
    assert f"worker 1 ({addresses[1]}) was lost or has ended" in said
    assert "restart all of them with `resume`" in said


@pytest.mark.full
def test_two_workers_killed_and_resumed_end_like_uninterrupted_ones(folder, resumed):
    for worker_id in range(2):
        for ours, theirs in zip(weights(folder, "killed", worker_id), weights(folder, "stateful"), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert metrics(folder, "killed") == metrics(folder, "stateful")
    rates = [float(row["learning_rate"]) for row in metrics(folder, "stateful")]
    assert len(set(rates)) > 1, "the schedule should have lowered the rate"


@pytest.mark.full
def test_when_worker_0_is_killed_the_other_ends_too(resumed):
    ((killed, _), (code, said)), _ = resumed
    assert killed == -9
    assert code not in (0, -9)
    assert "was lost or has ended" in said or "another task died" in said  # JAX may abort it first


@pytest.mark.full
def test_only_worker_0_writes(folder, resumed):
    kept = {path.name for path in (folder / "stateful").iterdir()}
    assert kept >= {"model.keras", "labels.txt", "recipe.json", "data.json", "metrics.csv", "checkpoints", "logs"}
    logs = list((folder / "stateful" / "logs").rglob("*tfevents*"))
    assert len({path.name.split(".")[-3] for path in logs}) == 1, "the file names include the process"


@pytest.mark.full
def test_a_run_of_two_workers_exports_like_any_other(folder, together, tmp_path):
    run = Run(folder / "same")
    assert run.model().input_shape == (None, 24, 24, 3)
    report = keras_inception.export(run.path, tmp_path / "export", quantize=["float32"])
    assert [path.name for path in (tmp_path / "export").glob("*.tflite")] == ["tiny_float32.tflite"]
    assert report["variants"]["float32"]["agreement"] == 1


class Replicated(Distribution):
    """One device, trained with the layers and the optimizer of several."""

    is_replicated = True


@pytest.fixture(scope="module")
def mirrored(folder, pictures):
    """Two devices: a complete run."""
    runs = [{"pictures": str(pictures), "output": str(folder / "mirrored"), "recipe": SAME}]
    return wait([start({"open": {"name": "mirrored"}, "devices": 2, "runs": runs}, folder)])


@pytest.fixture(scope="module")
def interrupted(folder, pictures):
    """Two devices: a complete run, then the same again interrupted and resumed."""
    recipe = {**SAME, "dropout": 0.3}
    runs = [
        {"pictures": str(pictures), "output": str(folder / name), "recipe": recipe, "signals": signals}
        for name, signals in (("dropping", None), ("interrupted", ("SIGINT", 1, 1)))
    ]
    runs.append({"pictures": None, "output": str(folder / "interrupted"), "resume": True})
    return wait([start({"open": {"name": "mirrored"}, "devices": 2, "runs": runs}, folder)])


@pytest.mark.full
def test_two_devices_train_like_one(folder, pictures, mirrored, tiny_network):
    ((code, said),) = mirrored
    assert code == 0, said
    spread.train(Replicated(), str(folder / "one"), SAME, pictures=pictures)
    assert_near(weights(folder, "mirrored"), weights(folder, "one"))
    assert_losses_near(metrics(folder, "mirrored"), metrics(folder, "one"))
    model = Run(folder / "mirrored").model()
    probabilities = model.predict(np.zeros((1, 24, 24, 3), np.float32), verbose=0)
    np.testing.assert_allclose(
        probabilities, Run(folder / "one").model().predict(np.zeros((1, 24, 24, 3), np.float32), verbose=0), atol=1e-5
    )


@pytest.mark.full
def test_two_devices_interrupted_and_resumed_end_like_uninterrupted_ones(folder, interrupted):
    assert "interrupted" in interrupted[0][1]
    for ours, theirs in zip(weights(folder, "interrupted"), weights(folder, "dropping"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert metrics(folder, "interrupted") == metrics(folder, "dropping")


def test_mirroring_needs_two_devices():
    with pytest.raises(ValueError, match=r"mirrored'` needs at least two GPUs\. Received: 1 device"):
        open_distribution("mirrored")


def test_keras_must_run_on_the_backend_of_the_distribution():
    with pytest.raises(ValueError, match=r"needs Keras to run on jax: set KERAS_BACKEND=jax.*Received: tensorflow"):
        open_distribution("multiworker", workers="a:1,b:2", worker_id=0)


def test_an_unknown_distribution_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"'mirrored', 'multiworker'\. Did you mean mirrored\?.*'mirored'"):
        open_distribution("mirored")


def test_workers_are_refused_without_multiworker():
    with pytest.raises(ValueError, match=r"require `distribute='multiworker'`.*distribute=None.*worker_id=1"):
        open_distribution(None, worker_id=1)
    with open_distribution(None) as distribution:
        assert distribution is ALONE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, r"`batch_size` must be a multiple of the number of devices, 4\. Received: batch_size=6"),
        ({"minutes": 5.0}, r"`minutes` cannot be used with `distribute='multiworker'`.*Received: minutes=5\.0"),
        ({"xla": "off"}, r"`xla` cannot be off"),
    ],
)
def test_recipes_that_workers_cannot_train_are_refused(changes, message):
    distribution = object.__new__(MultiWorker)  # __init__ would wait for the others
    distribution.replicas = 4
    with pytest.raises(ValueError, match=message):
        distribution.check(Recipe(**changes))
    distribution.check(Recipe(batch_size=8))


class Second(Distribution):
    """A worker that is not the chief."""

    is_chief = False

    def on_chief(self, action):
        return None


def test_all_workers_must_see_the_run_directory(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"worker 0 created .*run, but this worker cannot see it"):
        train(pictures, tmp_path / "run", recipe=Recipe(size=36), distribution=Second())


def test_the_cluster_is_found_in_the_arguments_or_in_the_environment(monkeypatch):
    cluster = find_cluster("a:1, [::1]:2,b.example.org:65535", 1)
    assert cluster == Cluster(("a:1", "[::1]:2", "b.example.org:65535"), 1)
    assert find_cluster(["a:1"], 0) == Cluster(("a:1",), 0)
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert find_cluster() == Cluster(("a:1", "b:2", "c:3"), 2)
    monkeypatch.setenv("TF_CONFIG", json.dumps({**config, "task": {"type": "chief", "index": 0}}))
    assert find_cluster().worker_id == 0
    assert find_cluster("d:4", 0) == Cluster(("d:4",), 0), "arguments take precedence over the environment"


@pytest.mark.parametrize(
    ("workers", "worker_id", "message"),
    [
        (None, None, r"unless TF_CONFIG in the environment sets both\. Received: workers=None"),
        ("a", 0, r"must each be host:port with a port from 1 to 65535\. Received: 'a'"),
        ("a:0", 0, r"a port from 1 to 65535\. Received: 'a:0'"),
        ("a:65536", 0, r"Received: 'a:65536'"),
        ("http://a:1", 0, r"Received: 'http://a:1'"),
        ("::1:80", 0, r"Received: '::1:80'"),
        ("a:1,", 0, r"Received: ''"),
        ("a:1,b:2,a:1", 0, r"must have different addresses\. Received twice: 'a:1'"),
        ("a:1,b:2", None, r"`worker_id` must be from 0 to 1.*Received: None"),
        ("a:1,b:2", 2, r"`worker_id` must be from 0 to 1.*Received: 2"),
        ("a:1,b:2", -1, r"Received: -1"),
    ],
)
def test_malformed_workers_are_refused(workers, worker_id, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        find_cluster(workers, worker_id)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', '{"cluster": 1}']
)
def test_a_malformed_tf_config_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON whose cluster"):
        find_cluster()


def meet(clusters, timeout=60.0):
    """Open the `Rendezvous` of each cluster at the same time, and return each one or its error."""
    results = {}

    def one(place):
        try:
            results[place] = Rendezvous(clusters[place], timeout)
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(clusters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[place] for place in range(len(clusters))]


def test_broadcast_gives_every_worker_the_value_of_worker_0():
    addresses = (*free_addresses(2), "elsewhere:1")
    rendezvous = meet([Cluster(addresses, each) for each in range(3)])
    values = [None] * 3

    def broadcast(place):
        values[place] = rendezvous[place].broadcast({"top1": 0.1 + 0.2} if place == 0 else {"top1": 0.3})

    threads = [threading.Thread(target=broadcast, args=(place,)) for place in (2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [{"top1": 0.1 + 0.2}] * 3
    rendezvous[2].close()
    with pytest.raises(ConnectionError, match=r"worker 2 \(elsewhere:1\) was lost or has ended.*restart all of them"):
        rendezvous[0].broadcast()
    assert rendezvous[0].explain_failure().startswith("worker 2 (elsewhere:1) was lost")
    assert rendezvous[1].explain_failure() == ""
    for each in rendezvous[:2]:
        each.close()


def test_a_worker_that_does_not_connect_is_named():
    addresses = (*free_addresses(2), "elsewhere:1")
    first, second = meet([Cluster(addresses, 0), Cluster(addresses, 1)], timeout=2)
    for error in (first, second):
        assert isinstance(error, TimeoutError)
        assert str(error) == "worker 2 (elsewhere:1) did not connect within 2 s, or cannot be reached"


def test_worker_0_is_named_if_it_does_not_connect():
    (address,) = free_addresses(1)
    (error,) = meet([Cluster((address, "elsewhere:1"), 1)], timeout=0.5)
    assert isinstance(error, TimeoutError)
    assert f"worker 0 ({address}) did not connect within 0.5 s" in str(error)


def test_a_second_worker_with_the_same_index_is_refused():
    addresses = (*free_addresses(2), "elsewhere:1")
    first, *seconds = meet([Cluster(addresses, 0), Cluster(addresses, 1), Cluster(addresses, 1)], timeout=2)
    assert isinstance(first, TimeoutError)
    (refused,) = [error for error in seconds if not isinstance(error, TimeoutError)]
    assert isinstance(refused, ValueError)
    assert "`worker_id` must be different for each worker. Received twice: 1" in str(refused)


def test_a_worker_with_other_addresses_is_refused():
    address, other = free_addresses(2)
    first, second = meet([Cluster((address, other), 0), Cluster((address, "elsewhere:1"), 1)], timeout=2)
    assert isinstance(first, TimeoutError)
    assert isinstance(second, ValueError)
    assert f"must be the same for all. Worker 0 has ['{address}', '{other}']" in str(second)


def test_connections_of_strangers_are_refused():
    address, other = free_addresses(2)
    host, port = address.split(":")
    waiting = threading.Thread(target=lambda: results.extend(meet([Cluster((address, other), 0)])))
    results: list = []
    waiting.start()
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"worker_id": [], "workers": {}}\n', b""):
        while True:
            try:
                with socket.create_connection((host, int(port)), timeout=5) as stranger:
                    stranger.sendall(greeting)
                    stranger.shutdown(socket.SHUT_WR)
                    stranger.recv(1000)
                break
            except ConnectionRefusedError:
                continue
    (second,) = meet([Cluster((address, other), 1)])
    waiting.join()
    assert [type(each) for each in (*results, second)] == [Rendezvous, Rendezvous]
    for each in (*results, second):
        each.close()


def test_worker_0_needs_a_free_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match=r"worker 0 \(127\.0\.0\.1:\d+\) cannot listen on its address"):
            Rendezvous(Cluster((address, "elsewhere:1"), 0), timeout=1)
