#!/bin/sh
# The first of three levels: asks the echoing origin, then has a child that has a child that looks around.
curl -sS https://api.test/v1/echo >"$OUT/echo.first"
python3 -c '
import os, subprocess, sys
answer = subprocess.run(["curl", "-sS", "https://api.test/v1/echo"], capture_output=True, text=True).stdout
sys.exit(subprocess.run(["python3", sys.argv[1], str(os.getppid()), str(os.getpid())]).returncode)
' "$1"
