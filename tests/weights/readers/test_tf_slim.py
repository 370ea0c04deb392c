"""Checkpoints as TensorFlow writes them."""

import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from networks import in_full_but
from writers import slim_checkpoint

from keras_inception.utils.subprocesses import run_module
from keras_inception.weights import read_tensors
from keras_inception.weights.readers import isolation

v1 = tf.compat.v1
RNG = np.random.default_rng(2)
TENSORS = {
    f"InceptionV1/{name}": RNG.normal(size=shape).astype(np.float32)
    for name, shape in {
        "Conv2d_1a_7x7/weights": (7, 7, 3, 4),
        "Conv2d_1a_7x7/BatchNorm/beta": (4,),
        "Conv2d_1a_7x7/BatchNorm/moving_mean": (4,),
        "Conv2d_1a_7x7/BatchNorm/moving_variance": (4,),
        "Logits/Conv2d_0c_1x1/weights": (1, 1, 4, 6),
        "Logits/Conv2d_0c_1x1/biases": (6,),
    }.items()
}


def assert_equal(got, want):
    assert sorted(got) == sorted(want)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.fixture(params=[1, 2])
def version(request):
    return request.param


def test_both_versions(version, tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version)
    assert_equal(read_tensors(tmp_path / "model.ckpt"), TENSORS)


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_a_checkpoint_of_version_2_is_named_by_any_of_its_files(name, tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version=2)
    assert_equal(read_tensors(str(tmp_path / name)), TENSORS)


@pytest.mark.parametrize("optimizer", ["Adam", "RMSProp", "Momentum"])
def test_variables_of_training_are_left_out(version, optimizer, tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=values) for name, values in TENSORS.items()]
        step = v1.train.get_or_create_global_step()
        options = {"momentum": 0.9} if optimizer == "Momentum" else {}
        loss = tf.add_n([tf.reduce_sum(variable) for variable in variables])
        getattr(v1.train, f"{optimizer}Optimizer")(0.1, **options).minimize(loss, global_step=step)
        session.run(v1.global_variables_initializer())
        assert len(v1.global_variables()) > 2 * len(TENSORS)
        v1.train.Saver(write_version=version).save(session, str(tmp_path / "model.ckpt"), write_meta_graph=False)
    assert_equal(read_tensors(tmp_path / "model.ckpt"), TENSORS)


def test_moving_averages_of_weights_are_preferred(version, tmp_path):
    averages = {
        f"{name}/ExponentialMovingAverage": values + 1 for name, values in TENSORS.items() if "moving_" not in name
    }
    want = {name: averages.get(f"{name}/ExponentialMovingAverage", values) for name, values in TENSORS.items()}
    slim_checkpoint(tmp_path / "training.ckpt", TENSORS | averages, version)
    assert_equal(read_tensors(tmp_path / "training.ckpt"), want)
    slim_checkpoint(tmp_path / "averages.ckpt", averages, version)
    assert_equal(read_tensors(tmp_path / "averages.ckpt"), {name: want[name] for name in want if "moving_" not in name})


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_variables_of_other_floating_types_are_read(dtype, tmp_path):
    values = np.array([[1.5, -2.25, 3.0]]).astype(dtype)
    slim_checkpoint(tmp_path / "model.ckpt", {"a": values}, version=2)
    assert_equal(read_tensors(tmp_path / "model.ckpt"), {"a": values.astype(np.float32)})
    if dtype == np.float64:
        slim_checkpoint(tmp_path / "one.ckpt", {"a": values}, version=1)
        assert_equal(read_tensors(tmp_path / "one.ckpt"), {"a": values.astype(np.float32)})


def test_several_files_of_data_are_read(tmp_path):
    parts = [f"{tmp_path}/part{index}" for index in range(3)]
    for index, part in enumerate(parts):
        names = list(TENSORS)[index::3]
        tf.raw_ops.SaveV2(
            prefix=part, tensor_names=names, shape_and_slices=[""] * len(names), tensors=[TENSORS[n] for n in names]
        )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=f"{tmp_path}/model.ckpt")
    assert len(list(tmp_path.glob("model.ckpt.data-*-of-00003"))) == 3
    assert_equal(read_tensors(tmp_path / "model.ckpt"), TENSORS)


@pytest.mark.full
def test_a_table_of_many_blocks_is_read(version, tmp_path):
    tensors = {f"{'scope/' * 20}layer_{index}/weights": np.full(3, index, np.float32) for index in range(2000)}
    save = {"tensor_names": list(tensors), "shape_and_slices": [""] * len(tensors)} if version == 2 else None
    if save:
        tf.raw_ops.SaveV2(prefix=f"{tmp_path}/model.ckpt", tensors=list(tensors.values()), **save)
    else:
        tf.raw_ops.Save(
            filename=f"{tmp_path}/model.ckpt", tensor_names=list(tensors), data=[*map(tf.constant, tensors.values())]
        )
    assert_equal(read_tensors(tmp_path / "model.ckpt"), tensors)


def test_variables_in_slices_are_joined(version, tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        split = v1.fixed_size_partitioner(2)
        parts = v1.get_variable("a", shape=(4, 3), partitioner=split, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(write_version=version).save(session, str(tmp_path / "model.ckpt"), write_meta_graph=False)
        values = session.run(parts.as_tensor())
    assert_equal(read_tensors(tmp_path / "model.ckpt"), {"a": values})


def test_a_path_is_not_a_pattern(version, tmp_path):
    (tmp_path / "a[1]*").mkdir()
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version)
    for file in tmp_path.glob("model.ckpt*"):
        shutil.move(file, tmp_path / "a[1]*" / file.name)
    assert_equal(read_tensors(tmp_path / "a[1]*" / "model.ckpt"), TENSORS)


def test_text_is_refused(tmp_path):
    tf.raw_ops.SaveV2(
        prefix=f"{tmp_path}/model.ckpt", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant("text")]
    )
    with pytest.raises(ValueError, match=r"a must be of floating-point numbers\. Received: string"):
        read_tensors(tmp_path / "model.ckpt")


@pytest.mark.parametrize("version", in_full_but({2}, [1, 2]))
def test_a_checkpoint_is_read_by_tensorflow_in_a_child_process(version, tmp_path, monkeypatch):
    """Read as users do, without the forks of the other tests."""
    monkeypatch.setattr(isolation, "run_module", run_module)
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version)
    assert_equal(read_tensors(tmp_path / "model.ckpt"), TENSORS)


def test_a_missing_file_of_data_is_an_os_error(tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version=2)
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        read_tensors(tmp_path / "model.ckpt")
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "nothing.ckpt")


@pytest.mark.full
def test_every_flipped_bit_of_the_data_is_noticed(tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", {"a": np.arange(8, dtype=np.float32)}, version=2)
    path = tmp_path / "model.ckpt.data-00000-of-00001"
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"cannot be read as a TF-slim file: .*Checksum does not match"):
            read_tensors(tmp_path / "model.ckpt")
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="Read less bytes than requested"):
        read_tensors(tmp_path / "model.ckpt")


@pytest.mark.full
def test_every_flipped_bit_of_the_index_is_noticed(tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", {"a": np.arange(8, dtype=np.float32)}, version=2)
    path = tmp_path / "model.ckpt.index"
    whole = path.read_bytes()
    quiet = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert_equal(read_tensors(path), {"a": np.arange(8)})
            quiet += 1
        except ValueError:
            pass
    assert quiet <= 8 * 52  # the footer's padding and the block that lists other things, which are not read


def test_version_1_is_read_from_a_file_of_any_name(tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", TENSORS, version=1)
    shutil.move(tmp_path / "model.ckpt", tmp_path / "inception_v1")
    assert_equal(read_tensors(tmp_path / "inception_v1"), TENSORS)
