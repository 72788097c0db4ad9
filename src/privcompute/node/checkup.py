"""What `doctor` looks at, one finding each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from privcompute.errors import PrivcomputeError
from privcompute.node import calibration, local_socket
from privcompute.node.config import Config
from privcompute.node.config import load as load_config
from privcompute.node.grading import rule_table, unknown_categories, unknown_grades
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.transport.address import Address
from privcompute.transport.identity import RENEW_DAYS, Identity


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


async def examine(home: Home) -> list[Finding]:
    """Look at everything; a fault of one part does not hide the others."""
    findings = []
    try:
        home.require()
        findings.append(Finding("home", "ok", f"{home.path}, owner-only"))
    except PrivcomputeError as error:
        findings.append(_failed("home", error))
        if not home.exists:
            return findings
    try:
        config = load_config(home.config_file)
        findings.append(Finding("configuration", "ok", f"node {config.name}"))
    except PrivcomputeError as error:
        return [*findings, _failed("configuration", error)]
    try:
        identity = Identity.load(home.identity)
        findings += _identity(identity, config)
    except PrivcomputeError as error:
        return [*findings, _failed("identity", error)]
    try:
        store = Store(home.database)
    except PrivcomputeError as error:
        return [*findings, _failed("state", error)]
    try:
        findings += _state(store)
        findings += await _port(home, config)
        findings += _datasets(store)
        findings += _grades(store, config)
        findings += await _peers(store, identity)
    finally:
        store.close()
    return findings


def _failed(about: str, error: PrivcomputeError) -> Finding:
    return Finding(about, "fail", error.message, error.remedy)


def _identity(identity: Identity, config: Config) -> Iterator[Finding]:
    days = (identity.expires - datetime.now(UTC)).days
    if identity.name != config.name:
        yield Finding(
            "identity",
            "fail",
            f"the certificate names {identity.name}, node.toml names {config.name}",
            "set name in node.toml back: peers know the node by its certificate",
        )
    elif days < 0:
        yield Finding(
            "identity", "fail", "the certificate has expired", "unpair and pair again after `privcompute renew`"
        )
    elif days < RENEW_DAYS:
        yield Finding("identity", "warn", f"the certificate ends in {days} days", "run `privcompute renew`")
    else:
        yield Finding("identity", "ok", f"the certificate is good for {days} days")


def _state(store: Store) -> Iterator[Finding]:
    if not store.database.sound():
        yield Finding("state", "fail", "state.db is damaged", "restore it from a backup")
        return
    try:
        yield Finding("state", "ok", f"sound; audit trail of {store.audit.verify()} entries is unbroken")
    except PrivcomputeError as error:
        yield _failed("audit trail", error)
    measured = calibration.measure()
    calibration.save(store, measured)
    yield Finding(
        "speed",
        "ok",
        f"measured anew: {measured.ladders:,.0f} curve operations a second on each of {measured.cores} cores",
    )


async def _port(home: Home, config: Config) -> list[Finding]:
    try:
        status = await local_socket.call(home.socket, {"op": "status"})
        return [Finding("node", "ok", f"runs, listening on {', '.join(status['addresses']) or 'no port'}")]
    except PrivcomputeError as error:
        if error.code != "not_running":
            return [_failed("node", error)]
    found = [Finding("node", "warn", "does not run", "run `privcompute serve` to be asked by peers")]
    if config.listen is not None:
        found.append(_bindable(Address.parse(config.listen)))
    return found


def _bindable(address: Address) -> Finding:
    """Whether the configured port is free now."""
    try:
        infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = infos[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return Finding(
            "port",
            "fail",
            f"{address} cannot be listened on: {error.strerror or 'no such address'}",
            "stop the program that holds it, or change listen in node.toml",
        )
    return Finding("port", "ok", f"{address} is free")


def _datasets(store: Store) -> Iterator[Finding]:
    from privcompute.node import datasets

    for one in store.datasets.all():
        about = f"dataset {one.name}"
        try:
            fresh = datasets.fresh(store, one)
        except PrivcomputeError as error:
            yield _failed(about, error)
            continue
        if fresh:
            yield Finding(about, "ok", "its source is as it was when it was added")
        else:
            yield Finding(
                about, "warn", "its source has changed", f"run `privcompute dataset edit {one.name} --refresh`"
            )


def _grades(store: Store, config: Config) -> Iterator[Finding]:
    """The rules can be read, and know every grade that was given."""
    try:
        table = rule_table(config)
    except PrivcomputeError as error:
        yield _failed("grades", error)
        return
    for dataset in store.datasets.all():
        if wrong := unknown_grades(dataset.grades, table):
            yield Finding(
                f"dataset {dataset.name}",
                "fail",
                f"the rules {table.name} do not have the grades of {', '.join(wrong)}: no query may use these columns",
                f"give them other grades: `privcompute dataset edit {dataset.name} --grade COL=GRADE`",
            )
        if lost := unknown_categories(dataset.grades, table):
            yield Finding(
                f"dataset {dataset.name}",
                "warn",
                f"the rules {table.name} do not have the categories {', '.join(lost)}: such columns cross no border",
                f"give them other ones: `privcompute dataset edit {dataset.name} --grade COL=GRADE/CATEGORY`",
            )
    for word, parties in (("own", config.grades.own), ("abroad", config.grades.abroad)):
        for party in parties:
            if store.peers.get(party) is None:
                yield Finding(
                    "grades",
                    "warn",
                    f"grades.{word} names {party}, who is not a paired peer",
                    "compare the name with `privcompute peers list`, and mend node.toml",
                )
    yield Finding("grades", "ok", f"rules {table.name}" + (", grades required" if table.required else ""))


async def _peers(store: Store, identity: Identity) -> list[Finding]:
    from privcompute.transport.probe import probe

    found = []
    for peer in store.peers.all():
        about = f"peer {peer.name}"
        if not peer.addresses:
            found.append(Finding(about, "ok", "reaches us; it told no address of its own"))
            continue
        seen = [
            await asyncio.to_thread(probe, address, peer=peer, identity=identity, timeout=3.0)
            for address in peer.addresses
        ]
        sound = [one for one in seen if one.sound]
        for one in sound[:1] or seen:
            remedy = "" if one.sound else f"ask {peer.name} to run `privcompute serve`, and check the network between"
            found.append(Finding(about, "ok" if one.sound else "fail", one.finding, remedy))
    return found
