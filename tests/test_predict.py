"""Prediction on files of one's own: nothing lost, order and coordinates kept, guesses said and overruled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import untrained_run
from PIL import Image

from pointseg.cli import main
from pointseg.errors import InputError
from pointseg.prediction.formats import read_cloud
from pointseg.prediction.frame import UNITS, find_frame
from pointseg.prediction.predict import Options, predict_file
from pointseg.prediction.segmenter import load_run
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NYU40_IDS, colorize
from pointseg.scannet.ply import read_ply, write_ply


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return untrained_run(tmp_path_factory.mktemp("run") / "run")


def _room(seed: int = 0) -> np.ndarray:
    """A floor, four walls and a table, metres, +z up; coordinates are multiples of 1/64, so that turning is exact."""
    rng = np.random.default_rng(seed)
    surfaces = (
        ((0, 0, 0), (4, 3, 0), 2400),
        ((0, 0, 0), (4, 0, 2.5), 700),
        ((0, 0, 0), (0, 3, 2.5), 700),
        ((4, 0, 0), (4, 3, 2.5), 700),
        ((0, 3, 0), (4, 3, 2.5), 700),
        ((1, 1, 0.75), (2.5, 2, 0.75), 500),
    )
    points = np.concatenate([rng.uniform(low, high, (count, 3)) for low, high, count in surfaces])
    return rng.permutation(np.unique(np.round(points * 64), axis=0) / 64).astype(np.float32)


def _predict(run: RunDirectory, source: Path, **options) -> tuple[np.ndarray, list[str]]:
    """The vertices written and what was said."""
    said: list[str] = []
    target = source.with_name("out.ply")
    segmenter = load_run(run.path, device="cpu")
    said.append(predict_file(segmenter, source, target, Options(**options), say=said.append, progress=False))
    return read_ply(target).vertices, said


def test_every_point_gets_label_probability_and_colour_in_file_order(run: RunDirectory, tmp_path: Path):
    xyz, faces = _room(), np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    write_ply(tmp_path / "mesh.ply", xyz, faces=faces)
    vertices, said = _predict(run, tmp_path / "mesh.ply")
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=1), xyz)
    np.testing.assert_array_equal(read_ply(tmp_path / "out.ply").faces, faces)
    train_id = vertices["train_id"]
    assert train_id.max() < 20
    assert len(np.unique(train_id)) > 1
    np.testing.assert_array_equal(vertices["label"], np.array(NYU40_IDS)[train_id])
    np.testing.assert_array_equal(np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1), colorize(train_id))
    assert 1 / 20 <= vertices["probability"].min() <= vertices["probability"].max() <= 1
    assert "mesh.ply: " in said[0]
    assert "without colours, 2 faces" in said[0]
    assert said[1].startswith("unit: m, guessed")
    assert said[2].startswith("up: z, guessed")
    assert str(tmp_path / "out.ply") in said[-1]


def test_prediction_is_a_function_of_its_input(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "a.ply", _room())
    first, _ = _predict(run, tmp_path / "a.ply")
    second, _ = _predict(run, tmp_path / "a.ply")
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("up", "turn"),
    [
        ("x", [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
        ("-x", [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
        ("y", [[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
        ("-y", [[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
        ("-z", [[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    ],
)
def test_other_axes_units_and_offsets_give_the_same_labels(
    run: RunDirectory, tmp_path: Path, up: str, turn: list[list[int]]
):
    xyz = _room()
    write_ply(tmp_path / "room.ply", xyz)
    expected, _ = _predict(run, tmp_path / "room.ply")
    elsewhere = (xyz.astype(np.float64) @ np.array(turn)) * 128 + np.array([2.0**22, -(2.0**20), 4096])
    write_ply(tmp_path / "elsewhere.ply", elsewhere)
    got, said = _predict(run, tmp_path / "elsewhere.ply", scale=1 / 128)
    np.testing.assert_array_equal(got["train_id"], expected["train_id"])
    np.testing.assert_allclose(got["probability"], expected["probability"], atol=1e-5)
    np.testing.assert_array_equal(np.stack([got[axis] for axis in "xyz"], axis=1), elsewhere)
    assert f"up: {up}, guessed" in said[2]
    assert "far from the origin" in said[3]
    assert "as given" in said[1]


def test_what_is_given_is_not_guessed(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "room.ply", _room())
    guessed, _ = _predict(run, tmp_path / "room.ply")
    given, said = _predict(run, tmp_path / "room.ply", up="x", scale=0.5)
    assert said[1:3] == ["unit: 0.5 m, as given", "up: x, as given"]
    assert not np.array_equal(given["train_id"], guessed["train_id"])


@pytest.mark.parametrize("unit", list(UNITS))
def test_units_are_guessed(unit: str):
    frame = find_frame(_room() / UNITS[unit])
    assert frame.scale == UNITS[unit]
    assert f"unit: {unit}, guessed: the cloud is then 4 x 3 x 2.48 m" in frame.notes[0]
    assert frame.up == "z"


def test_what_is_not_sure_is_said():
    rng = np.random.default_rng(0)
    plaster, shelf = rng.uniform(0, [2.4, 0.01, 1.9], (3000, 3)), rng.uniform([1, 0, 1], [2, 0.4, 1.05], (400, 3))
    wall = find_frame(np.concatenate([plaster, shelf]), scale=1.0)
    assert not wall.sure_of_up
    assert "NOT SURE, it may be" in wall.notes[1]
    low = _room()[_room()[:, 2] < 1] / 0.3048  # cut at one metre, in feet
    frame = find_frame(low, up="z")
    assert frame.scale == 1.0
    assert not frame.sure_of_scale
    assert "--scale 0.3048 if it is in feet" in frame.notes[0]
    room = find_frame(_room())
    assert room.sure_of_scale
    assert room.sure_of_up
    # Sure or not, the likelihood stands there, and for the unit what else it may be.
    assert "99.8 % likely); --scale 0.3048 if it is in feet (1.22 x 0.914 x 0.757 m)" in room.notes[0]
    assert "99.4 % likely); --up overrules" in room.notes[1]
    assert not any("NOT SURE" in note for note in room.notes)


def test_strange_sizes_and_lost_precision_are_said():
    assert "is the unit right" in find_frame(_room(), scale=1000.0).notes[-1]
    far = (_room() + np.float32(5e6)).astype(np.float32)
    assert any("careful: the file keeps them as float32" in note for note in find_frame(far).notes)
    assert any(
        "careful: the file keeps them as float64" in note for note in find_frame(_room() + np.float64(1e15)).notes
    )
    assert len(find_frame(_room()).notes) == 2


def test_a_stray_point_is_told_from_a_room(run: RunDirectory, tmp_path: Path):
    np.save(tmp_path / "stray.npy", np.append(_room(), [[9e4, 0, 0]], axis=0))
    with pytest.raises(InputError, match=r"stray\.npy: xyz must span at most 15000 m .* is there a stray point"):
        predict_file(load_run(run.path), tmp_path / "stray.npy", tmp_path / "out.ply", progress=False)


def test_of_a_few_points_nothing_is_sure():
    frame = find_frame(_room()[:2])
    assert not frame.sure_of_up
    assert not frame.sure_of_scale
    assert all("NOT SURE" in note for note in frame.notes[:2])


def test_points_that_are_not_finite_get_no_label(run: RunDirectory, tmp_path: Path):
    """An organised cloud, as depth cameras give them."""
    xyz = _room()
    holes = np.arange(0, len(xyz), 7)
    xyz[holes] = np.nan
    header = (
        "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(xyz)}\nHEIGHT 1\nPOINTS {len(xyz)}\nDATA binary\n"
    )
    (tmp_path / "organised.pcd").write_bytes(header.encode() + xyz.tobytes())
    got, said = _predict(run, tmp_path / "organised.pcd")
    assert len(got) == len(xyz)
    np.testing.assert_array_equal(got["train_id"] == IGNORE, np.isnan(xyz[:, 0]))
    assert (got["label"][holes] == 0).all()
    assert (got["probability"][holes] == 0).all()
    assert np.isnan(got["x"][holes]).all()
    assert f"{len(holes):,} of the points are not finite" in said[0]
    assert "(none)" in said[-1]
    with pytest.raises(InputError, match=r"out: \.obj files hold finite coordinates alone"):
        predict_file(load_run(run.path), tmp_path / "organised.pcd", tmp_path / "out.obj", progress=False)


def test_colours_are_used_by_networks_that_need_them(tmp_path: Path):
    run = untrained_run(tmp_path / "run", color=True)
    xyz = _room()
    rgb = np.random.default_rng(0).integers(0, 255, (len(xyz), 3), np.uint8)
    write_ply(tmp_path / "coloured.ply", xyz, rgb=rgb)
    write_ply(tmp_path / "black.ply", xyz, rgb=np.zeros_like(rgb))
    write_ply(tmp_path / "plain.ply", xyz)
    coloured, _ = _predict(run, tmp_path / "coloured.ply")
    black, _ = _predict(run, tmp_path / "black.ply")
    assert not np.array_equal(coloured["probability"], black["probability"])
    with pytest.raises(InputError, match=r"plain\.ply: .* trained with colours, but the file has none"):
        _predict(run, tmp_path / "plain.ply")


def test_wrong_input_is_refused(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "nan.ply", np.full((4, 3), np.nan))
    with pytest.raises(InputError, match="finite coordinates, got none among 4"):
        _predict(run, tmp_path / "nan.ply")
    write_ply(tmp_path / "room.ply", _room())
    with pytest.raises(InputError, match="scale: expected metres per unit"):
        _predict(run, tmp_path / "room.ply", scale=0.0)
    with pytest.raises(InputError, match=r"out: expected a file named \.ply, .* got .*out\.dxf"):
        predict_file(load_run(run.path), tmp_path / "room.ply", tmp_path / "out.dxf", progress=False)
    with pytest.raises(InputError, match="is not a run directory"):
        load_run(tmp_path)


def test_a_single_point(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "one.ply", np.array([[1.0, 2, 3]], np.float32))
    got, said = _predict(run, tmp_path / "one.ply")
    assert got["train_id"][0] < 20
    assert "is the unit right" in said[-2]


def _main(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def test_nothing_is_overwritten_unasked(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    scan, out = tmp_path / "scan.ply", tmp_path / "out.ply"
    write_ply(scan, _room())
    before = scan.read_bytes()
    assert _main(run.path, scan, "-o", scan) == 2
    assert f"out: {scan} is the file to read; --force overwrites it" in capsys.readouterr().err
    (tmp_path / "link.ply").symlink_to(scan)
    assert _main(run.path, scan, "-o", tmp_path / "link.ply") == 2
    assert "is the file to read" in capsys.readouterr().err
    assert scan.read_bytes() == before
    out.write_bytes(b"mine")
    assert _main(run.path, scan, "-o", out) == 2
    assert f"out: {out} exists; --force overwrites it" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert _main(run.path, scan, "-o", scan, "--force") == 0
    np.testing.assert_array_equal(read_cloud(scan).xyz, _room())
    assert read_cloud(scan).columns["train_id"].max() < 20


def test_several_files_and_folders_go_into_a_folder(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    scans = tmp_path / "scans"
    scans.mkdir()
    write_ply(scans / "a.ply", _room())
    np.save(scans / "b.npy", _room(1))
    (scans / "notes.md").write_text("not a cloud")
    np.savetxt(tmp_path / "c.csv", _room(2), delimiter=",")
    assert _main(run.path, scans, tmp_path / "c.csv", "-o", tmp_path / "out") == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.ply", "b.npy", "c.csv"]
    for name, seed in (("a.ply", 0), ("b.npy", 1), ("c.csv", 2)):
        cloud = read_cloud(tmp_path / "out" / name)
        np.testing.assert_array_equal(cloud.xyz, _room(seed))
        assert {"label", "train_id", "probability"} <= set(cloud.columns)
    (scans / "b.npy").write_bytes(b"broken")
    capsys.readouterr()
    assert _main(run.path, scans, "-o", tmp_path / "second") == 2
    assert [file.name for file in (tmp_path / "second").iterdir()] == ["a.ply"]  # the others are labelled all the same
    assert capsys.readouterr().err.splitlines()[-1] == "pointseg: predict: 1 of 2 files could not be labelled"
    assert _main(run.path, scans / "a.ply", tmp_path / "second" / "a.ply", "-o", tmp_path / "third") == 2
    assert "more than one of the files" in capsys.readouterr().err
    for out in (tmp_path / "one.ply", tmp_path / "c.csv"):  # a mistake, not a folder's name
        assert _main(run.path, scans / "a.ply", tmp_path / "c.csv", "-o", out) == 2
        assert f"expected a folder for what becomes of several files or of a folder, got the file {out}" in (
            capsys.readouterr().err
        )


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_work(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_ply(tmp_path / "scan.ply", _room())
    assert _main(run.path, tmp_path / "scan.ply", "-o", tmp_path / "scan.ply" / "out.ply") == 2
    printed = capsys.readouterr()
    assert "out: cannot write to the folder" in printed.err
    assert printed.out == ""
    assert _main(run.path, tmp_path / "scan.ply", "-o", "/proc/out.ply") == 2
    assert "out: cannot write to the folder /proc" in capsys.readouterr().err


def test_columns_of_the_file_and_its_colours_can_be_kept(run: RunDirectory, tmp_path: Path):
    xyz = _room()
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (len(xyz), 3), np.uint8)
    nx, label = rng.normal(size=len(xyz)).astype(np.float32), rng.integers(0, 41, len(xyz)).astype(np.uint16)
    write_ply(tmp_path / "scan.ply", xyz, rgb=rgb, label=label, extra={"nx": nx})
    kept, _ = _predict(run, tmp_path / "scan.ply", keep_colors=True)
    np.testing.assert_array_equal(np.stack([kept[name] for name in ("red", "green", "blue")], axis=1), rgb)
    np.testing.assert_array_equal(kept["nx"], nx)
    np.testing.assert_array_equal(kept["original_label"], label)
    colored, _ = _predict(run, tmp_path / "scan.ply")
    np.testing.assert_array_equal(colored["red"], colorize(colored["train_id"])[:, 0])
    np.testing.assert_array_equal(colored["label"], kept["label"])


def test_only_some_classes_are_labelled(run: RunDirectory, tmp_path: Path):
    xyz = _room()
    rgb = np.random.default_rng(0).integers(0, 255, (len(xyz), 3), np.uint8)
    write_ply(tmp_path / "scan.ply", xyz, rgb=rgb)
    every, _ = _predict(run, tmp_path / "scan.ply")
    wanted = np.bincount(every["train_id"]).argmax()
    some, _ = _predict(run, tmp_path / "scan.ply", classes=[CLASS_NAMES[wanted]])
    other = every["train_id"] != wanted
    assert 0 < np.count_nonzero(other) < len(other)
    np.testing.assert_array_equal(some["train_id"], np.where(other, IGNORE, wanted))
    assert (some["label"][other] == 0).all()
    assert (some["probability"][other] == 0).all()
    np.testing.assert_array_equal(some["red"], np.where(other, rgb[:, 0], colorize(every["train_id"])[:, 0]))


def test_the_next_best_classes(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "scan.ply", _room())
    one, _ = _predict(run, tmp_path / "scan.ply")
    got, _ = _predict(run, tmp_path / "scan.ply", top_k=20)
    np.testing.assert_array_equal(got["train_id"], one["train_id"])
    ids = np.stack([got["train_id"], *(got[f"train_id_{rank}"] for rank in range(2, 21))], axis=1)
    probability = np.stack([got["probability"], *(got[f"probability_{rank}"] for rank in range(2, 21))], axis=1)
    assert (np.sort(ids, axis=1) == np.arange(20)).all()
    assert (np.diff(probability, axis=1) <= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-5)


def test_a_picture_is_drawn(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "scan.ply", _room())
    picture = tmp_path / "view.png"
    assert _main(run.path, tmp_path / "scan.ply", "-o", tmp_path / "out.npz", "--picture", picture) == 0
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image.convert("RGBA")).reshape(-1, 4), axis=0)) > 10


def test_the_checkpoint_can_be_chosen(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_ply(tmp_path / "scan.ply", _room())
    state = run.load_checkpoint()
    state["model"] = {name: torch.zeros_like(value) for name, value in state["model"].items()}
    run.save_checkpoint(state, tmp_path / "zero.pt")
    out = tmp_path / "out.ply"
    assert _main(run.path, tmp_path / "scan.ply", "-o", out, "--checkpoint", tmp_path / "zero.pt") == 0
    assert (read_cloud(out).columns["train_id"] == 0).all()
    np.testing.assert_allclose(read_cloud(out).columns["probability"], 1 / 20)
    assert _main(tmp_path / "scan.ply", "-o", tmp_path / "b.ply", "--checkpoint", tmp_path / "zero.pt") == 2
    assert "checkpoint: expected a run directory before the files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": -1.0}, "scale: expected metres per unit"),
        ({"smooth": 0.0}, "smooth: expected metres"),
        ({"votes": 0}, "votes: expected 1 or more, got 0"),
        ({"top_k": 21}, "top-k: expected 1 to 20, got 21"),
        ({"top_k": 2, "smooth": 0.1}, "top-k: expected 1 with smooth"),
        ({"classes": ["wall", "sky"]}, "classes: expected some of wall, floor, .* got 'sky'"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str):
    with pytest.raises(InputError, match=message):
        Options(**options)
