from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from stream_guard.errors import ConfigurationError
from stream_guard.policy import Policy, load_policy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[epochs]\nepoch_second = 60\n", "epochs.epoch_second"),
        ("[epochs]\nepoch_seconds = 0\n", "epochs.epoch_seconds"),
        ("[epochs]\nevaluate_seconds = 90\n", "epochs: "),
        ("[clusters]\nmin_members = 2\n", "clusters.min_members"),
        ("[clusters]\nmin_members = 'many'\n", "clusters.min_members"),
        ("[campaigns]\njoin_overlap = 1.5\n", "campaigns.join_overlap"),
        ("[alerts]\nupdate_growth = 0.0\n", "alerts.update_growth"),
        ("[decisions]\nladder = []\n", "decisions.ladder"),
        ("[[decisions.ladder]]\naction = 'shout'\nmin_confidence = 0.5\n", "decisions.ladder.0.action"),
        (
            (
                "[[decisions.ladder]]\naction = 'slow'\nmin_confidence = 0.9\n"
                "[[decisions.ladder]]\naction = 'limit'\nmin_confidence = 0.5\n"
            ),
            "decisions: ",
        ),
        ("[desicions]\ndry_run = false\n", "desicions"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_policy(path)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"[epochs\n", b"\xff\xfe", b"a = \n"])
def test_what_is_not_toml_is_said_to_be_not_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match="not TOML"):
        load_policy(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_policy(tmp_path / "nowhere.toml")


def test_every_key_has_a_default_that_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("")
    assert load_policy(path) == load_policy(None) == Policy()


def test_a_part_of_a_section_keeps_the_other_defaults(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[decisions]\ndry_run = false\nallow_accounts = ['partner']\n")
    policy = load_policy(path)
    assert policy.decisions == Policy().decisions.model_copy(update={"dry_run": False, "allow_accounts": ("partner",)})
    assert policy.epochs == Policy().epochs


def test_a_policy_cannot_be_changed_in_place() -> None:
    policy = Policy()
    with pytest.raises(ValidationError):
        policy.decisions.dry_run = False  # what must fail
