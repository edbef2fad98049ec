"""How the command line starts and ends; what it does is tested with each command."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from stream_guard import cli
from stream_guard.cli.errors import Flags, exit_code
from stream_guard.errors import ConfigurationError

PROGRAM = [sys.executable, "-m", "stream_guard.cli"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def fail_with(error: BaseException) -> None:
    raise error


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys; from stream_guard.cli import main; main(['--help'])\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in "
        "{'numpy', 'faust', 'river', 'redis', 'kafka', 'aiohttp', 'pydantic', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.rstrip().endswith("[]")
    for name in [
        "demo",
        "replay",
        "diff",
        "simulate",
        "evaluate",
        "worker",
        "topics",
        "check",
        "campaigns",
        "alerts",
        "decisions",
        "allow",
        "feedback",
        "snooze",
        "kill-switch",
        "audit",
        "sketch",
        "completion",
    ]:
        assert f"\n  {name} " in done.stdout
    assert "stream-guard completion bash" in done.stdout


def test_the_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.startswith("stream-guard, version ")) == (0, True)


@pytest.mark.parametrize("arguments", [["nope"], ["--nope"], [], ["feedback"], ["campaigns", "--limit", "0"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigurationError("policy p.toml:\n  not TOML"), 1, "stream-guard: policy p.toml: not TOML\n"),
        (FileNotFoundError(2, "No such file or directory", "x.jsonl"), 1, "x.jsonl: No such file or directory"),
        (click.ClickException("cannot"), 1, "stream-guard: cannot\n"),
        (click.Abort(), 130, "stream-guard: interrupted\n"),
    ],
)
def test_a_failure_is_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: fail_with(error), Flags(), "stream-guard") == code
    shown = capsys.readouterr().err
    assert line in shown
    assert shown.count("\n") == 1


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: fail_with(ConfigurationError("x")), Flags(debug=True), "stream-guard") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: fail_with(ZeroDivisionError()), Flags(), "stream-guard")


def test_a_missing_dependency_breaks_only_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> None:
        raise ModuleNotFoundError("No module named 'calfkit'", name="calfkit")

    monkeypatch.setattr(cli, "import_module", gone)
    with pytest.raises(ConfigurationError, match=r"calfkit is not installed: pip install 'stream-guard\[embedded\]'"):
        cli.cli.get_command(click.Context(cli.cli), "demo")
    assert cli.main(["--help"]) == 0


def test_completion_knows_the_commands() -> None:
    done = run(_STREAM_GUARD_COMPLETE="bash_complete", COMP_WORDS="stream-guard ki", COMP_CWORD="1")
    assert done.stdout == "plain,kill-switch\n"
    done = run(_STREAM_GUARD_COMPLETE="bash_complete", COMP_WORDS="stream-guard decisions a", COMP_CWORD="2")
    assert done.stdout == "plain,approve\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen([*PROGRAM, "simulate", "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_settings_that_are_wrong_are_named() -> None:
    done = run("campaigns", STREAM_GUARD_REDIS__COLOUR="blue")
    assert done.returncode == 1
    assert "STREAM_GUARD_REDIS__COLOUR" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_redis_that_is_away_is_one_line() -> None:
    done = run("kill-switch", "status", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("2", "2")])
def test_matrices_use_one_thread_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: str
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    assert cli.main(["--version"]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == used
