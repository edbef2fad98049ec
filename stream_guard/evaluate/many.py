"""Many trials, in several processes, with a shared board that shows how far each one is."""

from __future__ import annotations

import gc
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TYPE_CHECKING, Any

from stream_guard.errors import StreamGuardError
from stream_guard.evaluate.trial import run_trial
from stream_guard.simulate.engine import find_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream_guard.evaluate.trial import Trial
    from stream_guard.policy import Policy
    from stream_guard.records import Json

    Shares = Callable[[Sequence[float]], object]

_POLL_SECONDS = 0.5
_GC_THRESHOLDS = (50_000, 20, 100)  # a trial keeps millions of objects and makes few cycles: look for them less often
_board: Any = None  # of a worker process


def run_trials(
    trials: Sequence[Trial], policy: Policy, jobs: int, progress: Shares | None = None
) -> list[tuple[Json, float]]:
    """Run trials.

    Args:
        trials: what to simulate.
        policy: what the operator tuned.
        jobs: processes; one means this process.
        progress: called now and then with the finished share of every trial.

    Returns:
        Scores and seconds, in the order of `trials`.

    Raises:
        StreamGuardError: a process died, usually for want of memory.
    """
    if jobs == 1 or len(trials) == 1:
        return _in_turn(trials, policy, progress)
    context = multiprocessing.get_context("spawn")
    board = context.Array("d", len(trials))
    with ProcessPoolExecutor(min(jobs, len(trials)), context, _set_board, (board,)) as pool:
        longest_first = sorted(enumerate(trials), key=lambda one: -_days(one[1]))  # so that all processes end together
        started = {number: pool.submit(_one, number, trial, policy) for number, trial in longest_first}
        futures = [started[number] for number in range(len(trials))]
        open_futures = set(futures)
        try:
            while open_futures:
                done, open_futures = wait(open_futures, _POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    future.result()
                if progress is not None:
                    progress([1.0 if future.done() else share for future, share in zip(futures, board[:], strict=True)])
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise StreamGuardError("a process of the evaluation died; fewer --jobs need less memory") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _in_turn(trials: Sequence[Trial], policy: Policy, progress: Shares | None) -> list[tuple[Json, float]]:
    shares = [0.0] * len(trials)
    results = []
    for number, trial in enumerate(trials):

        def note(done: int, total: int, number: int = number) -> None:
            shares[number] = done / max(total, 1)
            if progress is not None:
                progress(shares)

        results.append(_run(trial, policy, note))
        note(1, 1)
    return results


def _run(trial: Trial, policy: Policy, note: Callable[[int, int], None]) -> tuple[Json, float]:
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        return run_trial(trial, policy, note)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _days(trial: Trial) -> float:
    """Simulated length of a trial, which its cost grows with."""
    if trial.shards is not None:
        return 1.0
    return find_scenario(trial.scenario).days if trial.days is None else trial.days


def _set_board(board: Any) -> None:  # noqa: ANN401  # a shared array; its type has no public name
    global _board  # noqa: PLW0603  # a pool hands shared memory to its processes only at their start
    _board = board
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Whoever ends an evaluation from outside ends its processes, too: they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(number: int, trial: Trial, policy: Policy) -> tuple[Json, float]:
    def note(done: int, total: int) -> None:
        _board[number] = done / max(total, 1)

    return _run(trial, policy, note)
