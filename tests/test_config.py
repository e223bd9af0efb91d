"""Configuration: strict YAML in and out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointseg.config import Config
from pointseg.config_file import PACKAGED, changed_keys, dump_config, load_config, parse_config
from pointseg.errors import InputError

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def test_what_is_written_is_read_back() -> None:
    config = parse_config("train: {lr: 3e-4}\nmodel: {context: non_local}\nevaluate: {protocols: [pointnet2]}")
    assert config.train.lr == 3e-4
    assert config.model.context == "non_local"
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_committed_config_loads_and_says_only_what_differs(path: Path) -> None:
    config = load_config(path)
    differing = changed_keys(Config(), config)
    text = path.read_text()
    assert differing or path.stem == "pointnet2_ssg_latentgnn", "a config of defaults only has no reason to exist"
    assert all(key.split(".")[-1] in text for key in differing)


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 4


def test_overrides_come_after_the_file() -> None:
    config = parse_config("train: {lr: 1e-2, epochs: 3}", ["train.lr=5", "model.latent_gnn.kernels=3"])
    assert (config.train.lr, config.train.epochs, config.model.latent_gnn.kernels) == (5.0, 3, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lrr: 1}", "unknown key train.lrr; the nearest known one is train.lr"),
        ("trian: {}", "unknown key trian; the nearest known one is train"),
        ("model: {levels: [{points: 3, scale: []}]}", "unknown key model.levels[0].scale; the nearest known one is"),
        ("train: {lr: fast}", "train.lr: expected `float`, got `str`"),
        ("train: {epochs: 1.5}", "train.epochs: expected `int`, got `float`"),
        ("train: {epochs: true}", "train.epochs: expected `int`, got `bool`"),
        ("train: {lr: .nan}", "train.lr must be finite, got nan"),
        ("train: {seed: 99999999999999999999}", "seed"),
        ("train: {lr: -1}", "train.lr must be positive, got -1"),
        ("train: {lr: 1e-6}", "train.lr_floor must be at most lr, 1e-06, got 1e-05"),
        ("train: {bn_momentum: 0.001}", "train.bn_floor must be at most bn_momentum, 0.001, got 0.01"),
        ("model: {pointcnn: {dropout: 2}}", "model.pointcnn.dropout must be between 0 and 1, got 2"),
        ("model: {levels: [{points: 0, scales: []}]}", "model.levels[0].points must be positive, got 0"),
        ("data: {min_annotated: 2}", "data.min_annotated must be between 0 and 1, got 2"),
        (
            "model: {context: nonlocal}",
            "model.context: invalid enum value 'nonlocal'; expected one of none, latent_gnn",
        ),
        (
            "evaluate: {protocols: [x]}",
            "protocols[0]: invalid enum value 'x'; expected one of every_vertex, benchmark,",
        ),
        ("model: {fp_mlps: [[8]]}", "model.fp_mlps must have one entry per level: 4 levels, got 1 entries"),
        ("train: {lr: 1, lr: 2}", "key 'lr' is given twice"),
        ("train: {lr: [}", "not valid YAML"),
        ("- 1", "expected a mapping of sections, got list"),
        ("train: 3", "train: expected `object`, got `int`"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text, source="my.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "--set: expected section.key=value, got 'train.lr'"),
        ("train.lrr=1", "--set: unknown key train.lrr; the nearest known one is train.lr"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=None) as caught:
        parse_config("", [override])
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nothing\.yaml"):
        load_config(tmp_path / "nothing.yaml")


def test_the_packages_configs_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = load_config(PACKAGED / "pointnet2_msg.yaml")
    for path in ("pointnet2_msg", "pointnet2_msg.yaml", "configs/pointnet2_msg.yaml"):
        assert load_config(Path(path)) == packaged
    Path("pointnet2_msg.yaml").write_text("train: {lr: 0.5}")
    assert load_config(Path("pointnet2_msg.yaml")).train.lr == 0.5  # one's own comes first
    with pytest.raises(InputError, match=r"one of the package's \(.*pointnet2_msg.*\), got pointnet3"):
        load_config(Path("pointnet3"))
    with pytest.raises(InputError, match="cannot read"):
        load_config(Path("elsewhere/pointnet2_msg.yaml"))


def test_changed_keys_names_settings() -> None:
    assert changed_keys(Config(), Config()) == []
    assert changed_keys(Config(), parse_config("", ["train.lr=1", "data.color=true"])) == ["data.color", "train.lr"]
