"""Takes kazoo's locks as lines on standard input say; see process.go."""

import binascii
import logging
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout

# Curator's and go-zookeeper's nodes, which end in lock- and the number.
OTHERS = ["lock-"]

client = None
held = {}  # by kind and path
output = threading.Lock()


def say(line):
    with output:
        print(line.replace("\n", " "), flush=True)


def make(kind, path):
    if kind == "mutex":
        return client.Lock(path, extra_lock_patterns=OTHERS)
    if kind == "plain":
        return client.Lock(path)
    if kind == "read":
        return client.ReadLock(path)
    if kind == "write":
        return client.WriteLock(path)
    raise ValueError("no such kind: " + kind)


def perform(op, kind, path, millis="0"):
    if op == "release":
        held.pop((kind, path)).release()
        return True
    if (kind, path) in held:
        raise RuntimeError("it is held already")
    lock = make(kind, path)
    try:
        acquired = lock.acquire(timeout=int(millis) / 1000)
    except LockTimeout:
        acquired = False
    if acquired:
        held[kind, path] = lock
    return acquired


def handle(number, words):
    try:
        answer = "true" if perform(*words) else "false"
    except Exception as e:
        answer = "error %r" % e
    say("%s %s" % (number, answer))


def main():
    global client
    logging.disable(logging.CRITICAL)
    client = KazooClient(sys.argv[1], timeout=float(sys.argv[2]))
    client.start()
    session, password = client.client_id
    say("ready %x %s" % (session & (1 << 64) - 1, binascii.hexlify(password).decode()))
    for line in sys.stdin:
        number, *words = line.split()
        threading.Thread(target=handle, args=(number, words), daemon=True).start()
    client.stop()
    client.close()


main()
