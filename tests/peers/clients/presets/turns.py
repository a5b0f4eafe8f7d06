"""What the Python clients of the presets share: each line on stdin is a turn, in which all calls are made."""

import sys
import traceback


def turns(calls):
    """`calls` makes the calls with a client of its own and yields what it got; what it raises fails the turn."""
    for _ in sys.stdin:
        try:
            for answer in calls():
                print("answer:", repr(answer)[:2000])
            print("turn: done")
        except Exception:
            traceback.print_exc(file=sys.stdout)
            print("turn: failed")
