"""Cluster membership for Python, by ctypes: no dependency, no compiler.

    with Node("a", bind="127.0.0.1:7001", join=["127.0.0.1:7002"]) as node:
        for change in node.changes():
            print(change.active, change.left, change.removed)

The shared library is looked for in SYNCSWIM_LIBRARY, then in target/release of this repository.
"""

import asyncio
import ctypes
import os
from collections import namedtuple
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

ABI_VERSION = 1
OK, TIMEOUT, CLOSED = 0, 1, 2
ERR_RANGE = -14
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS = ["sent", "broadcast", "lost", "request", "answer"]
STATES = ["alive", "suspect", "failed", "left"]
# Ctrl-C is noticed between two waits, not during one.
SLICE_MS = 250

Change = namedtuple("Change", "active left removed")
Snapshot = namedtuple("Snapshot", "active left failed")
Member = namedtuple("Member", "name addr state is_local tags removed_by")
# `kind` is "sent", "broadcast", or "lost": then `lost` messages and broadcasts of the sender are lost for this inbox. Of a
# broadcast: its number, a stamp that orders those of all, how many just before it are missing, and whether it is out of order.
Message = namedtuple("Message", "sender topic payload kind lost seq stamp gap late")
# How many members confirmed a broadcast, the names of those that did not, how many of the former it was sent to directly, and after
# how many seconds half of them had, and 99 of 100; None if none did.
BroadcastReport = namedtuple("BroadcastReport", "reached missing repaired p50 p99")
# `error` says why there is no answer, `acted` whether the member may have acted.
Answer = namedtuple("Answer", "member payload error acted")
UNANSWERED, REFUSED = -21, -22


class Error(Exception):
    """A call failed; `status` is the number that syncswim.h explains."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Member(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("addr", c_char_p),
        ("state", c_int),
        ("is_local", c_int),
        ("epoch", c_uint64),
        ("incarnation", c_uint64),
        ("tag_count", c_size_t),
        ("removed_by", c_char_p),
    ]


class _Entry(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_int),
        ("owner", c_char_p),
        ("key", c_char_p),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("version", c_uint64),
        ("stamp", c_uint64),
    ]


def _load():
    beside = Path(__file__).resolve().parents[2] / "target" / "release" / "libsyncswim.so"
    library = ctypes.CDLL(os.environ.get("SYNCSWIM_LIBRARY", str(beside)))
    texts = POINTER(c_char_p)
    status = {
        "config_new": [c_char_p, c_char_p, POINTER(c_void_p)],
        "config_set": [c_void_p, c_char_p, c_char_p],
        "cluster_new": [POINTER(c_void_p)],
        "cluster_add_gossip": [c_void_p, c_void_p],
        "cluster_start": [c_void_p],
        "cluster_stop": [c_void_p],
        "cluster_wait": [c_void_p, c_int64],
        "cluster_membership": [c_void_p, POINTER(c_void_p)],
        "cluster_members_matching": [c_void_p, c_char_p, POINTER(c_void_p)],
        "cluster_nearest": [c_void_p, c_char_p, c_size_t, POINTER(c_void_p)],
        "cluster_rtt": [c_void_p, c_char_p, POINTER(c_uint64), POINTER(c_uint64)],
        "cluster_remove": [c_void_p, c_char_p, c_int],
        "cluster_set_tags": [c_void_p, texts, texts, c_size_t],
        "cluster_metric": [c_void_p, c_char_p, POINTER(c_uint64)],
        "cluster_prometheus_text": [c_void_p, texts, texts, c_size_t, c_char_p, c_size_t, POINTER(c_size_t)],
        "cluster_status": [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)],
        "cluster_explain": [c_void_p, c_char_p, c_char_p, c_size_t, POINTER(c_size_t)],
        "cluster_record": [c_void_p, c_char_p, c_uint64],
        "cluster_send": [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t, c_int64],
        "cluster_request": [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t, c_int64, POINTER(c_void_p)],
        "cluster_query": [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t, c_int64, POINTER(c_void_p)],
        "cluster_inbox": [c_void_p, c_char_p, POINTER(c_void_p)],
        "cluster_serve": [c_void_p, c_char_p, POINTER(c_void_p)],
        "inbox_next": [c_void_p, c_int64, POINTER(c_void_p)],
        "requests_next": [c_void_p, c_int64, POINTER(c_void_p)],
        "answers_next": [c_void_p, c_int64, POINTER(c_void_p)],
        "request_answer": [c_void_p, c_char_p, c_size_t],
        "request_refuse": [c_void_p, c_char_p],
        "cluster_broadcast": [c_void_p, c_char_p, c_char_p, c_size_t, c_int, POINTER(c_uint64)],
        "cluster_broadcast_confirmed": [c_void_p, c_char_p, c_char_p, c_size_t, c_int64, POINTER(c_void_p)],
        "cluster_set": [c_void_p, c_char_p, c_char_p, c_size_t, POINTER(c_uint64)],
        "cluster_delete": [c_void_p, c_char_p],
        "cluster_entries": [c_void_p, POINTER(c_void_p)],
        "cluster_watch_entries": [c_void_p, c_char_p, POINTER(c_void_p)],
        "entries_get": [c_void_p, c_size_t, POINTER(_Entry)],
        "entry_watch_next": [c_void_p, c_int64, POINTER(c_void_p)],
        "membership_snapshot": [c_void_p, POINTER(c_void_p)],
        "membership_watch": [c_void_p, POINTER(c_void_p)],
        "members_get": [c_void_p, c_size_t, POINTER(_Member)],
        "watch_next": [c_void_p, c_int64, POINTER(c_void_p)],
        "watch_fd": [c_void_p, POINTER(c_int)],
    }
    for name, arguments in status.items():
        function = getattr(library, f"syncswim_{name}")
        function.argtypes, function.restype = arguments, ctypes.c_int32
        function.errcheck = _check
    for name, arguments, result in [
        ("abi_version", [], c_uint32),
        ("last_error", [], c_char_p),
        ("snapshot_len", [c_void_p], c_size_t),
        ("snapshot_active_len", [c_void_p], c_size_t),
        ("snapshot_peer", [c_void_p, c_size_t], c_char_p),
        ("snapshot_failed_len", [c_void_p], c_size_t),
        ("snapshot_failed_peer", [c_void_p, c_size_t], c_char_p),
        ("change_len", [c_void_p, c_int], c_size_t),
        ("change_peer", [c_void_p, c_int, c_size_t], c_char_p),
        ("broadcast_report_reached", [c_void_p], c_size_t),
        ("broadcast_report_missing", [c_void_p], c_size_t),
        ("broadcast_report_name", [c_void_p, c_size_t], c_char_p),
        ("broadcast_report_repaired", [c_void_p], c_size_t),
        ("broadcast_report_p50", [c_void_p], c_uint64),
        ("broadcast_report_p99", [c_void_p], c_uint64),
        ("entries_len", [c_void_p], c_size_t),
        ("members_len", [c_void_p], c_size_t),
        ("members_tag_key", [c_void_p, c_size_t, c_size_t], c_char_p),
        ("members_tag", [c_void_p, c_size_t, c_char_p], c_char_p),
        ("message_from", [c_void_p], c_char_p),
        ("message_topic", [c_void_p], c_char_p),
        ("message_payload", [c_void_p], c_void_p),
        ("message_len", [c_void_p], c_size_t),
        ("message_status", [c_void_p], c_int32),
        ("message_lost", [c_void_p], c_uint64),
        ("message_kind", [c_void_p], c_int),
        ("message_seq", [c_void_p], c_uint64),
        ("message_stamp", [c_void_p], c_uint64),
        ("message_gap", [c_void_p], c_uint64),
        ("message_late", [c_void_p], c_int),
    ]:
        function = getattr(library, f"syncswim_{name}")
        function.argtypes, function.restype = arguments, result
    handles = ["config", "cluster", "membership", "snapshot", "members", "watch", "change", "message", "inbox", "requests", "answers"]
    handles += ["broadcast_report"]
    handles += ["entries", "entry_watch"]
    for kind in handles:
        function = getattr(library, f"syncswim_{kind}_free")
        function.argtypes, function.restype = [c_void_p], None
    if library.syncswim_abi_version() < ABI_VERSION:
        raise ImportError("the syncswim library is too old")
    return library


def _check(result, function, arguments):
    if result < 0:
        raise Error(result, _lib.syncswim_last_error().decode())
    return result


def _new(call, *arguments):
    out = c_void_p()
    call(*arguments, byref(out))
    return out


def _text(function, *arguments):
    """What a function writes into a buffer, however long it is."""
    size = 32 << 10
    while True:
        buffer, needed = ctypes.create_string_buffer(size), c_size_t()
        try:
            function(*arguments, buffer, size, byref(needed))
            return buffer.value.decode()
        except Error as error:
            if error.status != ERR_RANGE:
                raise
            # The next text may be somewhat longer.
            size = needed.value + 1024


def _texts(texts):
    return (c_char_p * len(texts))(*[text.encode() for text in texts])


class Node:
    """A running gossip node. Leaving the `with` block says good-bye and ends its threads."""

    def __init__(self, name, preset="local", bind=None, join=(), tags=None, **settings):
        """`settings` are the keys that syncswim_config_set explains, as cluster="orders", state_file="a.state"."""
        config = _new(_lib.syncswim_config_new, preset.encode(), name.encode())
        try:
            pairs = [("peer_name", "name"), *([("bind", bind)] if bind else [])]
            pairs += [("join", seed) for seed in join]
            pairs += [(f"tag.{key}", value) for key, value in (tags or {}).items()]
            text = lambda value: str(value).lower() if isinstance(value, bool) else str(value)
            pairs += [(key, text(value)) for key, value in settings.items()]
            for key, value in pairs:
                _lib.syncswim_config_set(config, key.encode(), value.encode())
            self._cluster = _new(_lib.syncswim_cluster_new)
            self._membership = _new(_lib.syncswim_cluster_membership, self._cluster)
            _lib.syncswim_cluster_add_gossip(self._cluster, config)
        finally:
            _lib.syncswim_config_free(config)

    def __enter__(self):
        try:
            _lib.syncswim_cluster_start(self._cluster)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        _lib.syncswim_cluster_free(self._cluster)
        _lib.syncswim_membership_free(self._membership)

    def stop(self):
        """Asks the node to end: from any thread. Iterations over its changes then end."""
        _lib.syncswim_cluster_stop(self._cluster)

    def peers(self):
        """The peers at this moment, each list sorted: active, left, and those of `left` that failed."""
        snapshot = _new(_lib.syncswim_membership_snapshot, self._membership)
        try:
            count, split = _lib.syncswim_snapshot_len(snapshot), _lib.syncswim_snapshot_active_len(snapshot)
            names = [_lib.syncswim_snapshot_peer(snapshot, i).decode() for i in range(count)]
            count = _lib.syncswim_snapshot_failed_len(snapshot)
            failed = [_lib.syncswim_snapshot_failed_peer(snapshot, i).decode() for i in range(count)]
            return Snapshot(names[:split], names[split:], failed)
        finally:
            _lib.syncswim_snapshot_free(snapshot)

    def members(self, filter=""):
        """The members with their addresses, states and tags, this node included: all, or those that a filter matches,
        as "role=db,zone=a|b,!@name=db-7"."""
        return _members(_new(_lib.syncswim_cluster_members_matching, self._cluster, filter.encode()))

    def nearest(self, filter="", most=1):
        """The live members that a filter matches, the nearest first, as far as round-trip times were measured."""
        return _members(_new(_lib.syncswim_cluster_nearest, self._cluster, filter.encode(), most))

    def rtt(self, member):
        """How long a datagram takes to a member and back, in seconds; None before it was measured."""
        micros, age = c_uint64(), c_uint64()
        _lib.syncswim_cluster_rtt(self._cluster, member.encode(), byref(micros), byref(age))
        if age.value == 2**64 - 1:
            return None
        return micros.value / 1e6

    def set_tags(self, tags):
        """Shows other tags to the cluster."""
        keys, values = _texts(list(tags)), _texts(list(tags.values()))
        _lib.syncswim_cluster_set_tags(self._cluster, keys, values, len(tags))

    def set(self, key, value):
        """Sets a key of this node's own map, for all to read; returns which change it is."""
        version = c_uint64()
        _lib.syncswim_cluster_set(self._cluster, key.encode(), value, len(value), byref(version))
        return version.value

    def delete(self, key):
        """Deletes a key of this node's own map."""
        _lib.syncswim_cluster_delete(self._cluster, key.encode())

    def entries(self):
        """The key-values of all listed members, as {owner: {key: value}}."""
        found = {}
        for owner, key, value in _entries(_new(_lib.syncswim_cluster_entries, self._cluster)):
            found.setdefault(owner, {})[key] = value
        return found

    def watch_entries(self, key=None):
        """Yields lists of (owner, key, value): first all there is, then what changes. The value is None for a key that was
        deleted, the key, too, for a member whose keys are all gone."""
        watch = _new(_lib.syncswim_cluster_watch_entries, self._cluster, key and key.encode())
        try:
            out = c_void_p()
            while _lib.syncswim_entry_watch_next(watch, -1, byref(out)) == 0:
                yield _entries(out)
        finally:
            _lib.syncswim_entry_watch_free(watch)

    def remove(self, name, reap=False):
        """Removes a failed member for all: it counts as left, or is not listed any more."""
        _lib.syncswim_cluster_remove(self._cluster, name.encode(), reap)

    def metric(self, name):
        """One of the node's counters."""
        out = c_uint64()
        _lib.syncswim_cluster_metric(self._cluster, name.encode(), byref(out))
        return out.value

    def prometheus_text(self, labels=None):
        """All metrics in the text format of Prometheus, with these labels on each line: what a /metrics page shows,
        as PROMETHEUS_TYPE."""
        labels = labels or {}
        keys, values = _texts(list(labels)), _texts([str(value) for value in labels.values()])
        return _text(_lib.syncswim_cluster_prometheus_text, self._cluster, keys, values, len(labels))

    def status(self):
        """How the node stands, in one line: "joined, 3 live, health score 0"."""
        return _text(_lib.syncswim_cluster_status, self._cluster)

    def explain(self, member):
        """Why a member stands as it does: probes, accusations, refutations, this node's own trouble. Several lines."""
        return _text(_lib.syncswim_cluster_explain, self._cluster, member.encode())

    def record(self, path, limit=64 << 20):
        """Records this node to a file of at most `limit` bytes, for `replay`; None ends that."""
        _lib.syncswim_cluster_record(self._cluster, path and os.fsencode(path), limit)

    def send(self, member, topic, payload, timeout=10.0):
        """Returns once the message is in that member's inboxes for the topic, or raises Error: -21 if it may have arrived."""
        topic, ms = topic.encode(), int(timeout * 1000)
        _lib.syncswim_cluster_send(self._cluster, member.encode(), topic, payload, len(payload), ms)

    def request(self, member, topic, payload=b"", timeout=10.0):
        """What the member's application answers."""
        call, topic, ms = _lib.syncswim_cluster_request, topic.encode(), int(timeout * 1000)
        return _take(_new(call, self._cluster, member.encode(), topic, payload, len(payload), ms)).payload

    def query(self, topic, payload=b"", to="", timeout=5.0):
        """Asks all live members that a filter matches, as "role=db,!zone=a"; one Answer for each, whose `error` says why
        there is none. A generator that is closed early gives the query up."""
        call, ms = _lib.syncswim_cluster_query, int(timeout * 1000)
        answers = _new(call, self._cluster, to.encode(), topic.encode(), payload, len(payload), ms)
        for message in _read(_lib.syncswim_answers_next, answers, _lib.syncswim_answers_free):
            status = _lib.syncswim_message_status(message)
            said = _take(message)
            if status == OK:
                yield Answer(said.sender, said.payload, None, True)
            else:
                yield Answer(said.sender, b"", said.payload.decode(), status in (UNANSWERED, REFUSED))

    def inbox(self, topics):
        """The messages and broadcasts to a topic, to all that begin alike ("jobs/*"), or to all ("*"), until the node ends. What
        comes while 1,024 of them or 4 MiB wait is lost, and a Message of the kind "lost" says how many."""
        inbox = _new(_lib.syncswim_cluster_inbox, self._cluster, topics.encode())
        return map(_take, _read(_lib.syncswim_inbox_next, inbox, _lib.syncswim_inbox_free))

    def serve(self, topic):
        """The requests to a topic, until the node ends: each is to be answered."""
        requests = _new(_lib.syncswim_cluster_serve, self._cluster, topic.encode())
        return map(Request, _read(_lib.syncswim_requests_next, requests, _lib.syncswim_requests_free))

    def broadcast(self, topic, payload, newest=False):
        """Sends at most 512 bytes to every member, this node included, and returns its number at once."""
        number = c_uint64()
        _lib.syncswim_cluster_broadcast(
            self._cluster, topic.encode(), payload, len(payload), newest, byref(number)
        )
        return number.value

    def broadcast_confirmed(self, topic, payload, timeout=5.0):
        """The same of up to 1 MiB less 64 bytes, and waits until all members have confirmed it: a BroadcastReport. Who did not may have got it all the same."""
        call, ms = _lib.syncswim_cluster_broadcast_confirmed, int(timeout * 1000)
        report = _new(call, self._cluster, topic.encode(), payload, len(payload), ms)
        try:
            missing = range(_lib.syncswim_broadcast_report_missing(report))
            names = [_lib.syncswim_broadcast_report_name(report, i).decode() for i in missing]
            reached = _lib.syncswim_broadcast_report_reached(report)
            times = [_lib.syncswim_broadcast_report_p50(report), _lib.syncswim_broadcast_report_p99(report)]
            seconds = [time / 1e6 if reached else None for time in times]
            return BroadcastReport(reached, names, _lib.syncswim_broadcast_report_repaired(report), *seconds)
        finally:
            _lib.syncswim_broadcast_report_free(report)

    def changes(self):
        """The state now, then every change, until the node ends. Ctrl-C gets through."""
        watch = _new(_lib.syncswim_membership_watch, self._membership)
        try:
            while True:
                status, change = _next(watch, SLICE_MS)
                if status == CLOSED:
                    return
                if status == OK:
                    yield change
        finally:
            _lib.syncswim_watch_free(watch)

    async def changes_async(self):
        """The same for asyncio: no thread waits, the loop watches a descriptor."""
        watch, ready, fd = _new(_lib.syncswim_membership_watch, self._membership), asyncio.Event(), c_int()
        loop = asyncio.get_running_loop()
        _lib.syncswim_watch_fd(watch, byref(fd))
        loop.add_reader(fd.value, ready.set)
        try:
            while True:
                status, change = _next(watch, 0)
                if status == CLOSED:
                    return
                if status == OK:
                    yield change
                    continue
                ready.clear()
                # A signal just before the loop waits would be noticed only when it wakes.
                wake = loop.call_later(SLICE_MS / 1000, ready.set)
                await ready.wait()
                wake.cancel()
        finally:
            loop.remove_reader(fd.value)
            _lib.syncswim_watch_free(watch)


class Request:
    """A request of a member. If it is dropped, that member is told so."""

    def __init__(self, handle):
        self._handle = handle
        self.sender, self.topic, self.payload = _said(handle)

    def answer(self, payload):
        _lib.syncswim_request_answer(self._handle, payload, len(payload))

    def refuse(self, reason):
        _lib.syncswim_request_refuse(self._handle, reason.encode())

    def __del__(self):
        _lib.syncswim_message_free(self._handle)


def _read(call, handle, free):
    """What comes, one after the other, until there can be no more. Ctrl-C gets through."""
    try:
        while True:
            out = c_void_p()
            status = call(handle, SLICE_MS, byref(out))
            if status == CLOSED:
                return
            if status == OK:
                yield out
    finally:
        free(handle)


def _said(message):
    payload = ctypes.string_at(_lib.syncswim_message_payload(message), _lib.syncswim_message_len(message))
    return _lib.syncswim_message_from(message).decode(), _lib.syncswim_message_topic(message).decode(), payload


def _take(message):
    try:
        number = lambda what: getattr(_lib, f"syncswim_message_{what}")(message)
        kind, late = KINDS[number("kind")], bool(number("late"))
        return Message(*_said(message), kind, *map(number, ["lost", "seq", "stamp", "gap"]), late)
    finally:
        _lib.syncswim_message_free(message)


def _next(watch, timeout_ms):
    change = c_void_p()
    status = _lib.syncswim_watch_next(watch, timeout_ms, byref(change))
    if status != OK:
        return status, None
    try:
        count, peer = _lib.syncswim_change_len, _lib.syncswim_change_peer
        kinds = [[peer(change, kind, i).decode() for i in range(count(change, kind))] for kind in range(3)]
        return status, Change(*kinds)
    finally:
        _lib.syncswim_change_free(change)


def _members(members):
    try:
        return [_member(members, i) for i in range(_lib.syncswim_members_len(members))]
    finally:
        _lib.syncswim_members_free(members)


def _entries(entries):
    """What is in a list, which is freed."""
    try:
        return [_entry(entries, i) for i in range(_lib.syncswim_entries_len(entries))]
    finally:
        _lib.syncswim_entries_free(entries)


def _entry(entries, i):
    entry = _Entry(struct_size=ctypes.sizeof(_Entry))
    _lib.syncswim_entries_get(entries, i, byref(entry))
    value = ctypes.string_at(entry.value, entry.value_len) if entry.kind == 0 else None
    return entry.owner.decode(), entry.key.decode() or None, value


def _member(members, i):
    member = _Member(struct_size=ctypes.sizeof(_Member))
    _lib.syncswim_members_get(members, i, byref(member))
    keys = [_lib.syncswim_members_tag_key(members, i, tag) for tag in range(member.tag_count)]
    tags = {key.decode(): _lib.syncswim_members_tag(members, i, key).decode() for key in keys}
    removed_by = member.removed_by and member.removed_by.decode()
    name, addr, state = member.name.decode(), member.addr.decode(), STATES[member.state]
    return Member(name, addr, state, bool(member.is_local), tags, removed_by)


_lib = _load()
