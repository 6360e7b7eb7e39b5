"""Compares what Autobahn found with what is expected, case by case; runs on Python 2.7 and 3.

compare.py FOUND EXPECTED [--bless]: a difference is printed and makes the exit code 1; --bless
writes what was found into EXPECTED instead.
"""
from __future__ import print_function

import collections
import json
import sys

KEYS = ("behavior", "behaviorClose", "remoteCloseCode")


def numbers(case):
    return [int(part) for part in case.split(".")]


def outcome(result):
    return [result[key] for key in KEYS]


def write(path, found):
    cases = sorted(found, key=numbers)
    lines = ['  "%s": %s' % (case, json.dumps(found[case])) for case in cases]
    with open(path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def main(found_path, expected_path, *options):
    with open(found_path) as file:
        (results,) = json.load(file).values()
    found = {case: outcome(result) for case, result in results.items()}
    if "--bless" in options:
        write(expected_path, found)
    with open(expected_path) as file:
        expected = json.load(file)
    differing = sorted(set(found) | set(expected), key=numbers)
    differing = [case for case in differing if found.get(case) != expected.get(case)]
    for case in differing:
        print("%s: expected %s, found %s" % (case, expected.get(case), found.get(case)))
    for position, key in enumerate(KEYS[:2]):
        counts = collections.Counter(result[position] for result in found.values())
        print("%s: %s" % (key, ", ".join("%d %s" % (n, name) for name, n in counts.most_common())))
    print("%d cases, %d differ from %s" % (len(found), len(differing), expected_path))
    return 1 if differing or not found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
