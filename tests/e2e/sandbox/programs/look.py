"""Looks for planted values wherever a process can look, and writes its family's memory to a file. Prints JSON.

The word that is looked for is never whole in this program's own memory before it is found.
"""
import json, os, sys, urllib.request

PARTS = (b"sk-can", b"ary/")
OUT = os.environ["OUT"]
found = {"environ": [], "arguments": [], "files": [], "readable": 0, "answers": []}


def holds(data):
    start = 0
    while True:
        at = data.find(PARTS[0], start)
        if at < 0:
            return False
        if data[at + len(PARTS[0]):].startswith(PARTS[1]):
            return True
        start = at + 1


def read(path, most=4 << 20):
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError:
        return b""


# A client in this process: what its answer held must be nowhere in its memory.
found["answers"].append(len(urllib.request.urlopen("https://api.test/v1/echo", timeout=60).read()))

for pid in filter(str.isdigit, os.listdir("/proc")):
    if holds(read(f"/proc/{pid}/environ")):
        found["environ"].append(int(pid))
    if holds(read(f"/proc/{pid}/cmdline")):
        found["arguments"].append(int(pid))

for top in os.environ["LOOK_IN"].split(":"):
    for folder, folders, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or path.startswith(OUT):
                continue
            data = read(path)
            found["readable"] += bool(data)
            if holds(data):
                found["files"].append(path)

# Its own memory, and that of the processes above it in the command.
with open(os.path.join(OUT, "memory"), "wb") as out:
    for pid in ["self", *sys.argv[1:]]:
        try:
            maps, memory = open(f"/proc/{pid}/maps"), open(f"/proc/{pid}/mem", "rb", 0)
        except OSError:
            continue
        for line in maps:
            fields = line.split()
            if "r" not in fields[1] or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            try:
                memory.seek(start)
                out.write(memory.read(min(end - start, 64 << 20)))
            except (OSError, ValueError, OverflowError):
                pass
print(json.dumps(found))
