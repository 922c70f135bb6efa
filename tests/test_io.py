"""Files: every format gives back what was put in, and what is damaged says so in one sentence."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoread_jax import io
from scoread_jax.errors import SceneError, ScoreADError
from scoread_jax.io import atomic

TYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64"]


def cube_of(rows=4, cols=3, bands=5, dtype="uint16"):
    return np.arange(1, rows * cols * bands + 1).reshape(rows, cols, bands).astype(dtype)


def save_v5(path, variables):
    scipy.io.savemat(path, variables)


def save_v5_compressed(path, variables):
    scipy.io.savemat(path, variables, do_compression=True)


def save_v73(path, variables):
    """Write as MATLAB does: a header of 512 bytes, axes reversed, the class of each variable beside it."""
    classes = {"b": "logical", "f4": "single", "f8": "double"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            array = np.asarray(array)
            stored = array.astype(np.uint8) if array.dtype.kind == "b" else array
            dataset = file.create_dataset(name, data=stored.T, compression="gzip")
            kind = classes.get(array.dtype.kind) or classes.get(array.dtype.str[1:]) or str(array.dtype)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(header.ljust(124) + b"\x00\x02IM")


def save_npz(path, variables):
    np.savez(path, **variables)


SAVERS = {
    "v5": (".mat", save_v5),
    "v5z": (".mat", save_v5_compressed),
    "v73": (".mat", save_v73),
    "npz": (".npz", save_npz),
}


@pytest.fixture(params=SAVERS)
def save(request, tmp_path):
    """Save variables in each of the formats that name them."""
    suffix, saver = SAVERS[request.param]

    def save_as(stem="scene", **variables):
        path = tmp_path / f"{stem}{suffix}"
        saver(path, variables)
        return path

    return save_as


def refusal(*arguments, reader=io.read_scene, **options):
    """Return the one sentence with which a file is refused."""
    with pytest.raises(SceneError) as caught:
        reader(*arguments, **options)
    message = str(caught.value)
    assert message.startswith(str(arguments[0]))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("format_", [*SAVERS, "npy"])
@settings(max_examples=25)
@given(
    dtype=st.sampled_from(TYPES),
    shape=hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6),
    seed=st.integers(0, 99),
)
def test_cubes_come_back_with_axes_values_and_type(format_, dtype, shape, seed):
    cube = np.random.default_rng(seed).integers(1, 120, shape).astype(dtype)
    truth = np.random.default_rng(seed).integers(0, 2, shape[:2]).astype(bool)
    cube[0, 0], cube[-1, -1] = np.arange(1, shape[2] + 1), np.arange(2, shape[2] + 2)  # no constant band
    with tempfile.TemporaryDirectory() as folder:
        if format_ == "npy":
            path, truth_path = Path(folder) / "scene.npy", Path(folder) / "truth.npy"
            np.save(path, cube)
            np.save(truth_path, truth)
            image = io.read_scene(path, truth_path=truth_path)
        else:
            suffix, saver = SAVERS[format_]
            path = Path(folder) / f"scene{suffix}"
            saver(path, {"gt": truth, "data": cube})
            image = io.read_scene(path)
        read = image.cube[:]
    assert image.cube.dtype == read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, cube)
    np.testing.assert_array_equal(image.truth, truth)
    assert (image.name, image.source) == ("scene", str(path))


def test_matlab_v4_is_read(tmp_path):
    path = tmp_path / "truth.mat"
    truth = np.eye(4, 3)
    scipy.io.savemat(path, {"map": truth}, format="4")
    np.testing.assert_array_equal(io.read_truth(path), truth == 1)


def test_matlab_files_are_known_by_content(tmp_path):
    for saver in (save_v5, save_v73):
        saver(tmp_path / "scene.mat", {"data": cube_of()})
        for name in ("scene.download", "scene", "scene.npy", "SCENE.MAT"):
            shutil.copy(tmp_path / "scene.mat", tmp_path / name)
            np.testing.assert_array_equal(io.read_scene(tmp_path / name).cube, cube_of())


@pytest.mark.parametrize(
    "name", ["data", "hsi_img_sub", "hsi_img", "hsi_sub", "hsi", "HSI", "X", "image", "Cube", "DATA"]
)
def test_cube_is_found_by_its_usual_names(save, name):
    path = save(aaa=cube_of(dtype="float64"), **{name: cube_of()}, zzz=cube_of(2, 2, 2))
    assert io.read_scene(path).cube.dtype == np.uint16
    assert io.read_scene(path, cube_var="zzz").cube.shape == (2, 2, 2)


def test_the_only_cube_is_found_whatever_its_name(save):
    image = io.read_scene(save(PaviaCenter=cube_of(), info=np.ones((2, 2)), data=np.ones((4, 3))))
    np.testing.assert_array_equal(image.cube, cube_of())
    assert image.notes == ("cube: PaviaCenter (4 × 3 × 5 uint16)",)


def test_two_unknown_cubes_are_a_question(save):
    message = refusal(save(before=cube_of(), after=cube_of(dtype="float32"), gt=np.eye(4, 3)))
    for words in (
        "found 2 3-D arrays",
        "before (4 × 3 × 5 uint16)",
        "after (4 × 3 × 5 float32)",
        "gt (4 × 3 float64)",
    ):
        assert words in message
    assert "--cube-var" in message


def test_a_plane_is_no_cube(save, tmp_path):
    assert "expected a cube [rows, cols, bands], found a 2-D array" in refusal(save(data=np.eye(4)))
    path = save(data=cube_of(), flat=np.eye(4))
    assert "found a 2-D array" in refusal(path, cube_var="flat")
    assert "'Data', found no such variable" in refusal(path, cube_var="Data")
    np.save(tmp_path / "flat.npy", np.eye(4))
    assert "found a 2-D array" in refusal(tmp_path / "flat.npy")


@pytest.mark.parametrize(
    "name", ["map", "groundtruth", "gt", "mask", "hsi_gt", "gtImg_sub", "PlaneGT", "paviaU_gt", "GT"]
)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float64"])
def test_truth_is_found_by_its_usual_names(save, name, dtype):
    truth = np.eye(4, 3).astype(dtype)
    path = save(data=cube_of(), other=np.ones((4, 3)), **{name: truth})
    image = io.read_scene(path)
    np.testing.assert_array_equal(image.truth, np.eye(4, 3, dtype=bool))
    assert image.valid.all()
    np.testing.assert_array_equal(io.read_scene(path, truth_var="other").truth, np.ones((4, 3), bool))
    np.testing.assert_array_equal(io.read_truth(path), np.eye(4, 3, dtype=bool))


@pytest.mark.parametrize("name", ["valid", "mask_sub", "valid_mask"])
def test_a_mask_of_valid_pixels_is_no_truth(save, name):
    valid = np.ones((4, 3), np.uint8)
    valid[1, 1] = 0
    image = io.read_scene(save(data=cube_of(), **{name: valid}))
    assert image.truth is None
    np.testing.assert_array_equal(image.valid, valid == 1)
    assert image.notes[1] == f"mask of valid pixels: {name} (4 × 3 uint8)"


def test_the_user_says_what_is_mask_and_what_truth(save, tmp_path):
    mask = np.ones((4, 3))
    mask[0] = 0
    path = save(data=cube_of(), mask=mask)
    assert io.read_scene(path).valid.all()
    image = io.read_scene(path, mask_var="mask")
    assert image.truth is None
    np.testing.assert_array_equal(image.valid, mask == 1)
    np.save(tmp_path / "mask.npy", 1 - mask)
    image = io.read_scene(path, mask_path=tmp_path / "mask.npy")
    np.testing.assert_array_equal(image.valid, mask == 0)
    np.testing.assert_array_equal(image.truth, mask == 1)


def test_truth_of_another_shape_is_not_taken_but_said(save):
    image = io.read_scene(save(data=cube_of(), map=np.eye(3, 4)))
    assert image.truth is None
    assert "no truth: map (3 × 4 float64) does not have the cube's 4 × 3 pixels" in image.notes
    path = save(data=cube_of(), map=np.eye(3, 4), gt=np.eye(4, 3))
    assert "truth: gt (4 × 3 float64)" in io.read_scene(path).notes
    assert "4 × 3 pixels, found a 2-D array, 3 × 4" in refusal(path, truth_var="map")


def test_truth_in_a_file_of_its_own(save, tmp_path):
    path = save(data=cube_of(), map=np.zeros((4, 3)))
    maps = save("truth", first=np.ones((4, 3)), map=np.eye(4, 3), map_other=1 - np.eye(4, 3))
    np.testing.assert_array_equal(io.read_scene(path, truth_path=maps).truth, np.eye(4, 3) == 1)
    image = io.read_scene(path, truth_path=maps, truth_var="map_other")
    np.testing.assert_array_equal(image.truth, np.eye(4, 3) == 0)
    only = save("only", whatever=np.eye(4, 3))
    np.testing.assert_array_equal(io.read_scene(path, truth_path=only).truth, np.eye(4, 3) == 1)
    several = save("several", one=np.eye(4, 3), two=np.eye(4, 3))
    message = refusal(several, reader=io.read_truth)
    assert "expected a truth [rows, cols], found 2 2-D arrays" in message
    assert "one (4 × 3 float64), two (4 × 3 float64)" in message
    with pytest.raises(SceneError, match="nowhere"):
        io.read_scene(path, truth_path=tmp_path / "nowhere.mat")
    nan = save("nan", map=np.full((4, 3), np.nan))
    assert "12 NaN" in refusal(nan, reader=io.read_truth)


def test_wavelengths_are_found(save):
    nm = np.array([400.0, 500, 600, 700, 800])
    for stored, unit in ((nm, 1), (nm[:, None], 1), (nm[None] / 1000, 1000)):
        image = io.read_scene(save(data=cube_of(), Wavelengths=stored))
        np.testing.assert_allclose(image.wavelengths, nm)
        assert ("wavelengths converted from µm to nm" in image.notes) == (unit == 1000)
    for useless in (nm[:4], np.full(5, np.nan), np.zeros(5), np.ones((5, 5))):
        assert io.read_scene(save(data=cube_of(), wavelengths=useless)).wavelengths is None


@pytest.mark.parametrize("name", ["SAD_result", "show", "detection", "detectmap", "map", "array", "y", "score"])
def test_maps_are_found_by_their_usual_names(save, name):
    scores = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    path = save(aaa=np.ones((4, 3)), **{name: scores})
    found = io.read_map(path)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, scores)
    np.testing.assert_array_equal(io.read_map(path, "aaa"), np.ones((4, 3)))


def test_a_cube_is_no_map(save):
    path = save(data=cube_of())
    assert "expected a map [rows, cols], found no 2-D arrays" in refusal(path, reader=io.read_map)
    assert "found data (4 × 3 × 5 uint16)" in refusal(path, "data", reader=io.read_map)
    assert "truth [rows, cols]" in refusal(path, "data", reader=io.read_truth)


def test_variables_that_are_no_numbers_are_listed(tmp_path):
    cell = np.empty((1, 2), object)
    cell[:] = [["a", 1.0]]
    strange = {
        "name": "hydice",
        "info": {"sensor": "HYDICE"},
        "parts": cell,
        "waves": np.ones((2, 3, 4)) * 1j,
        "weights": scipy.sparse.eye(3).tocsc(),
        "nothing": np.empty((0, 0)),
    }
    path = tmp_path / "scene.mat"
    scipy.io.savemat(path, strange)
    message = refusal(path)
    for words in (
        *("name (text)", "info (struct)", "parts (cell)", "waves (complex128)"),
        *("weights (sparse matrix)", "nothing (empty)"),
    ):
        assert words in message
    assert "a variable of kind struct" in refusal(path, cube_var="info")
    scipy.io.savemat(path, {"data": cube_of(), **strange})
    np.testing.assert_array_equal(io.read_scene(path).cube, cube_of())


def test_v73_variables_that_are_no_numbers_are_listed(tmp_path):
    path = tmp_path / "scene.mat"
    save_v73(path, {})
    with h5py.File(path, "r+") as file:
        file.create_group("info")
        file.create_group("weights").attrs["MATLAB_sparse"] = 3
        file.create_group("#refs#")
        file.create_dataset("name", data=np.zeros((3, 1), "u2")).attrs["MATLAB_class"] = np.bytes_("char")
        parts = file.create_dataset("parts", (2, 2, 2), h5py.ref_dtype)
        parts.attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_dataset("waves", data=np.zeros((2, 2, 2), [("real", "f8"), ("imag", "f8")]))
        file.create_dataset("nothing", data=np.zeros(2, "u8")).attrs["MATLAB_empty"] = 1
    message = refusal(path)
    for words in (
        *("info (struct)", "weights (sparse matrix)", "name (char)", "parts (cell)"),
        *("waves (complex numbers)", "nothing (empty)"),
    ):
        assert words in message
    assert "#refs#" not in message


def test_what_is_no_file_of_numbers_is_refused(tmp_path):
    def made(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    assert "found nothing there" in refusal(tmp_path / "missing.mat")
    assert "found nothing there" in refusal(tmp_path / ("long" * 100 + ".mat"))
    assert "found a folder" in refusal(tmp_path)
    (tmp_path / "folder.mat").mkdir()
    assert "found a folder" in refusal(tmp_path / "folder.mat")
    assert "empty file" in refusal(made("empty.mat", b""))
    assert "empty file" in refusal(made("empty.npy", b""))
    message = refusal(made("scene.docx", b"PK words"))
    assert "'.docx'" in message
    assert all(suffix in message for suffix in io.READERS)
    assert "no suffix" in refusal(made("scene", b"words"))
    assert "another kind" in refusal(made("text.mat", b"These are words, not numbers.\n" * 20))
    assert "another kind" in refusal(made("short.mat", b"x"))
    assert "another kind" in refusal(made("zeros.mat", bytes(1000)))
    assert "another kind" in refusal(made("words.npy", b"These are words.\n" * 20))
    assert "another kind" in refusal(made("words.npz", b"PK\x03\x04 words.\n" * 20))
    assert "another kind" in refusal(made("pickle.npy", pickle.dumps({"cube": [1, 2]})))


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "objects.npy", np.array([[[Trap()]]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", cube=np.array([[[Trap()]]], dtype=object))
    for name in ("objects.npy", "objects.npz"):
        assert "pickled objects" in refusal(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_hdf5_that_matlab_did_not_write_is_refused(tmp_path):
    with h5py.File(tmp_path / "scene.mat", "w") as file:
        file["data"] = cube_of()
    assert "without MATLAB's header" in refusal(tmp_path / "scene.mat")


def damaged_copies(original: bytes, seed: int):
    """Yield what may have become of a file: cut at several places, and single bits turned over."""
    for share in (0.0001, 0.001, 0.3, 0.6, 0.9, 0.9999):
        yield original[: max(1, int(len(original) * share))]
    yield original[:-1]
    yield original[:128]
    yield original[:512]
    rng = np.random.default_rng(seed)
    for place in rng.integers(124, len(original), 8):
        copy = bytearray(original)
        copy[place] ^= 1 << int(rng.integers(8))
        yield bytes(copy)


@pytest.mark.parametrize("name", ["hydice.mat", "hydice_v73.mat", "muufl_masked.mat"])
def test_damaged_scenes_are_refused(data_dir, tmp_path, name):
    original = io.read_scene(data_dir / name)
    path = tmp_path / name
    messages = []
    for content in damaged_copies((data_dir / name).read_bytes(), seed=1):
        path.write_bytes(content)
        try:
            image = io.read_scene(path)
        except SceneError as error:
            messages.append(str(error))
        else:  # a bit that means nothing, in a file that is otherwise whole
            np.testing.assert_array_equal(image.cube, original.cube)
    assert len(messages) >= 14
    assert all(message.startswith(f"{path}: expected") and "\n" not in message for message in messages)


@pytest.mark.parametrize("saver", [save_v5, save_v5_compressed, save_v73])
def test_cut_matlab_files_are_refused(tmp_path, saver):
    path = tmp_path / "scene.mat"
    saver(path, {"data": np.random.default_rng(0).normal(size=(20, 20, 20))})
    whole = path.read_bytes()
    for share in (0.01, 0.1, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        refusal(path)


@pytest.mark.parametrize("saver", [np.save, np.savez_compressed])
def test_cut_numpy_files_are_refused(tmp_path, saver):
    path = tmp_path / ("scene.npy" if saver is np.save else "scene.npz")
    saver(path, cube_of(20, 20, 20))
    whole = path.read_bytes()
    for share in (0.001, 0.01, 0.3, 0.9, 0.9999):
        path.write_bytes(whole[: max(1, int(len(whole) * share))])
        refusal(path)


def test_a_header_that_promises_more_than_any_memory_is_refused(tmp_path):
    path = tmp_path / "scene.npy"
    np.save(path, cube_of(20, 20, 20))
    promise = path.read_bytes().replace(b"(20, 20, 20), }         ", b"(99999, 99999, 99999), }")
    assert b"99999" in promise
    path.write_bytes(promise)
    refusal(path)


def test_a_member_of_a_zip_that_is_no_array_is_listed(tmp_path):
    path = tmp_path / "scene.npz"
    np.savez(path, data=cube_of())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "words")
    np.testing.assert_array_equal(io.read_scene(path).cube, cube_of())


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".MAT"])
def test_maps_come_back(tmp_path, suffix):
    scores = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    scores[1, 2] = np.nan
    path = tmp_path / f"map{suffix}"
    io.write_map(path, np.ones((2, 2)))
    io.write_map(path, scores)
    assert [each.name for each in tmp_path.iterdir()] == [f"map{suffix}"]
    np.testing.assert_array_equal(io.read_map(path), scores)
    if suffix.lower() == ".mat":
        assert scipy.io.loadmat(path, appendmat=False)["SAD_result"].dtype == np.float32


def test_maps_that_cannot_be_written(tmp_path):
    scores = np.ones((4, 3))
    assert all(suffix in refusal(tmp_path / "map.jpg", scores, reader=io.write_map) for suffix in io.WRITERS)
    assert "(4, 3, 1)" in refusal(tmp_path / "map.npy", scores[..., None], reader=io.write_map)
    with pytest.raises(ScoreADError, match=r"nowhere/map\.npy: .*No such file or directory"):
        io.write_map(tmp_path / "nowhere" / "map.npy", scores)
    (tmp_path / "file").touch()
    with pytest.raises(ScoreADError, match=r"Not a directory"):
        io.write_map(tmp_path / "file" / "map.npy", scores)
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ScoreADError, match=r"folder\.npy"):
        io.write_map(tmp_path / "folder.npy", scores)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.npy"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, failure):
    path = tmp_path / "map.txt"
    io.write_text(path, "old")

    def interrupted():
        with io.atomic_write(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == path.suffix
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["map.txt"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(ScoreADError, match=r"map\.npy: .*No space left on device"):
        io.write_map(tmp_path / "map.npy", np.ones((4, 3)))
    assert list(tmp_path.iterdir()) == []


def test_written_files_have_the_permissions_of_others(tmp_path):
    (tmp_path / "other").write_text("")
    io.write_text(tmp_path / "mine", "σ = 5\n")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert (tmp_path / "mine").read_bytes() == "σ = 5\n".encode()


def test_json_is_json(tmp_path):
    value = {"auc": 0.5, "name": "HYDICE σ", "times": [0.01, 0.05], "truth": None}
    io.write_json(tmp_path / "metrics.json", value)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == value
    with pytest.raises(ValueError, match="JSON compliant"):
        io.write_json(tmp_path / "metrics.json", {"auc": float("nan")})
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == value


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("hydice_published_map.mat", (100, 80)),
        ("hyperion_published_map.mat", (100, 100)),
        ("pavia_published_map.mat", (150, 150)),
        ("salinas1_published_map.mat", (120, 120)),
    ],
)
def test_published_maps_are_read(reference_dir, name, shape):
    found = io.read_map(reference_dir / name)
    assert found.shape == shape
    np.testing.assert_array_equal(found, scipy.io.loadmat(reference_dir / name)["SAD_result"])
