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
held = {}  # by path
output = threading.Lock()


def say(line):
    with output:
        print(line.replace("\n", " "), flush=True)


def perform(op, kind, path, millis="0"):
    if kind != "mutex":
        raise ValueError("no such kind: " + kind)
    if op == "release":
        held.pop(path).release()
        return True
    if path in held:
        raise RuntimeError("it is held already")
    lock = client.Lock(path, extra_lock_patterns=OTHERS)
    try:
        acquired = lock.acquire(timeout=int(millis) / 1000)
    except LockTimeout:
        acquired = False
    if acquired:
        held[path] = lock
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
