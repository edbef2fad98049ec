"""Write the golden files of the present version: `python -m tests.golden.make`.

Run it once when a stored schema gets a new version, with a new folder name below; files of released versions are never
written again, because the states that they stand for are still stored somewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stream_guard.accounts import AccountsStage
from stream_guard.accounts.table import dump_events
from stream_guard.campaigns import CampaignsStage
from stream_guard.clusters import ClustersStage
from stream_guard.desk import BOOKS_KEY, Desk
from stream_guard.encode import encode_alert, encode_campaign, encode_decision
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import Part, encode_deltas, encode_suspicions
from stream_guard.policy import Epochs, Policy
from tests.support import made
from tests.support.events import START, batch_of, bundle, delta, honest_rows, record, suspicion
from tests.support.network import Network

VERSION = "v1"
FOLDER = Path(__file__).parent


def states() -> dict[str, bytes]:
    """One small example of everything that is stored or sent, by name."""
    accounts = AccountsStage(0, Epochs())
    records = [
        record("acme-1", START + 9.0 * number, f"e{number}", prompt="one two three four five six", country="DE")
        for number in range(9)
    ]
    accounts.add(batch_of(records), np.arange(len(records)))
    accounts.close_idle(START + 120.0)
    clusters = ClustersStage(0, 1, Policy())
    people = honest_rows(12, 1)
    clusters.apply(int(START // 60.0), [delta(int(START // 60.0), people)])
    members = [f"a-{number}" for number in range(8)]
    stage, desk = CampaignsStage(Policy()), Desk(Policy())
    for number in range(3):
        stage.apply(10 * number, START + 600.0 * number, [bundle(10 * number, suspicion(1, members))])
        desk.evaluate(10 * number, START + 600.0 * number, [bundle(10 * number, suspicion(1, members))])
    (campaign,) = stage.dump(stage.ledgers).values()
    books = desk.dump()[BOOKS_KEY]
    aligner = Aligner(1)
    aligner.offer(3, Part(0, 5, 0, 1, b""))
    aligner.ready()
    network = Network(Policy(), 1, 1)
    network.publish(("acme-1", value) for value in records)
    network.step("accounts:0", 99)
    network.checkpoint("accounts:0")
    if campaign is None or books is None:
        raise RuntimeError("the example is broken: nothing was stored")
    return {
        "account.msgpack": accounts.table.dump([0])[b"aacme-1"],
        "counted_events.msgpack": dump_events([1, 2, 2**64 - 1]),
        "accounts_meta.msgpack": network.meta["accounts:0"],
        "cluster_row.msgpack": next(iter(clusters.store.dump([0]).values())),
        "cluster_models.msgpack": clusters.dump_models(),
        "population.msgpack": clusters.dump_population("default"),
        "sources_meta.msgpack": aligner.dump(),
        "campaign.msgpack": campaign,
        "books.msgpack": books,
        "delta_part.msgpack": encode_deltas(delta(7, (people[0][:2], people[1][:2])))[0],
        "suspicion_part.msgpack": encode_suspicions(bundle(7, suspicion(1, members)))[0],
        "alert.json": encode_alert(made.alert()),
        "decision.json": encode_decision(made.decision()),
        "campaign.json": encode_campaign(made.campaign()),
    }


def main() -> int:
    """Write the folder of the present version; refuses to touch one that exists."""
    folder = FOLDER / VERSION
    if folder.exists() and "--again" not in sys.argv:
        sys.stderr.write(f"{folder} exists; --again overwrites it, which only an unreleased version allows\n")
        return 1
    folder.mkdir(exist_ok=True)
    for name, data in states().items():
        (folder / name).write_bytes(data)
    sys.stderr.write(f"{len(states())} files in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
