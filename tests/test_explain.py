"""`pointseg explain`: reach and nodes by hand, pictures and page, networks and files that cannot be explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pointseg.cli import main
from pointseg.config import Config, DataConfig, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.evaluation.inference import output_classes
from pointseg.models import LatentGNN, build_model
from pointseg.prediction.explain import explain_scene
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES

LEVELS = tuple(
    LevelConfig(points=points, scales=(ScaleConfig(radius=radius, neighbours=8, mlp=(8, 16)),))
    for points, radius in ((64, 0.3), (16, 0.6))
)


def config(store: Path, context: str = "latent_gnn") -> Config:
    model = ModelConfig(
        context=context, levels=LEVELS, latent_gnn=LatentGNNConfig(latent_dims=(6, 4)), fp_mlps=((16,), (16,))
    )
    return Config(data=DataConfig(store=str(store), num_points=256), model=model)


def trained(settings: Config, path: Path) -> RunDirectory:
    torch.manual_seed(0)
    run, model = RunDirectory(path), build_model(settings.model, output_classes(settings))
    for module in model.modules():
        if isinstance(module, LatentGNN):
            torch.nn.init.constant_(module.scale, 0.5)
    run.create(settings, {})
    run.save_checkpoint({"model": model.state_dict(), "step": 1, "classes": list(CLASS_NAMES)})
    return run


def test_pictures_page_and_figures(make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = trained(config(make_store("val", scenes=2)), tmp_path / "run")
    assert main(["explain", str(run.path), "--scene", "scene0001_00"]) == 0
    out = run.path / "explain"
    assert capsys.readouterr().out.strip() == str(out / "explain.html")
    levels = json.loads((out / "explain.json").read_text())["levels"]
    assert [level["latent_nodes"] for level in levels] == [6, 4]
    assert [level["scale"] for level in levels] == [0.5, 0.5]
    for level in levels:
        assert level["added"] > 0
        assert 0 < level["reach"] < 3
        assert 0 <= level["far"] <= 1
    page = (out / "explain.html").read_text()
    assert "scene0001_00" in page
    assert "https://" not in page
    for name in ("nodes.png", "affinity.png"):
        colors = np.asarray(Image.open(out / name).convert("RGB")).reshape(-1, 3)
        assert len(np.unique(colors, axis=0)) > 20

    cloud = tmp_path / "cloud.npy"
    np.save(cloud, np.random.default_rng(0).uniform(0, 1, (3000, 3)).astype(np.float32) * [3, 3, 2])
    assert main(["explain", str(run.path), str(cloud), "-o", str(tmp_path / "own"), "--up", "z", "--scale", "1"]) == 0
    assert "cloud.npy" in (tmp_path / "own" / "explain.html").read_text()


def test_a_module_that_hears_everything_alike(make_store):
    """With Psi the same at all points the affinity is uniform: reach is chance."""
    settings = config(make_store("val", scenes=1))
    model = build_model(settings.model, 20).eval()
    for module in model.context:
        for psi in module.psi:
            torch.nn.init.zeros_(psi.linear.weight)
            torch.nn.init.ones_(psi.norm.bias)
    xyz = np.random.default_rng(1).uniform(0, 1, (2000, 3)).astype(np.float32) * np.float32([1.4, 1.4, 2])
    explanation = explain_scene(model, xyz, None, settings, torch.device("cpu"))
    for level in explanation.levels:
        assert level.reach == pytest.approx(level.chance, rel=1e-5)
        assert level.far == pytest.approx(level.far_chance, rel=1e-5)
        np.testing.assert_allclose(level.nodes, 1, rtol=1e-4)  # of unit mean square
        assert level.added == 0  # the scale is 0
    assert len(explanation.listeners) >= 1
    for listener in explanation.listeners:
        np.testing.assert_allclose(listener.affinity, 1 / 64, rtol=1e-4)


def test_what_cannot_be_explained(make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = make_store("val", scenes=1)
    plain = trained(config(store, context="none"), tmp_path / "plain")
    assert main(["explain", str(plain.path)]) == 2
    assert "expected a network with LatentGNN to explain, got PointNet++ SSG" in capsys.readouterr().err
    run = trained(config(store), tmp_path / "run")
    assert main(["explain", str(run.path), "--scene", "scene0700_00"]) == 2
    assert "scene: expected one of scene0000_00 .. scene0000_00, got scene0700_00" in capsys.readouterr().err
