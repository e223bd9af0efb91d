"""Prediction on files of one's own: nothing lost, order and coordinates kept, guesses said and overruled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.config import Config, DataConfig, EvalConfig, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.errors import InputError
from pointseg.evaluation.inference import output_classes
from pointseg.models import build_model
from pointseg.prediction.frame import find_frame
from pointseg.prediction.predict import predict_file
from pointseg.prediction.segmenter import load_run
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NYU40_IDS, colorize
from pointseg.scannet.ply import read_ply, write_ply

MODEL = ModelConfig(
    levels=(
        LevelConfig(points=64, scales=(ScaleConfig(radius=0.3, neighbours=8, mlp=(16,)),)),
        LevelConfig(points=16, scales=(ScaleConfig(radius=0.8, neighbours=8, mlp=(16,)),)),
    ),
    fp_mlps=((16,), (16,)),
    latent_gnn=LatentGNNConfig(latent_dims=(8, 4)),
    head=16,
)


def _run(folder: Path, *, color: bool = False) -> RunDirectory:
    """A run whose network knows nothing, but answers."""
    config = Config(data=DataConfig(num_points=512, color=color), model=MODEL, evaluate=EvalConfig(batch_size=4))
    torch.manual_seed(0)
    model = build_model(config.model, output_classes(config), in_features=3 if color else 0)
    run = RunDirectory(folder)
    run.create(config, {})
    run.save_checkpoint({"model": model.state_dict(), "classes": list(CLASS_NAMES), "step": 1})
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return _run(tmp_path_factory.mktemp("run") / "run")


def _room(seed: int = 0) -> np.ndarray:
    """A floor, three walls and a table, metres, +z up; coordinates are multiples of 1/64, so that turning is exact."""
    rng = np.random.default_rng(seed)
    surfaces = (
        ((0, 0, 0), (4, 3, 0), 2400),
        ((0, 0, 0), (4, 0, 2.5), 700),
        ((0, 0, 0), (0, 3, 2.5), 700),
        ((4, 0, 0), (4, 3, 2.5), 700),
        ((1, 1, 0.75), (2.5, 2, 0.75), 500),
    )
    points = np.concatenate([rng.uniform(low, high, (count, 3)) for low, high, count in surfaces])
    return rng.permutation(np.unique(np.round(points * 64), axis=0) / 64).astype(np.float32)


def _predict(run: RunDirectory, source: Path, **options) -> tuple[np.ndarray, list[str]]:
    """The vertices written and what was said."""
    said: list[str] = []
    target = source.with_name("out.ply")
    said.append(
        predict_file(load_run(run.path, device="cpu"), source, target, say=said.append, progress=False, **options)
    )
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


@pytest.mark.parametrize(("factor", "unit"), [(1, 1.0), (100, 0.01), (1000, 0.001)])
def test_units_are_guessed(factor: int, unit: float):
    frame = find_frame(_room() * factor)
    assert frame.scale == unit
    assert frame.up == "z"


def test_a_piece_of_wall_is_taken_for_a_floor_with_a_warning():
    rng = np.random.default_rng(0)
    plaster, shelf = rng.uniform(0, [2.4, 0.01, 1.9], (3000, 3)), rng.uniform([1, 0, 1], [2, 0.4, 1.05], (400, 3))
    frame = find_frame(np.concatenate([plaster, shelf]))
    assert frame.up == "y"
    assert any("so the floor may be a piece of wall" in note for note in frame.notes)
    assert not any("piece of wall" in note for note in find_frame(_room()).notes)


def test_strange_sizes_and_lost_precision_are_said():
    assert "is the unit right" in find_frame(_room(), scale=1000.0).notes[-1]
    far = (_room() + np.float32(5e6)).astype(np.float32)
    assert any("careful: the file keeps them as float32" in note for note in find_frame(far).notes)
    assert len(find_frame(_room()).notes) == 2


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


def test_colours_are_used_by_networks_that_need_them(tmp_path: Path):
    run = _run(tmp_path / "run", color=True)
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
    with pytest.raises(InputError, match=r"out: expected a file named \.ply"):
        predict_file(load_run(run.path), tmp_path / "room.ply", tmp_path / "out.las", progress=False)
    with pytest.raises(InputError, match="is not a run directory"):
        load_run(tmp_path)


def test_a_single_point(run: RunDirectory, tmp_path: Path):
    write_ply(tmp_path / "one.ply", np.array([[1.0, 2, 3]], np.float32))
    got, said = _predict(run, tmp_path / "one.ply")
    assert got["train_id"][0] < 20
    assert "is the unit right" in said[-2]
